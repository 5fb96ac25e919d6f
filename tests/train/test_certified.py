from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from unmoved.bounds import Enclosure, Query, linear
from unmoved.bounds.enclosure import Bounds
from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind
from unmoved.testing import ObjectiveContract
from unmoved.train import (
    Adversarial,
    CcIbp,
    CrownIbp,
    Descent,
    ExpIbp,
    GaussianNoise,
    Ibp,
    Moment,
    MtlIbp,
    Sabr,
    Staps,
    Trades,
    mlp,
)
from unmoved.train.certified.box import Batch
from unmoved.train.certified.crown_ibp import fused_loss, margins_linear
from unmoved.train.certified.small_box import small_box
from unmoved.train.certified.taps import _connected, tail_of
from unmoved.train.statistics import named_tensors

EPS = 0.05
SHORT = Descent(steps=2)
PLAIN = GaussianNoise(0.0)


class TestIbp(ObjectiveContract):
    random = False

    def objective(self):
        return Ibp(EPS)

    def equals(self):
        return [(Ibp(0.0), PLAIN)]


class TestCrownIbp(ObjectiveContract):
    random = False

    def objective(self):
        return CrownIbp(EPS, last=0.7, fused=False)

    def equals(self):
        return [(CrownIbp(EPS, last=0.0), Ibp(EPS)), (CrownIbp(0.0, last=0.7, fused=False), PLAIN)]


class TestFusedCrownIbp(ObjectiveContract):
    random = False

    def objective(self):
        return CrownIbp(EPS, last=0.7, fused=True)

    def equals(self):
        return [(CrownIbp(EPS, last=0.0, fused=True), Ibp(EPS)), (CrownIbp(0.0, fused=True), PLAIN)]


class TestSabr(ObjectiveContract):
    def objective(self):
        return Sabr(EPS, attack=SHORT)

    def equals(self):
        return [(Sabr(EPS, size=1.0), Ibp(EPS)), (Sabr(0.0), PLAIN)]


class TestStaps(ObjectiveContract):
    def objective(self):
        return Staps(EPS, size=0.6, attack=SHORT)

    def equals(self):
        return [
            (Staps(EPS, size=0.6, weight=0.0, attack=SHORT), Sabr(EPS, size=0.6, attack=SHORT)),
            (Staps(EPS, size=1.0, weight=0.0), Ibp(EPS)),
        ]


class TestMtlIbp(ObjectiveContract):
    def objective(self):
        return MtlIbp(EPS, attack=SHORT)

    def equals(self):
        return [(MtlIbp(EPS, weight=1.0), Ibp(EPS)), (MtlIbp(0.0), PLAIN)]


class TestCcIbp(ObjectiveContract):
    def objective(self):
        return CcIbp(EPS, attack=SHORT)

    def equals(self):
        return [(CcIbp(EPS, weight=1.0), Ibp(EPS)), (CcIbp(0.0), PLAIN)]


class TestExpIbp(ObjectiveContract):
    def objective(self):
        return ExpIbp(EPS, attack=SHORT)

    def equals(self):
        return [(ExpIbp(EPS, weight=1.0), Ibp(EPS)), (ExpIbp(0.0), PLAIN)]


class TestAdversarial(ObjectiveContract):
    def objective(self):
        return Adversarial(EPS, attack=SHORT)

    def equals(self):
        return [(Adversarial(0.0), PLAIN)]


class TestTrades(ObjectiveContract):
    def objective(self):
        return Trades(EPS, attack=SHORT)

    def equals(self):
        return [(Trades(EPS, weight=0.0), PLAIN), (Trades(0.0), PLAIN)]


