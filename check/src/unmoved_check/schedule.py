"""The looks of a sequential test: the two lists of sizes and shares that a certificate may name, worked out anew.

A look at n copies that spends the share s of alpha is wrong with probability <= s alpha. The shares of a list add up
to 1, so by the union bound all looks of a list are right together with probability >= 1 - alpha; hence the counts of
any single look may be reported, whenever sampling stopped and why. What may not be is a list made to measure for the
counts: therefore only those lists that the number N of the last look determines.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = ["Schedule", "geometric", "single"]

Schedule = tuple[tuple[int, ...], tuple[Fraction, ...]]
"""Sizes, growing; shares of alpha, one a size."""


def single(n: int) -> Schedule:
    """Return the schedule with one look, at `n` copies."""
    return (n,), (Fraction(1),)


def geometric(n: int) -> Schedule:
    """Return the looks at floor(50 3^k / 2^k) < n and at n; half of alpha for the last, the rest in equal parts."""
    early: list[int] = []
    while (size := 50 * 3 ** len(early) // 2 ** len(early)) < n:
        early.append(size)
    if not early:
        return single(n)
    part = Fraction(1, 2 * len(early))
    return (*early, n), (*(part for _ in early), Fraction(1, 2))
