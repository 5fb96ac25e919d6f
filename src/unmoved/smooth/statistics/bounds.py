"""From vote counts to probability bounds and radii, always rounded to the safe side.

Counts are of n independent noisy copies. A is the class under test, chosen beforehand from other copies;
p_c = P(f = c).

**The two-class bound needs no union over the classes.** Let alpha = a1 + a2, and let B be a class other than A with the
largest true probability, p_B = max_{j != A} p_j. B is fixed by f and x: it is unknown, but it is not random. So its
count n_B is binomial (n, p_B), and P(p_B > CPup(n_B, n, a2)) <= a2 by Clopper and Pearson. Whatever class got the
most votes, max_{j != A} n_j >= n_B, and CPup grows with its count, hence CPup(max_{j != A} n_j, n, a2) >= CPup(n_B,
n, a2). So P(max_{j != A} p_j > CPup(max_{j != A} n_j, n, a2)) <= a2: one event for one class, not one for each.
Together with P(p_A < CPlow(n_A, n, a1)) <= a1, both bounds hold with probability >= 1 - alpha; and where p_A >=
p_low, p_j <= 1 - p_low for every j != A, so that the minimum of both upper bounds is one as well.

**Rounding.** scipy's quantiles may lie on either side of the exact ones by some 1e-12. Every quantile is therefore
tested by the distribution function it inverts, moved outward until it passes, and then moved outward once more by
MARGIN, far above the errors of both functions (the tests compare with 50 digits), which costs nothing that matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from scipy import special

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down

MARGIN = 1e-11
"""Relative outward move of every quantile."""

MAX_RATIO = 6.0
"""Largest radius / sigma for which a number of samples is named (some 1e10 of them)."""


@dataclass(frozen=True)
class Bounds:
    """P(f = top) >= `p_low` and P(f = c) <= `p_high` for every other c, together, with probability >= 1 - alpha."""

    p_low: float
    p_high: float


@lru_cache(maxsize=65536)
def clopper_pearson_low(successes: int, trials: int, alpha: float) -> float:
    """Return p with P(p <= true probability) >= 1 - alpha: at most the alpha quantile of Beta(k, n - k + 1).

    Clopper and Pearson 1934. 0 for k = 0; alpha^(1/n) for k = n. Tested by
    P(Bin(n, p) >= k) = I_p(k, n - k + 1) <= alpha.
    """
    _check(successes, trials, alpha)
    if successes == 0:
        return 0.0
    rest = trials - successes + 1
    low = float(special.betaincinv(successes, rest, alpha))
    while low > 0 and not special.betainc(successes, rest, low) <= alpha:
        low *= 1 - MARGIN
    return low * (1 - MARGIN)


@lru_cache(maxsize=65536)
def clopper_pearson_high(successes: int, trials: int, alpha: float) -> float:
    """Return p with P(true probability <= p) >= 1 - alpha: at least the 1 - alpha quantile of Beta(k + 1, n - k).

    1 for k = n. Tested by P(Bin(n, p) <= k) = 1 - I_p(k + 1, n - k) <= alpha; the complement keeps tiny alphas exact.
    """
    _check(successes, trials, alpha)
    if successes == trials:
        return 1.0
    rest = trials - successes
    high = float(special.betainccinv(successes + 1, rest, alpha))
    while high < 1 and not special.betaincc(successes + 1, rest, high) <= alpha:
        high *= 1 + MARGIN
    return min(1.0, high * (1 + MARGIN))


def _check(successes: int, trials: int, alpha: float) -> None:
    if not 0 <= successes <= trials or trials < 1:
        raise UsageError("counts", (successes, trials), "0 <= successes <= trials, trials >= 1")
    if not 0 < alpha < 1:
        raise UsageError("alpha", alpha, "a number strictly between 0 and 1")


def one_class(counts: Sequence[int], top: int, alpha: Fraction) -> Bounds:
    """Return CPlow(n_A, n, alpha) and one minus it (Cohen, Rosenfeld and Kolter 2019, section 3.2.2)."""
    low = clopper_pearson_low(counts[top], sum(counts), float_down(alpha))
    return Bounds(low, _complement(low))


def two_class(counts: Sequence[int], top: int, alpha: Fraction) -> Bounds:
    """Return CPlow(n_A, n, alpha/2) and min(CPup(max_{j != A} n_j, n, alpha/2), 1 - p_low); proof: see the file."""
    share, total = float_down(alpha / 2), sum(counts)
    low = clopper_pearson_low(counts[top], total, share)
    rival = max((count for label, count in enumerate(counts) if label != top), default=0)
    return Bounds(low, min(clopper_pearson_high(rival, total, share), _complement(low)))


BOUNDS: dict[str, Callable[[Sequence[int], int, Fraction], Bounds]] = {
    "one-class": one_class,
    "two-class": two_class,
}
"""The bounds by name, as the command line and the certificates call them."""


def _complement(p: float) -> float:
    """Return a float >= 1 - p."""
    return min(1.0, math.nextafter(1 - p, math.inf))


def bound_named(name: str) -> Callable[[Sequence[int], int, Fraction], Bounds]:
    """Return the bound called `name`; raises UsageError naming the known ones."""
    if name not in BOUNDS:
        raise UsageError("bound", name, " or ".join(BOUNDS))
    return BOUNDS[name]


def quantile_low(p: float) -> float:
    """Return a float <= Phi^-1(p); -inf for p = 0."""
    value = float(special.ndtri(p))
    return value if math.isinf(value) else value - abs(value) * MARGIN


def quantile_high(p: float) -> float:
    """Return a float >= Phi^-1(p); inf for p = 1."""
    value = float(special.ndtri(p))
    return value if math.isinf(value) else value + abs(value) * MARGIN


def gaussian_radius(p_low: float, p_high: float, sigma: Fraction) -> float:
    """Return sigma/2 (Phi^-1(p_low) - Phi^-1(p_high)), rounded down (Cohen et al. 2019, theorem 1).

    Zero or negative (-inf where a bound is trivial) when nothing is certified.
    """
    span = math.nextafter(quantile_low(p_low) - quantile_high(p_high), -math.inf)
    if span <= 0:
        return span
    return math.nextafter(float_down(sigma / 2) * span, -math.inf)


def binomial_test(first: int, second: int) -> float:
    """Return the two-sided p-value, rounded up, of `first` of first + second votes at probability 1/2.

    Abstaining unless it is <= alpha, predict is wrong with probability <= alpha (Hung and Fithian 2019, theorem 1;
    Cohen et al. 2019, proposition 1). Symmetric, so twice the upper tail: 2 I_{1/2}(first, second + 1).
    """
    if first <= second:
        return 1.0
    return min(1.0, 2 * float(special.betainc(first, second + 1, 0.5)) * (1 + MARGIN))


def largest_radius(samples: int, alpha: Fraction, sigma: Fraction, bound: str = "two-class") -> float:
    """Return the radius if all `samples` votes agree, rounded down; zero or negative: nothing can be certified."""
    found = bound_named(bound)((samples, 0), 0, alpha)
    return gaussian_radius(found.p_low, found.p_high, sigma)


def samples_needed(alpha: Fraction, ratio: float, bound: str = "two-class") -> int:
    """Return the least number of samples at which a unanimous vote certifies a radius > ratio * sigma.

    Raises UsageError unless 0 <= ratio <= 6.
    """
    if not 0 <= ratio <= MAX_RATIO:
        raise UsageError("radius / sigma", ratio, f"a number from 0 to {MAX_RATIO:g}")

    def enough(samples: int) -> bool:
        return largest_radius(samples, alpha, Fraction(1), bound) > ratio

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
