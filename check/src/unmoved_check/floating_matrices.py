"""Matrices with a bound of their rounding errors, and upper bounds of their norms: numpy, round to nearest, no trust.

u = 2^-53, g(n) = n u / (1 - n u) with some room: a sum of n products is off by at most g(n) times the sum of their
absolute values, in any order (Higham 2002, section 3.5). Every bound is rounded up at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmoved_check.outcome import Rejection

Floats = npt.NDArray[np.float64]

MOST_NUMBERS = 1 << 26
"""Of one matrix."""

TINY = 1e-280
"""More than underflow takes from any sum here."""

ITERATIONS = 60
"""Of the power iteration that finds positive weights; any would do."""


def up(value: float) -> float:
    """A float64 above the exact result of the few operations that gave `value`, which must be finite and >= 0."""
    if not (math.isfinite(value) and value >= 0):
        raise Rejection("a norm is not finite")
    return value * (1 + 2.0**-48) + TINY


def lost(terms: int) -> float:
    """At least g(terms), with room for the operations around it."""
    if terms > MOST_NUMBERS:  # so that products of two such bounds are far below u
        raise Rejection("a sum of too many terms")
    return (terms + 4) * 2.0**-53 * (1 + 1e-3)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix M that is known up to rounding: |M - value| <= lost(terms) size and |M| <= size, elementwise."""

    value: Floats
    size: Floats
    terms: int

    def __post_init__(self) -> None:
        """Refuse what would be too large, or is not finite."""
        if self.value.size > MOST_NUMBERS:
            raise Rejection("a matrix is too large to be bounded")
        if not np.isfinite(self.size).all() or not np.isfinite(self.value).all():
            raise Rejection("a matrix is not finite")

    @property
    def most(self) -> Floats:
        """At least |M|, elementwise."""
        found: Floats = (np.abs(self.value) + lost(self.terms) * self.size) * (1 + 2.0**-50) + TINY
        return found

    def norm(self, kind: str, squarings: int) -> float:
        """At least the norm of M as a map between spaces of norm "inf", "1" or "2"."""
        if not self.value.size:
            return 0.0
        if kind != "2":
            return up(largest_sum(self.most, 1 if kind == "inf" else 0))
        simple = between(self.most)
        if simple <= (1 + 1e-9) * math.sqrt(float(np.square(self.value).sum(0).max())):
            return simple  # no column is shorter than that: a permutation, for instance
        return min(simple, up(spectral(self.value, squarings) + up(between(self.size) * lost(self.terms))))


def largest_sum(sizes: Floats, axis: int) -> float:
    """At least the largest sum of numbers >= 0 along an axis."""
    return up(float(sizes.sum(axis).max(initial=0.0)) * (1 + lost(sizes.shape[axis])))


def between(sizes: Floats) -> float:
    """At least ||A||_2 of any A with |A| <= sizes: (||A||_1 ||A||_inf)^(1/2), whose product must not underflow."""
    return up(math.sqrt(largest_sum(sizes, 1)) * math.sqrt(largest_sum(sizes, 0)))


def spectral(matrix: Floats, squarings: int) -> float:
    """At least ||A||_2 of the stored numbers: ||A||^2 = ||A' A||, `squarings` times more, then Schur's test.

    What rounding lost in a Gram matrix is at most lost(n) |A|' |A|, whose norm is added on the way back.
    """
    scale = 2.0 ** math.frexp(float(np.abs(matrix).max(initial=0.0)))[1]
    if not np.abs(matrix).max(initial=0.0) > 0:
        return 0.0
    if not 1e-280 < scale < 1e280:
        raise Rejection("a matrix is scaled too far for its norm to be bounded")
    a = matrix / scale
    square = a.T @ a if a.shape[0] >= a.shape[1] else a @ a.T
    sizes = np.abs(a)
    error = lost(max(a.shape)) * up(largest_sum(sizes, 0) * largest_sum(sizes, 1)) + TINY * max(a.shape)
    found = schur(np.abs(square))
    if squarings:
        found = min(found, spectral(square, squarings - 1))
    return up(math.sqrt(up(found + up(error))) * scale)


def weights(sizes: Floats) -> Floats:
    """Positive numbers near the first eigenvector of a matrix of numbers >= 0."""
    q = np.ones(len(sizes))
    for _ in range(ITERATIONS):
        q = sizes @ q
        q = q / max(float(q.max()), TINY) + 1e-9
    return q


def weighted_sums(sizes: Floats, q: Floats) -> Floats:
    """At least sum_j sizes_ij q_j / q_i for every i."""
    found: Floats = sizes @ q / q * (1 + lost(len(q) + 8)) + TINY
    return found


def symmetric(sizes: Floats) -> Floats:
    """The larger of both of every pair of opposite entries."""
    found: Floats = np.maximum(sizes, sizes.T)
    return found


def schur(sizes: Floats) -> float:
    """At least the norm of any G with |G| <= sizes: max_i sum_j sizes_ij q_j / q_i, sizes symmetric, for any q > 0."""
    both = symmetric(sizes)
    return up(float(weighted_sums(both, weights(both)).max(initial=0.0)))


def lengths(a: Floats) -> Floats:
    """At least the Euclidean length of every column."""
    found: Floats = np.sqrt(np.square(a).sum(0)) * (1 + lost(len(a) + 8)) + math.sqrt(TINY)
    return found


def product(a: Matrix, b: Matrix) -> Matrix:
    """A' B; what rounding is relative to is bounded by the lengths of columns (Cauchy, Schwarz)."""
    size = np.outer(lengths(a.size), lengths(b.size))
    return Matrix(a.value.T @ b.value, size, a.terms + b.terms + len(a.value) + 24)
