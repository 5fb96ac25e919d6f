"""Corners of ONNX where a reader goes wrong without noticing: the checker agrees with onnxruntime, or refuses."""

import numpy as np
import onnxruntime
import pytest
from check_kit import F, model
from onnx import TensorProto, helper

from unmoved_check.exact import ExactEngine
from unmoved_check.exact_numbers import times_power
from unmoved_check.model.affine import inverse_root
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region


def ints(*values):
    return np.array(values, dtype=np.int64)


def folded(op, kind, *values):
    """x + float(op(values)) for whole numbers of a width; `op` of two constants, or of one."""
    constants = {f"c{i}": np.array(v, dtype=kind) for i, v in enumerate(values)}
    return (
        [
            helper.make_node(op, list(constants), ["n"]),
            helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["x", "f"], ["y"]),
        ],
        constants,
        (1, 2),
        17,
    )


def one(op, shape, constants=None, opset=17, **attributes):
    constants = constants or {}
    return [helper.make_node(op, ["x", *constants], ["y"], **attributes)], constants, shape, opset


CORNERS = {
    "uint8 sum wraps": folded("Add", np.uint8, [200], [100]),
    "uint8 difference wraps": folded("Sub", np.uint8, [1], [2]),
    "int8 product wraps": folded("Mul", np.int8, [100], [2]),
    "int8 negative wraps": folded("Neg", np.int8, [-128]),
    "int32 sum wraps": folded("Add", np.int32, [2**31 - 1], [1]),
    "int32 product of all wraps": folded("ReduceProd", np.int32, [2**16, 2**16]),
    "int64 sum wraps": folded("Add", np.int64, [2**63 - 1], [1]),
    "int32 sum": folded("Add", np.int32, [200], [100]),
    "int8 quotient truncates": folded("Div", np.int8, [-7], [2]),
    "slice from before the front, backwards": one(
        "Slice", (1, 4), {"s": ints(-9), "e": ints(-(2**63)), "a": ints(1), "t": ints(-1)}
    ),
    "slice to nothing": one("Slice", (1, 4), {"s": ints(3), "e": ints(1), "a": ints(1)}),
    "pad that crops more than there is": one("Pad", (1, 4), {"p": ints(0, -6, 0, 3)}),
    "pool with dilations and automatic pads": one(
        "MaxPool", (1, 1, 5), auto_pad="SAME_UPPER", kernel_shape=[2], dilations=[2]
    ),
}


@pytest.mark.parametrize("name", CORNERS)
def test_agrees_with_onnxruntime_or_refuses(name):
    nodes, constants, shape, opset = CORNERS[name]
    data = model(nodes, constants, shape, opset=opset)
    x = (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 1) / 4
    try:
        graph = read_graph(data)
    except Rejection:
        return
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"x": x})
    point = tuple(float(v) for v in x.ravel())
    found = ExactEngine(graph).enclose(Region(ball=Ball(point, "inf", F(0))))[graph.output]
    assert [times_power(v, found.exp) for v in found.low] == [F(float(v)) for v in theirs.ravel()]


@pytest.mark.parametrize("name", ["int32 sum", "int8 quotient truncates", "slice from before the front, backwards"])
def test_what_has_one_meaning_is_read(name):
    nodes, constants, shape, opset = CORNERS[name]
    assert read_graph(model(nodes, constants, shape, opset=opset)).outputs


def test_a_truth_value_is_zero_or_one():
    nodes = [
        helper.make_node("Cast", ["b"], ["n"], to=TensorProto.INT64),
        helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    data = model(nodes, {"b": np.array([True])}, (1, 2))
    assert read_graph(data).outputs == 2
    raw = helper.make_tensor("b", TensorProto.BOOL, [1], b"\x01", raw=True).SerializeToString()
    assert raw in data and raw[-1] == 1
    with pytest.raises(Rejection, match="range"):
        read_graph(data.replace(raw, raw[:-1] + b"\x02"))


@pytest.mark.parametrize(
    ("op", "flags"),
    [("ReduceSum", {"keepdims": 2}), ("MaxPool", {"kernel_shape": [2], "ceil_mode": -1}), ("Gemm", {"transA": 2})],
)
def test_flags_are_zero_or_one(op, flags):
    """onnxruntime takes keepdims 2 for 0 and transA 2 for 1."""
    constants = {"w": np.ones((2, 2), np.float32)} if op == "Gemm" else {}
    nodes, constants, shape, _ = one(op, (2, 2) if op == "Gemm" else (1, 1, 4), constants, **flags)
    with pytest.raises(Rejection, match=f"^unchecked operator {op} with"):
        read_graph(model(nodes, constants, shape))


HUGE = {
    "Expand": one("Expand", (1, 2), {"s": ints(1 << 40, 1 << 20, 2)}),
    "Pad": one("Pad", (1, 2), {"p": ints(0, 1 << 40, 0, 0)}),
    "MaxPool": one("MaxPool", (1, 1, 4), kernel_shape=[2], pads=[1 << 40, 0]),
    "AveragePool": one("AveragePool", (1, 1, 4), kernel_shape=[1 << 40], pads=[1 << 40, 1 << 40], count_include_pad=1),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_tensors_are_refused_before_they_are_made(name):
    nodes, constants, shape, opset = HUGE[name]
    with pytest.raises(Rejection):
        read_graph(model(nodes, constants, shape, opset=opset))


def test_the_root_of_a_batch_norm_lies_in_its_bracket():
    rng, open_ = np.random.default_rng(1), 0
    for value in (F(float(v)) for v in rng.random(200) * 2.0 ** rng.integers(-100, 100, 200)):
        low, high = inverse_root(value)
        assert low * low * value <= 1 <= high * high * value
        open_ += low < high
    assert open_ > 190
