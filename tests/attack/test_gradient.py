"""Against linear classifiers the worst point of S(x) is known in closed form: PGD must find it and nothing beyond."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmoved.attack.ball import Ball
from unmoved.attack.gradient import FGSM, Pgd
from unmoved.core import Disjunct, LinearProperty, SameClass
from unmoved.core.errors import UsageError
from unmoved.threats import L1, L2, Box, Linf

KINDS = {"inf": Linf, "2": L2, "1": L1}
DUAL = {"inf": 1, "2": 2, "1": np.inf}
PGD = Pgd(steps=60, restarts=2, targets=2)


def linear(seed, inputs=20, classes=4):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(classes, inputs)), rng.normal(size=classes)
    w, b = torch.tensor(weight, dtype=torch.float32), torch.tensor(bias, dtype=torch.float32)
    return weight, bias, lambda z: z.flatten(1) @ w.T + b


def distance(weight, bias, x, label, norm):
    """Distance of x to the nearest other class: margin / dual norm of the difference of rows, least over classes."""
    y = weight @ x + bias
    others = [j for j in range(len(y)) if j != label]
    return min((y[label] - y[j]) / np.linalg.norm(weight[label] - weight[j], DUAL[norm]) for j in others)


@pytest.mark.parametrize("norm", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_succeeds_just_above_the_distance_and_never_below(norm, seed):
    weight, bias, scores = linear(seed)
    x = np.random.default_rng(seed + 100).normal(size=(6, 20)).astype(np.float32)
    labels = (x.astype(np.float64) @ weight.T + bias).argmax(1)
    exact = [distance(weight, bias, x[i].astype(np.float64), labels[i], norm) for i in range(6)]
    props = [SameClass(int(c)) for c in labels]
    for factor, broken in ((1.02, True), (0.98, False)):
        threats = [KINDS[norm](float(factor * d)) for d in exact]
        found = PGD.search(scores, x, threats, props)
        assert ((found.margins <= 0) == broken).all()
        assert all(t.contains(a, p) for t, a, p in zip(threats, x, found.points, strict=True))


def least_margin(row, x, norm, eps, low, high):
    """Exact least row @ z over the clipped ball: greedy in each norm (L1: fractional knapsack, L2: bisection)."""
    reach = np.where(row > 0, x - low, high - x)
    if norm == "inf":
        return row @ x - np.abs(row) @ np.minimum(reach, eps)
    if norm == "1":
        left, gain = eps, 0.0
        for i in np.argsort(-np.abs(row)):
            take = min(left, reach[i])
            left, gain = left - take, gain + take * abs(row[i])
        return row @ x - gain
    small, large = 0.0, 1e6
    for _ in range(200):
        middle = (small + large) / 2
        step = np.minimum(np.abs(row) * middle, reach)
        small, large = (middle, large) if np.linalg.norm(step) <= eps else (small, middle)
    return row @ x - np.abs(row) @ np.minimum(np.abs(row) * small, reach)


@pytest.mark.parametrize("norm", KINDS)
@pytest.mark.parametrize("shape", [(12,), (3, 4), (1, 1, 6, 2)])
def test_reaches_the_exact_minimum_on_clipped_balls(norm, shape):
    weight, bias, scores = linear(3, inputs=12, classes=2)
    x = np.random.default_rng(0).choice([0.0, 0.1, 0.5, 0.9, 1.0], size=(8, *shape)).astype(np.float32)
    eps = {"inf": 0.3, "2": 0.6, "1": 1.5}[norm]
    label = 0
    row = weight[0] - weight[1]
    offset = bias[0] - bias[1]
    best = [least_margin(row, a.astype(np.float64).ravel(), norm, eps, 0.0, 1.0) + offset for a in x]
    threat = KINDS[norm](eps, clip=(0, 1))
    found = Pgd(steps=100, restarts=2, targets=0, slack=100.0).search(scores, x, [threat] * 8, [SameClass(label)] * 8)
    clean = x.reshape(8, -1) @ row + offset
    assert (found.margins >= np.array(best) - 1e-4).all()
    assert (found.margins <= np.array(best) + 0.02 * (clean - best)).all()
    assert found.points.min() >= 0 and found.points.max() <= 1
    assert found.points.dtype == np.float32
    assert all(threat.contains(a, p) for a, p in zip(x, found.points, strict=True))


def test_fgsm_is_exact_for_two_classes_in_linf():
    weight, bias, scores = linear(1, classes=2)
    x = np.random.default_rng(2).normal(size=(10, 20)).astype(np.float32)
    row, offset = weight[0] - weight[1], bias[0] - bias[1]
    found = FGSM.search(scores, x, [Linf("0.05")] * 10, [SameClass(0)] * 10)
    clean = x @ row + offset
    wrong = clean <= 0
    assert np.allclose(found.margins[~wrong], clean[~wrong] - 0.05 * np.abs(row).sum(), atol=1e-4)


def test_box_around_nothing_in_particular():
    weight, bias, scores = linear(4, inputs=5, classes=2)
    low, high = np.array([-1.0, 0, 2, 2, -3]), np.array([1.0, 0, 2.5, 7, -1])
    row, offset = weight[0] - weight[1], bias[0] - bias[1]
    best = np.where(row > 0, low, high) @ row + offset
    x = np.zeros((1, 5), np.float32)
    found = Pgd(slack=1e6).search(scores, x, [Box(low, high)], [SameClass(0)])
    assert found.margins[0] == pytest.approx(best, abs=1e-4)
    assert Box(low, high).contains(x[0], found.points[0])


@pytest.mark.parametrize("norm", KINDS)
def test_eps_zero_returns_the_input_itself(norm):
    weight, bias, scores = linear(5)
    x = np.random.default_rng(5).normal(size=(4, 20)).astype(np.float32)
    labels = (x @ weight.T + bias).argmax(1)
    threats = [KINDS[norm](0)] * 4
    right = PGD.search(scores, x, threats, [SameClass(int(c)) for c in labels])
    wrong = PGD.search(scores, x, threats, [SameClass(int(c + 1) % 4) for c in labels])
    assert (right.points == x).all() and (right.margins > 0).all()
    assert (wrong.points == x).all() and (wrong.margins < 0).all()


def test_an_input_without_float32_points_is_not_given_one():
    _, _, scores = linear(6)
    x = np.full((1, 20), 0.1)
    found = PGD.search(scores, x, [Linf(0)], [SameClass(0)])
    assert np.isnan(found.points).all() and found.margins[0] == np.inf


@pytest.mark.parametrize("norm", KINDS)
def test_the_same_seed_gives_the_same_points_alone_and_in_a_batch(norm):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)).double()

    def scores(z):
        return net(z.double())

    x = np.random.default_rng(7).normal(size=(5, 6)).astype(np.float32)
    threats, props = [KINDS[norm]("0.2")] * 5, [SameClass(i % 3) for i in range(5)]
    pgd = Pgd(steps=10, restarts=3, targets=1)
    together = pgd.search(scores, x, threats, props, seed=3)
    again = pgd.search(scores, x, threats, props, seed=3)
    assert (together.points == again.points).all()
    for i in range(5):
        alone = pgd.search(scores, x[i : i + 1], threats[:1], props[i : i + 1], seed=3)
        assert np.allclose(alone.points[0], together.points[i], atol=1e-5)
        assert alone.margins[0] == pytest.approx(together.margins[i], abs=1e-4)


def test_random_starts_depend_on_the_seed_and_lie_inside():
    x = np.zeros((2, 30), np.float32)
    for kind in (Linf, L2, L1):
        ball = Ball.of([kind("0.5")] * 2, x)
        first, other = (ball.start([seed + b"a", seed + b"b"], run) for seed, run in ((b"0", 1), (b"1", 1)))
        assert not torch.equal(first, other) and not torch.equal(first[0], first[1])
        for run in range(6):
            points = ball.start([b"a", b"b"], run)
            size = torch.linalg.vector_norm(points, ord=float(kind.norm), dim=1)
            assert (size <= 0.5 * (1 + 1e-5)).all()
            if run == 2:
                assert torch.allclose(size, torch.tensor(0.5), rtol=1e-4)


def test_conjunctions_and_disjunctions_of_inequalities():
    # unsafe: (z0 >= 1 and z1 >= 1) or z2 >= 10; the identity network; only the first can be reached
    first = Disjunct(np.array([[-1.0, 0, 0], [0, -1.0, 0]]), np.array([-1.0, -1.0]))
    second = Disjunct(np.array([[0, 0, -1.0]]), np.array([-10.0]))
    prop = LinearProperty((first, second))
    x = np.zeros((1, 3), np.float32)
    for eps, broken in (("1.01", True), ("0.99", False)):
        found = PGD.search(lambda z: z, x, [Linf(eps)], [prop])
        assert (found.margins[0] <= 0) == broken
        assert prop.violated(found.points[0]) == broken


def test_properties_of_different_makes_in_one_batch():
    never = LinearProperty(())
    one = LinearProperty((Disjunct(np.array([[1.0, 0]]), np.array([-0.5])),))
    x = np.array([[0.0, 1.0]] * 3, np.float32)
    found = PGD.search(lambda z: z, x, [Linf("0.6")] * 3, [never, one, SameClass(1)])
    assert found.margins[0] == np.inf
    assert found.margins[1] <= 0 and found.points[1, 0] <= -0.5
    assert found.margins[2] <= 0


def test_nan_outputs_count_as_broken_and_do_not_spread():
    def scores(z):
        y = torch.stack([z.sum(1), z.sum(1) - 1], 1)
        return torch.where(z[:, :1] > 5, torch.full_like(y, torch.nan), y)

    x = np.array([[6.0, 0], [0, 0]], np.float32)
    found = PGD.search(scores, x, [Linf("0.1")] * 2, [SameClass(0)] * 2)
    assert found.margins[0] == -np.inf and found.margins[1] == pytest.approx(1.0)
    assert np.isfinite(found.points).all()


def test_settings_are_checked():
    for wrong in ({"steps": 0}, {"restarts": 0}, {"targets": -1}, {"step": 0}, {"momentum": 1}, {"slack": -1}):
        with pytest.raises(UsageError):
            Pgd(**wrong)
