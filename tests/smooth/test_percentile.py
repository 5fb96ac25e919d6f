"""Percentiles of smoothed regression against functions whose percentiles are known everywhere (Chiang et al. 2020)."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian
from unmoved.smooth.classifiers.percentile import SmoothedRegression, percentile_bounds
from unmoved.smooth.noises.laplace import Laplace

ALPHA = Fraction(1, 1000)


@pytest.mark.parametrize("p", ["1/2", "1/10", "0.9"])
@pytest.mark.parametrize("eps", [0.0, 0.1, 0.4])
def test_ranks_are_the_extreme_ones_the_binomial_allows(p, eps):
    n, noise = 2000, Gaussian("1/2")
    found = percentile_bounds(np.arange(1.0, n + 1), noise, eps, percentile=p, alpha=ALPHA)
    v, u = (norm.cdf(norm.ppf(float(Fraction(p))) + side * eps / 0.5) for side in (-1, 1))
    j, k = found.low_rank, found.high_rank
    assert found.low == (j or -np.inf) and found.high == (k if k <= n else np.inf)
    assert found.value == np.ceil(Fraction(p) * n)
    if j:
        assert binom.cdf(j - 1, n, v) <= 0.0005
    assert binom.cdf(j, n, v) > 0.0005 * (1 - 1e-6)
    if k <= n:
        assert binom.sf(k - 1, n, u) <= 0.0005
        assert binom.sf(k - 2, n, u) > 0.0005 * (1 - 1e-6)


def test_linear_function_has_known_percentiles():
    """f(z) = w.z: h_p(x') = w.x' + s ||w|| Phi^-1(p); the bounds hold for the worst x', and are near it."""
    w, eps, n = torch.tensor([3.0, -4.0]), 0.2, 20_000
    x = np.array([100, 50], np.float32) / np.float32(255)
    regression = SmoothedRegression(lambda z: z @ w, Gaussian("1/2"), batch=500)
    found = regression.certify(x, eps, samples=n)
    centre = float(x.astype(float) @ w.double().numpy())
    assert found.low <= centre - 5 * eps and centre + 5 * eps <= found.high
    assert found.low > centre - 5 * eps - 0.15 and found.high < centre + 5 * eps + 0.15
    assert abs(found.value - centre) < 0.1
    upper = regression.certify(x, eps, percentile="0.9", samples=n)
    due = centre + 2.5 * norm.ppf(0.9)
    assert upper.low <= due - 1 and due + 1 <= upper.high < due + 1.25


@pytest.mark.parametrize(("noise", "law"), [(Gaussian("1/2", 64), norm), (Laplace("1/2", 64), None)])
def test_error_rate_with_jumps(noise, law):
    """A step function, whose percentiles jump with x': the bounds fail no more often than alpha says."""
    random, eps, n, wrong = np.random.default_rng(3), 0.25, 200, 0
    below = norm(scale=0.5).cdf if law else lambda t: np.where(t < 0, np.exp(t / 0.5) / 2, 1 - np.exp(-t / 0.5) / 2)
    draw = (lambda: random.normal(0, 0.5, n)) if law else (lambda: random.laplace(0, 0.5, n))
    cuts, levels = np.array([-0.5, 0.0, 0.1, 0.7]), np.array([0.0, 1.0, 1.5, 2.0, 7.0])

    def percentile_at(x):
        """inf{y : P(f <= y) >= 1/2}: P(f <= levels[i]) is the chance of lying left of the cut i."""
        return levels[int(np.argmax(np.append(below(cuts - x), 1.0) >= 0.5))]

    truths = [percentile_at(x) for x in np.linspace(-eps, eps, 101)]
    for _ in range(400):
        values = levels[np.searchsorted(cuts, draw())]
        found = percentile_bounds(values, noise, eps, alpha=Fraction(1, 10))
        wrong += found.low > min(truths) or found.high < max(truths)
    assert wrong <= binom.ppf(1 - 1e-6, 400, 0.1)
    assert len(set(truths)) > 1


def test_a_nan_widens_both_ways():
    values = np.linspace(0, 1, 1000)
    plain = percentile_bounds(values, Gaussian(1), 0.1, alpha=ALPHA)
    values[::4] = np.nan
    holes = percentile_bounds(values, Gaussian(1), 0.1, alpha=ALPHA)
    assert holes.low < plain.low and holes.high > plain.high
    few = percentile_bounds(np.array([1.0, np.nan, 2.0]), Gaussian(1), 0.1, alpha=ALPHA)
    assert few.low == -np.inf and few.high == np.inf and (few.low_rank, few.high_rank) == (0, 4)


def test_off_the_grid_widens():
    regression = SmoothedRegression(lambda z: z[:, :1], Gaussian("1/2"), batch=100)
    on, off = (regression.certify(np.full(100, v, np.float32), 0.1, samples=2000) for v in (0.2, 0.2011))
    assert off.high_rank > on.high_rank and off.low_rank < on.low_rank


def test_refusals():
    for values, p, eps in (
        (np.zeros(0), "1/2", 0.1),
        (np.zeros(3), 0, 0.1),
        (np.zeros(3), 1, 0.1),
        (np.zeros(3), 0.5, -1),
    ):
        with pytest.raises(UsageError):
            percentile_bounds(values, Gaussian(1), eps, percentile=p, alpha=ALPHA)
    x = np.zeros(3, np.float32)
    with pytest.raises(UsageError, match="numbers"):
        SmoothedRegression(lambda z: z, Gaussian(1)).certify(x, 0.1, samples=10)
    with pytest.raises(UsageError, match="training mode"):
        SmoothedRegression(torch.nn.Dropout(0.5), Gaussian(1))
    for change in ({"samples": 0}, {"alpha": 0}, {"alpha": "1e-15"}):
        with pytest.raises(UsageError):
            SmoothedRegression(lambda z: z[:, 0], Gaussian(1)).certify(x, 0.1, **change)
