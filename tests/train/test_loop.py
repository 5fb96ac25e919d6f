from __future__ import annotations

import numpy as np
import pytest
import torch

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.interval import interval
from unmoved.core.errors import UsageError
from unmoved.loaders.digits import SOURCES, load, split
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind
from unmoved.train import (
    CertifiedShare,
    CrownIbp,
    Descent,
    GaussianNoise,
    Ibp,
    Plan,
    Sabr,
    default_init,
    fit,
    interval_init,
    mlp,
    small_cnn,
)
from unmoved.train.certified.box import margins_low
from unmoved.train.loop import batches
from unmoved.train.statistics import named_tensors

EPS = 0.05


@pytest.fixture(scope="module")
def digits():
    found = load(SOURCES[1])
    assert found is not None
    cut = split(found.y, seed=1)
    return found.x[cut.train], found.y[cut.train], found.x[cut.test], found.y[cut.test]


def certified(net, x, y, eps):
    read = load_torch(net, (1, *x.shape[1:]))
    ops = bind(read, named_tensors(net))
    points, labels = torch.as_tensor(x).reshape(-1, *read.input_shape), torch.as_tensor(y)
    with torch.no_grad():
        box = Bounds((points - eps).clamp(0, 1), (points + eps).clamp(0, 1))
        low = margins_low(ops, read, interval(ops, read, box), labels)
    return float((low.scatter(1, labels[:, None], torch.inf) > 0).all(1).float().mean())


def test_a_small_perceptron_becomes_certifiable(digits):
    x, y, held_x, held_y = digits
    net = mlp(inputs=64)
    default_init(net, 0)
    fit(net, x, y, GaussianNoise(0.0), Plan(epochs=10, seed=0))
    assert certified(net, held_x, held_y, EPS) < 0.3
    interval_init(net, 0)
    history = fit(net, x, y, Ibp(EPS), Plan(epochs=16, seed=0))
    assert certified(net, held_x, held_y, EPS) > 0.6
    with torch.no_grad():
        assert (net(torch.as_tensor(held_x)).argmax(1).numpy() == held_y).mean() > 0.9
    assert history[-1].figures["eps"] == EPS and not net.training


def test_the_loss_falls_under_noise(digits):
    x, y, *_ = digits
    net = small_cnn(side=8)
    default_init(net, 0)
    seen = []
    history = fit(net, x, y, GaussianNoise(0.2), Plan(epochs=4), seen.append)
    assert history[-1].loss < 0.6 * history[0].loss
    assert tuple(seen) == history
    assert [e.number for e in history] == [1, 2, 3, 4] and all(e.epochs == 4 and e.seconds > 0 for e in history)


@pytest.mark.parametrize("objective", [Ibp(0.05), GaussianNoise(0.3)])
def test_the_seed_decides_everything(digits, objective):
    x, y, *_ = digits
    ends = []
    for seed in (0, 0, 1):
        net = mlp(inputs=64, hidden=(16,))
        interval_init(net, 0)
        torch.rand(7)
        fit(net, x[:400], y[:400], objective, Plan(epochs=2, seed=seed))
        ends.append(net.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not torch.equal(ends[0]["1.weight"], ends[2]["1.weight"])


def test_an_epoch_sees_every_input_at_most_once_and_another_order_each_time():
    plan = Plan(batch=10, seed=4)
    first, second = (torch.cat(list(batches(103, plan, epoch))) for epoch in (0, 1))
    assert len(first) == 100 == len(set(first.tolist()))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat(list(batches(103, plan, 0))))


def test_divergence_is_said_aloud(digits):
    x, y, *_ = digits
    net = mlp(inputs=64, hidden=(8,))
    with torch.no_grad():
        net[-1].weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="learning rate"):
        fit(net, x, y, GaussianNoise(0.1), Plan(epochs=1))


def test_bad_data_is_refused(digits):
    x, y, *_ = digits
    net, plan = mlp(inputs=64), Plan(epochs=1)
    broken = x.copy()
    broken[3, 0, 0, 0] = np.nan
    for values, labels in ((broken, y), (x, y[:-1]), (x, y.astype(float)), (x[:50], y[:50])):
        with pytest.raises(UsageError):
            fit(net, values, labels, GaussianNoise(0.1), plan)
    for wrong in ({"epochs": 0}, {"batch": 1}, {"lr": 0}, {"clip": 0}, {"l1": -1}):
        with pytest.raises(UsageError):
            Plan(**wrong)
    with pytest.raises(UsageError):
        GaussianNoise(-1)


@pytest.mark.parametrize("objective", [Ibp(0.05), CrownIbp(0.05, last=1.0), Sabr(0.05, attack=Descent(steps=1))])
def test_mixed_precision_learns_and_keeps_float32_weights(digits, objective):
    x, y, *_ = digits
    net = mlp(inputs=64, hidden=(32,))
    interval_init(net, 0)
    history = fit(net, x[:600], y[:600], objective, Plan(epochs=3, precision="bfloat16"))
    assert history[-1].figures["clean"] > history[0].figures["clean"] + 0.1
    assert all(p.dtype is torch.float32 and p.isfinite().all() for p in net.parameters())


def test_the_certified_share_is_that_of_the_exact_margins_of_a_linear_model():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
    rng = np.random.default_rng(0)
    x, y, eps = rng.random((40, 6), np.float32), rng.integers(0, 3, 40), 0.05
    weight, bias = (t.detach().double().numpy() for t in (net[1].weight, net[1].bias))
    good = 0
    for point, label in zip(x.astype(float), y, strict=True):
        rows = weight[label] - np.delete(weight, label, 0)
        low, high = np.clip(point - eps, 0, 1), np.clip(point + eps, 0, 1)
        worst = np.where(rows > 0, rows * low, rows * high).sum(1) + bias[label] - np.delete(bias, label)
        good += bool((worst > 0).all())
    share = CertifiedShare(x, y, eps, batch=7)
    assert 0 < good < 40 and share(net) == good / 40 == share(net)
