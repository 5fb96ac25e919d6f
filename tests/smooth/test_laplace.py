"""Laplace noise against mpmath and the closed forms of Teng, Lee and Yuan 2019."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from unmoved.core.errors import UsageError
from unmoved.smooth import Smoothed
from unmoved.smooth.noises.laplace import Laplace, thresholds
from unmoved.testing import Move, NoiseContract, law_of_integers


def ratio(value):
    return mpmath.mpf(value.numerator) / value.denominator


def below(t):
    """The distribution function of Laplace(1)."""
    return mpmath.exp(t) / 2 if t <= 0 else 1 - mpmath.exp(-t) / 2


def quantile(p):
    if p in (0, 1):
        return mpmath.inf if p else -mpmath.inf
    return mpmath.log(2 * p) if p <= 0.5 else -mpmath.log(2 * (1 - p))


def teng(lam, p_low, p_high):
    return max(lam / 2 * mpmath.log(p_low / p_high), -lam * mpmath.log(1 - p_low + p_high))


class TestLaplace(NoiseContract):
    def noises(self):
        return [Laplace("1/2"), Laplace("0.1"), Laplace(3, 8), Laplace("1/100", 30)]

    def x(self, noise):
        return (np.array([[0, 2, 8], [5, 1, 8]]) / noise.grid).astype(np.float32)

    def law(self, noise, copies):
        e = np.rint(copies.astype(np.float64) * noise.grid) - np.rint(self.x(noise).astype(np.float64) * noise.grid)
        width = float(noise.lam * noise.grid)
        return law_of_integers(e, lambda k: float(below((k + 0.5) / width)))

    def sizes(self, noise):
        return [float(noise.lam) * share for share in (0.0, 0.01, 0.3, 1.0, 2.0, 5.0)]

    def exact(self, noise, p, r):
        with mpmath.workdps(50):
            return +below(quantile(mpmath.mpf(p)) - mpmath.mpf(r) / ratio(noise.lam))

    def exact_radius(self, noise, p_low, p_high):
        with mpmath.workdps(50):
            return ratio(noise.lam) / 2 * (quantile(mpmath.mpf(p_low)) - quantile(mpmath.mpf(p_high)))

    def moves(self, noise):
        x, step = self.x(noise), 1 / noise.grid
        some = max(1, round(float(noise.lam * noise.grid) / 2))
        along, spread = x.copy(), x.copy()
        along[0, 0] += np.float32(some * step)
        spread += np.float32(step)
        edge = float(x[0, 0]) + 0.5 * step

        def half(z):
            return z[:, 0, 0] < edge

        def corner(z):
            return z.sum(axis=(1, 2)) < float(x.sum()) + 2 * step

        return [Move(x, along, some * step, half), Move(x, spread, 6 * step, corner, tight=False)]


@pytest.mark.parametrize("p_low", [0.3, 0.5, 0.51, 0.7, 0.9, 0.999])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_never_below_teng_and_equal_where_teng_is_tight(p_low, share):
    noise = Laplace("1/4")
    with mpmath.workdps(50):
        lam, low = mpmath.mpf(1) / 4, mpmath.mpf(p_low)
        high = min(low, 1 - low) * mpmath.mpf(share)
        assert noise.radius(p_low, float(high)) >= teng(lam, low, high) - mpmath.mpf("1e-9")
        if p_low > 0.5:
            one_class = -lam * mpmath.log(2 * (1 - low))
            ours = noise.radius(p_low, 1 - p_low)
            assert ours <= one_class and abs(ours - one_class) < 1e-8
        if p_low <= 0.5:
            ours = noise.radius(p_low, float(high))
            assert abs(ours - teng(lam, low, mpmath.mpf(float(high)))) < 1e-8


def test_two_class_radius_is_attained():
    """A = {z < s}, B = {z > t}, moved to the right: just below the radius A is ahead, just above it B is."""
    with mpmath.workdps(50):
        for p_low, p_high in ((0.8, 0.1), (0.6, 0.35), (0.4, 0.2)):
            radius, s, t = mpmath.mpf(Laplace(1).radius(p_low, p_high)), quantile(p_low), -quantile(p_high)
            for r, ahead in ((radius, True), (radius * (1 + mpmath.mpf("1e-9")), False)):
                assert (below(s - r) > 1 - below(t - r)) is ahead


@pytest.mark.parametrize(("lam", "grid"), [("1/2", 255), ("1/100", 30), ("3", 8)])
def test_thresholds_to_the_last_bit(lam, grid):
    noise = Laplace(lam, grid)
    law = thresholds(noise.lam * grid, noise.reach)
    assert len(law.last) == 2 * noise.reach + 1 and law.reach == noise.reach
    limits = [int(value) + 1 for value in law.last]
    assert limits[0] == 1 and limits[-1] == 2**64
    with mpmath.workprec(400):
        lost = below(-(noise.reach + mpmath.mpf("0.5")) / ratio(noise.lam * grid))
        assert 2 * lost < mpmath.mpf(2) ** -64
        for m in {0, 1, noise.reach // 2, noise.reach - 1, noise.reach, noise.reach + 1, 2 * noise.reach - 1}:
            exact = mpmath.ldexp(below((m - noise.reach + mpmath.mpf("0.5")) / ratio(noise.lam * grid)), 64)
            assert limits[m] - 1 < exact <= limits[m]


def test_total_variation_is_below_the_deduction():
    noise = Laplace("1/20", 100)
    limits = [0] + [int(value) + 1 for value in thresholds(noise.lam * 100, noise.reach).last]
    with mpmath.workprec(400):
        exact = [below((k + mpmath.mpf("0.5")) / 5) for k in range(-noise.reach - 1, noise.reach + 1)]
        drawn = [mpmath.ldexp(limit, -64) for limit in limits]
        pairs = zip(np.diff(drawn), np.diff(exact), strict=True)
        distance = (sum(abs(a - b) for a, b in pairs) + exact[0] + 1 - exact[-1]) / 2
        assert 0 < distance < ratio(noise.deviation(1, 1))


def test_off_the_grid_costs_d_over_q():
    noise = Laplace(1)
    assert Fraction(noise.place(np.full(4, 0.001, np.float32)).distance) == pytest.approx(4 / 255)
    x = np.full(4, 100 / 255, np.float32)
    lost = 4 * abs(Fraction(float(x[0])) - Fraction(100, 255))
    assert lost <= Fraction(noise.place(x).distance) <= lost * (1 + Fraction(1, 10**12))


def test_evidence_names_the_noise():
    x = np.zeros(3, np.float32)
    result = Smoothed(lambda z: (z[:, 0] > -99).long(), Laplace(1), 2).certify(x, samples=200)
    assert result.label == 1
    assert result.evidence.noise == "laplace-grid"


@pytest.mark.parametrize(("lam", "grid"), [(0, 255), (-1, 255), ("x", 255), (1, 0), (1, 2.5), (100, 255)])
def test_refusals(lam, grid):
    with pytest.raises(UsageError):
        Laplace(lam, grid)
