from __future__ import annotations

import numpy as np
import pytest

from unmoved.core.errors import UsageError
from unmoved.train.schedule import ConstantThenCosine, SmoothRamp


def test_the_ramp_rises_from_0_to_1_and_stays():
    ramp = SmoothRamp(end=0.4)
    values = [ramp(t) for t in np.linspace(0, 1, 1001)]
    assert values[0] == 0 and values[400] == pytest.approx(1) and set(values[401:]) == {1.0}
    assert (np.diff(values) >= 0).all()


def test_the_ramp_is_a_fourth_power_then_a_line_without_a_corner():
    ramp = SmoothRamp(end=1.0, middle=0.25, power=4)
    assert ramp(0.2) / ramp(0.1) == pytest.approx(16)
    slopes = np.diff([ramp(t) for t in np.linspace(0.25, 1, 100)])
    assert np.ptp(slopes) < 1e-9
    step = 1e-6
    below, above = ramp(0.25) - ramp(0.25 - step), ramp(0.25 + step) - ramp(0.25)
    assert below == pytest.approx(above, rel=1e-4)


def test_no_ramp_is_always_1():
    assert SmoothRamp(end=0)(0.0) == 1.0


def test_the_cosine_starts_late_and_ends_at_0():
    fall = ConstantThenCosine(0.4)
    assert fall(0) == fall(0.4) == 1
    assert fall(0.7) == pytest.approx(0.5)
    assert fall(1) == pytest.approx(0)
    assert (np.diff([fall(t) for t in np.linspace(0, 1, 101)]) <= 0).all()
    assert ConstantThenCosine(1.0)(1.0) == 1


@pytest.mark.parametrize("wrong", [{"end": -0.1}, {"end": 1.1}, {"middle": 0}, {"power": 0.5}])
def test_settings_are_checked(wrong):
    with pytest.raises(UsageError):
        SmoothRamp(**wrong)
    with pytest.raises(UsageError):
        ConstantThenCosine(2)
