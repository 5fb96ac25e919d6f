"""`unmoved doctor`: what it says of models whose operators are known because they were put there."""

import pytest
from onnx import TensorProto, helper


def test_a_model_that_is_understood(unmoved, bench):
    found = unmoved("doctor", bench.path("relu.onnx"), "--json")
    assert found.code == 0
    assert {o["name"]: o["count"] for o in found.data["operators"]} == {"Flatten": 1, "Relu": 1, "Gemm": 1}
    assert found.data["parameters"] == bench.weights.size + bench.bias.size and found.data["outputs"] == 3
    assert all(method["applies"] for method in found.data["methods"]) and found.data["advice"] == []
    assert all(operator["checked"] and operator["deployed"] for operator in found.data["operators"])
    text = unmoved("doctor", bench.path("relu.onnx")).out
    assert "Relu" in text and "does not apply" not in text


@pytest.mark.parametrize(
    ("name", "operator", "applicable"),
    [("tangent", "Tan", {"smoothing"})],
)
def test_a_model_that_is_not_says_what_to_change(unmoved, bench, name, operator, applicable):
    found = unmoved("doctor", bench.path(f"{name}.onnx"), "--json").data
    assert {m["name"] for m in found["methods"] if m["applies"]} == applicable
    assert any(operator in advice for advice in found["advice"])
    assert "to do" in unmoved("doctor", bench.path(f"{name}.onnx")).out


def test_one_output(unmoved, bench):
    found = unmoved("doctor", bench.path("one.onnx"))
    assert "1 output," in found.out and "at least two" in found.out


def test_an_operator_that_is_bounded_and_refused_by_the_checker(tmp_path, unmoved):
    """A pool that counts its padding and overhangs it: runtimes differ there."""
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1}
    nodes = [helper.make_node("AveragePool", ["x"], ["p"], **window), helper.make_node("Flatten", ["p"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 1, 6, 6]), ("y", [1, 16]))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    (tmp_path / "pool.onnx").write_bytes(made.SerializeToString())
    found = unmoved("doctor", tmp_path / "pool.onnx", "--json").data
    assert {o["name"]: o["checked"] for o in found["operators"]} == {"AveragePool": False, "Flatten": True}
    assert any("behind the padding" in advice for advice in found["advice"])
    assert "refused" in unmoved("doctor", tmp_path / "pool.onnx").out
