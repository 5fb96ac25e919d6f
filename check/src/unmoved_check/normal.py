"""Enclosures of the standard normal law: every interval holds the true value, by integer arithmetic alone.

Numbers are fixed-point integers: `v` stands for `v / 2**WORK`, and `z` (a point of the real line) for
`z / 2**POINT`. Lower ends are rounded down and upper ends up at every operation; no float takes part.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import isqrt

__all__ = ["CONFINES", "WORK", "exp_bounds", "normal_cdf_bounds", "normal_quantile_bounds", "root_two_pi"]

WORK = 640
POINT = 128
ONE = 1 << WORK
CONFINES = 256
"""`normal_quantile_bounds` serves p in [2^-CONFINES, 1 - 2^-CONFINES]; there |quantile| < 18.7."""

_REACH = 20 << POINT


def _ceil_shift(value: int, bits: int) -> int:
    """Return ceil(value / 2^bits)."""
    return -(-value >> bits)


def exp_bounds(exponent: Fraction) -> tuple[int, int]:
    """Enclose e^exponent (exponent >= 0): low <= e^exponent * 2^WORK <= high.

    e^y = (e^x)^(2^m) with x = y / 2^m < 2^-8, and e^x by its Taylor series. All terms are positive, so the
    truncated sum of rounded-down terms is a lower bound. Upper bound: the terms t_i are rounded up and
    t_{i+1} <= t_i x / (i + 1) < t_i 2^-8 for the true ones, so what follows the last term t that was added is
    below t (2^-8 + 2^-16 + ...) < t: t is added once more. Squaring is monotone on positive numbers.
    """
    halvings = int(exponent).bit_length() + 8
    numerator, denominator = exponent.numerator << WORK, exponent.denominator << halvings
    x_low = numerator // denominator
    x_high = -(-numerator // denominator)
    low = term = ONE
    index = 0
    while term:
        index += 1
        term = (term * x_low >> WORK) // index
        low += term
    high = term = ONE
    index = 0
    while term > 1:
        index += 1
        term = -(-_ceil_shift(term * x_high, WORK) // index)
        high += term
    high += term
    for _ in range(halvings):
        low = low * low >> WORK
        high = _ceil_shift(high * high, WORK)
    return low, high


def _arctan_reciprocal(n: int) -> tuple[int, int]:
    """Enclose arctan(1/n), n > 1, by its alternating series.

    Nested floors equal one floor, so each of the `count` terms is off by less than 1; the series alternates and
    decreases, so the rest is below the first term left out, which is below 1.
    """
    power = ONE // n
    total = 0
    count = 0
    while power:
        term = power // (2 * count + 1)
        total += -term if count % 2 else term
        power //= n * n
        count += 1
    return total - count - 1, total + count + 1


@lru_cache(maxsize=1)
def root_two_pi() -> tuple[int, int]:
    """Enclose sqrt(2 pi), with pi = 16 arctan(1/5) - 4 arctan(1/239) (Machin)."""
    five_low, five_high = _arctan_reciprocal(5)
    other_low, other_high = _arctan_reciprocal(239)
    low = 16 * five_low - 4 * other_high
    high = 16 * five_high - 4 * other_low
    return isqrt(2 * low << WORK), isqrt(2 * high << WORK) + 1


def normal_cdf_bounds(z: int) -> tuple[int, int]:
    """Enclose Phi(z / 2^POINT): low <= Phi * 2^WORK <= high.

    For z >= 0: Phi(z) = 1/2 + s(z) / (sqrt(2 pi) e^(z^2/2)) with s(z) = sum_{j>=0} z^(2j+1) / (1 3 5 ... (2j+1)),
    because s' = 1 + z s and s(0) = 0, hence (s e^(-z^2/2))' = e^(-z^2/2). All terms are positive: the truncated
    sum rounded down is a lower bound. Upper: t_{j+1} = t_j z^2 / (2j + 3), a ratio that falls with j; the loop ends
    only where it is at most 1/2, so what follows the last term t is at most t (1/2 + 1/4 + ...) = t, added once
    more. For z < 0: Phi(z) = 1 - Phi(-z).
    """
    if z < 0:
        low, high = normal_cdf_bounds(-z)
        return ONE - high, ONE - low
    square = z * z
    low = high = term_low = term_high = z << (WORK - POINT)
    odd = 1
    while term_high > 1 or 2 * square > (odd + 2) << (2 * POINT):
        odd += 2
        term_low = (term_low * square >> (2 * POINT)) // odd
        term_high = -(-_ceil_shift(term_high * square, 2 * POINT) // odd)
        low += term_low
        high += term_high
    high += term_high
    exp_low, exp_high = exp_bounds(Fraction(square, 1 << (2 * POINT + 1)))
    root_low, root_high = root_two_pi()
    half = ONE >> 1
    below = (low << (2 * WORK)) // (exp_high * root_high)
    above = -(-(high << (2 * WORK)) // (exp_low * root_low))
    return half + below, half + above


def _quantile_guess(probability: Fraction) -> int:
    """Return a point near the quantile; nothing is claimed of it. Bisection, then Newton's method."""
    target = (probability.numerator << WORK) // probability.denominator
    low, high = -_REACH, _REACH
    for _ in range(14):
        middle = (low + high) >> 1
        if normal_cdf_bounds(middle)[0] < target:
            low = middle
        else:
            high = middle
    z = (low + high) >> 1
    for _ in range(12):
        exponent = exp_bounds(Fraction(z * z, 1 << (2 * POINT + 1)))[0]
        density = max(1, (1 << (3 * WORK)) // (exponent * root_two_pi()[0]))
        step = ((target - normal_cdf_bounds(z)[0]) << POINT) // density
        z = min(max(z + step, low), high)
        if abs(step) < 1 << (POINT - 100):
            break
    return z


@lru_cache(maxsize=4096)
def normal_quantile_bounds(probability: Fraction) -> tuple[Fraction, Fraction]:
    """Enclose Phi^-1(probability) strictly: low < quantile < high.

    A guess is moved outward until Phi_high(low) < probability < Phi_low(high) is proved; Phi increases, so the
    enclosure follows whatever the guess was. Raises ValueError
    unless 2^-CONFINES <= probability <= 1 - 2^-CONFINES.
    """
    edge = Fraction(1, 1 << CONFINES)
    if not edge <= probability <= 1 - edge:
        raise ValueError(f"probability outside [2^-{CONFINES}, 1 - 2^-{CONFINES}]")
    guess = _quantile_guess(probability)
    numerator, denominator = probability.numerator << WORK, probability.denominator
    margin = 1 << (POINT - 96)
    while normal_cdf_bounds(guess - margin)[1] * denominator >= numerator:
        margin <<= 4
    low = guess - margin
    margin = 1 << (POINT - 96)
    while normal_cdf_bounds(guess + margin)[0] * denominator <= numerator:
        margin <<= 4
    return Fraction(low, 1 << POINT), Fraction(guess + margin, 1 << POINT)
