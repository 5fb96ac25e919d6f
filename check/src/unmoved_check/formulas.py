"""Values and slopes of the elementwise functions, each written once for any arithmetic that has the `Kit`'s verbs.

`plain` floats choose points (nothing is claimed of them), spans of floats and spans of rationals enclose. Every formula
is free of cancellation that would matter: its absolute error is a few roundings of the larger of |f| and |x f'|.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any, Protocol

from unmoved_check.model.curve import Bracket

Number = Any
"""What a kit computes with: floats, arrays, or spans; it has + - * / with its like."""


class Kit(Protocol):
    """One arithmetic."""

    def number(self, bracket: Bracket) -> Number:
        """A real number between two rationals."""
        ...

    def exp(self, x: Number) -> Number:
        """e^x."""
        ...

    def log(self, x: Number) -> Number:
        """The natural logarithm, x > 0."""
        ...

    def sqrt(self, x: Number) -> Number:
        """The square root, x >= 0."""
        ...

    def erf(self, x: Number) -> Number:
        """The error function."""
        ...

    def sigmoid(self, x: Number) -> Number:
        """1 / (1 + e^-x)."""
        ...

    def softplus(self, x: Number) -> Number:
        """log(1 + e^x)."""
        ...

    def gate(self, x: Number) -> Number:
        """tanh(log(1 + e^x)): the gate of Mish."""
        ...

    def atan(self, x: Number) -> Number:
        """The arc tangent."""
        ...

    def sine(self, x: Number, quarter: bool) -> Number:
        """Sin x, or cos x."""
        ...


Parameters = tuple[Bracket, ...]
Rule = Callable[[Kit, Number, list[Number]], Number]

_UNIT = 1 << 200


def _machin() -> tuple[int, int]:
    """Pi = 16 arctan(1/5) - 4 arctan(1/239), times 2^200; every term is off by less than 1, as is the rest."""
    total, count = 0, 0
    for factor, n in ((16, 5), (-4, 239)):
        power, k = _UNIT * 4 // n, 0
        while power:
            total += (1 if k % 2 == 0 else -1) * factor * (power // (2 * k + 1)) // 4
            power //= n * n
            count += 2 * abs(factor)
            k += 1
    return total - count, total + count


_PI = _machin()
PI: Bracket = (Fraction(_PI[0], _UNIT), Fraction(_PI[1], _UNIT))
ROOT_PI: Bracket = (Fraction(isqrt(_PI[0] * _UNIT), _UNIT), Fraction(isqrt(_PI[1] * _UNIT) + 1, _UNIT))


def power(kit: Kit, x: Number, n: int) -> Number:
    """x^n for n >= 0."""
    result = kit.number((Fraction(1), Fraction(1)))
    for _ in range(n):
        result = result * x
    return result


def _power(kit: Kit, x: Number, exponent: Fraction) -> Number:
    """x^p: whole, half-whole (by a square root), or any other p (x > 0) by a logarithm."""
    one = kit.number((Fraction(1), Fraction(1)))
    size = abs(exponent)
    if exponent.denominator == 1:
        found = power(kit, x, int(size))
    elif exponent.denominator == 2:
        found = power(kit, x, int(size)) * kit.sqrt(x)
    else:
        return kit.exp(kit.number((exponent, exponent)) * kit.log(x))
    return found if exponent > 0 else one / found


@dataclass(frozen=True)
class Formula:
    """f and f', as rules of a kit, a point and the parameters."""

    value: Rule
    slope: Rule


def _one(kit: Kit) -> Number:
    return kit.number((Fraction(1), Fraction(1)))


def _two(kit: Kit) -> Number:
    return kit.number((Fraction(2), Fraction(2)))


def _bell(kit: Kit, x: Number) -> Number:
    return kit.sigmoid(x) * kit.sigmoid(-x)


def _density(kit: Kit, x: Number) -> Number:
    """e^(-x^2) / sqrt(pi)."""
    return kit.exp(-(x * x)) / kit.number(ROOT_PI)


