"""Attacks on the checker's elementwise functions, products, lines and splits: whatever it says must be true."""

import numpy as np
import pytest
from check_kit import Bundle, F, model, tree_evidence
from onnx import helper

from unmoved_check import Accepted, Checker, Rejected
from unmoved_check.exact import ExactEngine
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Leaf, Split
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


W = np.array([[1, -2], [2, 1]], dtype=np.float32)
GATES = [
    node("MatMul", ["x", "w"], "z"),
    node("Sigmoid", ["z"], "s"),
    node("Tanh", ["z"], "t"),
    node("Mul", ["s", "t"], "p"),
    node("MatMul", ["p", "w"]),
]


def test_no_leaf_says_more_than_its_own_points():
    """Random splits of any tensor, both ways, with multipliers, lines and planes: a bound never exceeds a value."""
    rng = np.random.default_rng(5)
    graph = read_graph(model(GATES, {"w": W}, (1, 2)))
    engines = [engine(graph) for engine in ENGINES]
    inside = 0
    for _ in range(12):
        low = rng.normal(size=2)
        high = low + 10.0 ** rng.uniform(-2, 0.5, size=2)
        x = low + rng.integers(0, 5, size=(400, 2)) / 4 * (high - low)
        z = x @ W
        values = {"x": x, "z": z, "s": 1 / (1 + np.exp(-z)), "t": np.tanh(z)}
        values["p"] = values["s"] * values["t"]
        values["y"] = values["p"] @ W
        leaves, keep = [], []
        for k in range(8):
            splits, here = [], np.ones(len(x), dtype=bool)
            for name in rng.choice(list("zstpy"), size=rng.integers(0, 4)):
                i, above = int(rng.integers(2)), bool(rng.integers(2))
                point = float(rng.choice(values[name][:, i]))
                splits.append(Split(graph.names[name], i, above, float(rng.exponential()), F(point)))
                here &= (values[name][:, i] - point) * (1 if above else -1) > 1e-12
            given = {graph.bent[name]: tuple(rng.normal(size=4)) for name in "st" if rng.integers(2)}
            given |= {graph.bent["p"]: tuple(map(int, rng.integers(0, 256, size=4)))} if rng.integers(2) else {}
            leaves.append(Leaf(k, {0: F(1), 1: F(float(rng.normal()))}, F(0), tuple(splits), {}, given))
            keep.append(here)
        region = Region(box=(tuple(low), tuple(high)))
        for engine in engines:
            for mode in ("interval", "linear"):
                for leaf, here, bound in zip(leaves, keep, engine.margins(region, leaves, mode), strict=True):
                    row = values["y"] @ np.array([float(leaf.row[j]) for j in (0, 1)])
                    inside += int(here.sum())
                    if here.any():
                        assert bound is not None and float(bound) <= row[here].min() + 1e-9
    assert inside > 10000


ONES = np.ones((2, 2), dtype=np.float32)
SPOILED = {
    "nan": {"lines/t": ONES * np.float32(np.nan)},
    "infinite": {"lines/t": ONES * np.float32(np.inf)},
    "float64": {"lines/t": ONES.astype(np.float64)},
    "flat": {"lines/t": ONES.ravel()},
    "columns": {"lines/t": np.ones((4, 1), dtype=np.float32)},
    "no such leaf": {"lines/7/t": ONES},
    "padded leaf": {"lines/00/t": ONES},
    "lines of a product": {"lines/p": ONES},
    "planes of a function": {"planes/t": np.ones((2, 2), dtype=np.uint8)},
    "planes in float32": {"planes/p": ONES},
    "lines of an affine tensor": {"lines/z": ONES},
    "rows of another size": {"rows/z": np.ones(3, dtype=np.uint8)},
    "rows in float32": {"rows/z": np.ones(2, dtype=np.float32)},
    "infinite multiplier": {"multipliers/0": np.array([np.inf, 0], dtype=np.float32)},
    "negative multiplier": {"multipliers/0": np.array([-1, 0], dtype=np.float32)},
    "nan multiplier": {"multipliers/2": np.array([np.nan], dtype=np.float32)},
}


@pytest.mark.parametrize("name", [None, *SPOILED])
def test_spoiled_tensors(name):
    tree = ["split", "z", 0, "1/10", ["split", "p", 1, "0", ["leaf", 0], ["leaf", 1]], ["leaf", 2]]
    data = model(GATES, {"w": W}, (1, 2))
    for mode in ("exact", "floating"):
        center = np.array([[0.4, 0.1]], dtype=np.float32)
        bundle = Bundle(data, center, evidence=tree_evidence([tree])).linear([[-1.0, 0.0]], [-9.0])
        bundle.tensors |= SPOILED.get(name, {})
        outcome = Checker(data).check(*bundle.bytes(), mode=mode)
        assert isinstance(outcome, Accepted if name is None else Rejected)
        assert name is None or "internal" not in outcome.reason
