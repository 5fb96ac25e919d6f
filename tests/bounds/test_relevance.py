"""Elements that cannot matter cost no rows, and leaving them out changes no answer."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from unmoved.bounds import Bounds, Enclosure, Query, interval, linear
from unmoved.bounds.relevance import relevant
from unmoved.ir.network import Network, Node
from unmoved.ops import bind, evaluate

LINEAR = sys.modules["unmoved.bounds.linear"]


def two_layers(first: list[list[float]], second: list[list[float]], bias: list[float]) -> Network:
    """x -> relu(A x) -> relu(B h + bias) -> sum."""
    constants = {n: np.array(v, np.float32) for n, v in (("a", first), ("b", second), ("c", bias))}
    constants["d"] = np.ones((1, len(second)), np.float32)
    zero = constants["z"] = np.zeros(len(first), np.float32)
    constants["e"] = np.zeros(1, np.float32)
    nodes = (
        Node("Gemm", "1", ("x", "a", "z"), ("z1",), {"transB": 1}),
        Node("Relu", "2", ("z1",), ("h1",)),
        Node("Gemm", "3", ("h1", "b", "c"), ("z2",), {"transB": 1}),
        Node("Relu", "4", ("z2",), ("h2",)),
        Node("Gemm", "5", ("h2", "d", "e"), ("y",), {"transB": 1}),
    )
    width = {"x": len(first[0]), "z1": len(zero), "h1": len(zero), "z2": len(bias), "h2": len(bias), "y": 1}
    return Network(nodes, constants, "x", "y", {n: (1, k) for n, k in width.items()}, b"", "")


def test_dead_ends_are_irrelevant() -> None:
    # h1[1] feeds only z2[1], which is never positive; h1[2] has zero weights everywhere.
    network = two_layers([[1.0, 0], [0, 1], [1, 1]], [[1, 0, 0], [1, 1, 0]], [0.0, -5.0])
    ops = bind(network, dtype=torch.float64)
    box = Bounds(-torch.ones(1, 1, 2, dtype=torch.float64), torch.ones(1, 1, 2, dtype=torch.float64))
    found = relevant(ops, network, interval(ops, network, box))
    assert found["z2"].flatten().tolist() == [True, False]
    assert found["z1"].flatten().tolist() == [True, False, False]
    assert found["x"].flatten().tolist() == [True, False]


def test_what_is_irrelevant_moves_no_output(network: Network) -> None:
    """Sampled: change only irrelevant elements of the input within the box; nothing may happen."""
    ops = bind(network, dtype=torch.float64)
    rng = np.random.default_rng(0)
    x = torch.as_tensor(rng.uniform(-1, 1, (1, *network.input_shape)))
    box = Bounds(x - 0.4, x + 0.4)
    matters = relevant(ops, network, interval(ops, network, box))[network.input]
    points = torch.as_tensor(rng.uniform(-0.4, 0.4, (500, *network.input_shape))) + x
    moved = torch.where(matters, points, torch.as_tensor(rng.uniform(-0.4, 0.4, points.shape)) + x)
    torch.testing.assert_close(evaluate(ops, network, moved), evaluate(ops, network, points), rtol=0, atol=1e-12)


@pytest.mark.parametrize("eps", [0.05, 0.3])
def test_margins_are_the_same_without_it(network: Network, eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    ops = bind(network, dtype=torch.float64)
    x = torch.as_tensor(np.random.default_rng(1).uniform(-1, 1, (6, *network.input_shape)))
    enclosure = Enclosure.of_box(x - eps, x + eps)
    rows = torch.as_tensor(np.random.default_rng(2).standard_normal((6, network.outputs)))
    query = Query(torch.arange(6), rows, torch.zeros(6, dtype=torch.float64))
    lazy = linear(ops, network, enclosure).low(query)
    all_matter = lambda ops, network, bounds: {n: torch.ones_like(b.low) > 0 for n, b in bounds.items()}  # noqa: E731
    monkeypatch.setattr(LINEAR, "relevant", all_matter)
    torch.testing.assert_close(linear(ops, network, enclosure).low(query), lazy, rtol=0, atol=1e-9)
