"""Certified segmentation: exact p-values, Holm's steps by hand, the family-wise error rate, and known pixels."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian
from unmoved.smooth.classifiers.segmentation import ABSTAINS, SmoothedSegmentation, p_values, rejected

TAU = Fraction(3, 4)


def exact_tail(hits, n, tau):
    return sum(comb(n, k) * tau**k * (1 - tau) ** (n - k) for k in range(hits, n + 1))


@pytest.mark.parametrize("tau", [Fraction(1, 2), TAU, Fraction(9, 10)])
def test_p_values_are_exact_tails_rounded_up(tau):
    n = 60
    ours = p_values(np.arange(n + 1), n, tau)
    for hits in range(n + 1):
        exact = exact_tail(hits, n, tau)
        assert exact <= Fraction(float(ours[hits])) <= exact * (1 + Fraction(1, 10**9)) + Fraction(1, 10**250)


def test_holm_and_bonferroni_by_hand():
    """Ten coins a pixel: the sorted p-values against alpha/4, alpha/3, alpha/2, alpha, or all against alpha/4."""
    n, tau = 10, Fraction(1, 2)
    tails = {hits: float(exact_tail(hits, n, tau)) for hits in (7, 8, 9, 10)}
    hits = np.array([8, 10, 9, 9])
    alpha = Fraction(3, 100)
    # sorted: 10 (.00098), 9, 9 (.0107), 8 (.0547) against .0075, .01, .015, .03
    assert tails[10] < 0.0075 and 0.01 < tails[9] < 0.015
    for method in ("holm", "bonferroni"):  # the first 9 is above .01, and Holm stops there
        assert rejected(hits, n, tau=tau, alpha=alpha, method=method).tolist() == [False, True, False, False]
    assert rejected(hits, n, tau=tau, alpha=Fraction(4, 100)).tolist() == [False, True, True, True]
    assert rejected(hits, n, tau=tau, alpha=Fraction(4, 100), method="bonferroni").tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert rejected(np.full((2, 3), 10), n, tau=tau, alpha=Fraction(1, 10)).all()


@pytest.mark.parametrize("method", ["holm", "bonferroni"])
@pytest.mark.parametrize("together", [True, False])
def test_family_wise_error_rate(method, together):
    """Half of the pixels are at tau exactly, dependent or not: one wrong rejection in at most alpha of the runs."""
    random, n, m, runs, wrong, right = np.random.default_rng(5), 100, 40, 400, 0, 0
    p = np.array([0.75] * 20 + [0.97] * 20)
    for _ in range(runs):
        u = random.random((n, 1)) if together else random.random((n, m))
        hits = (u < p).sum(axis=0)
        found = rejected(hits, n, tau=TAU, alpha=Fraction(1, 10), method=method)
        wrong += found[:20].any()
        right += found[20:].sum()
    assert wrong <= binom.ppf(1 - 1e-6, runs, 0.1) and right > 0.8 * runs * 20


def test_holm_rejects_whatever_bonferroni_does():
    random = np.random.default_rng(6)
    for _ in range(100):
        hits = random.binomial(50, random.choice([0.7, 0.9, 0.97], 30))
        holm, bonferroni = (
            rejected(hits, 50, tau=TAU, alpha=Fraction(1, 20), method=m) for m in ("holm", "bonferroni")
        )
        assert (holm | ~bonferroni).all()


def brightness(z):
    """Class 1 where a pixel is above .5, else class 0."""
    return torch.stack([0.5 - z[:, 0], z[:, 0] - 0.5], dim=1)


def test_pixels_with_known_probabilities():
    """p_i = Phi((.5 - x_i)/s): pixels far from the edge are certified with their class, near ones abstain."""
    levels = np.array([[0, 30, 128, 220], [250, 126, 5, 90]])
    x = (levels / 255).astype(np.float32)[None]
    segmentation = SmoothedSegmentation(brightness, Gaussian("1/5"), 2, batch=32)
    found = segmentation.certify(x, samples=500, tau=TAU)
    share = norm.cdf(np.abs(levels / 255 - 0.5) / 0.2)
    assert found.labels.shape == (2, 4)
    assert (found.labels[share > 0.85] == (levels > 127)[share > 0.85]).all()
    assert (found.labels[share < 0.75] == ABSTAINS).all() and (share < 0.75).sum() >= 2
    assert found.radius <= 0.2 * norm.ppf(0.75) and found.radius == pytest.approx(0.2 * norm.ppf(0.75), abs=1e-6)
    assert np.array_equal(segmentation.certify(x, samples=500, tau=TAU).hits, found.hits)
    assert (np.abs(found.hits / 500 - share) < 0.1)[share > 0.7].all()


def test_all_abstain_has_no_radius():
    x = np.full((1, 2, 2), 127 / 255, np.float32)
    found = SmoothedSegmentation(brightness, Gaussian("1/5"), 2).certify(x)
    assert (found.labels == ABSTAINS).all() and found.radius == 0


def test_a_nan_is_no_class():
    def broken(z):
        scores = brightness(z)
        scores[:, 0, 0, 0] = float("nan")
        return scores

    found = SmoothedSegmentation(broken, Gaussian("1/5"), 2).certify(np.zeros((1, 2, 2), np.float32))
    assert found.labels[0, 0] == ABSTAINS and (found.labels.ravel()[1:] == 0).all()


@pytest.mark.parametrize("change", [{"tau": "1/2"}, {"tau": 1}, {"samples": 0}, {"alpha": 0}, {"method": "hope"}])
def test_refusals(change):
    with pytest.raises(UsageError):
        SmoothedSegmentation(brightness, Gaussian(1), 2).certify(np.zeros((1, 2, 2), np.float32), **change)
    with pytest.raises(UsageError, match="training mode"):
        SmoothedSegmentation(torch.nn.Dropout(0.5), Gaussian(1), 2)
    with pytest.raises(UsageError, match="scores"):
        SmoothedSegmentation(lambda z: z, Gaussian(1), 2).certify(np.zeros((1, 2, 2), np.float32))
