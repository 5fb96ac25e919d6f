"""Binding: parameters by name and their gradients, the walk, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.ir.network import Network, Node
from unmoved.ops import RULES, Elementwise, bind, evaluate, family, supported


def network(nodes: list[Node], constants: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> Network:
    return Network(tuple(nodes), constants, "x", nodes[-1].outputs[0] if nodes else "x", shapes, b"", "")


def residual() -> Network:
    w = np.arange(9, dtype=np.float32).reshape(3, 3) - 4
    nodes = [
        Node("MatMul", "m", ("x", "w"), ("a",)),
        Node("Relu", "r", ("a",), ("b",)),
        Node("Add", "s", ("b", "x"), ("y",)),
    ]
    return network(nodes, {"w": w}, dict.fromkeys("xaby", (1, 3)))


def test_walk_of_a_residual_net_by_hand() -> None:
    net = residual()
    x = torch.tensor([[[1.0, 2.0, -1.0]]])
    hidden = np.maximum(np.array([1.0, 2.0, -1.0]) @ net.constants["w"], 0)
    kept = evaluate(bind(net), net, x, keep=["b", "y"])
    assert set(kept) == {"b", "y"}
    np.testing.assert_array_equal(kept["b"].numpy()[0, 0], hidden)
    np.testing.assert_array_equal(evaluate(bind(net), net, x).numpy()[0, 0], hidden + x.numpy()[0, 0])


def test_a_net_without_nodes_is_the_identity() -> None:
    net = network([], {}, {"x": (1, 3)})
    x = torch.randn(4, 1, 3)
    assert torch.equal(evaluate(bind(net), net, x), x)


def test_split_gives_one_op_an_output() -> None:
    nodes = [
        Node("Split", "s", ("x", "k"), ("a", "b"), {"axis": 1}),
        Node("Concat", "c", ("b", "a"), ("y",), {"axis": -1}),
    ]
    shapes = {"x": (1, 5), "a": (1, 2), "b": (1, 3), "y": (1, 5)}
    net = network(nodes, {"k": np.array([2, 3])}, shapes)
    x = torch.arange(5.0).reshape(1, 1, 5)
    assert evaluate(bind(net), net, x).flatten().tolist() == [2, 3, 4, 0, 1]


def test_batch_normalization_differentiates_in_all_its_parameters() -> None:
    rng = np.random.default_rng(0)
    constants = {n: np.abs(rng.normal(size=2)).astype(np.float32) + 0.5 for n in ("g", "b", "m", "v")}
    node = Node("BatchNormalization", "n", ("x", "g", "b", "m", "v"), ("y",), {"epsilon": 1e-3})
    net, x = network([node], constants, dict.fromkeys("xy", (1, 2, 3))), torch.tensor(rng.normal(size=(2, 1, 2, 3)))
    params = tuple(torch.tensor(constants[n], dtype=torch.float64, requires_grad=True) for n in "gbmv")

    def run(*given: torch.Tensor) -> torch.Tensor:
        return evaluate(bind(net, dict(zip("gbmv", given, strict=True)), dtype=torch.float64), net, x)

    assert torch.autograd.gradcheck(run, params)


def test_a_parameter_stands_in_for_a_constant_and_is_cast() -> None:
    net = residual()
    w = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    y = evaluate(bind(net, {"w": w, "num_batches_tracked": torch.tensor(3)}), net, torch.ones(1, 1, 3))
    assert y.dtype == torch.float32
    assert y.tolist() == [[[1, 1, 1]]]


@pytest.mark.parametrize("params", [{"v": torch.zeros(3, 3)}, {"w": torch.zeros(3)}])
def test_wrong_parameters_are_refused(params: dict[str, torch.Tensor]) -> None:
    with pytest.raises(UsageError, match="params"):
        bind(residual(), params)


def test_wrong_shape_of_x_is_refused() -> None:
    net = residual()
    with pytest.raises(UsageError, match="x"):
        evaluate(bind(net), net, torch.zeros(2, 3))


@pytest.mark.parametrize(
    "node",
    [
        Node("ArgMax", "n", ("x",), ("y",)),
        Node("Pow", "n", ("c", "x"), ("y",)),
        Node("Pow", "n", ("x", "c"), ("y",)),
        Node("Resize", "n", ("x", "", "c"), ("y",), {"mode": "cubic"}),
        Node("Gemm", "n", ("x", "c", "x"), ("y",)),
        Node("Pad", "n", ("x", "p"), ("y",), {"mode": "mirror"}),
        Node("Cast", "n", ("x",), ("y",), {"to": 7}),
        Node("Dropout", "n", ("x", "", "t"), ("y",)),
        Node("BatchNormalization", "n", ("x", "c", "c", "c", "c"), ("y",), {"training_mode": 1}),
        Node("Clip", "n", ("x", "x"), ("y",)),
        Node("Relu", "n", ("mask",), ("y",)),
    ],
    ids=lambda node: node.op,
)
def test_what_has_no_rule_is_unsupported_and_names_the_operator(node: Node) -> None:
    constants = {"c": np.ones((2, 2), dtype=np.float32), "p": np.array([1, 0, 0, 0]), "t": np.array(True)}
    net = network([node], constants, {"x": (2, 2), "y": (2, 2), "mask": (2, 2)})
    with pytest.raises(UnsupportedError, match=node.op):
        bind(net)


def test_table_names_families() -> None:
    assert supported() == frozenset(RULES)
    assert [family(n) for n in ("Conv", "Relu", "MaxPool", "Mul", "Softmax", "ArgMax")] == [
        "Affine",
        "Elementwise",
        "Maximum",
        "Product",
        "Composite",
        None,
    ]


def elementwise(op: str) -> Elementwise:
    (bound,) = bind(network([Node(op, "n", ("x",), ("y",))], {}, {"x": (1,), "y": (1,)}), dtype=torch.float64)
    assert isinstance(bound, Elementwise)
    return bound


@given(st.floats(1e-12, 1.0))
def test_where_slope_finds_both_points_with_that_derivative(part: float) -> None:
    for op, steepest in (("Sigmoid", 0.25), ("Tanh", 1.0)):
        bound, slope = elementwise(op), part * steepest
        right, left = bound.where_slope(*(torch.tensor([[v]], dtype=torch.float64) for v in (slope, -9.0, 9.0)))
        x = right.item()
        assert left.item() == -x <= 0
        # The derivative in a form that keeps its digits far out, by the standard library.
        exact = 1 / (2 * math.cosh(x / 2)) ** 2 if op == "Sigmoid" else 1 / math.cosh(x) ** 2
        assert math.isclose(exact, slope, rel_tol=1e-8)


def test_where_slope_is_nan_where_no_point_has_it() -> None:
    for op, steepest in (("Sigmoid", 0.25), ("Tanh", 1.0)):
        slopes = torch.tensor([-0.1, 0.0, steepest * 1.001, math.nan], dtype=torch.float64)
        assert all(bool(x.isnan().all()) for x in elementwise(op).where_slope(slopes, slopes, slopes))


@pytest.mark.parametrize("op", ["Relu", "Clip", "Sigmoid", "Tanh"])
def test_facts_of_elementwise_against_finite_differences(op: str) -> None:
    attributes = {"Clip": {"min": -1.0, "max": 0.5}}.get(op, {})
    node = Node(op, "n", ("x",), ("y",), attributes)
    (bound,) = bind(network([node], {}, {"x": (1,), "y": (1,)}), dtype=torch.float64)
    assert isinstance(bound, Elementwise)
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)[:, None] + 1e-4
    rise = (bound.apply(x + 1e-6) - bound.apply(x - 1e-6)) / 2e-6
    torch.testing.assert_close(bound.derivative(x), rise, rtol=1e-6, atol=1e-6)
    assert bound.monotone == 1 and bool((rise >= 0).all())
    if bound.linear_pieces:
        near = torch.tensor([[k] for k in bound.kinks], dtype=torch.float64)
        jump = bound.derivative(near + 1e-3) - bound.derivative(near - 1e-3)
        assert bool((jump.abs() > 0.5).all())
        far = [bool(((x - k).abs() > 0.02).all(dim=1).any()) for k in bound.kinks]
        assert all(far)
        away = (x[:, :1] - near.T).abs().min(dim=1).values > 0.02
        second = bound.apply(x + 0.01) + bound.apply(x - 0.01) - 2 * bound.apply(x)
        assert bool((second[away].abs() < 1e-12).all())
