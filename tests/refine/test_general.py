"""Optimised lines and planes: not above the truth, not below their start, and what is written is what was used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from unmoved.bounds import Enclosure, Query, linear
from unmoved.bounds.relaxation import lines, planes
from unmoved.certifier import certify
from unmoved.core import Budget, Disjunct, LinearProperty, Method, Problem, Verdict
from unmoved.ir.network import Network, Node
from unmoved.loaders import load_onnx
from unmoved.ops import bind, evaluate
from unmoved.refine import LinearMethod, OptimisedMethod
from unmoved.refine.ascent import Ascent
from unmoved.refine.general import Rise
from unmoved.threats import Linf


def gated(seed: int) -> Network:
    """y = W (tanh(A x) * gelu(B x)) with a ReLU and a softmax on the way."""
    rng = np.random.default_rng(seed)
    constants = {n: rng.normal(size=s).astype(np.float32) for n, s in (("a", (4, 5)), ("b", (4, 5)), ("w", (5, 2)))}
    steps = [
        ("MatMul", ("x", "a"), "za", 5), ("MatMul", ("x", "b"), "zb", 5), ("Tanh", ("za",), "t", 5),
        ("Gelu", ("zb",), "g", 5), ("Mul", ("t", "g"), "m", 5), ("Relu", ("m",), "r", 5),
        ("Softmax", ("r",), "s", 5), ("MatMul", ("s", "w"), "y", 2),
    ]  # fmt: skip
    nodes = tuple(Node(op, out, inputs, (out,)) for op, inputs, out, _ in steps)
    return Network(nodes, constants, "x", "y", {"x": (1, 4)} | {out: (1, n) for _, _, out, n in steps}, b"", "")


@pytest.mark.parametrize("seed", [0, 1])
def test_bounds_rise_and_stay_below_the_truth(seed: int) -> None:
    network = gated(seed)
    ops, rng = bind(network, dtype=torch.float64), np.random.default_rng(seed)
    x, eps = torch.as_tensor(rng.uniform(-1, 1, (2, 1, 4))), 0.3
    region = Enclosure.of_box(x - eps, x + eps)
    rows = torch.as_tensor(rng.standard_normal((4, 2)))
    owner = torch.tensor([0, 1, 0, 1])
    points = x[:, None] + torch.as_tensor(rng.uniform(-eps, eps, (2, 4000, 1, 4)))
    with torch.no_grad():
        truth = torch.stack([(evaluate(ops, network, points[o]).flatten(1) @ r).min() for o, r in zip(owner, rows)])  # noqa: B905
        known = linear(ops, network, region)
        # Offsets that leave every row unproved, so that all steps are taken.
        query = Query(owner, rows, truth)
        first = known.low(query)
    rise = Rise.of(known, query)
    rise.run(Ascent(steps=15, rate=0.1, decay=0.95), Budget())
    assert (rise.best <= 1e-9).all() and (rise.best >= first - 1e-6).all()
    assert (rise.best > first + 0.01 * first.abs()).any()


def test_what_is_written_gives_the_bound() -> None:
    """The payload's numbers alone, put into fresh relaxations, give the bound that was claimed."""
    network = gated(2)
    ops = bind(network, dtype=torch.float64)
    x = torch.zeros(1, 1, 4, dtype=torch.float64)
    with torch.no_grad():
        known = linear(ops, network, Enclosure.of_box(x - 0.2, x + 0.2))
        query = Query(torch.zeros(1, dtype=torch.int64), torch.ones(1, 2).double(), torch.full((1,), 99.0).double())
    rise = Rise.of(known, query)
    rise.run(Ascent(steps=5, rate=0.1, decay=0.95), Budget())
    payload = rise.payload([0])
    assert {n.split("/")[0] for n in payload} == {"lines", "planes", "slopes"}
    for op in known.ops:
        values = [known.bounds[name] for name in op.inputs]
        if f"lines/0/{op.output}" in payload:
            low, high = (
                torch.as_tensor(s, dtype=torch.float64).view(1, *op.shape) for s in payload[f"lines/0/{op.output}"]
            )
            known.relaxations[op.output] = lines(op, values[0], low, high)
        if op.kind == "Mul":
            shares = (torch.as_tensor(s).double().view(1, *op.pairs) / 255 for s in payload[f"planes/0/{op.planes}"])
            known.relaxations[op.output] = planes(op, *values, *shares)
        if op.kind == "Relu":
            slope = torch.as_tensor(payload[f"slopes/0/{op.inputs[0]}"]).double().view(1, *op.shape) / 255
            usual = known.relaxations[op.output]
            crossing = (values[0].low < 0) & (values[0].high > 0)
            usual.lower.copy_(torch.where(crossing, slope, usual.lower))
    with torch.no_grad():
        again = known.low(query)
    assert again == pytest.approx(rise.best.numpy(), rel=1e-7)


def as_onnx(network: Network) -> bytes:
    nodes = [helper.make_node(n.op, n.inputs, n.outputs, n.name) for n in network.nodes]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, network.shapes[n]) for n in "xy"]
    initial = [numpy_helper.from_array(a, n) for n, a in network.constants.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()


def test_what_only_optimised_lines_prove_is_accepted_by_the_checker() -> None:
    network = load_onnx(as_onnx(gated(0)))
    x, row = np.full((1, 4), 0.25, np.float32), np.array([[1.0, -1.0]])

    def asked(offset: float) -> Problem:
        return Problem(network, x, Linf("1/4"), LinearProperty((Disjunct(row, np.array([offset])),)))

    def margin(method: Method) -> float:
        """The bound of the row itself: from an offset that x itself just keeps."""
        (found,) = method.decide([asked(at_x - 1e-4)], Budget(), 0)
        assert found.margin is not None
        return found.margin + at_x - 1e-4

    y = evaluate(bind(network, dtype=torch.float64), network, torch.as_tensor(x[None], dtype=torch.float64))
    at_x = float(row[0] @ y.numpy().reshape(-1))
    linear_low, best = margin(LinearMethod()), margin(OptimisedMethod())
    assert best > linear_low + 1e-3
    below = asked(linear_low - 1e-3)
    assert certify(below, LinearMethod()).verdict is Verdict.CERTIFIED
    between = asked((linear_low + best) / 2)
    assert certify(between, LinearMethod()).verdict is Verdict.UNKNOWN
    proved = certify(between, OptimisedMethod())
    assert proved.verdict is Verdict.CERTIFIED and proved.finding.method == "optimised", proved.reason
    assert {name.split("/")[0] for name in proved.finding.evidence.choices} >= {"lines", "planes"}
