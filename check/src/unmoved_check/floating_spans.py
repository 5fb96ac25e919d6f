"""Enclosures in float64: arrays low <= v <= high of exact reals, every operation rounded outward.

+ - * / and sqrt are IEEE's; numpy's exp, log, erf carry no guarantee and are used only to choose points. `exp` is ours:
x = k ln 2 + r, a polynomial in r, and an a-priori bound of its error (`_exp`). The others follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import erf, factorial

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_rounding import Array, U, down, float_down, float_up, gamma, up
from unmoved_check.formulas import PI, ROOT_PI
from unmoved_check.model.curve import Bracket

LN2_HIGH = float.fromhex("0x1.62e42feep-1")
"""The first 32 bits of ln 2: times an integer below 2^20 it is exact."""

LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
"""The rest, to 2^-86."""

LOG2_E = 1.4426950408889634
DEGREE = 14
EXP_LOSS = 64 * U
"""Relative error of `_exp`: see there."""

FARTHEST = 700.0
"""Beyond this e^x is over 1e304 or under 1e-304."""

TAYLOR = [1.0 / factorial(i) for i in range(DEGREE + 1)]


@dataclass(frozen=True)
class Span:
    """low <= v <= high, element by element; NaN where nothing is known."""

    low: Array
    high: Array

    def __neg__(self) -> Span:
        return Span(-self.high, -self.low)

    def __add__(self, other: Span) -> Span:
        return Span(down(self.low + other.low), up(self.high + other.high))

    def __sub__(self, other: Span) -> Span:
        return Span(down(self.low - other.high), up(self.high - other.low))

    def __mul__(self, other: Span) -> Span:
        return _outward([a * b for a in (self.low, self.high) for b in (other.low, other.high)])

    def __truediv__(self, other: Span) -> Span:
        clear = (other.low > 0.0) | (other.high < 0.0)
        below = Span(np.where(clear, other.low, np.nan), np.where(clear, other.high, np.nan))
        return _outward([a / b for a in (self.low, self.high) for b in (below.low, below.high)])


def _outward(ends: list[Array]) -> Span:
    """The hull of four rounded products or quotients, each off by less than a unit in the last place."""
    low, high = np.minimum(ends[0], ends[1]), np.maximum(ends[0], ends[1])
    for end in ends[2:]:
        low, high = np.minimum(low, end), np.maximum(high, end)
    return Span(down(low), up(high))


def _exp(x: Array) -> tuple[Array, Array]:
    """Bounds of e^x; (0, 1e-304) below -FARTHEST, NaN above FARTHEST.

    k is any integer |k| <= 1011 with |r| < 0.36, which is tested. k LN2_HIGH is exact (32 + 10 bits); x - k LN2_HIGH
    and k LN2_LOW, both below 0.37, and their difference round by at most 0.37 u + 2^-30 u + 0.36 u; ln 2 itself is
    known to 2^-86, |k| 2^-86 < 2^-23 u: |r' - r| < 0.75 u, a factor of e^(0.75 u). Taylor's rest:
    r^15 / 15! e^.36 < 2^-20 u.
    Horner with DEGREE steps of two roundings and coefficients of one: at most g_(2 DEGREE + 1) e^|r| / e^r
    <= 29.01 u e^0.72 < 60 u of the sum (Higham, section 5.1). All together below 62 u; scaling by 2^k is exact, for
    e^x > 2^-1011 is a normal number.
    """
    inside = np.clip(x, -FARTHEST, FARTHEST)
    k = np.rint(inside * LOG2_E)
    r = (inside - k * LN2_HIGH) - k * LN2_LOW
    total = np.full_like(r, TAYLOR[DEGREE])
    for c in reversed(TAYLOR[:DEGREE]):
        total = total * r + c
    value = np.ldexp(total, k.astype(np.int64))
    good = (np.abs(r) < 0.36) & (x <= FARTHEST)
    value = np.where(good, value, np.nan)
    tiny = x < -FARTHEST
    return (
        np.where(tiny, 0.0, down(value * (1.0 - EXP_LOSS))),
        np.where(tiny, 1e-303, up(value * (1.0 + EXP_LOSS))),
    )


def _log(x: Array) -> tuple[Array, Array]:
    """Log x = g + log w with w = x e^-g for any guess g, and 1 - 1/w <= log w <= w - 1."""
    positive = np.where(x > 0.0, x, np.nan)
    guess = np.log(positive)
    low, high = _exp(-guess)
    low, high = down(positive * low), up(positive * high)
    return down(guess + down(1.0 - up(1.0 / low))), up(guess + up(high - 1.0))


def _erf(x: Array) -> tuple[Array, Array]:
    """Erf |x| = 2 |x| / sqrt(pi) e^(-x^2) (1 + q/3 + q^2/15 + ...), q = 2 x^2: all terms are positive.

    A term is the one before times q / (2 n + 1): two roundings each (and q's two), one for the sum: at most g_(5 n).
    The loop ends at a ratio <= 1/2 where the last term is below u of the sum: what follows is less than that term.
    For |x| >= 6: 1 - erf < 2.2e-17 (erfc x < e^(-x^2) / (x sqrt pi)).
    """
    size = np.where(np.isfinite(x), np.minimum(np.abs(x), 6.0), 0.0)
    q = 2.0 * size * size
    most = float(q.max(initial=0.0))
    total, term, n = np.ones_like(q), np.ones_like(q), 0
    while True:
        n += 1
        term = term * q / (2.0 * n + 1.0)
        total = total + term
        if most <= 0.5 * (2.0 * n + 3.0) and bool((term <= U * total).all()):
            break
    loss = gamma(5 * n + 2) + 2 * U
    series = Span(down(total * (1.0 - loss)), up(total * (1.0 + loss)))
    square = Span(size, size) * Span(size, size)
    factor = Span(2.0 * size, 2.0 * size) / FloatKit.number(ROOT_PI) * FloatKit.exp(-square)
    found = factor * series
    far = np.abs(x) >= 6.0
    low = np.where(far, 1.0 - 2.0**-53, np.clip(found.low, 0.0, 1.0))
    high = np.where(far, 1.0, np.minimum(found.high, 1.0))
    nothing = np.where(np.isnan(x), np.nan, 0.0)
    return np.where(x >= 0.0, low, -high) + nothing, np.where(x >= 0.0, high, -low) + nothing


def _where(condition: NDArray[np.bool_], a: Span, b: Span) -> Span:
    return Span(np.where(condition, a.low, b.low), np.where(condition, a.high, b.high))


def _sigmoid(x: Array) -> tuple[Array, Array]:
    """1 / (1 + e) above 0, e / (1 + e) below, e = e^-|x|."""
    size = np.abs(x)
    e = FloatKit.exp(Span(-size, -size))
    one = Span(np.ones_like(x), np.ones_like(x))
    found = _where(x >= 0.0, one, e) / (one + e)
    return np.maximum(found.low, 0.0), np.minimum(found.high, 1.0)


def _softplus(x: Array) -> tuple[Array, Array]:
    """max(x, 0) + log(1 + e^-|x|), and log(1 + e) >= e - e^2 / 2 where that is more."""
    size = np.abs(x)
    e = FloatKit.exp(Span(-size, -size))
    one = Span(np.ones_like(x), np.ones_like(x))
    tail = FloatKit.log(one + e)
    half = Span(0.5 * one.low, 0.5 * one.low)
    small = e - e * e * half
    low = np.maximum(np.maximum(tail.low, small.low), 0.0)
    above = np.maximum(x, 0.0)
    return down(above + low), up(above + np.minimum(tail.high, e.high))


def _gate(x: Array) -> tuple[Array, Array]:
    """(1 + 2 q) / (1 + 2 q + 2 q^2), q = e^-x, above 0; (e^2 + 2 e) / (e^2 + 2 e + 2), e = e^x, below."""
    size = np.abs(x)
    e = FloatKit.exp(Span(-size, -size))
    one = Span(np.ones_like(x), np.ones_like(x))
    twice = e + e
    right = (one + twice) / (one + twice + e * twice)
    left = (e * e + twice) / (e * e + twice + one + one)
    found = _where(x >= 0.0, right, left)
    return np.maximum(found.low, 0.0), np.minimum(found.high, 1.0)


def _atan(x: Array) -> tuple[Array, Array]:
    """Three halvings, atan x = 2 atan(x / (1 + sqrt(1 + x^2))), then the alternating series."""
    one, y = Span(np.ones_like(x), np.ones_like(x)), Span(x, x)
    for _ in range(3):
        y = y / (one + FloatKit.sqrt(one + y * y))
    square, total = y * y, Span(np.zeros_like(x), np.zeros_like(x))
    for n in range(12, -1, -1):
        total = FloatKit.number((Fraction((-1) ** n, 2 * n + 1),) * 2) + square * total
    # |y| <= tan(pi / 16) < 0.2: the term left out is below 0.2^27 / 27.
    rest = 2.0**-66
    found = y * Span(down(total.low - rest * 4), up(total.high + rest * 4))
    return 8.0 * found.low, 8.0 * found.high


def _sine(x: Array, quarter: bool) -> tuple[Array, Array]:
    """Sin or cos of x = k pi / 2 + r by r's series, |r| < 0.8; |x| <= 1e6, else [-1, 1]."""
    near = np.abs(x) <= 1e6
    k = np.rint(np.where(near, x, 0.0) / 1.5707963267948966)
    point = Span(np.where(near, x, 0.0), np.where(near, x, 0.0))
    r = point - Span(k, k) * FloatKit.number((PI[0] / 2, PI[1] / 2))
    square, shape = r * r, np.ones_like(x)
    odd, even = Span(0.0 * shape, 0.0 * shape), Span(0.0 * shape, 0.0 * shape)
    for n in range(10, -1, -1):
        sign = (-1) ** n
        odd = FloatKit.number((Fraction(sign, factorial(2 * n + 1)),) * 2) + square * odd
        even = FloatKit.number((Fraction(sign, factorial(2 * n)),) * 2) + square * even
    # alternating and falling: the terms left out are below 0.8^22 / 22! < 2^-76
    odd, rest = odd * r, 2.0**-70
    turn = (k.astype(np.int64) + int(quarter)) % 4
    found = _where(turn % 2 == 0, odd, even)
    found = Span(down(found.low - rest), up(found.high + rest))
    found = _where(turn >= 2, -found, found)
    good = near & (np.maximum(np.abs(r.low), np.abs(r.high)) < 0.8)
    return (
        np.where(good, np.maximum(found.low, -1.0), -1.0),
        np.where(good, np.minimum(found.high, 1.0), 1.0),
    )


def _monotone(rule, x: Span) -> Span:  # type: ignore[no-untyped-def]
    """The span of a rising function from bounds at both ends."""
    low, high = rule(x.low)
    if x.high is not x.low:
        high = rule(x.high)[1]
    return Span(low, high)


class FloatKit:
    """The verbs of `formulas.Kit` on spans."""

    @staticmethod
    def number(bracket: Bracket) -> Span:
        """A number between two rationals."""
        return Span(np.array(float_down(bracket[0])), np.array(float_up(bracket[1])))

    @staticmethod
    def exp(x: Span) -> Span:
        """e^x."""
        return _monotone(_exp, x)

    @staticmethod
    def log(x: Span) -> Span:
        """Log x."""
        return _monotone(_log, x)

    @staticmethod
    def sqrt(x: Span) -> Span:
        """Sqrt x, correctly rounded by IEEE."""
        return Span(np.maximum(down(np.sqrt(x.low)), 0.0), up(np.sqrt(x.high)))

    @staticmethod
    def erf(x: Span) -> Span:
        """Erf x."""
        return _monotone(_erf, x)

    @staticmethod
    def sigmoid(x: Span) -> Span:
        """1 / (1 + e^-x)."""
        return _monotone(_sigmoid, x)

    @staticmethod
    def softplus(x: Span) -> Span:
        """log(1 + e^x)."""
        return _monotone(_softplus, x)

    @staticmethod
    def gate(x: Span) -> Span:
        """tanh(softplus x)."""
        return _monotone(_gate, x)

    @staticmethod
    def atan(x: Span) -> Span:
        """Atan x."""
        return _monotone(_atan, x)

    @staticmethod
    def sine(x: Span, quarter: bool) -> Span:
        """Sin x or cos x at x.low, widened by the width of x (both have slopes within [-1, 1])."""
        low, high = _sine(x.low, quarter)
        width = up(x.high - x.low)
        return Span(np.maximum(down(low - width), -1.0), np.minimum(up(high + width), 1.0))


_erf_points = np.frompyfunc(erf, 1, 1)


class PlainKit:
    """The same verbs on plain arrays, to choose points: nothing is claimed of them."""

    @staticmethod
    def number(bracket: Bracket) -> float:
        """The middle."""
        return float((bracket[0] + bracket[1]) / 2)

    exp = staticmethod(np.exp)
    log = staticmethod(np.log)
    sqrt = staticmethod(np.sqrt)
    atan = staticmethod(np.arctan)

    @staticmethod
    def erf(x: Array) -> Array:
        """Erf x."""
        return np.asarray(_erf_points(x), dtype=np.float64)

    @staticmethod
    def sigmoid(x: Array) -> Array:
        """1 / (1 + e^-x)."""
        e = np.exp(-np.abs(x))
        return np.where(x >= 0.0, 1.0, e) / (1.0 + e)

    @staticmethod
    def softplus(x: Array) -> Array:
        """log(1 + e^x)."""
        return np.logaddexp(x, 0.0)

    @staticmethod
    def gate(x: Array) -> Array:
        """tanh(softplus x)."""
        return np.tanh(np.logaddexp(x, 0.0))

    @staticmethod
    def sine(x: Array, quarter: bool) -> Array:
        """Sin x or cos x."""
        return np.cos(x) if quarter else np.sin(x)
