"""Enclosures in rationals: pairs low <= v <= high, rounded outward to `KEPT` bits when they grow long."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, isqrt

from unmoved_check.formulas import PI, ROOT_PI
from unmoved_check.model.curve import Bracket
from unmoved_check.normal import WORK, exp_bounds
from unmoved_check.outcome import Rejection

KEPT = 224
"""Significant bits of the ends."""

FARTHEST = 1 << 14
"""Exponents of e beyond this are refused."""


def _down(number: Fraction) -> Fraction:
    """At most the number, with about KEPT significant bits."""
    if number.denominator.bit_length() + abs(number.numerator).bit_length() < 2 * KEPT:
        return number
    shift = KEPT + number.denominator.bit_length() - abs(number.numerator).bit_length()
    if shift >= 0:
        return Fraction((number.numerator << shift) // number.denominator, 1 << shift)
    return Fraction(number.numerator // (number.denominator << -shift) << -shift)


def _up(number: Fraction) -> Fraction:
    return -_down(-number)


@dataclass(frozen=True)
class Enclosed:
    """low <= v <= high."""

    low: Fraction
    high: Fraction

    def __neg__(self) -> Enclosed:
        return Enclosed(-self.high, -self.low)

    def __add__(self, other: Enclosed) -> Enclosed:
        return Enclosed(_down(self.low + other.low), _up(self.high + other.high))

    def __sub__(self, other: Enclosed) -> Enclosed:
        return Enclosed(_down(self.low - other.high), _up(self.high - other.low))

    def __mul__(self, other: Enclosed) -> Enclosed:
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Enclosed(_down(min(ends)), _up(max(ends)))

    def __truediv__(self, other: Enclosed) -> Enclosed:
        if other.low <= 0 <= other.high:
            raise Rejection("a division by what may be 0")
        ends = [a / b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Enclosed(_down(min(ends)), _up(max(ends)))


ONE, TWO = (Enclosed(Fraction(v), Fraction(v)) for v in (1, 2))


def _exp(x: Fraction) -> tuple[Fraction, Fraction]:
    if abs(x) > FARTHEST:
        raise Rejection("a number too large for an exponential")
    low, high = exp_bounds(abs(x))
    if x >= 0:
        return Fraction(low, 1 << WORK), Fraction(high, 1 << WORK)
    return Fraction(1 << WORK, high), Fraction(1 << WORK, low)


def _log(x: Fraction) -> tuple[Fraction, Fraction]:
    """Log x = g + log w, w = x e^-g, for any guess g; 1 - 1/w <= log w <= w - 1, twice for the sake of tightness."""
    if x <= 0:
        raise Rejection("a logarithm of what may be 0 or less")
    scale = x.numerator.bit_length() - x.denominator.bit_length()
    near = float(x / Fraction(2) ** scale)
    guess = Fraction(math.log(near)) + scale * Fraction(math.log(2))
    low, high = _exp(-guess)
    guess += _down(x * low) - 1
    low, high = _exp(-_down(guess))
    guess = _down(guess)
    return guess + 1 - 1 / (x * low), guess + x * high - 1


def _erf(x: Fraction) -> tuple[Fraction, Fraction]:
    """Erf |x| = 2 |x| e^(-x^2) / sqrt(pi) (1 + q/3 + q^2/15 + ...), q = 2 x^2; for |x| >= 12 within 2^-200 of 1."""
    if x < 0:
        mirrored = _erf(-x)
        return -mirrored[1], -mirrored[0]
    if x >= 12:
        return 1 - Fraction(1, 1 << 200), Fraction(1)
    unit = 1 << 320
    q = 2 * x * x
    q_low, q_high = q.numerator * unit // q.denominator, -(-q.numerator * unit // q.denominator)
    low = high = term_low = term_high = unit
    n = 0
    while term_high > 1 or 2 * q_high > (2 * n + 3) * unit:
        n += 1
        term_low = term_low * q_low // unit // (2 * n + 1)
        term_high = -(-term_high * q_high // (unit * (2 * n + 1)))
        low, high = low + term_low, high + term_high
    series = Enclosed(Fraction(low, unit), Fraction(high + term_high, unit))
    square = _exp(-x * x)
    point = Enclosed(2 * x, 2 * x)
    found = point * Enclosed(*square) / Enclosed(*ROOT_PI) * series
    return max(found.low, Fraction(0)), min(found.high, Fraction(1))


def _sigmoid(x: Fraction) -> tuple[Fraction, Fraction]:
    e = Enclosed(*_exp(-abs(x)))
    found = (ONE if x >= 0 else e) / (ONE + e)
    return found.low, found.high


def _softplus(x: Fraction) -> tuple[Fraction, Fraction]:
    low, high = _exp(-abs(x))
    above = max(x, Fraction(0))
    return above + max(_log(1 + low)[0], Fraction(0)), above + _log(1 + high)[1]


def _gate(x: Fraction) -> tuple[Fraction, Fraction]:
    e = Enclosed(*_exp(-abs(x)))
    twice = e + e
    found = (ONE + twice) / (ONE + twice + e * twice) if x >= 0 else (e * e + twice) / (e * e + twice + TWO)
    return found.low, found.high


def _atan(x: Fraction) -> tuple[Fraction, Fraction]:
    """Four halvings, atan x = 2 atan(x / (1 + sqrt(1 + x^2))), then the alternating series, |y| < 0.1."""
    y = Enclosed(x, x)
    for _ in range(4):
        y = y / (ONE + ExactKit.sqrt(ONE + y * y))
    square, total = y * y, Enclosed(Fraction(0), Fraction(0))
    for n in range(24, -1, -1):
        term = Fraction((-1) ** n, 2 * n + 1)
        total = Enclosed(term, term) + square * total
    rest = Fraction(1, 1 << 160)
    found = y * (total + Enclosed(-rest, rest))
    return 16 * found.low, 16 * found.high


def _sine(x: Fraction, quarter: bool) -> tuple[Fraction, Fraction]:
    """X = k pi / 2 + r, |r| < 0.8, and the series of sin or cos of r."""
    if abs(x) > 1 << 20:
        return Fraction(-1), Fraction(1)
    k = round(x * 2 / PI[0])
    r = Enclosed(x, x) - Enclosed(Fraction(k), Fraction(k)) * Enclosed(PI[0] / 2, PI[1] / 2)
    square, zero = r * r, Enclosed(Fraction(0), Fraction(0))
    turn = (k + int(quarter)) % 4
    total = zero
    for n in range(16, -1, -1):
        term = Fraction((-1) ** n, factorial(2 * n + (turn % 2 == 0)))
        total = Enclosed(term, term) + square * total
    total = total * r if turn % 2 == 0 else total
    rest = Fraction(1, 1 << 120)
    total = total + Enclosed(-rest, rest)
    total = -total if turn >= 2 else total
    return max(total.low, Fraction(-1)), min(total.high, Fraction(1))


def _rising(rule: Callable[[Fraction], tuple[Fraction, Fraction]], x: Enclosed) -> Enclosed:
    """A rising function of a pair from its bounds at both ends."""
    low, high = rule(x.low)
    return Enclosed(_down(low), _up(high if x.high == x.low else rule(x.high)[1]))


class ExactKit:
    """The verbs of `formulas.Kit` on pairs of rationals."""

    @staticmethod
    def number(bracket: Bracket) -> Enclosed:
        """A number between two rationals."""
        return Enclosed(*bracket)

    @staticmethod
    def exp(x: Enclosed) -> Enclosed:
        """e^x."""
        return _rising(_exp, x)

    @staticmethod
    def log(x: Enclosed) -> Enclosed:
        """Log x."""
        return _rising(_log, x)

    @staticmethod
    def erf(x: Enclosed) -> Enclosed:
        """Erf x."""
        return _rising(_erf, x)

    @staticmethod
    def sigmoid(x: Enclosed) -> Enclosed:
        """1 / (1 + e^-x)."""
        return _rising(_sigmoid, x)

    @staticmethod
    def softplus(x: Enclosed) -> Enclosed:
        """log(1 + e^x)."""
        return _rising(_softplus, x)

    @staticmethod
    def gate(x: Enclosed) -> Enclosed:
        """tanh(softplus x)."""
        return _rising(_gate, x)

    @staticmethod
    def atan(x: Enclosed) -> Enclosed:
        """Atan x."""
        return _rising(_atan, x)

    @staticmethod
    def sqrt(x: Enclosed) -> Enclosed:
        """The root, to about KEPT bits; 0 where x may be below."""
        shift = 2 * KEPT
        low = isqrt(max(int(x.low * (1 << shift)), 0))
        return Enclosed(Fraction(low, 1 << KEPT), Fraction(isqrt(int(x.high * (1 << shift)) + 1) + 1, 1 << KEPT))

    @staticmethod
    def sine(x: Enclosed, quarter: bool) -> Enclosed:
        """Sin or cos at x.low, widened by the width of x."""
        low, high = _sine(x.low, quarter)
        width = x.high - x.low
        return Enclosed(max(low - width, Fraction(-1)), min(high + width, Fraction(1)))


class ScalarKit:
    """The same verbs on plain floats, to choose points: nothing is claimed of them."""

    @staticmethod
    def number(bracket: Bracket) -> float:
        """The middle."""
        return float((bracket[0] + bracket[1]) / 2)

    @staticmethod
    def exp(x: float) -> float:
        """e^x."""
        return math.exp(min(x, 700.0))

    log = staticmethod(math.log)
    sqrt = staticmethod(math.sqrt)
    erf = staticmethod(math.erf)
    atan = staticmethod(math.atan)

    @staticmethod
    def sigmoid(x: float) -> float:
        """1 / (1 + e^-x)."""
        e = math.exp(-abs(x))
        return (1.0 if x >= 0 else e) / (1.0 + e)

    @staticmethod
    def softplus(x: float) -> float:
        """log(1 + e^x)."""
        return max(x, 0.0) + math.log1p(math.exp(-abs(x)))

    @staticmethod
    def gate(x: float) -> float:
        """tanh(softplus x)."""
        return math.tanh(ScalarKit.softplus(x))

    @staticmethod
    def sine(x: float, quarter: bool) -> float:
        """Sin x or cos x."""
        return math.cos(x) if quarter else math.sin(x)
