"""Annealed descent and FAB: closed forms on linear classifiers, and nets whose gradient at the input says nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from tests.attack.test_gradient import KINDS, distance, least_margin, linear

from unmoved.attack import Annealed, Apgd, Fab, Pgd, suite
from unmoved.attack.ball import Ball
from unmoved.attack.boundary import _Metric
from unmoved.core import SameClass
from unmoved.core.errors import UsageError
from unmoved.threats import L0, L1, L2, Box, Linf

BOTH = [Annealed(steps=50, restarts=2, targets=3), Fab(steps=20, restarts=2, targets=3)]


@pytest.mark.parametrize("norm", KINDS)
@pytest.mark.parametrize("attack", BOTH, ids=str)
def test_succeeds_just_above_the_distance_and_never_below(norm, attack):
    weight, bias, scores = linear(2)
    x = np.random.default_rng(100).normal(size=(8, 20)).astype(np.float32)
    labels = (x.astype(np.float64) @ weight.T + bias).argmax(1)
    exact = [distance(weight, bias, x[i].astype(np.float64), labels[i], norm) for i in range(8)]
    props = [SameClass(int(c)) for c in labels]
    for factor in (1.06, 0.98):
        threats = [KINDS[norm](float(factor * d)) for d in exact]
        found = attack.search(scores, x, threats, props)
        assert ((found.margins <= 0) == (factor > 1)).all()
        assert all(t.contains(a, p) for t, a, p in zip(threats, x, found.points, strict=True))


@pytest.mark.parametrize("norm", KINDS)
@pytest.mark.parametrize("attack", BOTH, ids=str)
def test_the_clip_range_counts(norm, attack):
    weight, bias, scores = linear(3, inputs=12, classes=2)
    x = np.random.default_rng(0).choice([0.0, 0.1, 0.5, 0.9, 1.0], size=(4, 12)).astype(np.float32)
    row, offset = weight[0] - weight[1], bias[0] - bias[1]
    clean = x @ row + offset
    labels = (clean < 0).astype(int)
    signs = np.where(labels, -1.0, 1.0)

    def margin(i, eps):
        return least_margin(signs[i] * row, x[i].astype(np.float64), norm, eps, 0.0, 1.0) + signs[i] * offset

    compared = 0
    for i in range(4):
        small, large = 0.0, 20.0
        if margin(i, large) > 0.05:
            continue
        for _ in range(60):
            middle = (small + large) / 2
            small, large = (small, middle) if margin(i, middle) <= 0 else (middle, large)
        for factor in (1.1, 0.98):
            threat = KINDS[norm](factor * large, (0, 1))
            found = attack.search(scores, x[i : i + 1], [threat], [SameClass(int(labels[i]))])
            assert (found.margins[0] <= 0) == (factor > 1), (norm, i)
            assert threat.contains(x[i], found.points[0])
        compared += 1
    assert compared >= 2


@pytest.mark.parametrize("norm", KINDS)
def test_steps_to_a_plane_are_the_shortest_in_the_box(norm):
    """Against linear programs (L_inf, L1) and bisection on the multiplier (L2)."""
    rng = np.random.default_rng(5)
    x = rng.random((6, 9)).astype(np.float32)
    ball = Ball.of([KINDS[norm](1, (0, 1))] * 6, x)
    points, slope = rng.random((6, 9)), rng.normal(size=(6, 9))
    gap = np.minimum(0.6 * np.abs(slope * np.where(slope > 0, points, 1 - points)).sum(1), 2.0)
    metric = _Metric.of(ball)
    if norm == "inf":
        metric = _Metric(metric.center, metric.floor, metric.ceiling, metric.eps, torch.ones(6, 9), None)
    single = [torch.tensor(part, dtype=torch.float32) for part in (points, slope, gap)]
    move = metric.onto(*single).numpy().astype(np.float64)
    assert np.allclose((slope * move).sum(1), -gap, atol=1e-4)
    assert (points + move >= -1e-6).all() and (points + move <= 1 + 1e-6).all()
    length = np.linalg.norm(move, {"inf": np.inf, "2": 2, "1": 1}[norm], axis=1)
    for k in range(6):
        assert abs(length[k] - shortest(points[k], slope[k], gap[k], norm)) < 1e-4


def shortest(point, slope, gap, norm):
    """Return the least length of a move in the box [0, 1] by which slope @ z falls by gap."""
    n = len(point)
    if norm == "2":
        low, high = 0.0, 1e3
        for _ in range(100):
            level = (low + high) / 2
            move = np.clip(-level * slope, -point, 1 - point)
            low, high = (level, high) if -(slope @ move) < gap else (low, level)
        return np.linalg.norm(move)
    # move = plus - minus, and for L_inf a bound on every element
    bounds = [(0, 1 - p) for p in point] + [(0, p) for p in point]
    equal = [np.concatenate([slope, -slope])]
    if norm == "1":
        return linprog(np.ones(2 * n), A_eq=equal, b_eq=[-gap], bounds=bounds).fun
    cost = np.zeros(2 * n + 1)
    cost[-1] = 1
    rows = np.hstack([np.eye(n), np.eye(n), -np.ones((n, 1))])
    equal = [np.concatenate([equal[0], [0]])]
    return linprog(cost, A_ub=rows, b_ub=np.zeros(n), A_eq=equal, b_eq=[-gap], bounds=[*bounds, (0, None)]).fun


def sleeping(points):
    """Class 0 unless elements pass a threshold of 0.3 by 2 in all: flat at the origin and around it."""
    awake = torch.relu(points.flatten(1) - 0.3).sum(1)
    return torch.stack([torch.full_like(awake, 2.0), awake], 1)


@pytest.mark.parametrize("threat", [L2("2.4", (0, 1)), L1(7, (0, 1))], ids=str)
def test_noise_finds_what_gradients_at_the_input_do_not(threat):
    """With 16 elements 5 at 0.7 are enough (L1 3.5, L2 1.57), and where the sets begin all derivatives are zero."""
    x, props = np.zeros((3, 16), np.float32), [SameClass(0)] * 3
    for plain in (Pgd(restarts=1, targets=0), *([Apgd("margin")] if threat.norm == "2" else [])):
        assert (plain.search(sleeping, x, [threat] * 3, props).margins > 0).all()
    found = Annealed(steps=40).search(sleeping, x, [threat] * 3, props)
    assert (found.margins <= 0).all()
    assert all(threat.contains(a, p) for a, p in zip(x, found.points, strict=True))


@pytest.mark.parametrize("attack", [Annealed(steps=8, restarts=2, targets=1), Fab(8, 2, 1)], ids=str)
@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_points_do_not_depend_on_the_batch(attack, kind):
    _, _, scores = linear(4, inputs=16)
    x = np.random.default_rng(3).random((5, 4, 4)).astype(np.float32)
    threats, props = [kind("0.05", (0, 1))] * 5, [SameClass(0)] * 5
    together = attack.search(scores, x, threats, props, seed=3)
    alone = [attack.search(scores, x[i : i + 1], threats[:1], props[:1], seed=3).points[0] for i in range(5)]
    assert np.allclose(together.points, alone, atol=1e-5)


def test_boxes_and_what_has_no_moves():
    weight, bias, scores = linear(7, inputs=6, classes=2)
    x = np.full((1, 6), 0.5, np.float32)
    label = int((weight @ x[0] + bias).argmax())
    row = weight[label] - weight[1 - label]
    low, high = np.where(np.arange(6) == 2, 0.5, -3.0), np.where(np.arange(6) == 2, 0.5, 3.0)
    assert np.where(row > 0, low, high) @ row + bias[label] - bias[1 - label] < 0
    for attack in BOTH:
        found = attack.search(scores, x, [Box(low, high)], [SameClass(label)])
        assert found.margins[0] <= 0 and found.points[0, 2] == 0.5
    with pytest.raises(UsageError, match="fab has no moves"):
        Fab().search(scores, x, [L0(2, (0, 1))], [SameClass(0)])
    assert not any(isinstance(stage, Fab) for stage in suite("thorough", "0").stages)
    for wrong in ({"loss": "odd"}, {"steps": 0}, {"restarts": 0}, {"noise": -1.0}, {"wide": 0.5}):
        with pytest.raises(UsageError):
            Annealed(**wrong)
    with pytest.raises(UsageError):
        Fab(targets=0)


def test_projection_on_l2_balls_in_a_box_is_the_nearest_point():
    """Against bisection on the scale; some elements meet their end only when others share what is left."""
    rng = np.random.default_rng(11)
    x, eps = rng.choice([0.0, 0.02, 0.3, 0.98, 1.0], size=(20, 15)).astype(np.float32), 0.7
    points = (x + rng.normal(size=x.shape) * rng.choice([0.05, 0.3, 3.0], size=(20, 1))).astype(np.float32)
    near = Ball.of([L2(eps, (0, 1))] * 20, x).nearest(torch.tensor(points)).numpy()
    for a, p, z in zip(x.astype(np.float64), points, near, strict=True):
        low, high = 0.0, 1.0
        if np.linalg.norm(np.clip(p, 0, 1) - a) <= eps:
            low = 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if np.linalg.norm(np.clip(a + middle * (p - a), 0, 1) - a) <= eps else (low, middle)
            )
        assert np.allclose(z, np.clip(a + low * (p - a), 0, 1), atol=2e-5)
