"""Bounds and radii against mpmath at 50 digits: on the safe side always, and close."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.stats import binomtest

from unmoved.core.errors import UsageError
from unmoved.smooth.statistics import (
    BOUNDS,
    Bounds,
    binomial_test,
    clopper_pearson_high,
    clopper_pearson_low,
    gaussian_radius,
    largest_radius,
    one_class,
    quantile_high,
    quantile_low,
    samples_needed,
    two_class,
)

ALPHAS = [0.5, 0.05, 1e-3, 1e-9, 1e-30]
CASES = [(0, 1), (1, 1), (0, 10), (3, 10), (9, 10), (10, 10), (1, 1000), (500, 1000), (999, 1000), (1000, 1000)]
CASES += [(5_021, 10_000), (9_990, 10_000), (99_000, 100_000), (99_999, 100_000), (100_000, 100_000), (3, 100_000)]


def upper_tail(k, n, p):
    """P(Bin(n, p) >= k) as a sum of positive terms, at the working precision."""
    p = mpmath.mpf(p)
    if p in (0, 1):
        return mpmath.mpf(k <= n * p)
    start, step = (k, 1) if k > n * p else (k - 1, -1)
    if not 0 <= start <= n:
        return mpmath.mpf(0 if step == 1 else 1)
    term = mpmath.binomial(n, start) * p**start * (1 - p) ** (n - start)
    total, odds = mpmath.mpf(0), p / (1 - p)
    while 0 <= start <= n and term > total * mpmath.mpf(10) ** -45:
        total += term
        term *= odds * (n - start) / (start + 1) if step == 1 else start / (odds * (n - start + 1))
        start += step
    return total if step == 1 else 1 - total


@pytest.mark.parametrize(("k", "n"), CASES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_clopper_pearson_is_outside_and_tight(k, n, alpha):
    low, high = clopper_pearson_low(k, n, alpha), clopper_pearson_high(k, n, alpha)
    assert 0 <= low <= high <= 1 or alpha == 0.5
    with mpmath.workdps(60 if alpha > 1e-20 else 90):
        if k == 0:
            assert low == 0
        else:
            assert upper_tail(k, n, low) <= alpha < upper_tail(k, n, mpmath.mpf(low) * (1 + mpmath.mpf("5e-11")))
        if k == n:
            assert high == 1
        else:
            closer = mpmath.mpf(high) * (1 - mpmath.mpf("5e-11"))
            assert 1 - upper_tail(k + 1, n, high) <= alpha < 1 - upper_tail(k + 1, n, closer)


def test_clopper_pearson_random_cases():
    random = np.random.default_rng(0)
    with mpmath.workdps(50):
        for _ in range(150):
            n = int(10 ** random.uniform(0, 3.5))
            k, alpha = int(random.integers(0, n + 1)), float(10 ** random.uniform(-8, -0.4))
            low, high = clopper_pearson_low(k, n, alpha), clopper_pearson_high(k, n, alpha)
            assert k == 0 or upper_tail(k, n, low) <= alpha
            assert k == n or 1 - upper_tail(k + 1, n, high) <= alpha


def test_unanimous_votes_have_the_closed_form():
    with mpmath.workdps(50):
        for n in (1, 7, 100, 10**4, 10**6):
            exact = mpmath.mpf(0.001) ** (mpmath.mpf(1) / n)
            assert exact * (1 - mpmath.mpf("3e-11")) < clopper_pearson_low(n, n, 0.001) < exact
            assert 1 - exact < clopper_pearson_high(0, n, 0.001) < (1 - exact) * (1 + mpmath.mpf("3e-11"))


def test_normal_quantiles_are_outside():
    grid = [*np.linspace(0.001, 0.999, 333), 0.5 + 1e-12, 0.5 - 1e-12, 1e-300, 1e-12, 1 - 1e-12, 1 - 2.0**-53]
    with mpmath.workdps(50):
        for p in map(float, grid):
            assert mpmath.ncdf(quantile_low(p)) <= p <= mpmath.ncdf(quantile_high(p))
            assert quantile_high(p) - quantile_low(p) <= 3e-11 * abs(quantile_low(p))
    assert quantile_low(0.0) == -np.inf and quantile_high(1.0) == np.inf


def exact_radius(p_low, p_high, sigma):
    quantile = [mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1) for p in (p_low, p_high)]
    return mpmath.mpf(sigma.numerator) / sigma.denominator * (quantile[0] - quantile[1]) / 2


@pytest.mark.parametrize("sigma", [Fraction(1, 4), Fraction(1, 3), Fraction(0.1), Fraction(7)])
def test_radius_is_rounded_down(sigma):
    random = np.random.default_rng(3)
    with mpmath.workdps(50):
        for _ in range(100):
            p_low = float(random.uniform(0.3, 1))
            p_high = float(random.uniform(0, min(p_low, 1 - p_low)))
            exact, ours = exact_radius(p_low, p_high, sigma), gaussian_radius(p_low, p_high, sigma)
            assert ours < exact and ours >= exact - mpmath.mpf("1e-10") * sigma.numerator / sigma.denominator


def test_radius_of_useless_bounds_is_not_positive():
    for bounds in ((0.5, 0.5), (0.0, 1.0), (0.0, 0.2), (0.4, 0.6), (0.9, 1.0)):
        assert gaussian_radius(*bounds, Fraction(1)) <= 0


def test_bounds_follow_the_page():
    counts, alpha = (10, 930, 60), Fraction(1, 1000)
    one, two = one_class(counts, 1, alpha), two_class(counts, 1, alpha)
    assert one.p_low == clopper_pearson_low(930, 1000, 0.001)
    assert two == Bounds(clopper_pearson_low(930, 1000, 0.0005), clopper_pearson_high(60, 1000, 0.0005))
    assert Fraction(one.p_high) + Fraction(one.p_low) >= 1
    pair = two_class((70, 930), 1, alpha)
    assert pair.p_high <= np.nextafter(1 - pair.p_low, 1) and pair.p_high == pytest.approx(1 - pair.p_low, abs=1e-10)


def test_two_class_gains_in_the_mean():
    random = np.random.default_rng(5)
    radii = {name: [] for name in BOUNDS}
    for p in ((0.6, 0.2, 0.1, 0.1), (0.45, 0.3, 0.25), (0.8, 0.1, 0.05, 0.05), (0.95, 0.02, 0.02, 0.01)):
        for counts in random.multinomial(10_000, p, size=25).tolist():
            for name, bound in BOUNDS.items():
                found = bound(counts, 0, Fraction(1, 1000))
                radii[name].append(max(0.0, gaussian_radius(found.p_low, found.p_high, Fraction(1))))
    assert np.mean(radii["two-class"]) > 1.1 * np.mean(radii["one-class"])


@pytest.mark.parametrize("p", [(0.4, 0.15, 0.15, 0.15, 0.15), (0.5, 0.5), (0.34, 0.33, 0.33), (0.05,) * 20])
def test_two_class_error_rate_without_a_union(p):
    """Rivals with equal probabilities are the case in which a union over the classes would seem to be needed."""
    random, alpha, trials, wrong = np.random.default_rng(11), Fraction(1, 10), 2000, 0
    for counts in random.multinomial(200, p, size=trials).tolist():
        found = two_class(counts, 0, alpha)
        wrong += found.p_low > p[0] or found.p_high < max(p[1:])
    assert wrong / trials <= 0.1 + 4 * (0.09 / trials) ** 0.5


def test_binomial_test_is_the_exact_two_sided_one_rounded_up():
    for first, second in ((10, 0), (60, 40), (600, 400), (51, 49), (9_900, 100)):
        tail = sum(mpmath.binomial(first + second, k) for k in range(first, first + second + 1))
        exact = Fraction(2 * int(tail), 2 ** (first + second)) if first + second <= 100 else None
        ours = binomial_test(first, second)
        assert exact is None or exact <= Fraction(ours)
        assert ours == pytest.approx(binomtest(first, first + second, 0.5).pvalue, rel=1e-9)
    assert binomial_test(5, 5) == 1.0 and binomial_test(0, 0) == 1.0 and binomial_test(3, 5) == 1.0


def test_published_largest_radii():
    """3.81 sigma at N = 100,000, alpha = .001, one-class (Cohen et al. 2019)."""
    assert largest_radius(100_000, Fraction(1, 1000), Fraction(1), "one-class") == pytest.approx(3.8115, abs=1e-3)
    assert largest_radius(100_000, Fraction(1, 100), Fraction(1, 4), "one-class") == pytest.approx(0.978, abs=5e-3)


@pytest.mark.parametrize("bound", list(BOUNDS))
@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0, 3.0, 5.5])
def test_samples_needed_is_the_least(bound, ratio):
    alpha = Fraction(1, 1000)
    needed = samples_needed(alpha, ratio, bound)
    assert largest_radius(needed, alpha, Fraction(1), bound) > ratio
    assert needed == 1 or largest_radius(needed - 1, alpha, Fraction(1), bound) <= ratio
    share = alpha / 2 if bound == "two-class" else alpha
    with mpmath.workdps(50):
        exact = mpmath.log(mpmath.mpf(share.numerator) / share.denominator) / mpmath.log(mpmath.ncdf(ratio))
        assert needed == pytest.approx(float(exact), rel=0.01, abs=1)


def test_refusals():
    for arguments in ((1, 0, 0.1), (-1, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (1, 5, 1.0), (1, 5, float("nan"))):
        with pytest.raises(UsageError):
            clopper_pearson_low(*arguments)
        with pytest.raises(UsageError):
            clopper_pearson_high(*arguments)
    with pytest.raises(UsageError, match="one-class or two-class"):
        samples_needed(Fraction(1, 10), 1.0, "three-class")
    with pytest.raises(UsageError, match="radius / sigma"):
        samples_needed(Fraction(1, 10), 7.0)
