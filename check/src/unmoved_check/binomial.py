"""Clopper-Pearson bounds that are never on the wrong side, in integer arithmetic alone.

X is binomial(n, p). The a-quantile of Beta(k, n - k + 1) is the p at which P(X >= k) = a (Clopper and Pearson, 1934);
P(X >= k) increases with p, so a p with a *proved* P(X >= k) <= a is at or below that quantile. How p was found
does not matter; only the proof in `_tail_at_most` decides. No float takes part.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import isqrt

from unmoved_check.normal import WORK, exp_bounds

__all__ = ["clopper_pearson_high", "clopper_pearson_low"]

PLACES = 256
ONE = 1 << PLACES
UNIT = 192
_DEPTH = 150


def _significant(numerator: int, denominator: int) -> tuple[int, int]:
    """Return (ratio, shift) with ratio = floor(numerator * 2^shift / denominator) of about UNIT bits, shift >= 0."""
    shift = max(0, UNIT - numerator.bit_length() + denominator.bit_length())
    return (numerator << shift) // denominator, shift


def _weights(k: int, n: int, p: int) -> tuple[int, int]:
    """Return (upper, lower) with P(X >= k) <= upper / (upper + lower), for 0 < k <= n and 0 < p < ONE.

    Write r_j = P(X = j) / P(X = k), U = sum_{j >= k} r_j, L = sum_{j < k} r_j; then P(X >= k) = U / (U + L), which
    needs neither a binomial coefficient nor a power, and which grows with U and falls with L. Both are in units
    of 2^-UNIT.
    U from above: r_{j+1} = r_j (n - j) p / ((j + 1)(1 - p)), rounded up. This ratio falls with j, so once it is
    below 1 the terms after j add up to at most r_j ratio / (1 - ratio).
    L from below: r_{j-1} = r_j j (1 - p) / ((n - j + 1) p), rounded down; any partial sum is a lower bound.
    """
    q = ONE - p
    odds, shift = _significant(p, q)
    odds += 1
    term = upper = 1 << UNIT
    j = k
    while j < n:
        rise, fall = (n - j) * p, (j + 1) * q
        if term >> (UNIT - _DEPTH) == 0 and rise < fall:
            upper += term * rise // (fall - rise) + 1
            break
        term = (term * odds * (n - j) >> shift) // (j + 1) + 1
        upper += term
        j += 1
    odds, shift = _significant(q, p)
    term = 1 << UNIT
    lower = 0
    j = k
    while j > 0 and term > lower >> _DEPTH:
        term = (term * odds * j >> shift) // (n - j + 1)
        lower += term
        j -= 1
    return upper, lower


def _tail_at_most(k: int, n: int, p: int, level: Fraction) -> bool:
    """Return True only if P(X >= k) <= level is proved for X binomial(n, p / ONE)."""
    upper, lower = _weights(k, n, p)
    return upper * level.denominator <= level.numerator * (upper + lower)


def _log(ratio: Fraction) -> Fraction:
    """Return about ln(ratio), ratio > 0, to some 2^-180; it only steers the search."""
    binary = ratio.numerator.bit_length() - ratio.denominator.bit_length()
    mantissa = ratio / Fraction(2) ** binary
    total = 0
    for weight, x in ((1, mantissa), (binary, Fraction(2))):
        y = ((x.numerator - x.denominator) << UNIT) // (x.numerator + x.denominator)
        square = y * y >> UNIT
        index = 1
        while abs(y) > 1:
            total += 2 * weight * y // index
            y = y * square >> UNIT
            index += 2
    return Fraction(total, 1 << UNIT)


def _guess(k: int, n: int, level: Fraction) -> int:
    """Return a p near the quantile; nothing is claimed of it.

    Newton's method on ln P(X >= k) as a function of ln p, from Wilson's score bound. Its derivative is
    k P(X = k) / P(X >= k) = k / U. The function is increasing and concave (the law of ln Beta has a log-concave
    density), so after the first step the iterates rise to the quantile from below.
    """
    places = 64
    square = int(-2 * _log(level) * (1 << places))
    spread = ((k * (n - k)) << (2 * places)) // n + ((square << places) >> 2)
    root = isqrt(spread * square << places)
    wilson = ((k << (2 * places)) + (square << (places - 1)) - root) // ((n << places) + square)
    p = min(max(wilson << (PLACES - places), 1), ONE - 1)
    for _ in range(60):
        upper, lower = _weights(k, n, p)
        tail = Fraction(upper, upper + lower)
        step = _log(level / tail) * upper / (k << UNIT)
        step = min(max(step, Fraction(-128)), Fraction(128))
        factor = exp_bounds(abs(step))[0]
        moved = p * factor >> WORK if step >= 0 else (p << WORK) // factor
        p = max(moved, 1) if moved < ONE else (p + ONE) >> 1
        if abs(step) < Fraction(1, 1 << 120):
            break
    return p


@lru_cache(maxsize=65536)
def clopper_pearson_low(k: int, n: int, level: Fraction) -> Fraction:
    """Return a lower bound of the `level` quantile of Beta(k, n - k + 1) (0 if k = 0), in [0, 1).

    With X binomial(n, p) and k its outcome, p >= the bound with probability >= 1 - level. It is a multiple of
    2^-256, found near the quantile (within 1e-15 of it, relatively, unless that is below 2^-180 or 1 - level is
    below 1e-15), then moved down until the proof goes through. Needs 0 <= k <= n, n >= 1 and 0 < level < 1; raises
    ValueError otherwise.
    """
    if not (n >= 1 and 0 <= k <= n and 0 < level < 1):
        raise ValueError("clopper_pearson_low needs 0 <= k <= n, n >= 1, 0 < level < 1")
    if k == 0:
        return Fraction(0)
    guess = _guess(k, n, level)
    for places in range(110, 0, -10):
        p = guess - (guess >> places) - 1
        if p <= 0:
            break
        if _tail_at_most(k, n, p, level):
            return Fraction(p, ONE)
    return Fraction(0)


def clopper_pearson_high(k: int, n: int, level: Fraction) -> Fraction:
    """Return an upper bound of the 1 - `level` quantile of Beta(k + 1, n - k) (1 if k = n), in (0, 1].

    n - X is binomial(n, 1 - p), so this is 1 - clopper_pearson_low(n - k, n, level), without any rounding.
    """
    return 1 - clopper_pearson_low(n - k, n, level)
