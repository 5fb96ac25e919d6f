from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.interval import interval
from unmoved.core.errors import UsageError
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind
from unmoved.train import Ibp, Moment, SmoothRamp, interval_init, small_cnn
from unmoved.train.certified.box import margins_low
from unmoved.train.certified.regulariser import regulariser
from unmoved.train.statistics import clean_statistics, named_tensors


def moment(progress=1.0):
    return Moment(progress, torch.Generator().manual_seed(0))


def batch(shape, n=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((n, *shape), generator=generator), torch.randint(0, 10, (n,), generator=generator)


def network(seed=0):
    net = small_cnn(side=8)
    interval_init(net, seed)
    with torch.no_grad():
        net[1].running_mean += 0.3
        net[4].running_var *= 1.7
    return net


@pytest.mark.parametrize("training", [True, False])
def test_at_eps_zero_the_loss_is_the_clean_cross_entropy(training):
    x, y = batch((1, 8, 8))
    net, twin = network().train(training), network().train(training)
    measured = Ibp(0.0).start(net, (1, 8, 8))(x, y, moment())
    expected = functional.cross_entropy(twin(x), y)
    assert measured.loss.item() == pytest.approx(expected.item(), rel=1e-4)
    measured.loss.backward()
    expected.backward()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=2e-5)


def test_running_statistics_move_exactly_as_torch_moves_them_on_the_clean_batch():
    x, y = batch((1, 8, 8))
    net, twin = network().train(), network().train()
    Ibp(0.1).start(net, (1, 8, 8))(x, y, moment())
    twin(x)
    for ours, theirs in zip(net.buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_loss_bounds_the_cross_entropy_of_every_point_of_the_ball():
    x, y = batch((1, 8, 8))
    net = network().eval()
    loss = Ibp(0.05).start(net, (1, 8, 8))
    upper = loss(x, y, moment()).loss.item()
    generator = torch.Generator().manual_seed(3)
    for _ in range(50):
        moved = (x + 0.05 * torch.randn(x.shape, generator=generator).sign()).clamp(0, 1)
        assert functional.cross_entropy(net(moved), y).item() <= upper


def test_margins_of_a_linear_model_are_exact():
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 10))
    x, y = batch((6,))
    read = load_torch(net, (1, 6))
    ops = bind(read, named_tensors(net))
    low = margins_low(ops, read, interval(ops, read, Bounds((x - 0.1).view(-1, 1, 6), (x + 0.1).view(-1, 1, 6))), y)
    weight, outputs = net[1].weight, net(x)
    for i in range(len(x)):
        rows = weight[y[i]] - weight
        exact = outputs[i, y[i]] - outputs[i] - 0.1 * rows.abs().sum(1)
        assert torch.allclose(low[i], exact, atol=1e-5)


def test_of_a_linear_model_the_loss_is_that_of_the_worst_margins_over_the_clipped_box():
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 10))
    x, y = batch((6,))
    x[:, :3] = x[:, :3].round()
    measured = Ibp(0.2, clip=(0.0, 1.0)).start(net, (6,))(x, y, moment())
    weight, bias = net[1].weight.detach().double(), net[1].bias.detach().double()
    low, high = (x - 0.2).clamp(0, 1).double(), (x + 0.2).clamp(0, 1).double()
    worst = torch.empty(len(x), 10, dtype=torch.float64)
    for i, label in enumerate(y.tolist()):
        rows = weight[label] - weight
        worst[i] = (rows * torch.where(rows > 0, low[i], high[i])).sum(1) + bias[label] - bias
    assert measured.loss.item() == pytest.approx((-worst).exp().sum(1).log().mean().item(), rel=1e-4)
    others = worst.scatter(1, y[:, None], torch.inf)
    assert measured.figures["certified"] == pytest.approx((others > 0).all(1).double().mean().item())


def test_gradients_reach_all_parameters_and_vanish_nowhere():
    x, y = batch((1, 8, 8))
    net = network().train()
    Ibp(0.1).start(net, (1, 8, 8))(x, y, moment(0.3)).loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    for part in (net[0], net[3], net[7], net[10]):
        assert part.weight.grad.abs().max() > 0


def test_the_loss_sees_live_parameters():
    x, y = batch((1, 8, 8))
    net = network().eval()
    loss = Ibp(0.1).start(net, (1, 8, 8))
    before = loss(x, y, moment()).loss.item()
    with torch.no_grad():
        net[10].weight.mul_(3)
    assert loss(x, y, moment()).loss.item() != pytest.approx(before)


def test_eps_follows_the_ramp():
    x, y = batch((1, 8, 8))
    loss = Ibp(0.2, ramp=SmoothRamp(end=0.5)).start(network(), (1, 8, 8))
    figures = [loss(x, y, moment(t)).figures["eps"] for t in (0, 0.25, 0.5, 1)]
    assert figures[0] == 0 and 0 < figures[1] < 0.2 and figures[2:] == [0.2, 0.2]


def test_statistics_are_those_of_the_batch():
    x, _ = batch((1, 8, 8))
    net = network().train()
    with clean_statistics(net) as statistics:
        net(x)
    first = net[0](x).detach().numpy()
    assert np.allclose(statistics["1.running_mean"].detach(), first.mean((0, 2, 3)), atol=1e-5)
    assert np.allclose(statistics["1.running_var"].detach(), first.var((0, 2, 3)), atol=1e-5)
    assert set(statistics) == {f"{i}.running_{what}" for i in (1, 4, 8) for what in ("mean", "var")}
    assert not any(part._forward_pre_hooks for part in net.modules())


def test_the_regulariser_is_zero_for_tight_balanced_layers_and_its_maximum_for_loose_ones():
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 10))
    box = Bounds(torch.tensor([[[1.0, -1.0]], [[-1.0, 1.0]]]), torch.tensor([[[1.1, -0.9]], [[-0.9, 1.1]]]))
    with torch.no_grad():
        net[1].weight.copy_(torch.eye(2))
        net[1].bias.zero_()
    for factor, expected in ((1.0, 0.0), (4.0, 0.5)):
        with torch.no_grad():
            net[1].weight.copy_(torch.eye(2) * factor)
        read = load_torch(net, (1, 2))
        ops = bind(read, named_tensors(net))
        # radius grows by `factor`: the tightness term is (tau - 1 / factor) / tau; the centres are +-1.05 factor here
        got = regulariser(ops, interval(ops, read, box), box).item()
        balance = 2 * max(0.0, (0.5 - 0.95 / 1.05) / 0.5)
        assert got == pytest.approx(expected + balance, abs=1e-5)


def test_settings_are_checked():
    for wrong in (lambda: Ibp(-0.1), lambda: Ibp(float("nan")), lambda: Ibp(0.1, clip=(1.0, 0.0))):
        with pytest.raises(UsageError):
            wrong()
