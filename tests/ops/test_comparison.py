"""Comparisons and Where against onnxruntime, and bounds of whole nets with them against what the nets do."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from unmoved import Budget, Cascade, Linf, Problem, SameClass, Verdict, certify
from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.interval import interval
from unmoved.loaders.onnx import load_onnx
from unmoved.ops import bind, evaluate, primitives
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection

R = np.random.default_rng(5)
NUMBERS = {"t": R.normal(size=4).astype(np.float32), "k": R.normal(size=(1, 4)).astype(np.float32)}


def model(*nodes: tuple[str, list[str], str]) -> bytes:
    """A net of x (1, 4): a = x W, then the nodes, the last of which gives y."""
    constants = {**NUMBERS, "W": R.normal(size=(4, 4)).astype(np.float32), "two": np.array(2, np.float32)}
    used = {name for _, inputs, _ in nodes for name in inputs} | {"W"}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["a"]), *(helper.make_node(op, i, [o]) for op, i, o in nodes)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


NETS = {
    "cut off": model(("Softplus", ["a"], "s"), ("Greater", ["a", "two"], "c"), ("Where", ["c", "a", "s"], "y")),
    "greater": model(("Greater", ["a", "t"], "c"), ("Where", ["c", "a", "k"], "y")),
    "at least": model(("GreaterOrEqual", ["t", "a"], "c"), ("Where", ["c", "k", "a"], "y")),
    "less": model(("Less", ["a", "x"], "c"), ("Where", ["c", "x", "a"], "y")),
    "at most": model(("LessOrEqual", ["a", "t"], "c"), ("Where", ["c", "k", "t"], "y")),
}


@pytest.mark.parametrize("name", NETS)
def test_nets_say_what_onnxruntime_says_and_bounds_hold(name: str) -> None:
    network = load_onnx(NETS[name])
    ops = bind(network, dtype=torch.float64)
    session = onnxruntime.InferenceSession(NETS[name], providers=["CPUExecutionProvider"])
    points = R.normal(size=(200, 1, 1, 4)).astype(np.float32)
    theirs = np.stack([session.run(None, {"x": p[0]})[0] for p in points])
    values = torch.tensor(points[:, 0], dtype=torch.float64)
    np.testing.assert_allclose(evaluate(ops, network, values).numpy(), theirs, rtol=1e-5, atol=1e-5)
    center = torch.tensor(R.normal(size=(3, 1, 4)), dtype=torch.float64)
    box = Bounds(center - 0.4, center + 0.4)
    bounds = interval(ops, network, box)[network.output]
    for _ in range(200):
        x = center + 0.4 * (2 * torch.rand(center.shape, dtype=center.dtype) - 1)
        y = torch.tensor(np.stack([session.run(None, {"x": p.numpy().astype(np.float32)})[0] for p in x]))
        assert (y >= bounds.low - 1e-5).all()
        assert (y <= bounds.high + 1e-5).all()


def test_a_jump_is_enclosed_on_both_sides() -> None:
    network = load_onnx(NETS["greater"])
    (step,) = [op for op in primitives(bind(network)) if op.kind == "Greater"]
    assert step.apply(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.0, 1.0]
    (step,) = [op for op in primitives(bind(load_onnx(NETS["at least"]))) if op.kind == "GreaterOrEqual"]
    assert step.apply(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("name", NETS)
def test_certificates_are_accepted_and_no_sample_contradicts_one(name: str) -> None:
    """The oracle is onnxruntime on points of the balls, their corners among them."""
    rng = np.random.default_rng(1)
    network = load_onnx(NETS[name])
    session = onnxruntime.InferenceSession(NETS[name], providers=["CPUExecutionProvider"])
    certified = 0
    for eps in (0.02, 0.3):
        for x in rng.normal(size=(6, 1, 4)).astype(np.float32):
            label = int(session.run(None, {"x": x})[0].argmax())
            problem = Problem(network, x, Linf(str(eps)), SameClass(label))
            if certify(problem, Cascade.default(), Budget(seconds=5)).verdict is not Verdict.CERTIFIED:
                continue
            certified += 1
            moves = np.concatenate([rng.uniform(-1, 1, (200, 4)), rng.choice([-1.0, 1.0], (50, 4))]) * 0.999 * eps
            for point in (x + moves[:, None]).astype(np.float32):
                assert session.run(None, {"x": point})[0].argmax() == label
    assert certified >= 4


def test_the_checker_reads_truth_values_only_where_they_choose() -> None:
    net = model(("Greater", ["a", "t"], "c"), ("Where", ["c", "a", "k"], "w"), ("Mul", ["w", "c"], "y"))
    with pytest.raises(Rejection, match="of truth values"):
        read_graph(net)
