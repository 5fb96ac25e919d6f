from __future__ import annotations

import math

import pytest
import torch

from unmoved.train import default_init, interval_init, small_cnn


def test_the_spread_is_that_of_shi_et_al():
    net = torch.nn.Sequential(torch.nn.Conv2d(8, 64, 5), torch.nn.Linear(400, 300))
    interval_init(net, 0)
    for part, fan_in in ((net[0], 8 * 25), (net[1], 400)):
        assert float(part.weight.detach().std()) == pytest.approx(math.sqrt(2 * math.pi) / fan_in, rel=0.05)
        assert abs(float(part.weight.detach().mean())) < 0.05 * math.sqrt(2 * math.pi) / fan_in
        assert (part.bias == 0).all()


def test_normalisation_layers_start_as_the_identity():
    net = small_cnn(side=8)
    net(torch.randn(4, 1, 8, 8))
    with torch.no_grad():
        net[1].weight.fill_(7)
    interval_init(net, 0)
    assert (net[1].weight == 1).all() and (net[1].bias == 0).all() and (net[1].running_mean == 0).all()


@pytest.mark.parametrize("init", [interval_init, default_init])
def test_weights_come_from_the_seed_alone(init):
    one, two, three = small_cnn(side=8), small_cnn(side=8), small_cnn(side=8)
    state = torch.get_rng_state()
    init(one, 5)
    torch.rand(3)
    init(two, 5)
    init(three, 6)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one[0].weight, three[0].weight)
    torch.set_rng_state(state)
    init(one, 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_small_network_has_the_size_it_claims():
    assert sum(p.numel() for p in small_cnn().parameters()) == 272 + 32 + 8224 + 64 + 156_900 + 200 + 1010
