"""Top-k radii against the equation of Jia et al. 2020 at 40 digits, and against classifiers that attain them."""

from fractions import Fraction
from itertools import combinations

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian
from unmoved.smooth.classifiers.topk import top_k_from_counts, top_k_radius
from unmoved.smooth.noises.ablation import Ablation
from unmoved.smooth.noises.discrete import Discrete
from unmoved.smooth.noises.laplace import Laplace

CASES = [
    (0.3, (0.4, 0.2, 0.1), 2),
    (0.3, (0.25, 0.25, 0.2), 1),
    (0.2, (0.5, 0.15, 0.1, 0.05), 3),
    (0.6, (0.3, 0.1), 1),
    (0.25, (0.4, 0.3, 0.02), 3),
    (0.1, (0.6, 0.25, 0.04, 0.01), 2),
]


def quantile(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)


def root(p_low, total, t):
    """The root R (sigma 1) of Phi(Phi^-1 p - R) = Phi(Phi^-1 p_S + R)/t, by bisection; 0 if none is positive."""

    def gap(r):
        return mpmath.ncdf(quantile(p_low) - r) - mpmath.ncdf(quantile(total) + r) / t

    low, high = mpmath.mpf(0), mpmath.mpf(20)
    if gap(low) <= 0:
        return low
    for _ in range(110):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) > 0 else (low, middle)
    return low


@pytest.mark.parametrize(("p_low", "others", "k"), CASES)
@pytest.mark.parametrize("sigma", ["1/4", "1"])
def test_radius_is_the_best_root(p_low, others, k, sigma):
    with mpmath.workdps(40):
        low = mpmath.mpf(p_low)
        first = sorted(map(mpmath.mpf, others), reverse=True)[:k]
        roots = [root(low, min(1 - low, mpmath.fsum(first[k - t :])), t) for t in range(1, k + 1)]
        exact = max(roots) * Fraction(sigma).numerator / Fraction(sigma).denominator
        ours = top_k_radius(p_low, others, k, Gaussian(sigma))
        if exact == 0:
            assert ours <= 0
        else:
            assert ours <= exact and abs(ours - exact) < 1e-8


def test_top_1_is_the_two_class_radius():
    for noise in (Gaussian("1/2"), Laplace("1/2")):
        for p_low, p_high in ((0.6, 0.2), (0.9, 0.05), (0.4, 0.35)):
            ours = top_k_radius(p_low, (p_high, 0.01), 1, noise)
            assert ours == pytest.approx(noise.radius(p_low, p_high), rel=1e-7)


def test_whole_radii():
    assert top_k_radius(0.95, (0.03, 0.02), 1, Discrete("0.8", 1)) == Discrete("0.8", 1).radius(0.95, 0.03)
    assert top_k_radius(0.5, (0.45, 0.05), 2, Ablation(2, 30)) >= top_k_radius(0.5, (0.45, 0.05), 1, Ablation(2, 30))


def test_no_arrangement_of_intervals_breaks_it():
    """Classes that are unions of intervals of one element: exact top-k sets along moves up to the radius."""
    random, sigma, seen = np.random.default_rng(2), 0.5, 0
    for _ in range(60):
        cuts = np.sort(np.concatenate([[-9, 9], random.normal(0, 0.6, 7)]))
        owner = random.integers(0, 4, 8)

        def shares(x, cuts=cuts, owner=owner):
            mass = np.diff(ndtr((cuts - x) / sigma))
            return np.bincount(owner, weights=mass, minlength=4)

        here = shares(0.0)
        for label, k in ((int(here.argmax()), 1), (int(here.argsort()[-2]), 2), (int(here.argsort()[-3]), 3)):
            others = np.minimum(np.delete(here, label) + 1e-9, 1.0)
            r = top_k_radius(max(0.0, float(here[label] - 1e-9)), others.tolist(), k, Gaussian("1/2"))
            for x in np.linspace(-max(r, 0), max(r, 0), 41):
                assert (shares(x) > shares(x)[label]).sum() < k
            seen += r > 0.05
    assert seen > 30


def test_the_worst_arrangement_attains_the_radius_of_the_best_t():
    """k = 2 of 3, the label at one end, both rivals at the other: with mean t = 2 just beyond R they are both ahead."""
    p_low, rivals = 0.5, (0.25, 0.25)
    r = top_k_radius(p_low, rivals, 2, Gaussian(1))
    shares = [(ndtr(ndtri(p_low) - s), ndtr(ndtri(0.5) + s)) for s in (r - 1e-6, r + 1e-6)]
    assert r > 0.3 and shares[0][0] > shares[0][1] / 2 and shares[1][0] < shares[1][1] / 2


def test_counts_hold_together():
    """The rate at which the radius is above the true one, over many draws of counts."""
    p, random, noise = (0.35, 0.4, 0.15, 0.1), np.random.default_rng(1), Gaussian(1)
    truth = top_k_radius(p[0], p[1:], 2, noise)
    draws = random.multinomial(300, p, size=300).tolist()
    radii = [top_k_from_counts(counts, 0, 2, noise=noise, alpha=Fraction(1, 10)) for counts in draws]
    assert np.mean(np.array(radii) > truth) <= 0.1 + 4 * (0.09 / 300) ** 0.5
    many = top_k_from_counts([35_000, 40_000, 15_000, 10_000], 0, 2, noise=noise, alpha=Fraction(1, 1000))
    assert 0.9 * truth < many < truth


def test_subsets_of_bounds_are_the_right_ones():
    """Among any k others, t have bounds that add up to at most the t last of the first k: by listing."""
    random = np.random.default_rng(0)
    for _ in range(50):
        others, k = sorted(random.random(6), reverse=True), int(random.integers(1, 6))
        for t in range(1, k + 1):
            due = sum(others[k - t : k])
            assert all(sum(sorted(chosen)[:t]) <= due + 1e-12 for chosen in combinations(others, k))


def test_refusals():
    for p_low, others, k in (
        (0.5, (0.5,), 2),
        (0.5, (0.5,), 0),
        (1.5, (0.5,), 1),
        (0.5, (-0.5,), 1),
        (0.5, (0.5,), 1.0),
    ):
        with pytest.raises(UsageError):
            top_k_radius(p_low, others, k, Gaussian(1))
    with pytest.raises(UsageError, match="label"):
        top_k_from_counts((1, 2), 2, 1, noise=Gaussian(1), alpha=Fraction(1, 10))
