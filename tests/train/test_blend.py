from __future__ import annotations

import pytest
import torch

from unmoved.core.errors import UsageError
from unmoved.testing import ObjectiveContract
from unmoved.train import Blend, GaussianNoise, Ibp, Moment, SmoothRamp, interval_init, small_cnn

PLAIN = GaussianNoise(0.0)


class TestBlend(ObjectiveContract):
    random = False

    def objective(self):
        return Blend(PLAIN, Ibp(0.05), 0.2, 0.7)

    def equals(self):
        return [(Blend(PLAIN, Ibp(0.05), 0.2, 1.0), Ibp(0.05)), (Blend(PLAIN, Ibp(0.05), 1.0, 0.0), PLAIN)]


def test_the_weights_move_by_the_ramp_and_the_loss_is_their_mixture():
    """The natural term of Gowal et al. 2018: kappa falls from 1/2 to 0."""
    module = small_cnn(side=8).eval()  # batch norm stands still: three passes see one module
    interval_init(module, 0)
    x, y = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2, 3, 4])
    ramp = SmoothRamp(end=0.5, power=1.0)
    parts = [o.start(module, (1, 8, 8)) for o in (PLAIN, Ibp(0.05))]
    loss = Blend(PLAIN, Ibp(0.05), 0.5, 1.0, ramp=ramp).start(module, (1, 8, 8))
    for progress, weight in ((0.0, 0.5), (0.25, 0.75), (0.5, 1.0), (1.0, 1.0)):
        moment = Moment(progress, torch.Generator().manual_seed(0))
        got = loss(x, y, moment)
        natural, bounds = (part(x, y, moment).loss.item() for part in parts)
        assert got.figures["weight"] == pytest.approx(weight)
        assert got.loss.item() == pytest.approx((1 - weight) * natural + weight * bounds, rel=1e-5)


def test_it_settles_with_the_last_of_its_parts():
    assert Blend(PLAIN, PLAIN, 0.0, 1.0, ramp=SmoothRamp(end=0.3)).settled == 0.3
    assert Blend(PLAIN, PLAIN, 0.5, 0.5, ramp=SmoothRamp(end=0.3)).settled == PLAIN.settled
    assert Blend(PLAIN, Ibp(0.1, ramp=SmoothRamp(end=0.6))).settled == 0.6
    with pytest.raises(UsageError, match="end"):
        Blend(PLAIN, PLAIN, 0.5, 1.5)
