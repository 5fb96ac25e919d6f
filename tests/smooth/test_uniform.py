"""Uniform noise for L1 and L_inf, against exact rationals and mpmath (Lee et al. 2019; Yang et al. 2020)."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from unmoved.core.errors import UsageError
from unmoved.smooth.noises.uniform import Uniform, thresholds
from unmoved.testing import Move, NoiseContract, law_of_integers


def shares(noise):
    """P(E <= k) as an exact rational, by counting lengths: E = k on (k - 1/2, k + 1/2), cut at +-lam q."""
    width = noise.lam * noise.grid

    def below(k):
        return max(Fraction(0), min(Fraction(1), (Fraction(2 * k + 1, 2) + width) / (2 * width)))

    return below


class TestUniformL1(NoiseContract):
    def noises(self):
        return [Uniform(1), Uniform("0.1"), Uniform("1/2", 10), Uniform("3/7", 3)]

    def x(self, noise):
        return (np.array([0, 2, 1, 3, 1]) / noise.grid).astype(np.float32)

    def law(self, noise, copies):
        e = np.rint(copies.astype(np.float64) * noise.grid) - np.rint(self.x(noise).astype(np.float64) * noise.grid)
        below = shares(noise)
        return law_of_integers(e, lambda k: float(below(k)))

    def sizes(self, noise):
        return [float(noise.lam) * share for share in (0.0, 0.001, 0.3, 1.0, 1.9, 2.0, 5.0)]

    def exact(self, noise, p, r):
        return max(Fraction(0), Fraction(p) - min(Fraction(1), Fraction(r) / (2 * noise.lam)))

    def exact_radius(self, noise, p_low, p_high):
        return noise.lam * (Fraction(p_low) - Fraction(p_high))

    def moves(self, noise):
        x, step = self.x(noise), 1 / noise.grid
        along, spread = x.copy(), x.copy()
        along[0] += np.float32(step)
        spread[:2] += np.float32(step)
        edge, middle = float(x[0]) + 0.5 * step, float(x[:2].sum()) + 0.5 * step
        half = Move(x, along, step, lambda z: z[:, 0] < edge)
        return [half, Move(x, spread, 2 * step, lambda z: z[:, :2].sum(axis=1) < middle, tight=False)]


class TestUniformLinf(TestUniformL1):
    def noises(self):
        return [Uniform("511/510", norm="inf", elements=5), Uniform("9/20", 10, norm="inf", elements=5)]

    def exact(self, noise, p, r):
        share = 1 - min(Fraction(1), Fraction(r) / (2 * noise.lam))
        return max(Fraction(0), Fraction(p) - (1 - share**5))

    def exact_radius(self, noise, p_low, p_high):
        with mpmath.workdps(50):
            rest = 1 - (mpmath.mpf(p_low) - mpmath.mpf(p_high)) / 2
            return 2 * mpmath.mpf(noise.lam.numerator) / noise.lam.denominator * (1 - rest ** (mpmath.mpf(1) / 5))

    def moves(self, noise):
        """The event "what x' cannot reach": all of it is lost. 2 lam q is odd, so that its edges are edges of cells."""
        x = (np.array([0, 2, 1, 3, 1]) / noise.grid).astype(np.float32)
        step = max(1, round(float(noise.lam * noise.grid) / 5))
        moved = x + np.float32(step / noise.grid)
        low = moved - np.float32(float(noise.lam))
        seen = float(x[0] + 0.5 / noise.grid)
        r = step / noise.grid
        events = [lambda z: (z < low).any(axis=1), lambda z: (z < low).any(axis=1) | (z[:, 0] > seen)]
        return [Move(x, moved, r, events[0]), Move(x, moved, r, events[1], tight=False)]


def test_one_class_closed_forms():
    for p in (0.51, 0.7, 0.99):
        assert Uniform("1/4").radius(p, 1 - p) == pytest.approx(2 * 0.25 * (p - 0.5), abs=1e-8)
        box = Uniform("1/4", norm="inf", elements=784).radius(p, 1 - p)
        assert box == pytest.approx(2 * 0.25 * (1 - (1.5 - p) ** (1 / 784)), abs=1e-8)
        assert box <= 2 * 0.25 * (1 - (1.5 - p) ** (1 / 784)) + 1e-16


@pytest.mark.parametrize(("lam", "grid"), [("1/2", 10), ("3/7", 3), ("1/100", 7), ("5/2", 1)])
def test_thresholds_are_the_exact_ones_rounded_up(lam, grid):
    noise = Uniform(lam, grid)
    below = shares(noise)
    limits = [int(value) + 1 for value in thresholds(noise.lam * grid, noise.reach).last]
    assert len(limits) == 2 * noise.reach + 1 and limits[-1] == 2**64
    assert below(-noise.reach - 1) == 0 and below(noise.reach) == 1
    drawn, errors = 0, Fraction(0)
    for k, limit in enumerate(limits, -noise.reach):
        assert 0 <= limit - 2**64 * below(k) < 1
        errors += abs(Fraction(limit - drawn, 2**64) - (below(k) - below(k - 1)))
        drawn = limit
    assert errors / 2 <= noise.deviation(1, 1)


def test_worst_event_of_the_grid_is_exact():
    """All events of the cells of one element, by enumeration: none keeps less than worst_case, one just that."""
    noise, step = Uniform("1/2", 4), 1
    below = shares(noise)
    cells = range(-noise.reach, noise.reach + step + 1)
    here = [below(k) - below(k - 1) for k in cells]
    there = [below(k - step) - below(k - step - 1) for k in cells]
    slack = []
    for bits in range(2 ** len(here)):
        chosen = [bits >> i & 1 for i in range(len(here))]
        p, kept = (sum(c * w for c, w in zip(chosen, law, strict=True)) for law in (here, there))
        slack.append(kept - max(Fraction(0), p - Fraction(step, 4) / (2 * noise.lam)))
    assert min(slack) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"lam": 0},
        {"lam": 1, "norm": "2"},
        {"lam": 1, "norm": "inf"},
        {"lam": 1, "elements": 3},
        {"lam": 1, "norm": "inf", "elements": 0},
        {"lam": 10**5},
    ],
)
def test_refusals(arguments):
    with pytest.raises(UsageError):
        Uniform(**arguments)
    with pytest.raises(UsageError, match="5 elements"):
        Uniform(1, norm="inf", elements=5).place(np.zeros(4, np.float32))