def moment(progress=1.0):
    return Moment(progress, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def read():
    torch.manual_seed(0)
    net = mlp(inputs=6, hidden=(8, 7), classes=4).eval()
    with torch.no_grad():
        net(torch.rand(64, 6))
    return net, load_torch(net, (1, 6), trainable=True)


def a_batch(read, eps=0.1, n=9, clip=(0.0, 1.0)):
    net, network = read
    generator = torch.Generator().manual_seed(3)
    x, y = torch.rand((n, 6), generator=generator), torch.randint(0, 4, (n,), generator=generator)
    ops = bind(network, named_tensors(net))
    return Batch(network, ops, x.view(n, *network.input_shape), y, eps, 1.0, clip, generator)


def corners(batch, eps, count=300):
    for _ in range(count):
        sign = torch.randn(batch.x.shape).sign()
        yield (batch.x + eps * sign).clamp(0, 1)


def true_margins(batch, points):
    outputs = batch.scores(points)
    return outputs.gather(1, batch.y[:, None]) - outputs


def test_linear_margins_lie_between_intervals_and_the_truth(read):
    batch = a_batch(read)
    bounds = batch.interval(batch.box(0.1))
    found, coarse = margins_linear(batch, bounds), batch.margins(bounds)
    others = ~functional.one_hot(batch.y, 4).bool()
    assert (found > coarse + 1e-3)[others].all()
    for points in corners(batch, 0.1):
        assert (found <= true_margins(batch, points) + 1e-5).all()


def test_linear_margins_are_those_of_the_certifying_bounds_where_intervals_are_exact():
    """With one hidden layer the intervals before it are exact, so `bounds.linear` has no better ones."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    batch = a_batch((net, load_torch(net, (1, 6), trainable=True)))
    box = batch.box(0.1)
    found = margins_linear(batch, batch.interval(box))
    rows = (torch.eye(4)[batch.y][:, None] - torch.eye(4)).flatten(0, 1)
    query = Query(torch.arange(9).repeat_interleave(4), rows, torch.zeros(36))
    certifying = linear(batch.ops, batch.network, Enclosure.of_box(box.low, box.high)).low(query)
    assert torch.allclose(found.flatten(), certifying, atol=1e-5)


def test_the_fused_loss_bounds_every_point_and_beats_the_intervals_loss(read):
    batch = a_batch(read)
    bounds = batch.interval(batch.box(0.1))
    lower = batch.margins(bounds)
    found = fused_loss(batch, bounds, lower)
    for points in corners(batch, 0.1):
        assert functional.cross_entropy(batch.scores(points), batch.y) <= found
    assert found < functional.cross_entropy(-lower, batch.y)


def test_crown_ibp_falls_from_linear_to_interval_bounds(read):
    net, _ = read
    x, y = a_batch(read).x.view(-1, 6), a_batch(read).y
    at = {}
    for name, objective in {
        "crown": CrownIbp(0.2, last=1.0, fused=False),
        "ibp": Ibp(0.2),
        "both": CrownIbp(0.2, last=0.0),
    }.items():
        at[name] = [objective.start(net, (6,))(x, y, moment(t)).figures["certified"] for t in (0.2, 1.0)]
    assert at["crown"][0] >= at["both"][0] >= at["ibp"][0] and at["both"][1] == at["ibp"][1]


def test_small_boxes_lie_inside_the_ball_and_the_range_and_are_no_larger_than_asked(read):
    batch = a_batch(read)
    box = small_box(batch, 0.3, Descent(steps=4))
    whole = batch.box(0.1)
    assert (box.low >= whole.low - 1e-7).all() and (box.high <= whole.high + 1e-7).all()
    assert (box.radius <= 0.03 + 1e-6).all() and (box.low >= 0).all() and (box.high <= 1).all()
    loss = functional.cross_entropy(batch.scores(box.center), batch.y)
    assert loss > functional.cross_entropy(batch.scores(batch.x), batch.y)


def test_descent_finds_the_corner_of_a_linear_loss():
    weight = torch.tensor([1.0, -2.0, 0.5])
    box = Bounds(torch.zeros(4, 3), torch.tensor([1.0, 2.0, 0.0]).expand(4, 3))
    found = Descent(steps=8).worst(lambda z: z @ weight, box, torch.Generator().manual_seed(0))
    assert torch.allclose(found, torch.tensor([1.0, 0.0, 0.0]).expand(4, 3))


def test_of_the_expressive_losses_each_lies_between_attack_and_bound(read):
    net, _ = read
    x, y = a_batch(read).x.view(-1, 6), a_batch(read).y
    for kind in (MtlIbp, CcIbp, ExpIbp):
        losses = [kind(0.1, weight=weight).start(net, (6,)) for weight in (0.0, 0.3, 0.7, 1.0)]
        values = [loss(x, y, moment()).loss.item() for loss in losses]
        assert values == sorted(values) and values[0] < values[-1], kind
    bound, attacked = values[-1], values[0]
    assert MtlIbp(0.1, weight=0.3).start(net, (6,))(x, y, moment()).loss.item() == pytest.approx(
        0.3 * bound + 0.7 * attacked, rel=1e-5
    )
    assert values[1] == pytest.approx(bound**0.3 * attacked**0.7, rel=1e-5)


def test_the_attack_of_staps_lies_between_bounds_and_truth(read):
    batch = a_batch(read)
    bounds = batch.interval(batch.box(0.1))
    name, ops = tail_of(batch.ops, 1)
    attacked = Staps(0.1, attack=Descent(steps=20))._attacked(batch, ops, name, bounds[name])
    lower = batch.margins(bounds)
    assert (attacked >= lower - 1e-5).all()
    least = torch.stack([true_margins(batch, points) for points in corners(batch, 0.1)]).amin(0)
    others = ~functional.one_hot(batch.y, 4).bool()
    assert (attacked <= least + 1e-4)[others].float().mean() > 0.8, "the box before the tail is wider than the truth"


def test_the_connector_pulls_at_the_nearer_end():
    low = torch.tensor([[0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    high = torch.tensor([[1.0, 1.0, 1.0, 1.0]], requires_grad=True)
    points = torch.tensor([[0.0, 0.25, 0.5, 1.0]])
    joined = _connected(points, Bounds(low, high))
    joined.sum().backward()
    assert torch.equal(joined.detach(), points)
    assert torch.allclose(low.grad, torch.tensor([[1.0, 0.5, 0.0, 0.0]]))
    assert torch.allclose(high.grad, torch.tensor([[0.0, 0.0, 0.0, 1.0]]))


def test_a_net_without_a_tail_is_refused(read):
    with pytest.raises(UnsupportedError, match="tail of 3"):
        tail_of(a_batch(read).ops, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: CrownIbp(0.1, last=1.1),
        lambda: Sabr(0.1, size=0.0),
        lambda: Sabr(-0.1),
        lambda: MtlIbp(0.1, weight=1.5),
        lambda: Staps(0.1, tail=0),
        lambda: Staps(0.1, clip=(1.0, 0.0)),
        lambda: Descent(steps=0),
        lambda: Adversarial(float("nan")),
        lambda: Trades(0.1, weight=-1.0),
        lambda: Ibp(0.1, regulariser=-1.0),
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(UsageError):
        wrong()
