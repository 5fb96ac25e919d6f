"""Of a linear f, the smoothed g is f itself: its distance to the other class is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmoved.attack import ABSTAINED, Pgd, SmoothedPgd
from unmoved.core.errors import UsageError
from unmoved.threats import L2

WEIGHT = np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)


def scores(points):
    return points.flatten(1) @ torch.as_tensor(WEIGHT).T


def predict(points):
    return (points.reshape(len(points), -1).astype(np.float64) @ WEIGHT.T.astype(np.float64)).argmax(1)


def inputs():
    x = np.random.default_rng(1).normal(size=(5, 3, 4)).astype(np.float32)
    labels = predict(x)
    flat = x.reshape(5, -1).astype(np.float64)
    row = (WEIGHT[0] - WEIGHT[1]).astype(np.float64)
    return x, labels, np.abs(flat @ row) / np.linalg.norm(row)


def test_breaks_g_just_above_the_distance_and_never_below():
    x, labels, exact = inputs()
    for factor, broken in ((1.03, True), (0.99, False)):
        threats = [L2(float(factor * d)) for d in exact]
        found = SmoothedPgd(0.5, samples=8).search(scores, x, labels, threats, predict=predict, seed=2)
        assert (found.broken == broken).all()
        assert ((found.predictions != labels) == broken).all()
        assert all(t.contains(a, p) for t, a, p in zip(threats, x, found.points, strict=True))


def test_g_decides_and_an_abstention_is_no_break():
    x, labels, exact = inputs()
    threats = [L2(float(3 * d)) for d in exact]
    attack = SmoothedPgd(0.5, samples=4, descent=Pgd(steps=5, restarts=1, targets=0))
    seen = []

    def silent(points):
        seen.append(points)
        return np.full(len(points), ABSTAINED)

    assert not attack.search(scores, x, labels, threats, predict=silent).broken.any()
    assert len(seen) == 1 and seen[0].shape == x.shape and seen[0].dtype == np.float32
    stubborn = attack.search(scores, x, labels, threats, predict=lambda points: labels)
    assert not stubborn.broken.any()


def test_the_seed_decides_and_the_batch_does_not():
    x, labels, exact = inputs()
    threats = [L2(float(d)) for d in exact]
    attack = SmoothedPgd(0.7, samples=3, descent=Pgd(steps=6, restarts=2, targets=0))
    one, two, other = (attack.search(scores, x, labels, threats, predict=predict, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.points, two.points) and not np.array_equal(one.points, other.points)
    alone = attack.search(scores, x[2:3], labels[2:3], threats[2:3], predict=predict, seed=0)
    assert np.allclose(alone.points[0], one.points[2], atol=1e-4)


def test_settings_are_checked_and_nothing_asked_is_nothing_answered():
    for wrong in ({"sigma": 0.0}, {"sigma": -1.0}, {"sigma": 1.0, "samples": 0}):
        with pytest.raises(UsageError):
            SmoothedPgd(**wrong)
    x, labels, _ = inputs()
    assert len(SmoothedPgd(0.5).search(scores, x[:0], labels[:0], [], predict=predict).points) == 0
