"""The independent checker reaches the same margins by its own code, for every piecewise linear operator and threat."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from unmoved.core import Budget, Disjunct, LinearProperty, Method, Problem, Verdict
from unmoved.ir.network import Network
from unmoved.loaders.onnx import load_onnx
from unmoved.record import encode
from unmoved.refine import IntervalMethod, LinearMethod
from unmoved.threats import L1, L2, Box, Linf
from unmoved_check.check import Checker


def as_onnx(network: Network) -> bytes:
    nodes = [helper.make_node(n.op, n.inputs, n.outputs, n.name, **n.attributes) for n in network.nodes]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, network.shapes[n]) for n in (network.input, network.output)
    ]
    initial = [numpy_helper.from_array(a, n) for n, a in network.constants.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], initial)
    # Operator set 10: the ends of a Clip are attributes.
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=5)
    return made.SerializeToString()


@pytest.mark.parametrize("name", ["relu", "leaky", "clip", "pooled", "residual"])
def test_margins_agree(nets: dict[str, Callable[[], Network]], name: str) -> None:
    network = load_onnx(as_onnx(nets[name]()))
    checker = Checker(network.source)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, network.input_shape).astype(np.float32)
    box = Box(x.astype(np.float64) - rng.choice([0, 0.2], x.shape), x.astype(np.float64) + 0.1)
    # Far below everything the net can answer, so that every method proves it, with undecided elements on the way.
    rows = np.array([[1.0, -1.0, 0.5], [0.2, 0.3, -1.0]])
    for threat in (Linf("0.2"), Linf("0.3", clip=(-1, 1)), L2("0.5"), L1("0.7", clip=(-1, 1)), box):
        for method in (IntervalMethod(), LinearMethod()):
            unsafe = LinearProperty((Disjunct(rows[:1], np.full(1, -1e3)), Disjunct(rows, np.full(2, -1e3))))
            problem = Problem(network, x, threat, unsafe)
            (found,) = method.decide([problem], Budget(), 0)
            assert found.verdict is Verdict.CERTIFIED
            # Only now is it known where the bound lies: ask again just below it, so that the margin shows its digits.
            tight = LinearProperty((Disjunct(rows[:1], np.full(1, least(found.margin, problem, method) - 0.5)),))
            problem = Problem(network, x, threat, tight)
            (found,) = method.decide([problem], Budget(), 0)
            assert found.verdict is Verdict.CERTIFIED and found.margin == pytest.approx(0.5)
            said = checker.check(*encode(problem, found, {}))
            if method.name == "linear" and name == "clip":
                # The checker makes a Clip of two ReLUs, whose lines are looser where both kinks are inside: it may
                # refuse, but it may not know better.
                assert not said.accepted or least_margin(said) < 0.5 + 1e-5
                continue
            assert said.accepted, (threat.name, method.name, str(said))
            if method.name == "interval" and name == "leaky":
                # And a LeakyRelu of x and a ReLU, so that its rows go further back than ours.
                assert 0.5 - 1e-5 < least_margin(said) < 1.5
            else:
                assert least_margin(said) == pytest.approx(0.5, rel=1e-5)


def least_margin(said: object) -> float:
    return float(re.search(r"least margin ([-\d.e+]+)", str(said)).group(1))


def least(margin: float, problem: Problem, method: Method) -> float:
    """Return the bound of the first row itself."""
    first = LinearProperty(problem.prop.unsafe[:1])
    (found,) = method.decide([Problem(problem.model, problem.x, problem.threat, first)], Budget(), 0)
    assert found.margin >= margin
    return found.margin - 1e3
