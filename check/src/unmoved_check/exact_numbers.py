"""Dyadic numbers as integers with a shared exponent: n stands for n * 2^-exp. Nothing here rounds unless it says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

KEPT_BITS = 96
"""Coefficients are re-rounded, in the direction that keeps them valid, to this many bits below the row's largest."""

WIDEST = 1024
"""Intervals wider than this many bits are rounded outward."""


def times_power(number: int, exp: int) -> Fraction:
    """Number * 2^-exp."""
    return Fraction(number, 1 << exp) if exp >= 0 else Fraction(number << -exp)


def floor_at(number: Fraction, exp: int) -> int:
    """The largest n with n * 2^-exp <= number."""
    if exp >= 0:
        return (number.numerator << exp) // number.denominator
    return number.numerator // (number.denominator << -exp)


def ceil_at(number: Fraction, exp: int) -> int:
    """The smallest n with n * 2^-exp >= number."""
    return -floor_at(-number, exp)


def dyadic_exp(number: Fraction) -> int | None:
    """The least exp >= 0 at which the number is an integer, None when there is none."""
    d = number.denominator
    return d.bit_length() - 1 if d & (d - 1) == 0 else None


def scaled_floats(numbers: Iterable[float]) -> tuple[list[int], int]:
    """Finite floats as integers of one exponent, exactly."""
    ratios = [x.as_integer_ratio() for x in numbers]
    exp = max((d.bit_length() for _, d in ratios), default=1) - 1
    return [n << (exp + 1 - d.bit_length()) for n, d in ratios], exp


def rescaled(numbers: list[int], shift: int) -> list[int]:
    """The same values at an exponent larger by `shift` >= 0."""
    return [n << shift for n in numbers] if shift else numbers


@dataclass
class Interval:
    """low[i] * 2^-exp <= v[i] <= high[i] * 2^-exp for every element of one value."""

    low: list[int]
    high: list[int]
    exp: int

    def largest(self, i: int) -> int:
        """A bound of |v[i]|."""
        return max(-self.low[i], self.high[i])

    def finer(self, exp: int) -> Interval:
        """The same interval at an exponent of at least `exp`."""
        shift = max(exp - self.exp, 0)
        return Interval(rescaled(self.low, shift), rescaled(self.high, shift), self.exp + shift)

    def compact(self) -> Interval:
        """The interval rounded outward when its numbers have grown very long."""
        top = max((max(abs(a), abs(b)) for a, b in zip(self.low, self.high, strict=True)), default=0).bit_length()
        drop = top - WIDEST // 2 if top > WIDEST else 0
        if not drop:
            return self
        return Interval([a >> drop for a in self.low], [-(-b >> drop) for b in self.high], self.exp - drop)


@dataclass
class Form:
    """sum over v of coefs[v] . v + constant: a lower bound of what is to be proved, while it walks back to the input.

    coefs[v] = (integers, exponent); the constant is `number` * 2^-exp.
    """

    coefs: dict[int, tuple[list[int], int]] = field(default_factory=dict)
    number: int = 0
    exp: int = 0

    def add(self, value: int, coefs: list[int], exp: int) -> None:
        """Add coefs . value."""
        if value not in self.coefs:
            self.coefs[value] = (coefs, exp)
            return
        old, old_exp = self.coefs[value]
        common = max(exp, old_exp)
        old, coefs = rescaled(old, common - old_exp), rescaled(coefs, common - exp)
        self.coefs[value] = ([a + b for a, b in zip(old, coefs, strict=True)], common)

    def charge(self, number: int, exp: int) -> None:
        """Add number * 2^-exp to the constant."""
        if not number:
            return
        common = max(exp, self.exp)
        self.number = (self.number << (common - self.exp)) + (number << (common - exp))
        self.exp = common

    @property
    def constant(self) -> Fraction:
        """The constant as a rational."""
        return times_power(self.number, self.exp)


def least_on(coefs: Sequence[int], interval: Interval) -> int:
    """The least sum of coefs[i] * v[i] over the interval, at the sum of both exponents."""
    return sum(a * (lo if a > 0 else hi) for a, lo, hi in zip(coefs, interval.low, interval.high, strict=True) if a)
