"""The law of the noise and the grid, against mpmath, scipy's normal distribution and exact rationals."""

from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import chi2, norm

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian, Stream
from unmoved.smooth.draws.grid import thresholds

WIDTHS = [("1/2", 255), ("1/4", 255), ("1/50", 255), ("1", 16), ("1/1000", 255), ("3", 400)]


@pytest.mark.parametrize(("sigma", "q"), WIDTHS)
def test_thresholds(sigma, q):
    sigma = Fraction(sigma)
    law = thresholds(sigma, q)
    limits = [int(value) + 1 for value in law.last]
    ks = np.arange(-law.reach, law.reach + 1)
    assert len(limits) == 2 * law.reach + 1 and law.reach >= 10 * sigma * q > law.reach - 1
    assert limits[0] == 1 and limits[-1] == 2**64
    assert all(a <= b for a, b in pairwise(limits))
    # ceil(2^64 - y) = 2^64 + 1 - ceil(y): symmetry of the law, exactly
    assert all(a + b == 2**64 + 1 for a, b in zip(limits[:-1], reversed(limits[:-1]), strict=True))
    expected = ndtr((ks + 0.5) / float(sigma * q))
    assert np.abs(np.array([t / 2**64 for t in limits]) - expected).max() < 2.0**-49
    small = expected > 2.0**-30  # where the ceiling is invisible, the relative accuracy counts
    ratio = np.array([t / 2**64 for t in limits])[small] / expected[small]
    assert np.abs(ratio - 1).max() < 1e-9


