from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from unmoved.core.errors import UsageError
from unmoved.testing import ObjectiveContract
from unmoved.train import (
    Consistency,
    Denoising,
    GaussianNoise,
    Macer,
    Measured,
    Moment,
    Objective,
    SmoothAdv,
    Stability,
    default_init,
    mlp,
    small_cnn,
)
from unmoved.train.smoothing.noise import noise

SIGMA = 0.3


class Plain(Objective):
    """Cross-entropy, as short as it can be written."""

    name = "plain"
    settled = 0.0

    def settings(self):
        return {}

    def start(self, module, shape):
        return lambda x, y, moment: Measured(functional.cross_entropy(module(x), y))


class TestGaussianNoise(ObjectiveContract):
    def objective(self):
        return GaussianNoise(SIGMA)

    def equals(self):
        return [(GaussianNoise(0.0), Plain())]


class TestStability(ObjectiveContract):
    def objective(self):
        return Stability(SIGMA)

    def equals(self):
        return [(Stability(SIGMA, weight=0.0), GaussianNoise(0.0))]


class TestConsistency(ObjectiveContract):
    def objective(self):
        return Consistency(SIGMA)

    def equals(self):
        return [
            (Consistency(SIGMA, copies=1, weight=0.0, entropy=0.0), GaussianNoise(SIGMA)),
            (Consistency(0.0, weight=7.0, entropy=0.0), GaussianNoise(0.0)),
        ]


class TestSmoothAdv(ObjectiveContract):
    def objective(self):
        return SmoothAdv(SIGMA, eps=0.5, steps=2)

    def equals(self):
        return [(SmoothAdv(SIGMA, eps=0.0, copies=1), GaussianNoise(SIGMA))]


class TestMacer(ObjectiveContract):
    def objective(self):
        return Macer(SIGMA, copies=4)

    def equals(self):
        return [(Macer(SIGMA, copies=1, weight=0.0), GaussianNoise(SIGMA))]


class Blur(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)
        )

    def forward(self, x):
        return x + self.inner(x)


CLASSIFIER = small_cnn(side=8)
default_init(CLASSIFIER, 1)


class TestDenoising(ObjectiveContract):
    def module(self):
        module = Blur()
        default_init(module, 0)
        return module

    def objective(self):
        return Denoising(SIGMA, CLASSIFIER, weight=0.5)

    def equals(self):
        return [(Denoising(SIGMA, CLASSIFIER, weight=0.0), Denoising(SIGMA))]

    def test_the_classifier_stays(self):
        module, state = self.module(), {k: v.clone() for k, v in CLASSIFIER.state_dict().items()}
        CLASSIFIER.train()
        loss = self.objective().start(module, (1, 8, 8))
        loss(*self.batch(), Moment(1.0, torch.Generator().manual_seed(0))).loss.backward()
        assert all(p.grad is None for p in CLASSIFIER.parameters()) and CLASSIFIER.training
        assert all(torch.equal(state[name], tensor) for name, tensor in CLASSIFIER.state_dict().items())


def linear(weight):
    net = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], weight.shape[0], bias=False))
    with torch.no_grad():
        net[1].weight.copy_(weight)
    return net


def moment(progress=1.0, seed=0):
    return Moment(progress, torch.Generator().manual_seed(seed))


def test_smoothadv_moves_a_linear_model_straight_down_its_margin():
    """For f linear with two classes the worst point of the ball is x - eps (w_y - w_j) / |w_y - w_j|."""
    weight = torch.tensor([[1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    net, x, y = linear(weight), torch.rand(5, 3), torch.tensor([0, 1, 0, 0, 1])
    objective = SmoothAdv(SIGMA, eps=0.7, copies=3, steps=3, warmup=0.0)
    found = objective.start(net, (3,))(x, y, moment(seed=4)).loss
    rows = weight[y] - weight[1 - y]
    worst = x - 0.7 * rows / rows.norm(dim=1, keepdim=True)
    drawn = noise(x, 3, SIGMA, moment(seed=4))
    expected = functional.cross_entropy(net(worst.repeat(3, 1) + drawn), y.repeat(3))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_smoothadv_grows_linearly():
    loss = SmoothAdv(SIGMA, eps=0.4, warmup=0.2, copies=1).start(linear(torch.eye(3)), (3,))
    x, y = torch.rand(4, 3), torch.tensor([0, 1, 2, 0])
    assert [loss(x, y, moment(t)).figures["eps"] for t in (0.0, 0.1, 0.2, 1.0)] == pytest.approx([0, 0.2, 0.4, 0.4])


def test_macer_sees_the_radius_of_the_soft_votes():
    """Two classes and one-hot votes: with beta large the mean softmax is the share of votes."""
    torch.manual_seed(0)
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    net, x, y = linear(weight), torch.tensor([[0.8, 0.2]]), torch.tensor([0])
    copies = 4000
    figures = Macer(0.5, copies=copies, beta=1e5).start(net, (2,))(x, y, moment()).figures
    # f answers 0 iff (1, -1) z > 0: the exact radius is the distance 0.6 / sqrt(2) to that line
    assert figures["radius"] == pytest.approx(0.6 / 2**0.5, rel=0.06)


def test_macer_pushes_radii_up_and_leaves_wrong_answers_to_the_cross_entropy():
    net, x = linear(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    loss = Macer(0.5, copies=200, weight=1.0).start(net, (2,))
    plain = Macer(0.5, copies=200, weight=0.0).start(net, (2,))
    right, wrong = torch.tensor([0, 1]), torch.tensor([1, 0])
    assert loss(x, right, moment()).loss > plain(x, right, moment()).loss + 0.1
    assert loss(x, wrong, moment()).loss.item() == plain(x, wrong, moment()).loss.item()


def test_consistency_is_the_mean_divergence_from_the_mean():
    net, x, y = mlp(inputs=4, hidden=(6,), classes=3), torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    net.eval()
    found = Consistency(SIGMA, copies=3, weight=2.0, entropy=0.7).start(net, (4,))(x, y, moment())
    with torch.no_grad():
        p = net(x.repeat(3, 1) + noise(x, 3, SIGMA, moment())).softmax(1).view(3, 6, 3).double()
    mean = p.mean(0)
    divergence = sum((mean * (mean / q).log()).sum(1).mean() for q in p) / 3
    entropy = -(mean * mean.log()).sum(1).mean()
    cross = -sum(q[torch.arange(6), y].log().mean() for q in p) / 3
    assert found.loss.item() == pytest.approx((cross + 2.0 * divergence + 0.7 * entropy).item(), rel=1e-5)
    assert found.figures["divergence"] == pytest.approx(divergence.item(), rel=1e-2)


def test_the_noise_has_its_size_and_is_not_clipped():
    drawn = noise(torch.ones(100, 3, 20), 4, 0.5, moment())
    assert drawn.shape == (400, 3, 20) and abs(drawn.std() - 0.5) < 0.01 and drawn.min() < -1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: GaussianNoise(-1),
        lambda: GaussianNoise(float("nan")),
        lambda: Stability(0.1, weight=-1),
        lambda: Consistency(0.1, copies=1),
        lambda: SmoothAdv(0.1, eps=-1),
        lambda: SmoothAdv(0.1, steps=0),
        lambda: Macer(0.1, copies=0),
        lambda: Macer(0.1, gamma=0),
        lambda: Denoising(0.1, weight=1.0),
        lambda: Denoising(0.1).start(small_cnn(side=8), (1, 8, 8)),
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(UsageError):
        wrong()
