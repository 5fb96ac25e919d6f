"""Operator sets: the oldest that is read means what onnxruntime says, and a set listed twice must agree with itself."""

import numpy as np
import onnx
import onnxruntime
import pytest
from check_kit import F, model
from onnx import helper

from unmoved_check.exact import ExactEngine
from unmoved_check.exact_numbers import times_power
from unmoved_check.model.reader import read_model
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region

W = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5) / 4
KERNEL = (np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2) - 3) / 2
FOUR = tuple(np.array([v, v + 1], dtype=np.float32) for v in (1, -1, 0, 3))

OLD = {
    "acasxu": (
        [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("Sub", ["f", "c"], ["s"]),
            helper.make_node("MatMul", ["s", "W"], ["m"]),
            helper.make_node("Add", ["m", "b"], ["a"]),
            helper.make_node("Relu", ["a"], ["y"]),
        ],
        {"c": np.float32([1, 2, 3, 4]), "W": W, "b": np.float32([1, -1, 0.5])},
        (1, 1, 1, 4),
    ),
    "collins": (
        [
            helper.make_node("Conv", ["x", "K"], ["c"], kernel_shape=[2, 2], pads=[0, 1, 0, 0]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Dropout", ["r"], ["d"], ratio=0.5),
            helper.make_node("Flatten", ["d"], ["y"]),
        ],
        {"K": KERNEL},
        (1, 1, 3, 2),
    ),
    "pool and norm": (
        [
            helper.make_node("Conv", ["x", "K"], ["c"], kernel_shape=[2, 2]),
            helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], epsilon=1.0),
            helper.make_node("MaxPool", ["n"], ["y"], kernel_shape=[2, 1]),
        ],
        {"K": KERNEL, "g": FOUR[0], "b": FOUR[1], "m": FOUR[2], "v": FOUR[3]},
        (1, 1, 3, 3),
    ),
}


@pytest.mark.parametrize("name", OLD)
def test_operator_set_8_means_what_onnxruntime_says(name):
    nodes, constants, shape = OLD[name]
    data = model(nodes, constants, shape, opset=8)
    x = (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 2) / 2
    (theirs,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    graph = read_graph(data)
    found = ExactEngine(graph).enclose(Region(ball=Ball(tuple(map(float, x.ravel())), "inf", F(0))))[graph.output]
    low, high = ([float(times_power(v, found.exp)) for v in ends] for ends in (found.low, found.high))
    np.testing.assert_allclose(low, theirs.ravel(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(high, theirs.ravel(), rtol=1e-5, atol=1e-6)


def listed(*versions):
    proto = onnx.load_model_from_string(model([helper.make_node("Relu", ["x"], ["y"])], {}, (1, 2)))
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions)
    return proto.SerializeToString()


@pytest.mark.parametrize("versions", [[("", 11), ("", 11)], [("", 11), ("ai.onnx", 11)], [("", 8), ("ml", 2)]])
def test_a_domain_may_be_listed_twice(versions):
    assert read_model(listed(*versions)).opset == versions[0][1]


@pytest.mark.parametrize("versions", [[("", 11), ("", 12)], [("", 8), ("ai.onnx", 9)], [("ml", 2)], []])
def test_two_versions_or_none_are_refused(versions):
    with pytest.raises(Rejection, match="expected one opset"):
        read_model(listed(*versions))


@pytest.mark.parametrize("version", [7, 26])
def test_other_operator_sets_are_refused(version):
    with pytest.raises(Rejection, match="expected 8 to 25"):
        read_model(listed(("", version)))


def test_a_spatial_norm_is_refused():
    nodes, constants, shape = OLD["pool and norm"]
    nodes = [nodes[0], helper.make_node("BatchNormalization", list(nodes[1].input), ["y"], spatial=0)]
    with pytest.raises(Rejection, match="BatchNormalization with attributes"):
        read_graph(model(nodes, constants, shape, opset=8))
