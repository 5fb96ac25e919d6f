"""Zonotopes against forward values, closed forms, DeepZ's published rule, and the other domains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmoved.bounds import Bounds, Enclosure, Query, intersection, interval, zonotope
from unmoved.bounds.zonotope import parallel
from unmoved.core.threat import Region
from unmoved.ir.network import Network, Node
from unmoved.ops import bind, evaluate, primitives


def region(network: Network, norm: str | None, eps: float, count: int = 3) -> tuple[Region, np.ndarray]:
    x = np.random.default_rng(2).standard_normal((count, *network.input_shape))
    return Region(x - eps, x + eps * 0.5, x, norm, eps), x


def members(at: Region, rng: np.random.Generator, count: int = 18) -> np.ndarray:
    """Points of the box, pulled into the ball, corners and axis points among them; (count, batch, *shape)."""
    shape = (count, *at.center.shape)
    move = rng.uniform(-1, 1, shape)
    move[::3] = np.sign(move[::3])
    points = np.where(move < 0, at.center + move * (at.center - at.low), at.center + move * (at.high - at.center))
    if at.norm is None:
        return points
    delta = (points - at.center).reshape(*shape[:2], -1)
    size = np.linalg.norm(delta, int(at.norm), axis=2, keepdims=True)
    return at.center + (delta * np.minimum(1, at.eps / np.maximum(size, 1e-12))).reshape(shape)


@pytest.mark.parametrize("domain", [zonotope, intersection])
@pytest.mark.parametrize("norm", [None, "2", "1"])
@pytest.mark.parametrize("limit", [0, 9, 2**40])
def test_no_member_of_the_set_leaves_the_zonotope(network, norm, limit, domain) -> None:
    ops = bind(network, dtype=torch.float64)
    at, _ = region(network, norm, 0.15)
    known = domain(ops, network, Enclosure.of_regions([at], torch.float64, "cpu"), limit=limit)
    rng = np.random.default_rng(0)
    names = [op.output for op in primitives(ops)]
    row = np.random.default_rng(1).standard_normal((2, network.outputs))
    owner = torch.arange(3).repeat_interleave(2)
    query = Query(owner, torch.as_tensor(np.tile(row, (3, 1))), torch.zeros(6, dtype=torch.float64))
    low = known.low(query).view(3, 2).numpy()
    for points in members(at, rng):
        values = evaluate(tuple(primitives(ops)), network, torch.as_tensor(points), keep=names)
        for name in names:
            assert (values[name] >= known.bounds[name].low - 1e-9).all()
            assert (values[name] <= known.bounds[name].high + 1e-9).all()
        assert (values[network.output].flatten(1).numpy() @ row.T >= low - 1e-9).all()


@pytest.mark.parametrize("norm", [None, "2", "1"])
def test_what_is_met_is_no_wider_than_intervals(network, norm) -> None:
    ops = bind(network, dtype=torch.float64)
    at, _ = region(network, norm, 0.4)
    enclosure = Enclosure.of_regions([at], torch.float64, "cpu")
    met, alone = intersection(ops, network, enclosure).bounds, interval(ops, network, enclosure.box)
    for name, bounds in met.items():
        assert (bounds.low >= alone[name].low - 1e-12).all()
        assert (bounds.high <= alone[name].high + 1e-12).all()


def test_relu_is_deep_z() -> None:
    """Singh et al. 2018: lambda = u / (u - l), mu = -lambda l / 2."""
    (op,) = bind(Network((Node("Relu", "r", ("x",), ("y",)),), {}, "x", "y", {"x": (1, 4), "y": (1, 4)}, b"", ""))
    low, high = torch.tensor([[-1.0, -3.0, 0.5, -2.0]]), torch.tensor([[1.0, 1.0, 2.0, -1.0]])
    slope, below, above = parallel(op, Bounds(low, high))
    torch.testing.assert_close(slope, torch.tensor([[0.5, 0.25, 1.0, 0.0]]))
    torch.testing.assert_close((above - below) / 2, torch.tensor([[0.25, 0.375, 0.0, 0.0]]))
    torch.testing.assert_close(below, torch.zeros(1, 4))


@pytest.mark.parametrize("norm", [None, "2", "1"])
def test_an_affine_net_is_exact_in_every_norm(norm) -> None:
    rng = np.random.default_rng(3)
    weight, bias = rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    network = Network(
        (Node("Gemm", "g", ("x", "w", "b"), ("y",), {"transB": 1}),),
        {"w": weight, "b": bias}, "x", "y", {"x": (1, 4), "y": (1, 3)}, b"", "",
    )  # fmt: skip
    x = rng.standard_normal((2, 1, 4))
    at = Region(x - 0.3, x + 0.3, x, norm, 0.3)
    found = zonotope(bind(network, dtype=torch.float64), network, Enclosure.of_regions([at], torch.float64, "cpu"))
    dual = {None: 1, "2": 2, "1": np.inf}[norm]
    far = 0.3 * np.linalg.norm(weight.astype(np.float64), dual, axis=1)
    y = x @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(found.bounds["y"].low.numpy(), y - far, atol=1e-12)
    np.testing.assert_allclose(found.bounds["y"].high.numpy(), y + far, atol=1e-12)


def test_a_value_minus_itself_is_nothing(nets) -> None:
    """What intervals cannot see: y - y = 0 also behind a ReLU, because both carry the same symbols."""
    network = Network(
        (Node("Relu", "r", ("x",), ("h",)), Node("Neg", "n", ("h",), ("m",)), Node("Add", "a", ("h", "m"), ("y",))),
        {}, "x", "y", dict.fromkeys("xhmy", (1, 2)), b"", "",
    )  # fmt: skip
    box = Enclosure.of_box(torch.full((1, 1, 2), -1.0), torch.full((1, 1, 2), 1.0))
    found = zonotope(bind(network), network, box).bounds["y"]
    assert (found.low == 0).all() and (found.high == 0).all()
    plain = interval(bind(network), network, box.box)["y"]
    assert (plain.low == -1).all()


def test_a_residual_net_is_bounded_more_tightly_than_by_intervals_and_the_limit_only_loosens(nets) -> None:
    for name in ("residual", "pooled", "sigmoid"):
        network = nets[name]()
        ops = bind(network, dtype=torch.float64)
        at, _ = region(network, None, 0.05)
        enclosure = Enclosure.of_regions([at], torch.float64, "cpu")
        widths = []
        for limit in (2**40, 0):
            bounds = zonotope(ops, network, enclosure, limit=limit).bounds[network.output]
            widths.append(float((bounds.high - bounds.low).mean()))
        plain = interval(ops, network, enclosure.box)[network.output]
        assert widths[0] < widths[1] and widths[0] < 0.8 * float((plain.high - plain.low).mean())
