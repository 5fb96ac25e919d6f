"""Interval and linear bounds as methods, and the cascade: proofs, witnesses, reasons; nothing that is false."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unmoved.core import (
    Budget,
    Code,
    Disjunct,
    DualTree,
    Finding,
    LinearProperty,
    Method,
    Problem,
    Reason,
    SameClass,
    UsageError,
    Verdict,
    Witness,
)
from unmoved.ir.network import Network
from unmoved.loaders.onnx import load_onnx
from unmoved.refine import Cascade, IntervalMethod, LinearMethod, OptimisedMethod
from unmoved.threats import L1, L2, Box, Linf

METHODS = [IntervalMethod(), LinearMethod(), LinearMethod("float32"), OptimisedMethod(), Cascade.default()]


def model(seed: int = 0, activation: str = "Relu", sizes: Sequence[int] = (2, 8, 8, 3)) -> Network:
    rng, nodes, initial, x = np.random.default_rng(seed), [], [], "x"
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        weight = (rng.standard_normal((b, a)) / a**0.5).astype(np.float32)
        bias = (rng.standard_normal(b) * 0.3).astype(np.float32)
        initial += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        last = i == len(sizes) - 2
        nodes.append(helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], ["y" if last else f"z{i}"], transB=1))
        if not last:
            nodes.append(helper.make_node(activation, [f"z{i}"], [f"h{i}"]))
            x = f"h{i}"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("x", sizes[0]), ("y", sizes[-1]))]
    graph = helper.make_graph(nodes, "net", [ends[0]], [ends[1]], initial)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return load_onnx(made.SerializeToString())


def outputs(network: Network, points: np.ndarray) -> np.ndarray:
    """The net in plain numpy, float64."""
    h = points
    count = sum(n.op == "Gemm" for n in network.nodes)
    for i in range(count):
        h = h @ network.constants[f"w{i}"].T.astype(np.float64) + network.constants[f"b{i}"].astype(np.float64)
        if i < count - 1:
            h = np.maximum(h, 0)
    return h


def problems(network: Network, threat: object, count: int = 40) -> list[Problem]:
    xs = np.random.default_rng(1).uniform(-1, 1, (count, 1, 2)).astype(np.float32)
    return [Problem(network, x, threat, SameClass(int(outputs(network, x).argmax()))) for x in xs]


@pytest.mark.parametrize("threat", [Linf("0.05"), L2("0.05"), L1("0.08"), Linf("0.3", clip=(-1, 1))])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.name}-{getattr(m, 'precision', '')}")
def test_no_proof_is_contradicted_on_a_fine_grid(method: Method, threat: object) -> None:
    network = model()
    asked = problems(network, threat)
    found = method.decide(asked, Budget(), 0)
    proved = [(p, f) for p, f in zip(asked, found, strict=True) if f.verdict is Verdict.CERTIFIED]
    assert len(proved) >= 5
    side = np.linspace(-1, 1, 41)
    for problem, finding in proved:
        region = problem.threat.region(problem.x[None])
        grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
        points = region.center[0] + grid * region.eps
        points = np.concatenate([points, [region.low[0, 0], region.high[0, 0]]]).clip(region.low[0], region.high[0])
        size = {"1": 1, "2": 2, None: np.inf}[region.norm]
        inside = np.linalg.norm(points - region.center[0], size, axis=1) <= region.eps if region.norm else slice(None)
        y = outputs(network, points[inside])
        label = problem.prop.label
        margin = (y[:, label] - np.delete(y, label, 1).max(1)).min()
        assert margin > 0
        assert finding.margin <= margin + 1e-6
        assert finding.radius == threat.size and finding.prediction == label
        assert finding.evidence.trees == (("leaf", 0), ("leaf", 1))
        assert not finding.evidence.choices or finding.method == "optimised"


def test_an_input_that_is_unsafe_itself_is_falsified_by_what_onnxruntime_says() -> None:
    network = model()
    x = np.array([[0.25, -0.5]], np.float32)
    wrong = int(outputs(network, x).argmin())
    for method in METHODS:
        (found,) = method.decide([Problem(network, x, Linf("0.1"), SameClass(wrong))], Budget(), 0)
        assert found.verdict is Verdict.FALSIFIED and isinstance(found.evidence, Witness)
        assert found.radius is None and found.prediction == outputs(network, x).argmax()
        np.testing.assert_array_equal(found.evidence.point, x)
        np.testing.assert_allclose(found.evidence.runtime_output, outputs(network, x)[0], rtol=1e-5, atol=1e-6)


def test_x_outside_its_box_is_no_witness() -> None:
    network = model()
    x = np.array([[0.25, -0.5]], np.float32)
    wrong = int(outputs(network, x).argmin())
    away = Box(np.array([[0.5, 0.5]]), np.array([[0.6, 0.6]]))
    (found,) = Cascade.default().decide([Problem(network, x, away, SameClass(wrong))], Budget(), 0)
    assert found.verdict is not Verdict.FALSIFIED


def test_a_disjunct_of_several_rows_is_refuted_by_their_sum_or_by_one_of_them() -> None:
    network = model(sizes=(2, 2))
    x = np.zeros((1, 2), np.float32)
    y = outputs(network, x)[0]
    # Unsafe where y0 <= y0(x) - 1 and y1 <= y1(x) + 5: only the first alone refutes it.
    alone = Disjunct(np.eye(2), np.array([y[0] - 1.0, y[1] + 5.0]))
    # Unsafe where y0 <= y0(x) + d and -y0 <= -y0(x) - 2d: each can hold, their sum cannot.
    together = Disjunct(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([y[0] + 0.01, -y[0] - 0.02]))
    # Both together: one tree a disjunct; the weights of the sum need no payload.
    for method in METHODS:
        (found,) = method.decide([Problem(network, x, Linf("0.1"), LinearProperty((alone, together)))], Budget(), 0)
        assert found.verdict is Verdict.CERTIFIED and found.prediction is None
        assert isinstance(found.evidence, DualTree) and found.evidence.trees == (("leaf", 0), ("leaf", 1))
        assert {k: v.tolist() for k, v in found.evidence.choices.items()} == {"weights/0": [1.0, 0.0]}
        assert found.margin == pytest.approx(0.01, abs=1e-5)


def test_unknown_says_why_and_what_to_try() -> None:
    network = model()
    (found,) = IntervalMethod().decide(problems(network, Linf(2), 1), Budget(), 0)
    assert found.verdict is Verdict.UNKNOWN and found.reason.code is Code.UNPROVED
    assert "margin of -" in found.reason.detail and "linear" in found.reason.remedy and found.margin < 0
    (found,) = Cascade.default().decide(problems(network, Linf(2), 1), Budget(), 0)
    assert "interval bounds" in found.reason.detail and "optimised bounds" in found.reason.detail


def test_a_spent_budget_is_a_timeout_and_proves_nothing_wrong() -> None:
    network = model()
    for method in METHODS:
        for found in method.decide(problems(network, Linf("0.01"), 3), Budget(0.0), 0):
            assert found.verdict is Verdict.UNKNOWN and found.reason.code is Code.TIMEOUT


def test_an_operator_without_facts_is_unsupported_with_a_way_out() -> None:
    network = model(activation="Floor")
    for method in METHODS:
        for found in method.decide(problems(network, Linf("0.01"), 2), Budget(), 0):
            assert found.verdict is Verdict.UNKNOWN
            assert found.reason == Reason(Code.UNSUPPORTED, "Floor", "try --method smoothing")


@pytest.mark.parametrize("method", [IntervalMethod, LinearMethod])
def test_the_batching_changes_no_answer(method: type) -> None:
    network = model()
    asked = problems(network, L2("0.2"), 30) + problems(network, Linf("0.07"), 30)
    whole = method().decide(asked, Budget(), 0)
    small = method(memory=1).decide(asked, Budget(), 0)
    turned = method().decide(asked[::-1], Budget(), 0)[::-1]
    for other in (small, turned):
        assert [f.verdict for f in other] == [f.verdict for f in whole]
        np.testing.assert_allclose([f.margin for f in other], [f.margin for f in whole], rtol=0, atol=1e-12)


@dataclass(frozen=True)
class Scripted(Method):
    """Answers by a script and remembers what it was asked."""

    label: str
    verdicts: tuple[Verdict, ...]
    asked: list[int]

    @property
    def name(self) -> str:
        return self.label

    def settings(self) -> dict[str, str]:
        return {"k": "v"}

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        self.asked.append(len(problems))
        some = self.verdicts[: len(problems)]
        why = Reason(Code.UNPROVED, f"{self.label} failed", "more")
        return [Finding(v, self.label, reason=None if v is not Verdict.UNKNOWN else why, seconds=1.0) for v in some]


def test_the_cascade_passes_on_only_what_is_open_and_merges() -> None:
    network = model()
    certified, falsified, unknown = Verdict.CERTIFIED, Verdict.FALSIFIED, Verdict.UNKNOWN
    first = Scripted("a", (certified, unknown, falsified, unknown), [])
    second = Scripted("b", (unknown, certified), [])
    third = Scripted("c", (unknown,), [])
    cascade = Cascade((first, second, third))
    found = cascade.decide(problems(network, Linf(0), 4), Budget(), 0)
    assert [first.asked, second.asked, third.asked] == [[4], [2], [1]]
    assert [(f.verdict, f.method, f.seconds) for f in found] == [
        (certified, "a", 1.0),
        (unknown, "c", 3.0),
        (falsified, "a", 1.0),
        (certified, "b", 2.0),
    ]
    assert found[1].reason == Reason(Code.UNPROVED, "a failed; b failed; c failed", "more")
    assert found[3].reason is None
    assert cascade.settings() == {"0": "a", "1": "b", "2": "c", "0.k": "v", "1.k": "v", "2.k": "v"}
    assert cascade.decide([], Budget(), 0) == []


def test_no_problem_no_answer_and_bad_settings() -> None:
    for method in METHODS:
        assert method.decide([], Budget(), 0) == []
    for bad in ({"precision": "half"}, {"memory": 0}):
        with pytest.raises(UsageError):
            LinearMethod(**bad)
    with pytest.raises(UsageError):
        Cascade(())


def test_radius_is_none_for_a_box() -> None:
    network = model()
    x = np.array([[0.25, -0.5]], np.float32)
    label = int(outputs(network, x).argmax())
    (found,) = Cascade.default().decide([Problem(network, x, Box(x, x), SameClass(label))], Budget(), 0)
    assert found.verdict is Verdict.CERTIFIED and found.radius is None
    (found,) = Cascade.default().decide([Problem(network, x, Linf("1/1000"), SameClass(label))], Budget(), 0)
    assert found.radius == Fraction(1, 1000)
