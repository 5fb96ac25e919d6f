"""Proofs about every float32 execution: the search aims at what the checker subtracts, and claims what was asked."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import unmoved
from unmoved.attack import PgdMethod
from unmoved.bounds import Enclosure, Query, deployed, interval, linear
from unmoved.core import FLOAT32, REAL, TF32, Budget, Code, Disjunct, LinearProperty, Problem, SameClass, Verdict
from unmoved.ops import bind
from unmoved.refine import Cascade
from unmoved.refine.complete import BranchMethod
from unmoved.refine.optimise import OptimisedMethod

torch = pytest.importorskip("torch")
F32 = np.float32


def network(layers):
    """Gemm, Relu, Gemm, ...; W of shape (out, in)."""
    nodes, constants, at = [], [], "x"
    for i, (weight, bias) in enumerate(layers):
        constants += [numpy_helper.from_array(np.asarray(a, F32), f"{n}{i}") for n, a in (("W", weight), ("b", bias))]
        last = i == len(layers) - 1
        nodes.append(helper.make_node("Gemm", [at, f"W{i}", f"b{i}"], ["y" if last else f"z{i}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"z{i}"], [f"h{i}"]))
            at = f"h{i}"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("x", _width(layers)), ("y", 2))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return unmoved.load_onnx(made.SerializeToString())


def _width(layers):
    return np.asarray(layers[0][0]).shape[1]


def random_layers(rng, *widths):
    return [(rng.normal(size=(m, n)) / n**0.5, rng.normal(size=m) / 4) for n, m in pairwise(widths)]


def near(rng, net, x, eps, *, above):
    """y0 - y1 > b with b `above` times its size below the linear bound: nearly unprovable."""
    ops = bind(net, dtype=torch.float64)
    box = torch.as_tensor(x[None].astype(np.float64))
    enclosure = Enclosure.of_box(box - eps, box + eps)
    row = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    low = float(linear(ops, net, enclosure).low(Query(torch.zeros(1, dtype=torch.int64), row, torch.zeros(1).double())))
    bound = low - above * (1 + abs(low))
    return LinearProperty((Disjunct(row.numpy(), np.array([bound])),))


@pytest.mark.parametrize("method", [unmoved.LinearMethod(), OptimisedMethod(), BranchMethod()], ids=lambda m: m.name)
@pytest.mark.parametrize("semantics", [FLOAT32, TF32], ids=str)
def test_what_the_search_takes_for_proved_the_checker_accepts(method, semantics):
    """Properties that miss the bound by 2^-30 ... 2^-2 of it: certified, or known to be open; never rejected."""
    verdicts, few = set(), method.name != "linear"
    for seed in range(1 if few else 4):
        rng = np.random.default_rng(seed)
        net = network(random_layers(rng, 6, 12, 8, 2))
        x = rng.normal(size=(1, 6)).astype(F32)
        for power in (22, 14, 6) if few else (30, 22, 18, 14, 10, 6, 2):
            prop = near(rng, net, x, 0.05, above=2.0**-power)
            problem = Problem(net, x, unmoved.Linf("0.05"), prop, semantics)
            certificate = unmoved.certify(problem, method, Budget(1), seed=0)
            assert certificate.reason is None or certificate.reason.code is not Code.REJECTED, certificate.reason
            verdicts.add(certificate.verdict)
            if certificate.verdict is Verdict.CERTIFIED:
                claim = json.loads(certificate.manifest)["claim"]
                assert (claim["semantics"], claim["profile"]) == ("float32-any-order", semantics.profile)
    assert Verdict.CERTIFIED in verdicts
    if method.name == "linear":
        assert Verdict.UNKNOWN in verdicts


def test_bounds_that_count_rounding_lie_below_those_that_do_not_by_about_what_the_formula_says():
    rng = np.random.default_rng(3)
    net = network(random_layers(rng, 30, 2))
    ops, x = bind(net, dtype=torch.float64), torch.as_tensor(rng.normal(size=(1, 1, 30)))
    enclosure = Enclosure.of_box(x - 0.01, x + 0.01)
    query = Query(torch.zeros(2, dtype=torch.int64), torch.eye(2).double(), torch.zeros(2).double())
    plain = linear(ops, net, enclosure).low(query)
    rounded = linear(*deployed(ops, net, interval(ops, net, enclosure.box), FLOAT32), enclosure).low(query)
    weight, bias = (np.abs(net.constants[n].astype(float)) for n in ("W0", "b0"))
    magnitude = weight @ (np.abs(x.numpy()[0, 0]) + 0.01) + bias
    assert np.allclose((plain - rounded).numpy(), 32 * 2.0**-24 * magnitude, rtol=1e-3)


@pytest.mark.parametrize("power", [24, 30, 45, 60])
def test_what_only_real_numbers_prove_is_certified_of_them_alone(power):
    """relu(relu(x + 2^p) - 2^p) is x on [0.625, 0.875], and 0 in float32."""
    one, big = [[1.0]], 2.0**power
    net = network([(one, [big]), (one, [-big]), ([[1.0], [0.0]], [0.0, 0.0])])
    prop = LinearProperty((Disjunct(np.array([[1.0, 0.0]]), np.array([0.5])),))
    x = np.array([[0.75]], F32)
    for method in (unmoved.IntervalMethod(), unmoved.LinearMethod(), Cascade.complete()):
        real, deployed_ = (
            unmoved.certify(Problem(net, x, unmoved.Linf("0.125"), prop, s), method, Budget(1)) for s in (REAL, FLOAT32)
        )
        assert deployed_.verdict is not Verdict.CERTIFIED
        assert real.verdict is Verdict.CERTIFIED or power > 40
    # y < 1 on [0, 1.5] is false in real numbers
    prop = LinearProperty((Disjunct(np.array([[-1.0, 0.0]]), np.array([-1.0])),))
    problem = Problem(net, x, unmoved.Linf("0.75"), prop, FLOAT32)
    assert unmoved.certify(problem, Cascade.complete(), Budget(1)).verdict is not Verdict.CERTIFIED


def test_an_input_that_is_broken_in_one_arithmetic_only_is_no_witness():
    """y0 = x - 1/2 in real numbers and -1/2 in float32, y1 = 0."""
    one, big = [[1.0]], 2.0**24
    net = network([(one, [big]), (one, [-big]), ([[1.0], [0.0]], [-0.5, 0.0])])
    problem = Problem(net, np.array([[0.75]], F32), unmoved.Linf("0.125"), SameClass(0))
    (found,) = PgdMethod().decide([problem], Budget(), 0)
    assert found.verdict is Verdict.UNKNOWN and found.reason.code is Code.WEAKER
    assert "falsified under this runtime only" in str(found.reason)
    for method in (unmoved.LinearMethod(), Cascade.complete()):
        certificate = unmoved.certify(problem, method, Budget(1))
        assert certificate.verdict is not Verdict.FALSIFIED
    deployed_ = unmoved.certify(
        Problem(problem.model, problem.x, problem.threat, problem.prop, FLOAT32), Cascade.complete(), Budget(1)
    )
    assert deployed_.verdict is Verdict.UNKNOWN and "this runtime only" in str(deployed_.reason)


def test_semantics_by_name():
    for name in ("real", "float32-any-order", "float32-any-order:tf32"):
        assert str(unmoved.core.Semantics.of(name)) == name
    with pytest.raises(unmoved.UsageError, match="semantics"):
        unmoved.core.Semantics.of("float64")
