"""Auto-PGD, Square and their losses against linear classifiers, where the worst point is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.attack.test_gradient import KINDS, distance, least_margin, linear

from unmoved.attack import SUITES, Apgd, Square, suite
from unmoved.attack.ball import Ball
from unmoved.attack.losses import cross_entropy, dlr
from unmoved.attack.margins import ClassMargins
from unmoved.core import Disjunct, LinearProperty, SameClass
from unmoved.core.errors import UsageError
from unmoved.threats import L0, L1, L2, Box, Linf

EVERY = [Apgd("ce", 40), Apgd("dlr", 40), Apgd("margin", 40), Apgd("dlr", 40, 0, 3), Apgd("ce", 40, 0, 3)]


@pytest.mark.parametrize("norm", KINDS)
@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_succeeds_just_above_the_distance_and_never_below(norm, attack):
    weight, bias, scores = linear(2)
    x = np.random.default_rng(100).normal(size=(8, 20)).astype(np.float32)
    labels = (x.astype(np.float64) @ weight.T + bias).argmax(1)
    exact = [distance(weight, bias, x[i].astype(np.float64), labels[i], norm) for i in range(8)]
    props = [SameClass(int(c)) for c in labels]
    for factor in (1.05, 0.98):
        threats = [KINDS[norm](float(factor * d)) for d in exact]
        found = attack.search(scores, x, threats, props)
        broken = found.margins <= 0
        # without targets the steps follow a mixture of classes: most inputs fall, and below the distance none can
        assert broken.all() if factor > 1 and attack.targets else broken.sum() >= (6 if factor > 1 else 0)
        assert factor > 1 or not broken.any()
        assert all(t.contains(a, p) for t, a, p in zip(threats, x, found.points, strict=True))


@pytest.mark.parametrize("norm", KINDS)
def test_reaches_the_exact_minimum_on_clipped_balls(norm):
    weight, bias, scores = linear(3, inputs=12, classes=2)
    x = np.random.default_rng(0).choice([0.0, 0.1, 0.5, 0.9, 1.0], size=(8, 12)).astype(np.float32)
    eps = {"inf": 0.3, "2": 0.6, "1": 1.5}[norm]
    row, offset = weight[0] - weight[1], bias[0] - bias[1]
    best = np.array([least_margin(row, a.astype(np.float64), norm, eps, 0.0, 1.0) for a in x]) + offset
    threats = [KINDS[norm](eps, clip=(0, 1))] * 8
    found = Apgd("margin", steps=100, slack=100.0).search(scores, x, threats, [SameClass(0)] * 8)
    clean = x @ row + offset
    assert (found.margins >= best - 1e-4).all() and (found.margins <= best + 0.05 * (clean - best)).all()


def test_sparse_attacks_find_the_best_elements():
    weight, bias, scores = linear(6, inputs=12, classes=2)
    x = np.random.default_rng(1).random((8, 12)).astype(np.float32)
    row, offset = weight[0] - weight[1], bias[0] - bias[1]
    gains = np.sort(np.abs(row) * np.where(row > 0, x, 1 - x), axis=1)[:, -3:].sum(1)
    found = Apgd("margin", steps=60, slack=100.0).search(scores, x, [L0(3, (0, 1))] * 8, [SameClass(0)] * 8)
    assert np.allclose(found.margins, x @ row + offset - gains, atol=1e-4)
    assert ((found.points != x).sum(1) <= 3).all()


@pytest.mark.parametrize("threat", [Linf(0.4, (0, 1)), L2(0.8, (0, 1)), Box(np.zeros((2, 4, 4)), np.ones((2, 4, 4)))])
def test_square_needs_no_gradient(threat):
    weight, bias, plain = linear(7, inputs=32, classes=2)
    calls = []

    def scores(points):
        calls.append(len(points))
        return plain(points.detach())

    x = np.random.default_rng(2).random((5, 2, 4, 4)).astype(np.float32)
    row, offset = weight[0] - weight[1], bias[0] - bias[1]
    low, high = (0.0, 1.0)
    if isinstance(threat, Box):
        best = np.full(5, np.where(row > 0, low, high) @ row) + offset
        clean = np.full(5, 0.5 * row.sum() + offset)
    else:
        eps = float(threat.eps)
        flat = x.astype(np.float64).reshape(5, -1)
        best = np.array([least_margin(row, a, threat.norm, eps, low, high) for a in flat]) + offset
        clean = x.reshape(5, -1) @ row + offset
    found = Square(queries=300, slack=1e6).search(scores, x, [threat] * 5, [SameClass(0)] * 5)
    share = (clean - found.margins) / (clean - best)
    # windows of at least 3 x 3 elements, as L2 has, are coarse for weights without any structure
    assert (share <= 1 + 1e-4).all() and (share >= (0.5 if isinstance(threat, L2) else 0.6)).all(), share
    assert all(threat.contains(a, p) for a, p in zip(x, found.points, strict=True))
    assert len(calls) == 303


def test_square_says_where_it_has_no_moves():
    _, _, scores = linear(1)
    with pytest.raises(UsageError, match="square has no moves"):
        Square().search(scores, np.zeros((1, 20), np.float32), [L1(1)], [SameClass(0)])
    assert any(isinstance(stage, Square) for stage in suite("thorough").stages)
    assert not any(isinstance(stage, Square) for stage in suite("thorough", "1").stages)


@pytest.mark.parametrize("attack", [Apgd("ce", 10, 2, 1), Apgd("margin", 9, 3, together=True), Square(30)], ids=str)
@pytest.mark.parametrize("kind", [Linf, L2])
def test_points_do_not_depend_on_the_batch(attack, kind):
    _, _, scores = linear(4, inputs=16)
    x = np.random.default_rng(3).random((5, 4, 4)).astype(np.float32)
    threats, props = [kind("0.05", (0, 1))] * 5, [SameClass(0)] * 5
    together = attack.search(scores, x, threats, props, seed=3)
    alone = [attack.search(scores, x[i : i + 1], threats[:1], props[:1], seed=3).points[0] for i in range(5)]
    assert np.allclose(together.points, alone, atol=1e-5)


def test_losses_are_the_papers():
    logits = torch.tensor([[2.0, -1.0, 0.5, 1.0], [0.0, 3.0, 2.5, -4.0]], dtype=torch.float64)
    ways = ClassMargins(torch.tensor([0, 0])).of(logits, torch.arange(2))
    entropy = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0]), reduction="none")
    assert torch.allclose(torch.nn.functional.softplus(-cross_entropy(ways, None)), entropy)
    # equation 4: -(z_y - max others) / (z_1 - z_3); ours is lowered, so without the sign
    assert torch.allclose(dlr(ways, None), torch.tensor([1.0 / 1.5, -3.0 / 3.0], dtype=torch.float64))
    # equation 5, target 2: (z_y - z_t) / (z_1 - (z_3 + z_4) / 2)
    wanted = torch.tensor([1.5 / (2.0 + 0.25), -2.5 / (3.0 + 2.0)], dtype=torch.float64)
    assert torch.allclose(dlr(ways, torch.tensor([2, 2])), wanted)
    odds = torch.log_softmax(logits, 1)[:, 2]
    assert torch.allclose(torch.nn.functional.softplus(cross_entropy(ways, torch.tensor([2, 2]))), -odds)


def test_disjunctions_of_conjunctions_are_reached():
    """Unsafe: (z_0 >= 0.9 and z_1 <= 0.1) or z_0 <= -5: the corner of the first is in the box, the second is not."""
    both = Disjunct(np.array([[-1.0, 0.0], [0.0, 1.0]]), np.array([-0.9, 0.1]))
    far = Disjunct(np.array([[1.0, 0.0]]), np.array([-5.0]))
    prop = LinearProperty((both, far))
    x = np.full((1, 2), 0.5, np.float32)
    box = [Box(np.zeros(2), np.ones(2))]
    for attack in (*EVERY, Apgd("margin", 20, 4, together=True), Square(queries=100)):
        assert attack.search(lambda z: z * 1.0, x, box, [prop]).margins[0] <= 0, attack


def test_a_ball_without_ends_is_refused():
    _, _, scores = linear(1)
    with pytest.raises(UsageError, match="clip"):
        Apgd().search(scores, np.zeros((1, 20), np.float32), [L0(2)], [SameClass(0)])


def test_settings_are_checked():
    for wrong in ({"loss": "odd"}, {"steps": 0}, {"restarts": 0}, {"targets": -1}, {"slack": -1.0}):
        with pytest.raises(UsageError):
            Apgd(**wrong)
    for wrong in ({"queries": 0}, {"restarts": 0}, {"share": 0.0}):
        with pytest.raises(UsageError):
            Square(**wrong)
    with pytest.raises(UsageError, match="quick"):
        suite("odd")
    assert {suite(name).name for name in SUITES} == {"attack-quick", "attack-standard", "attack-thorough"}


def test_projection_on_sparse_sets_keeps_what_is_worth_most():
    """Against exhaustive search over all sets of two elements."""
    rng = np.random.default_rng(9)
    x, points = rng.random((4, 5)).astype(np.float32), rng.normal(size=(4, 5)).astype(np.float32)
    ball = Ball.of([L0(2, (0, 1))] * 4, x)
    near = ball.nearest(torch.tensor(points)).numpy()
    for a, p, z in zip(x, points, near, strict=True):
        rivals = []
        for i in range(5):
            for j in range(i):
                one = a.copy()
                one[[i, j]] = np.clip(p[[i, j]], 0, 1)
                rivals.append(((one - p) ** 2).sum())
        assert ((z - p) ** 2).sum() <= min(rivals) + 1e-6 and (z != a).sum() <= 2