def _gelu_slope(kit: Kit, x: Number, p: list[Number]) -> Number:
    return (_one(kit) + kit.erf(x)) / _two(kit) + x * _density(kit, x)


def _cubic(kit: Kit, x: Number, p: list[Number]) -> Number:
    """X (a + b x^2), which tanh takes: x (1 + tanh(.)) / 2 = x sigmoid(2 .)."""
    return _two(kit) * x * (p[0] + p[1] * x * x)


def _cubic_slope(kit: Kit, x: Number, p: list[Number]) -> Number:
    three = kit.number((Fraction(3), Fraction(3)))
    inner = _cubic(kit, x, p)
    return kit.sigmoid(inner) + x * _bell(kit, inner) * _two(kit) * (p[0] + three * p[1] * x * x)


def _mish_slope(kit: Kit, x: Number, p: list[Number]) -> Number:
    gate = kit.gate(x)
    return gate + x * (_one(kit) - gate) * (_one(kit) + gate) * kit.sigmoid(x)


FORMULAS: dict[str, Formula] = {
    "line": Formula(lambda k, x, p: p[0] * x + p[1], lambda k, x, p: p[0]),
    "sigmoid": Formula(lambda k, x, p: k.sigmoid(x), lambda k, x, p: _bell(k, x)),
    "tanh": Formula(
        lambda k, x, p: _two(k) * k.sigmoid(_two(k) * x) - _one(k),
        lambda k, x, p: _two(k) * _two(k) * _bell(k, _two(k) * x),
    ),
    "erf": Formula(lambda k, x, p: k.erf(x), lambda k, x, p: _two(k) * _density(k, x)),
    "exp": Formula(lambda k, x, p: k.exp(x), lambda k, x, p: k.exp(x)),
    "log": Formula(lambda k, x, p: k.log(x), lambda k, x, p: _one(k) / x),
    "softplus": Formula(lambda k, x, p: k.softplus(x), lambda k, x, p: k.sigmoid(x)),
    "silu": Formula(lambda k, x, p: x * k.sigmoid(x), lambda k, x, p: k.sigmoid(x) + x * _bell(k, x)),
    "gelu": Formula(lambda k, x, p: x * (_one(k) + k.erf(x)) / _two(k), _gelu_slope),
    "gelu-tanh": Formula(lambda k, x, p: x * k.sigmoid(_cubic(k, x, p)), _cubic_slope),
    "mish": Formula(lambda k, x, p: x * k.gate(x), _mish_slope),
    "expm1": Formula(lambda k, x, p: p[0] * (k.exp(p[1] * x) - _one(k)), lambda k, x, p: p[0] * p[1] * k.exp(p[1] * x)),
    "quadratic": Formula(lambda k, x, p: x * (p[0] * x + p[1]), lambda k, x, p: _two(k) * p[0] * x + p[1]),
    "softsign": Formula(
        lambda k, x, p: x / (_one(k) + p[0] * x),
        lambda k, x, p: _one(k) / ((_one(k) + p[0] * x) * (_one(k) + p[0] * x)),
    ),
    "atan": Formula(lambda k, x, p: k.atan(x), lambda k, x, p: _one(k) / (_one(k) + x * x)),
    "sin": Formula(lambda k, x, p: k.sine(x, False), lambda k, x, p: k.sine(x, True)),
    "cos": Formula(lambda k, x, p: k.sine(x, True), lambda k, x, p: -k.sine(x, False)),
}
"""By name; `power p` is made by `formula`."""


def formula(name: str) -> Formula:
    """The formula of that name, or, for `power p`, x^p and p x^(p - 1)."""
    if name in FORMULAS:
        return FORMULAS[name]
    exponent = Fraction(name.removeprefix("power "))
    number = (exponent, exponent)
    return Formula(
        lambda k, x, p: _power(k, x, exponent), lambda k, x, p: k.number(number) * _power(k, x, exponent - 1)
    )
