"""What it costs that a centre is no grid point: exact sums, and square roots rounded up."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, isqrt

from unmoved_check.outcome import Rejection

__all__ = ["detour_high", "sqrt_high"]


def detour_high(center: list[Fraction], grid: int, norm: str, *, on_grid: bool) -> Fraction:
    """Return an upper bound of what the centre's distance from the grid costs a radius in `norm` ("2", "1", "0").

    On the grid: its distance from the nearest grid point, each element of which must be within 2^-24 of its own size.
    Off the grid: sqrt(d) / grid or d / grid, twice the largest distance from a grid point (the centre and x' both
    move). In L0 nothing, either way: elements that are equal stay equal when both are rounded. Grid 0: there is none.
    """
    if grid == 0:
        if not on_grid:
            raise Rejection("evidence.on_grid is not true, though this noise has no grid")
        return Fraction(0)
    if not on_grid:
        costs = {"2": sqrt_high(Fraction(len(center), grid * grid)), "1": Fraction(len(center), grid)}
        return costs.get(norm, Fraction(0))
    squares: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for index, value in enumerate(center):
        scaled, denominator = grid * value.numerator, value.denominator
        rest = scaled - (2 * scaled + denominator) // (2 * denominator) * denominator
        if abs(rest) << 24 > abs(scaled):
            raise Rejection(f"element {index} of the centre is not on the grid of 1/{grid}")
        squares[denominator] = squares.get(denominator, 0) + rest * rest
        sizes[denominator] = sizes.get(denominator, 0) + abs(rest)
    if norm == "2":
        return sqrt_high(sum((Fraction(s, (grid * d) ** 2) for d, s in squares.items()), Fraction(0)))
    if norm == "1":
        return sum((Fraction(s, grid * d) for d, s in sizes.items()), Fraction(0))
    return Fraction(0)


def sqrt_high(value: Fraction) -> Fraction:
    """Return a multiple of 2^-128 that is >= sqrt(value), value >= 0; exactly 0 for 0."""
    scaled = ceil(value * (1 << 256))
    root = isqrt(scaled)
    return Fraction(root + (root * root < scaled), 1 << 128)
