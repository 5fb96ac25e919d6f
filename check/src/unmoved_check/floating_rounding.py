"""Rigorous one-sided arithmetic in float64, round-to-nearest: the only place where roundings are counted.

u = 2^-53 is the unit roundoff: fl(a op b) = (a op b)(1 + d), |d| <= u, barring underflow and overflow; a product or
quotient that underflows is off by less than 2^-1022, a sum or difference is exact there (gradual underflow, which
`floating.require_ieee` tests for).

A sum of n products in any order, with or without FMA, satisfies |fl(a . b) - a . b| <= g_n |a| . |b|, with
g_n = n u / (1 - n u) (Higham, Accuracy and Stability, section 3.1): every product meets at most n roundings. We take
n <= 2^30, so n u <= 2^-23 and g_n < 1.001 n u. Blocked, padded and threaded BLAS add zeros or sum in trees of no
greater depth. Strassen's and Winograd's products are excluded.

Overflow makes an infinity or a NaN, which stays one in everything below (no step divides by it, and minima and maxima
are numpy's, which pass NaN on); results that are not finite are refused where they would be used.
"""

from __future__ import annotations

from fractions import Fraction
from math import inf, nextafter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from unmoved_check.outcome import Rejection

Array: TypeAlias = NDArray[np.float64]

U = 2.0**-53
TINY = 1e-290
"""More than 2^30 underflows of 2^-1022 (about 2e-299), which it stands for."""

SMALLEST = 2.0**-1074
"""The least float64 above 0: twice what one underflow can lose."""

LARGEST = 1e200
"""Bounds beyond this are refused: below it no difference, and no centre, of bounds can overflow."""

MOST_TERMS = 1 << 30


def gamma(n: int) -> float:
    """An upper bound of g_n, of g_n / (1 - g_n) and of g_(n+4): 1.05 (n + 6) u.

    For n <= 2^30: g_(n+4) / (1 - g_(n+4)) <= (n + 4) u (1 + 2^-21) < 1.05 (n + 6) u (1 - 4 u), the last factor for
    the roundings of this very formula.
    """
    if n > MOST_TERMS:
        raise Rejection("a sum of more than 2^30 terms")
    return 1.05 * (n + 6) * U


def raised(total: Array, n: int) -> Array:
    """An upper bound of a sum of n non-negative products, from its float64 value.

    exact <= (fl + n 2^-1022) / (1 - g_n), and 1 / (1 - g_n) = 1 + g_n / (1 - g_n) <= 1 + gamma(n) less 2 u for the
    rounding of 1 + gamma and of the product: gamma(n) covers n + 4 roundings.
    """
    return total * (1.0 + gamma(n)) + TINY


def down(value: Array) -> Array:
    """A number <= the exact sum or difference whose rounded value is given; NaN when that is infinite.

    (The number below infinity is a perfectly finite one: without the second term an overflow would look like a proof.)
    """
    return np.nextafter(value, -np.inf) + 0.0 * value


def up(value: Array) -> Array:
    """A number >= the exact sum or difference whose rounded value is given; NaN when that is infinite."""
    return np.nextafter(value, np.inf) + 0.0 * value


def float_down(number: Fraction) -> float:
    """The largest float64 <= number."""
    value = _nearest(number)
    return value if Fraction(value) <= number else nextafter(value, -inf)


def float_up(number: Fraction) -> float:
    """The smallest float64 >= number."""
    return -float_down(-number)


def nearest(low: Fraction, high: Fraction) -> tuple[float, float]:
    """A float64 m near [low, high] and an upper bound of |x - m| for every x in it (0 when m is it)."""
    middle = _nearest(low if low is high else (low + high) / 2)
    if low is high and low == middle:  # an exact comparison
        return middle, 0.0
    exact = Fraction(middle)
    return middle, float_up(max(abs(high - exact), abs(low - exact)))


def _nearest(number: Fraction) -> float:
    try:
        value = float(number)
    except OverflowError:
        raise Rejection("a number beyond float64") from None
    if abs(value) > LARGEST:
        raise Rejection("a number too large for floating-point checking")
    return value


def dots(a: Array, b: Array) -> Array:
    """Row-wise sums of a[r] * b over the last axis; b of shape (n,), (1, n) or (rows, n)."""
    if b.ndim == 1:
        return np.asarray(a @ b)
    if b.shape[0] == 1:
        return np.asarray(a @ b[0])
    return np.asarray(np.einsum("ij,ij->i", a, b))


def weighed(a: Array, price: Array) -> Array:
    """An upper bound of |a[r]| . price for every row, price >= 0."""
    return raised(np.asarray(np.abs(a) @ price), a.shape[1])
