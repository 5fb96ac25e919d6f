"""Attacks on the checker's elementwise functions, products, lines and splits: whatever it says must be true."""

import numpy as np
import pytest
from check_kit import F, model
from onnx import helper

from unmoved_check.exact import ExactEngine
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Leaf
from unmoved_check.onnx_reader import read_graph
from unmoved_check.region import Region

ENGINES = (ExactEngine, FloatEngine)


def node(op, inputs, output="y"):
    return helper.make_node(op, inputs, [output])


DIPPED = {
    "sub": [node("Mul", ["x", "x"], "s"), node("Mul", ["s", "x"], "c"), node("Sub", ["c", "x"], "d")],
    "factored": [node("Mul", ["x", "x"], "s"), node("Sub", ["s", "one"], "q"), node("Mul", ["q", "x"], "d")],
}
"""x^3 - x, which is no argument of the tanh of a GELU: x (1 + tanh(x^3 - x)) is concave at 0."""


@pytest.mark.parametrize("spelling", DIPPED)
def test_tanh_of_a_cubic_that_first_falls_is_no_gelu(spelling):
    nodes = [*DIPPED[spelling], node("Tanh", ["d"], "t"), node("Add", ["t", "one"], "e"), node("Mul", ["x", "e"])]
    graph = read_graph(model(nodes, {"one": np.float32(1)}, (1, 1)))
    for low, high in ((-1.0, 1.0), (0.6, 1.0), (-0.1, 0.1)):
        x = np.linspace(low, high, 4001)
        y = x * (1 + np.tanh(x**3 - x))
        region = Region(box=((low,), (high,)))
        for sign in (1, -1):
            leaf = Leaf(0, {0: F(sign)}, F(0))
            for engine in ENGINES:
                for mode in ("interval", "linear"):
                    (bound,) = engine(graph).margins(region, [leaf], mode)
                    assert bound <= F(float((sign * y).min())) + F(1, 10**9)


def test_lines_of_a_leaf_whose_input_is_not_cut():
    """One leaf has lines of its own, no leaf a split: both get a bound, and a true one."""
    nodes = [node("MatMul", ["x", "w"], "z"), node("Sigmoid", ["z"])]
    graph = read_graph(model(nodes, {"w": np.array([[1, 2], [-1, 1]], dtype=np.float32)}, (1, 2)))
    region, row = Region(box=((-1.0, -1.0), (1.0, 1.0))), {0: F(1), 1: F(-1)}
    leaves = [Leaf(0, row, F(0)), Leaf(1, row, F(0), given={2: (0.1, 0.2, 0.25, 0.125)})]
    x = np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * 2), -1).reshape(-1, 2)
    y = 1 / (1 + np.exp(-(x @ np.array([[1, 2], [-1, 1]]))))
    exact, fast = (engine(graph).margins(region, leaves, "linear") for engine in ENGINES)
    for slow, quick in zip(exact, fast, strict=True):
        assert abs(slow - F(quick)) < F(1, 10**9)
        assert slow <= F(float((y[:, 0] - y[:, 1]).min()))
