"""First-order radii against the papers' two equations at 40 digits, a linear programme, and slabs that attain them."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import ndtr, ndtri
from scipy.stats import norm

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian
from unmoved.smooth.classifiers.firstorder import (
    FirstOrderSmoothed,
    cell_means,
    first_order_radius,
    slope_bound,
    worst_case,
)


def quantile(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)


def published_radius(p, slope):
    """R/s by bisection of both equations of the page, at the present precision."""

    def bisect(gap, low, high):
        for _ in range(140):
            middle = (low + high) / 2
            low, high = (middle, high) if gap(middle) > 0 else (low, middle)
        return low

    p, slope = mpmath.mpf(p), mpmath.mpf(slope)
    # phi(Phi^-1 a') - phi(Phi^-1(a' + p)) + slope grows with a'
    a = bisect(lambda a: -(mpmath.npdf(quantile(a)) - mpmath.npdf(quantile(a + p)) + slope), mpmath.mpf(0), (1 - p) / 2)
    low, high = quantile(a), quantile(a + p)
    return bisect(
        lambda r: mpmath.ncdf(high - r) - mpmath.ncdf(low - r) - mpmath.mpf(1) / 2, mpmath.mpf(0), mpmath.mpf(9)
    )


@pytest.mark.parametrize("p", [0.6, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_radius_is_the_published_one(p, share):
    slope = share * float(norm.pdf(norm.ppf(p)))
    with mpmath.workdps(40):
        exact = published_radius(p, slope) / 4
        ours = first_order_radius(p, slope, Gaussian("1/4"))
        assert ours <= exact and abs(ours - exact) < 1e-8
    assert ours > 1.0001 * norm.ppf(p) / 4


def test_no_information_is_cohen_s_radius():
    for p in (0.55, 0.9, 0.9999):
        plain = Gaussian(1).radius(p, 1 - p)
        for slope in (norm.pdf(norm.ppf(p)), 0.4, 5.0):
            assert first_order_radius(p, slope, Gaussian(1)) == pytest.approx(plain, rel=1e-9)
    assert first_order_radius(0.4, 0.0, Gaussian(1)) == -1 and first_order_radius(0.5, 0.1, Gaussian(1)) <= 0


@pytest.mark.parametrize(
    ("p", "slope", "r"), [(0.7, 0.1, 0.5), (0.9, 0.05, 1.5), (0.6, 0.3, 0.4), (0.99, 0.01, 2.0), (0.3, 0.1, 0.3)]
)
def test_worst_case_is_a_linear_programme(p, slope, r):
    """Over all events made of thin cells of u, or parts: none keeps less than ours, the worst hardly more."""
    edges = np.linspace(-9, 9, 3001)
    mass, there = np.diff(ndtr(edges)), np.diff(ndtr(edges - r))
    mean = norm.pdf(edges[:-1]) - norm.pdf(edges[1:])
    found = linprog(there, A_ub=[-mean], b_ub=[slope], A_eq=[mass], b_eq=[p], bounds=(0, 1))
    ours = worst_case(p, slope, r, Gaussian(1))
    assert found.status == 0 and ours <= found.fun + 1e-9 and ours > found.fun - 2e-4


def test_more_probability_or_less_slope_never_keeps_less():
    for r in (0.2, 1.0, 2.5):
        table = np.array(
            [[worst_case(p, m, r, Gaussian(1)) for m in np.linspace(0, 0.4, 9)] for p in np.linspace(0.02, 0.98, 25)]
        )
        assert (np.diff(table, axis=0) >= -1e-9).all() and (np.diff(table, axis=1) <= 1e-9).all()
        assert (table >= [[Gaussian(1).worst_case(p, r)] for p in np.linspace(0.02, 0.98, 25)]).all()
    for p in (0.2, 0.8):
        kept = [worst_case(p, 0.05, r, Gaussian(1)) for r in np.linspace(0, 6, 50)]
        assert (np.diff(kept) <= 1e-12).all() and kept[0] == pytest.approx(p, abs=1e-9)


def test_cell_means_against_quadrature():
    noise = Gaussian("1/4", 16)
    means, width = cell_means(noise), 4
    assert len(means) == 2 * noise.reach + 1 and means[noise.reach] == 0
    assert np.array_equal(means, -means[::-1])
    for k in (0, 1, 5, 17, noise.reach):
        a, b = (k - 0.5) / width, (k + 0.5) / width
        with mpmath.workdps(40):
            exact = mpmath.quad(lambda u: u * mpmath.npdf(u), [a, b]) / mpmath.quad(mpmath.npdf, [a, b])
            assert abs(means[noise.reach + k] - exact) < 1e-9
    fine = cell_means(Gaussian(1))
    assert np.abs(fine - np.arange(-2550, 2551) / 255).max() < 1e-3


@pytest.mark.parametrize("d", [1, 20])
def test_slope_bound_fails_seldom(d):
    """Half-spaces, whose slope phi(Phi^-1 p) is known, at alpha = 1/5; and it comes near with many samples."""
    random, half, wrong = np.random.default_rng(d), 200, 0
    truth = norm.pdf(norm.ppf(0.7))

    def mean(n):
        u = random.normal(size=(n, d))
        return (u * (u[:, :1] < ndtri(0.7))).mean(axis=0)

    bounds = [slope_bound(mean(half), mean(half), half, 0.2) for _ in range(300)]
    wrong = sum(bound < truth for bound in bounds)
    assert wrong <= 0.2 * 300 + 4 * (0.16 * 300) ** 0.5
    assert slope_bound(mean(200_000 // d), mean(200_000 // d), 200_000 // d, 0.001) < truth + 0.15


def test_tails_of_the_slope_s_terms():
    """E exp(-t (X - EX)) <= exp(2 t^2) for X = Z 1[Z in I], by quadrature, for half-lines and intervals."""
    z = np.linspace(-30, 30, 600_001)
    weight = norm.pdf(z) * (z[1] - z[0])
    for low, high in ((-40, 0), (0, 40), (-40, 1), (-1, 2), (-40, -3), (2, 40), (-0.1, 40), (-40, -1)):
        x = np.where((z > low) & (z < high), z, 0.0)
        centred = x - (x * weight).sum()
        for t in (0.01, 0.1, 0.5, 1, 2, 5):
            assert (np.exp(-t * centred) * weight).sum() <= np.exp(2 * t * t) * (1 + 1e-6)


def test_flat_tops_gain_and_stay_true():
    """f = 1 on a centred slab: the slope is 0, the true radius known; ours is above Cohen's and below the truth."""
    noise, h = Gaussian("1/2"), 150
    x = np.full(2, 100 / 255, np.float32)

    def classify(z):
        return ((z[:, 0] - 100 / 255).abs() < (h + 0.5) / 255).long()

    found = FirstOrderSmoothed(classify, noise, 2, batch=2000).certify(x, samples=100_000)
    edge, sigma = (h + 0.5) / 255, 0.5
    r = np.linspace(0, 3, 30_001)
    keeps = ndtr((edge - r) / sigma) - ndtr((-edge - r) / sigma)
    truth = r[np.argmin(keeps > 0.5)]
    assert found.label == 1 and found.plain_radius * 1.05 < found.radius <= truth
    assert found.slope_high < 0.1 and found.alpha == Fraction(1, 1000)
    again = FirstOrderSmoothed(classify, noise, 2, batch=77).certify(x, samples=100_000)
    assert again.count == found.count and again.slope_high == pytest.approx(found.slope_high, rel=1e-9)


