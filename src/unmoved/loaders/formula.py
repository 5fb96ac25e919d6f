"""Conditions on the inputs and outputs of a network: linear atoms in exact rationals, and, or."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from unmoved.core.errors import LoadError

Name: TypeAlias = tuple[str, int]
"""An element of the inputs, ("x", i), or of the outputs, ("y", j), counted row by row."""


@dataclass(frozen=True, slots=True)
class Atom:
    """The sum of factor * variable is at most `bound`; less than it where `strict`. No factor is zero."""

    terms: tuple[tuple[Name, Fraction], ...]
    bound: Fraction
    strict: bool = False

    @property
    def bounds_one_input(self) -> bool:
        """Whether it only bounds one input element."""
        return len(self.terms) == 1 and self.terms[0][0][0] == "x"

    def holds(self, values: Mapping[str, Sequence[Fraction]]) -> bool:
        """Say exactly whether it holds of the values of "x" and "y"."""
        total = sum((factor * values[kind][i] for (kind, i), factor in self.terms), Fraction(0))
        return total < self.bound if self.strict else total <= self.bound


@dataclass(frozen=True, slots=True)
class Loose:
    """An atom that is not read: proofs do without it (they prove more), and no witness counts beside it."""

    why: str


@dataclass(frozen=True, slots=True)
class Both:
    """All parts hold."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One part at least holds."""

    parts: tuple[Formula, ...]


Formula: TypeAlias = Atom | Loose | Both | Either


@dataclass(frozen=True)
class Sum:
    """A linear expression: factors of variables, and a constant."""

    factors: Mapping[Name, Fraction]
    constant: Fraction = Fraction(0)

    def plus(self, other: Sum, times: int | Fraction = 1) -> Sum:
        """Return self + times * other."""
        factors = dict(self.factors)
        for name, factor in other.factors.items():
            factors[name] = factors.get(name, Fraction(0)) + times * factor
        return Sum(factors, self.constant + times * other.constant)

    def scaled(self, factor: Fraction) -> Sum:
        """Return factor * self."""
        return Sum({name: factor * value for name, value in self.factors.items()}, factor * self.constant)


def comparison(sign: str, left: Sum, right: Sum) -> Formula:
    """Return `left sign right` as a formula; `==` is two atoms, `!=` a choice of two. LoadError for another sign."""
    if sign == "==":
        return Both((comparison("<=", left, right), comparison(">=", left, right)))
    if sign == "!=":
        return Either((comparison("<", left, right), comparison(">", left, right)))
    if sign not in ("<=", "<", ">=", ">"):
        raise LoadError(f"{sign!r} is not a comparison")
    if sign[0] == ">":
        left, right = right, left
    difference = left.plus(right, -1)
    terms = tuple((name, factor) for name, factor in difference.factors.items() if factor)
    return Atom(terms, -difference.constant, len(sign) == 1)
