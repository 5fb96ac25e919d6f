"""Sines and cosines on intervals of any width: no point violates a line, and lines touch where the grid says so."""

from fractions import Fraction

import numpy as np
import pytest

from unmoved_check.exact_curves import ExactCurve
from unmoved_check.floating_curves import FloatCurve
from unmoved_check.floating_waves import slope_at_middle
from unmoved_check.model import curve

WAVES = {"sin": (curve.SIN, np.sin), "cos": (curve.COS, np.cos)}


def intervals(n=40):
    rng = np.random.default_rng(5)
    low = rng.normal(size=n) * rng.choice([1e-3, 1, 10, 1e4, 1e12], n)
    high = low + np.abs(rng.normal(size=n)) * rng.choice([1e-12, 1e-3, 1, 5, 40], n)
    # ends on the floats next to a knot, and knots in the middle of a sliver
    low[:4], high[:4] = np.pi / 2, [np.pi, 3 * np.pi / 2, np.nextafter(np.pi / 2, 9), 2 * np.pi]
    low[4:6], high[4:6] = -np.pi, [np.pi, 0.0]
    return low, np.maximum(low, high)


@pytest.mark.parametrize("name", WAVES)
def test_lines_hold_and_touch(name):
    (given, f), (low, high) = WAVES[name], intervals()
    rng = np.random.default_rng(6)
    fast, exact = FloatCurve(given), ExactCurve(given)
    x = low + (high - low) * np.linspace(0, 1, 4001)[:, None]
    ranges = fast.range(low, high)
    assert (ranges[0] <= f(x) + 1e-15).all() and (f(x) - 1e-15 <= ranges[1]).all()
    for slopes in (None, (rng.normal(size=low.size), rng.normal(size=low.size)), (np.zeros_like(low),) * 2):
        lines = fast.lines(low, high, slopes)
        size = 1e-14 * (1 + np.abs(lines.below * x) + np.abs(lines.above * x))
        under, over = f(x) - lines.below * x - lines.below_shift, lines.above * x + lines.above_shift - f(x)
        assert (under >= -size).all() and (over >= -size).all()
        # on what is cut into arches some point of the grid is near the line
        near = (high - low < 18) & (np.abs(low) < 1e8)
        coarse = 1e-12 + ((high - low) / 4000) ** 2 + 1e-13 * np.abs(low)
        assert (under.min(0) <= coarse)[near].all() and (over.min(0) <= coarse)[near].all()
        for i in range(low.size):
            pair = float(lines.below[i]), float(lines.above[i])
            below, above = exact.lines(Fraction(low[i]), Fraction(high[i]), pair)
            there = f(x[:, i]) - float(below[1]) - pair[0] * x[:, i], float(above[1]) + pair[1] * x[:, i] - f(x[:, i])
            assert min(there[0].min(), there[1].min()) >= -size[:, i].max()
            scale = 1e-9 * (1 + max(map(abs, pair)) * max(abs(low[i]), abs(high[i])))
            if near[i]:
                assert abs(lines.below_shift[i] - float(below[1])) < 10 * coarse[i] + scale
                assert abs(lines.above_shift[i] - float(above[1])) < 10 * coarse[i] + scale


@pytest.mark.parametrize("ahead", [0, 1])
def test_the_default_slope_is_that_of_the_envelope(ahead):
    """The lower convex hull of a dense polygon, at its middle."""
    rng = np.random.default_rng(8)
    low = rng.normal(size=30) * 4
    high = low + rng.uniform(0.01, 9, 30)
    found = slope_at_middle(ahead, 1.0, low, high)
    f = np.cos if ahead else np.sin
    for a, b, s in zip(low, high, found, strict=True):
        x = np.linspace(a, b, 401)
        away = x - (a + b) / 2
        left, right = away[:200, None], away[None, 201:]
        heights = (f(x)[:200, None] * right - f(x)[None, 201:] * left) / (right - left)
        best = min(heights.min(), f(x)[200])
        assert (f(x) - s * away).min() >= best - 1e-4 * (b - a)