def test_half_spaces_gain_nothing_false():
    """A half-space has the worst slope there is: no radius above the distance to its face, over many seeds."""
    x = np.full(3, 120 / 255, np.float32)
    smoothed = FirstOrderSmoothed(lambda z: (z[:, 0] > 80.5 / 255).long(), Gaussian("1/4"), 2, batch=500)
    results = [smoothed.certify(x, samples=1000, alpha="1/5", seed=seed) for seed in range(60)]
    wrong = sum(result.label == 1 and result.radius > 39.5 / 255 for result in results)
    assert wrong <= 60 * 0.2 + 4 * (60 * 0.16) ** 0.5


def test_abstains_and_refuses():
    x = np.full(2, 100 / 255, np.float32)
    coin = FirstOrderSmoothed(lambda z: (z[:, 1] > z[:, 0]).long(), Gaussian("1/2"), 2)
    found = coin.certify(x, samples=1000)
    assert found.label is None and found.radius == 0
    for change in ({"samples": 1}, {"selection_samples": 0}, {"alpha": 0}, {"alpha": "1e-14"}):
        with pytest.raises(UsageError):
            coin.certify(x, **change)
    for p, slope, r in ((1.2, 0.1, 1), (0.5, -0.1, 1), (0.5, float("nan"), 1), (0.5, 0.1, -1)):
        with pytest.raises(UsageError):
            worst_case(p, slope, r, Gaussian(1))
    with pytest.raises(UsageError):
        slope_bound(np.zeros(2), np.zeros(2), 0, 0.1)
