"""Every operator: the exact forward pass against onnxruntime, backward rows against forward, boxes against samples."""

from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from check_kit import F, model
from onnx import TensorProto, helper
from operator_table import CASES, RNG, ints, one, w

from unmoved_check.exact import ExactEngine
from unmoved_check.exact_numbers import times_power
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Leaf
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region


def then_relu_mix(nodes, constants, shape):
    """The operator between an affine mix and Relu, so that its rows meet relaxations on both sides."""
    renamed = [
        helper.make_node(
            n.op_type,
            ["mid" if i == "x" else i for i in n.input],
            ["top" if o == "y" else o for o in n.output],
        )
        for n in nodes
    ]
    for fresh, old in zip(renamed, nodes, strict=True):
        fresh.attribute.extend(old.attribute)
    size = int(np.prod(shape))
    mix = {"mixW": (w(size, size) / np.sqrt(size)).astype(np.float32), "flat": ints(1, -1), "shape": ints(*shape)}
    front = [
        helper.make_node("Reshape", ["x", "flat"], ["x1"]),
        helper.make_node("MatMul", ["x1", "mixW"], ["x2"]),
        helper.make_node("Relu", ["x2"], ["x3"]),
        helper.make_node("Reshape", ["x3", "shape"], ["mid"]),
    ]
    return [*front, *renamed, helper.make_node("Relu", ["top"], ["y"])], {**constants, **mix}


def exact_output(engine, x):
    point = Region(ball=Ball(tuple(map(float, x.ravel())), "inf", Fraction(0)))
    found = engine.enclose(point)[engine.graph.output]
    low = [times_power(n, found.exp) for n in found.low]
    assert all(times_power(h, found.exp) - lo < F(1, 1 << 60) for lo, h in zip(low, found.high, strict=True))
    return low


def build(name, mixed):
    nodes, constants, shape, opset = CASES[name]
    if mixed:
        nodes, constants = then_relu_mix(nodes, constants, shape)
    return model(nodes, constants, shape, opset=opset), shape


@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "mixed"])
@pytest.mark.parametrize("name", CASES)
def test_operator(name, mixed):
    data, shape = build(name, mixed)
    graph = read_graph(data)
    exact, floating = ExactEngine(graph), FloatEngine(graph)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.clip(RNG.normal(size=shape), -1.9, 1.9).astype(np.float32)
    y = exact_output(exact, x)
    expected = session.run(None, {"x": x})[0].ravel()
    assert np.allclose([float(v) for v in y], expected, rtol=1e-4, atol=1e-5)

    rng = np.random.default_rng(3)
    row = {j: F(float(c)) for j, c in enumerate(rng.normal(size=len(y)))}
    leaf = Leaf(0, row, F(1, 3))
    center = tuple(map(float, x.ravel()))
    value = sum(c * y[j] for j, c in row.items()) + F(1, 3)
    for engine in (exact, floating):
        # on a point, backward rows give the forward value: every transpose is right
        (at_point,) = engine.margins(Region(ball=Ball(center, "inf", F(0))), [leaf], "linear")
        assert 0 <= value - F(at_point) < F(1, 10**9)
    eps = F(1, 7)
    for norm in ("inf", "2", "1"):
        region = Region(ball=Ball(center, norm, eps), clip=(F(-2), F(2)) if norm == "inf" else None)
        lows = {}
        for mode in ("interval", "linear"):
            low, fast = exact.margins(region, [leaf], mode)[0], floating.margins(region, [leaf], mode)[0]
            assert abs(F(fast) - low) < F(1, 10**8)
            lows[mode] = max(low, F(fast))
        assert lows["interval"] <= value and lows["linear"] <= value
        for _ in range(3):
            step = rng.normal(size=shape) if norm == "2" else rng.choice([-1.0, 1.0], size=shape)
            order = {"inf": np.inf, "2": 2, "1": 1}[norm]
            step = step / np.linalg.norm(step.ravel(), order) * float(eps) * 0.999
            moved = (x + step).astype(np.float32)
            if norm == "inf":
                moved = np.clip(moved, -2, 2)
            there = exact_output(exact, moved)
            truth = sum(c * there[j] for j, c in row.items()) + F(1, 3)
            assert max(lows.values()) <= truth


def test_double_weights():
    data = model(
        [helper.make_node("Gemm", ["x", "W"], ["y"])], {"W": RNG.normal(size=(3, 2))}, (1, 3), kind=TensorProto.DOUBLE
    )
    x = RNG.normal(size=(1, 3))
    expected = onnxruntime.InferenceSession(data).run(None, {"x": x})[0].ravel()
    assert np.allclose([float(v) for v in exact_output(ExactEngine(read_graph(data)), x)], expected, rtol=1e-13)


def test_dynamic_dimension_is_one_and_shape_arithmetic_folds():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Constant", [], ["zero"], value_int=0),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Constant", [], ["axes"], value_ints=[0]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("Transpose", ["W"], ["Wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["flat", "Wt"], ["y"]),
    ]
    data = model(nodes, {"W": w(3, 8)}, ("batch", 2, 4))
    graph = read_graph(data)
    assert graph.input_shape == (1, 2, 4) and len(graph.steps) == 1
    x = RNG.normal(size=(1, 2, 4)).astype(np.float32)
    expected = onnxruntime.InferenceSession(data).run(None, {"x": x})[0].ravel()
    assert np.allclose([float(v) for v in exact_output(ExactEngine(graph), x)], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("op", ["Floor", "Round", "TopK"])
def test_unknown_operator_is_named(op):
    with pytest.raises(Rejection, match=f"^unchecked operator {op}$"):
        read_graph(model(*one(op), (1, 3)))


@pytest.mark.parametrize(
    "nodes",
    [
        one("Pow", inputs=["x", "x"])[0],
        one("MaxPool", kernel_shape=[2, 2], pads=[0, 0, 0, 0], strange=1)[0],
        one("Cast", to=10)[0],
        one("Upsample", {"c": w(4)})[0],
        one("Clip", min=0.0, max=1.0)[0],
        one("Slice", starts=[0], ends=[1])[0],
        one("Pad", pads=[0] * 8)[0],
        one("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1)[0],
        one("Dropout", {"r": np.float32(0.5), "t": np.array(True)})[0],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_unknown_variants_are_refused(nodes):
    with pytest.raises(Rejection, match=f"^unchecked operator {nodes[0].op_type} "):
        read_graph(model(nodes, {"r": np.float32(0.5), "t": np.array(True), "c": w(2, 3, 3)}, (1, 1, 3, 3)))


def test_dead_unknown_operators_do_not_matter():
    nodes = [helper.make_node("Floor", ["x"], ["dead"]), helper.make_node("Relu", ["x"], ["y"])]
    assert len(read_graph(model(nodes, {}, (1, 3))).steps) == 1
