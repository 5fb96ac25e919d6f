"""`unmoved doctor`: what it says of models whose operators are known because they were put there."""

import pytest


def test_a_model_that_is_understood(unmoved, bench):
    found = unmoved("doctor", bench.path("relu.onnx"), "--json")
    assert found.code == 0
    assert {o["name"]: o["count"] for o in found.data["operators"]} == {"Flatten": 1, "Relu": 1, "Gemm": 1}
    assert found.data["parameters"] == bench.weights.size + bench.bias.size and found.data["outputs"] == 3
    assert all(method["applies"] for method in found.data["methods"]) and found.data["advice"] == []
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
