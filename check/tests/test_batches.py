"""Many leaves at once against each alone, and against the exact engine: parts of a region, splits, kinds of step."""

from array import array

import numpy as np
import pytest
from check_kit import F, mlp, model, random_net
from onnx import helper

from unmoved_check import floating, floating_bounds, floating_cone
from unmoved_check.exact import ExactEngine
from unmoved_check.floating import FloatEngine
from unmoved_check.floating_steps import FloatConv
from unmoved_check.leaf import Choices, Hidden, Leaf, Split
from unmoved_check.model.steps import Conv
from unmoved_check.onnx_reader import read_graph
from unmoved_check.region import Ball, Cut, Part, Region


def dense_net(rng):
    return mlp(random_net(rng, [3, 6, 5, 4, 2]))


def conv_net(rng):
    """Convolutions, a residual sum, a maximum; 1 x 4 x 4 pixels."""
    shapes = {"k0": (3, 1, 3, 3), "k1": (3, 3, 3, 3), "k2": (3, 3, 1, 1), "w": (12, 2)}
    constants = {name: rng.normal(size=s).astype(np.float32) / 2 for name, s in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["x", "k0"], ["z0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["z0"], ["a0"]),
        helper.make_node("Conv", ["a0", "k1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a0", "k2"], ["c2"]),
        helper.make_node("Add", ["c1", "c2"], ["z1"]),
        helper.make_node("Relu", ["z1"], ["a1"]),
        helper.make_node("MaxPool", ["a1"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return model(nodes, constants, (1, 1, 4, 4))


def bent_net(rng):
    """A sigmoid, a product of two variables, a maximum over overlapping windows, relu; 6 inputs."""
    shapes = {"w0": (6, 6), "w1": (6, 6), "w2": (4, 2)}
    constants = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    constants["shape"] = np.array([1, 1, 6])
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["s"]),
        helper.make_node("MatMul", ["x", "w1"], ["u"]),
        helper.make_node("Mul", ["s", "u"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[3], strides=[1]),
        helper.make_node("Flatten", ["p"], ["z1"]),
        helper.make_node("Relu", ["z1"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["y"]),
    ]
    return model(nodes, constants, (1, 6))


NETS = {"dense": dense_net, "conv": conv_net, "bent": bent_net}


def plant(rng, graph, center, part, splits, depth):
    """Leaves of a random tree: nested parts, splits of relu inputs, slopes and multipliers of their own."""
    kind = rng.integers(0, 3) if depth else 0
    if kind == 0 and depth < 4:
        slopes = {
            v: bytes(rng.integers(0, 256, size=graph.sizes[v], dtype=np.uint8))
            for v in graph.relu_inputs.values()
            if rng.random() < 0.5
        }
        yield Leaf(0, {0: F(1), 1: F(-1)}, F(1, 3), splits, slopes, part=part)
    elif kind <= 1 or not graph.relu_inputs:
        index = int(rng.integers(graph.sizes[0]))
        point = F(float(center[index])) + F(int(rng.integers(-5, 6)), 37)
        for below in (True, False):
            yield from plant(rng, graph, center, Part(part, Cut(index, point, below)), splits, depth - 1)
    else:
        value = list(graph.relu_inputs.values())[int(rng.integers(len(graph.relu_inputs)))]
        index = int(rng.integers(graph.sizes[value]))
        for positive in (True, False):
            split = Split(value, index, positive, float(np.float32(abs(rng.normal()) * 0.2)))
            yield from plant(rng, graph, center, part, (*splits, split), depth - 1)


def hidden(rng, graph):
    """Hidden rows for the last relu's input with slopes for the first."""
    first, last = min(graph.relu_inputs.values()), max(graph.relu_inputs.values())
    if first == last:
        return Choices()
    units = tuple(range(0, graph.sizes[first], 2))
    rows = [bytes(rng.integers(0, 256, size=len(units), dtype=np.uint8)) for _ in range(3)]
    return Choices({last: Hidden((0, 1, 1), 2, {first: (units, rows)})})


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("intermediate", ["linear", "interval"])
@pytest.mark.parametrize("name", NETS)
def test_many_leaves_at_once_are_bounded_like_each_alone(name, intermediate, norm, monkeypatch):
    empty = several = 0
    for seed in range(3):
        rng = np.random.default_rng(100 + seed)
        graph = read_graph(NETS[name](rng))
        center = rng.normal(size=graph.sizes[0]).astype(np.float32)
        region = Region(ball=Ball(tuple(map(float, center)), norm, F(1, 5)))
        leaves = list(plant(rng, graph, center, None, (), 5))
        choices = hidden(rng, graph)
        engine = FloatEngine(graph)
        shared = engine.margins(region, leaves, intermediate, choices)
        alone = [engine.margins(region, [leaf], intermediate, choices)[0] for leaf in leaves]
        exact = ExactEngine(graph).margins(region, leaves, intermediate, choices) if norm == "inf" else alone
        with monkeypatch.context() as patched:
            # small chunks of rows and batches of two parts: other borders, the same bounds
            patched.setattr(floating, "LEAST", 1 << 30)
            many = engine.margins(region, leaves, intermediate, choices)
            patched.setattr(floating, "NUMBERS", 2 * sum(graph.sizes))
            small = FloatEngine(graph)
            small.chunk = 3
            small.facts = floating_bounds.Facts(**{**vars(engine.facts), "chunk": 3})
            pieces = small.margins(region, leaves, intermediate, choices)
        for s, a, b, c, e in zip(shared, many, alone, pieces, exact, strict=True):
            assert (s is None) == (a is None) == (b is None) == (c is None)
            if a is None:
                empty += 1
                continue
            several += 1
            # bounds of a wider part are looser, but prove as much
            assert s > 0 or s >= b - 1e-11 * (1 + abs(b))
            assert abs(a - b) <= 1e-11 * (1 + abs(b)) and abs(c - b) <= 1e-11 * (1 + abs(b))
            if norm == "inf" and name != "bent":
                assert F(a) <= e and F(b) <= e and e - F(a) <= 1e-9 * (1 + abs(e))
    assert several > 10 and (empty or norm == "2")


@pytest.mark.parametrize("name", NETS)
def test_a_batch_is_never_above_what_the_net_does(name):
    """Points of every part, by exact forward passes: each output is at or above the leaf's bound."""
    rng = np.random.default_rng(5)
    graph = read_graph(NETS[name](rng))
    center = rng.normal(size=graph.sizes[0]).astype(np.float32)
    region = Region(ball=Ball(tuple(map(float, center)), "inf", F(1, 5)))
    parts: list = [None]
    for index in rng.permutation(graph.sizes[0])[:5].tolist() * (2 if graph.sizes[0] < 5 else 1):
        point = F(float(center[index])) + F(int(rng.integers(-3, 4)), 40)
        parts = [Part(part, Cut(index, point, below)) for part in parts for below in (True, False)]
    assert len(set(floating.wider(parts, floating.TOGETHER))) * floating.LEAST <= len(parts), "bounds are shared"
    leaves = [Leaf(0, {0: F(1), 1: F(-1)}, F(0), part=part) for part in parts]
    margins = FloatEngine(graph).margins(region, leaves, "linear")
    assert len({m for m in margins if m is not None}) > 2
    exact = ExactEngine(graph)
    for leaf, margin in zip(leaves, margins, strict=True):
        box = floating.part_hulls(floating.input_hull(region), [leaf.part])[0]
        for _ in range(4 if margin is not None else 0):
            x = rng.uniform(box.low[0], box.high[0])
            bounds = exact.enclose(Region(ball=Ball(tuple(map(float, x)), "inf", F(0))))
            high = -exact.least(bounds, {0: F(-1), 1: F(1)}, F(0))
            assert F(margin) <= high


def wide_net(rng):
    """Strides, dilations, groups, pads, a second branch, a row-wise matrix, a product of tokens; 2 x 7 x 6 pixels."""
    shapes = {"k0": (4, 1, 3, 2), "k1": (4, 4, 2, 3), "k2": (4, 4, 1, 1), "w": (4, 3), "v": (27, 2)}
    constants = {name: rng.normal(size=s).astype(np.float32) / 2 for name, s in shapes.items()}
    constants |= {"rows": np.array([1, 9, 4]), "pick": np.array([0, 2, 2, 5, 8, 1, 7, 3, 4])}
    constants["s"] = (rng.normal(size=(1, 4, 1, 1)) + 2).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k0"], ["c0"], group=2, strides=[2, 1], pads=[1, 0, 1, 1]),
        helper.make_node("Mul", ["c0", "s"], ["z0"]),
        helper.make_node("Relu", ["z0"], ["a0"]),
        helper.make_node("Conv", ["a0", "k1"], ["c1"], dilations=[2, 1], pads=[1, 1, 0, 0], strides=[1, 2]),
        helper.make_node("Conv", ["a0", "k2"], ["c2"], strides=[1, 2], pads=[0, 0, 0, 0]),
        helper.make_node("Slice", ["c2", "from", "to", "axis"], ["c3"]),
        helper.make_node("Add", ["c1", "c3"], ["z1"]),
        helper.make_node("Relu", ["z1"], ["a1"]),
        helper.make_node("Transpose", ["a1"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "rows"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["m"]),
        helper.make_node("Tanh", ["m"], ["h"]),
        helper.make_node("Gather", ["m", "pick"], ["g"], axis=1),
        helper.make_node("Mul", ["h", "g"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Flatten", ["q"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    constants |= {"from": np.array([0]), "to": np.array([3]), "axis": np.array([2])}
    return model(nodes, constants, (1, 2, 7, 6))


@pytest.mark.parametrize("bunch", [1, 5])
@pytest.mark.parametrize("net", [conv_net, wide_net])
def test_rows_in_cones_bound_what_rows_of_whole_values_bound(net, bunch, monkeypatch):
    """Also at the border of the image, where a cone's window is cut off."""
    cut = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        graph = read_graph(net(rng))
        center = tuple(map(float, rng.normal(size=graph.sizes[0]).astype(np.float32)))
        found = []
        for small in (True, False):
            monkeypatch.setattr(floating_cone, "BUNCH", bunch)
            monkeypatch.setattr(floating_cone, "MOST", 0.95 if small else 0.0)
            engine = FloatEngine(graph)
            for norm in ("inf", "2"):
                region = Region(ball=Ball(center, norm, F(1, 10)))
                hull, _ = floating.part_hulls(
                    floating.input_hull(region), [None, Part(None, Cut(0, F(center[0]), True))]
                )
                with np.errstate(all="ignore"):
                    found.append(floating_bounds.Refinement.of(engine.facts, hull, region, Choices()).boxes)
            cones = [seen for kept in engine.facts._cones.values() for _, seen in kept]
            cut += small * sum(p is not None for seen in cones for p in seen.places.values())
            assert small or not any(p is not None for seen in cones for p in seen.places.values())
        for cones, wholes in zip(found[:2], found[2:], strict=True):
            for a, b in zip(cones, wholes, strict=True):
                assert np.allclose(a.low, b.low, rtol=1e-11, atol=1e-12)
                assert np.allclose(a.high, b.high, rtol=1e-11, atol=1e-12)
    assert cut > 100


@pytest.mark.parametrize(
    "shape",
    [
        # channels in, out, groups; space, kernel, strides, dilations, pads before; space out
        (2, 4, 2, (6, 6), (2, 3), (2, 3), (1, 1), (0, 0), (3, 2)),  # tiles
        (2, 4, 1, (7, 6), (2, 3), (2, 3), (1, 1), (0, 0), (3, 2)),  # tiles, and a line left over
        (2, 2, 1, (6, 6), (2, 3), (2, 3), (1, 1), (1, 0), (4, 2)),
        (2, 2, 1, (6, 6), (2, 2), (2, 2), (2, 1), (0, 0), (2, 3)),
        (3, 2, 1, (5, 4), (3, 2), (1, 2), (1, 1), (1, 1), (5, 3)),
        (2, 4, 2, (9,), (3,), (2,), (2,), (3,), (5,)),
        (1, 2, 1, (4, 4, 4), (2, 2, 2), (2, 2, 2), (1, 1, 1), (0, 0, 0), (2, 2, 2)),
    ],
)
def test_rows_of_convolutions_are_those_of_their_matrix(shape):
    """The matrix column by column from `apply`; all of it, and what `cut` leaves of it."""
    rng = np.random.default_rng(0)
    channels, outer, groups, space, kernel, strides, dilations, pads, out = shape
    weights = array("d", rng.normal(size=outer * channels // groups * int(np.prod(kernel))))
    step = FloatConv(Conv(0, channels, space, outer, out, kernel, strides, dilations, pads, groups, weights))
    matrix = step.apply(np.eye(channels * int(np.prod(space))), False).T
    rows = rng.normal(size=(3, len(matrix)))
    assert np.allclose(step.transposed(rows), rows @ matrix, atol=1e-13)
    for _ in range(5):
        some = np.sort(rng.choice(len(matrix), size=rng.integers(1, 4), replace=False))
        cut, (places,) = step.cut(some)
        part = cut.transposed(rows[:, some])
        assert np.allclose(part, rows[:, some] @ matrix[np.ix_(some, places)], atol=1e-13)
        assert not np.delete(matrix[some], places, axis=1).any(), "what is left out is not read"