@pytest.mark.parametrize(("sigma", "q"), WIDTHS[:5])
def test_thresholds_to_the_last_bit(sigma, q):
    law = thresholds(Fraction(sigma), q)
    picked = {0, 1, law.reach, 2 * law.reach - 1, law.reach - 1, law.reach // 2, 3 * law.reach // 2}
    with mpmath.workprec(400):
        for m in picked:
            point = (2 * (m - law.reach) + 1) / (2 * mpmath.mpf(Fraction(sigma).numerator) * q)
            exact = mpmath.ldexp(mpmath.ncdf(point * Fraction(sigma).denominator), 64)
            assert int(law.last[m]) < exact <= int(law.last[m]) + 1


@pytest.mark.parametrize(("sigma", "q"), [("1/50", 255), ("1/1000", 255), ("1", 16)])
def test_total_variation_is_below_the_deduction(sigma, q):
    """The whole distance, tails and all, at 400 bits, against Gaussian.deviation for one number."""
    noise = Gaussian(sigma, q)
    law = thresholds(noise.sigma, q)
    with mpmath.workprec(400):
        width = mpmath.mpf(noise.sigma.numerator * q) / noise.sigma.denominator
        exact = [mpmath.ncdf((k + mpmath.mpf(1) / 2) / width) for k in range(-law.reach - 1, law.reach + 1)]
        drawn = [mpmath.mpf(0)] + [mpmath.ldexp(int(value) + 1, -64) for value in law.last]
        middle = sum(abs((drawn[i + 1] - drawn[i]) - (exact[i + 1] - exact[i])) for i in range(len(law.last)))
        distance = (middle + exact[0] + (1 - exact[-1])) / 2
        bound = noise.deviation(1, 1)
        assert 0 < distance < mpmath.mpf(bound.numerator) / bound.denominator
    assert noise.deviation(7, 5) == 35 * bound


@pytest.mark.parametrize(("sigma", "q"), WIDTHS)
def test_guide_table_agrees_with_the_thresholds(sigma, q):
    law = thresholds(Fraction(sigma), q)
    low = np.arange(2**16, dtype=np.uint64) << np.uint64(48)
    ends = [np.searchsorted(law.last, low + np.uint64(more)) - law.reach for more in (0, 2**48 - 1)]
    known = law.guide != np.iinfo(law.guide.dtype).min
    assert np.array_equal(known, ends[0] == ends[1])
    assert np.array_equal(law.guide[known], ends[0][known])
    assert np.array_equal(law.first - law.reach, ends[0])


@pytest.mark.parametrize(("sigma", "q"), [("1/2", 255), ("1/50", 255), ("1/500", 255)])
def test_distribution_of_ten_million_numbers(sigma, q):
    noise, d = Gaussian(sigma, q), 10_000
    point = noise.place(np.zeros(d, np.float32))
    out, total = np.empty((100, d), np.float32), np.zeros(2 * noise.reach + 1, np.int64)
    for first in range(0, 1000, 100):
        noise.sample(point, out, stream=Stream(bytes(32)), first=first)
        e = np.rint(out * q).astype(np.int64)
        assert np.array_equal(e.astype(np.float32) / np.float32(q), out)
        total += np.bincount(e.ravel() + noise.reach, minlength=total.size)
    ks, width = np.arange(-noise.reach, noise.reach + 1), float(noise.sigma * q)
    p = ndtr((-np.abs(ks) + 0.5) / width) - ndtr((-np.abs(ks) - 0.5) / width)
    expected = p * total.sum()
    bins = np.where(expected >= 10, ks, noise.reach + 1)  # everything rare in one bin
    seen = [total[bins == k].sum() for k in np.unique(bins)]
    due = np.array([expected[bins == k].sum() for k in np.unique(bins)])
    if len(due) == 1:
        pytest.fail("one bin tests nothing")
    if due[-1] < 1:
        assert seen[-1] <= 10
        seen, due = seen[:-1], due[:-1]
    statistic = ((np.array(seen) - due) ** 2 / due).sum()
    assert 1e-4 < chi2.sf(statistic, max(len(due) - 1, 1)) <= 1


def test_numbers_are_uncorrelated_along_elements_and_copies():
    noise = Gaussian("1/2")
    out = np.empty((1000, 1000), np.float32)
    noise.sample(noise.place(np.zeros(1000, np.float32)), out, stream=Stream(b"u" * 32), first=0)
    for shift in (1, 2, 7, 8, 64):
        for a, b in ((out[:, shift:], out[:, :-shift]), (out[shift:], out[:-shift])):
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5e-3
            assert abs(np.corrcoef(a.ravel() ** 2, b.ravel() ** 2)[0, 1]) < 5e-3


def test_worst_case_is_the_half_space_value_and_never_above():
    noise = Gaussian("1/2")
    for p in (1e-9, 0.01, 0.5, 0.9, 1 - 1e-9):
        for r in (0.0, 0.1, 1.0, 3.0):
            exact = norm.cdf(norm.ppf(p) - r / 0.5)
            assert noise.worst_case(p, r) <= exact * (1 + 1e-13)
            assert noise.worst_case(p, r) == pytest.approx(exact, rel=1e-8)
    assert noise.worst_case(0.0, 1.0) == 0.0
    for p, r in ((-0.1, 1.0), (0.5, -1.0), (float("nan"), 1.0)):
        with pytest.raises(UsageError):
            noise.worst_case(p, r)


def test_eight_bit_values_lie_on_the_grid():
    x = (np.arange(256) / 255).astype(np.float32)
    point = Gaussian("1/2").place(x.reshape(16, 16))
    assert point.on_grid and point.shape == (16, 16)
    assert np.array_equal(point.integers, np.arange(256))
    exact = sum((Fraction(float(value)) - Fraction(k, 255)) ** 2 for k, value in enumerate(x))
    assert exact <= Fraction(point.distance) ** 2 <= exact * (1 + Fraction(1, 10**12))
    assert Gaussian("1/2").place(np.zeros(3, np.float32)).distance == 0.0


def test_one_element_off_the_grid_is_enough():
    x = (np.arange(256) / 255).astype(np.float32)
    for _ in range(2):
        x[77] = np.nextafter(x[77], np.float32(1))
    point = Gaussian("1/2").place(x)
    assert not point.on_grid
    assert Fraction(256, 255**2) <= Fraction(point.distance) ** 2 <= Fraction(256, 255**2) * (1 + Fraction(1, 10**12))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(3), "float32"),
        ([0.0], "float32"),
        (np.zeros((0,), np.float32), "non-empty"),
        (np.array([np.nan], np.float32), "finite"),
        (np.array([np.inf], np.float32), "finite"),
        (np.array([66_000], np.float32), "coarser grid"),
    ],
)
def test_inputs_refused(x, message):
    with pytest.raises(UsageError, match=message):
        Gaussian("1/2").place(x)


@pytest.mark.parametrize(
    ("sigma", "grid"), [(0, 255), (-1, 255), (float("nan"), 255), ("x", 255), (1, 0), (1, 2.5), (1, True), (100, 255)]
)
def test_noises_refused(sigma, grid):
    with pytest.raises(UsageError):
        Gaussian(sigma, grid)


def test_sigma_is_exact():
    assert Gaussian("0.1").sigma == Fraction(1, 10) and Gaussian(0.1).sigma == Fraction(0.1)
    assert Gaussian(0.5) == Gaussian("1/2") and hash(Gaussian(0.5)) == hash(Gaussian("1/2"))
