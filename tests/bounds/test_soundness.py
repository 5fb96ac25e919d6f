"""Sampled points stay inside every bound of every tensor: all operators, all threats, interval and linear."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unmoved.bounds import Enclosure, Query, interval, interval_low, linear
from unmoved.core.threat import Region
from unmoved.ir.network import Network
from unmoved.ops import bind, evaluate, primitives

CENTERS, POINTS = 3, 20_000
ROUNDING = 1e-9


def region(kind: str, shape: tuple[int, ...], seed: int) -> Region:
    rng = np.random.default_rng(seed)
    center = rng.uniform(-1, 1, (CENTERS, *shape))
    eps = {"linf": 0.15, "l2": 0.6, "l1": 1.2, "box": 0.0}[kind]
    if kind == "box":
        # Uneven, one-sided, and with some coordinates fixed.
        low = center - rng.choice([0.0, 0.05, 0.4], center.shape)
        high = center + rng.choice([0.0, 0.05, 0.4], center.shape)
        return Region(low, high, (low + high) / 2)
    low, high = np.maximum(center - eps, -1), np.minimum(center + eps, 1)
    return Region(low, high, center, {"linf": None, "l2": "2", "l1": "1"}[kind], eps)


def samples(at: Region, i: int, rng: np.random.Generator) -> np.ndarray:
    """Inside, on the boundary, corners: then clipped to the box, which moves a point only towards the centre."""
    low, high, center = at.low[i], at.high[i], at.center[i]
    count = (POINTS // 4, *center.shape)
    inside = rng.uniform(low, high, count)
    corners = np.where(rng.random(count) < 0.5, low, high)
    edges = np.where(rng.random(count) < 0.8, corners, inside)
    if at.norm is None:
        return np.concatenate([inside, corners, edges, rng.uniform(low, high, count)])
    moves = rng.standard_normal((POINTS, *center.shape))
    flat = moves.reshape(POINTS, -1)
    few = rng.random(flat.shape) < rng.choice([1.0, 0.3, 1.5 / flat.shape[1]], (POINTS, 1))
    flat *= few
    flat[np.arange(POINTS // 8), rng.integers(0, flat.shape[1], POINTS // 8)] += 9.0
    size = np.abs(flat).sum(1) if at.norm == "1" else np.sqrt((flat**2).sum(1))
    reach = np.where(rng.random(POINTS) < 0.7, 1.0, rng.random(POINTS)) * at.eps / np.maximum(size, 1e-9)
    return np.clip(center + (flat * reach[:, None]).reshape(moves.shape), low, high)


@pytest.mark.parametrize("kind", ["linf", "l2", "l1", "box"])
def test_no_sample_leaves_a_bound(any_network: Network, kind: str) -> None:
    network = any_network
    ops, rng = bind(network, dtype=torch.float64), np.random.default_rng(9)
    at = region(kind, network.input_shape, 11)
    enclosure = Enclosure.of_regions([at], torch.float64, "cpu")
    plain = interval(ops, network, enclosure.box)
    known = linear(ops, network, enclosure)
    outputs = network.outputs
    rows = torch.as_tensor(rng.standard_normal((CENTERS * 4, outputs)))
    query = Query(torch.arange(CENTERS).repeat_interleave(4), rows, torch.as_tensor(rng.standard_normal(CENTERS * 4)))
    lows = torch.maximum(interval_low(ops, network, enclosure, plain, query), known.low(query)).view(CENTERS, 4)
    names = [op.output for op in ops]
    for i in range(CENTERS):
        points = torch.as_tensor(samples(at, i, rng))
        values = evaluate(ops, network, points, keep=names)
        for name in names:
            for bounds in (plain[name], known.bounds[name]):
                # No number (where an interval holds a pole) is no bound, and proves nothing.
                assert not (values[name] < bounds.low[i] - ROUNDING).any(), (name, "low")
                assert not (values[name] > bounds.high[i] + ROUNDING).any(), (name, "high")
        reached = values[network.output].flatten(1) @ rows.view(CENTERS, 4, -1)[i].T - query.offsets.view(CENTERS, 4)[i]
        assert not (reached.min(0).values < lows[i] - ROUNDING).any()


@pytest.mark.parametrize(
    "name", ["relu", "leaky", "clip", "sigmoid", "tanh", "pooled", "residual", "deep_conv", "attention"]
)
def test_linear_is_tighter_somewhere_and_never_looser_inside(nets: dict[str, Callable[[], Network]], name: str) -> None:
    network = nets[name]()
    ops = bind(network, dtype=torch.float64)
    enclosure = Enclosure.of_regions([region("linf", network.input_shape, 3)], torch.float64, "cpu")
    plain, known = interval(ops, network, enclosure.box), linear(ops, network, enclosure)
    assert all((known.bounds[n].radius <= plain[n].radius + ROUNDING).all() for n in plain)
    nonlinear_inputs = {
        op.inputs[0]
        for op in primitives(ops)
        if op.kind in {"Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "MaxPool", "Exp", "MatMul"}
    }
    assert any((known.bounds[n].radius < plain[n].radius - 1e-3).any() for n in nonlinear_inputs)
