"""Elementwise functions and products in float64: planes below and above them, and what rows lose on these.

A relaxation holds, for every source, the coefficients of a lower and of an upper plane (any numbers) and the proved
constants that make them planes below and above. Row a >= 0 takes a times the lower plane, a < 0 a times the upper one:
each coefficient is one rounded product, off by u |a s| X; the constants are two sums of n products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_boxes import Box, Boxes, Elements, Owner, Parts, greatest, taken
from unmoved_check.floating_curves import FloatCurve
from unmoved_check.floating_rounding import TINY, Array, U, dots, down, gamma, up, weighed
from unmoved_check.model.steps import Elementwise, Product

Ends = tuple[Array, Array]
"""Lower and upper bounds of one source's elements, of shape (1, n) or (rows, n)."""


@dataclass(frozen=True)
class Side:
    """One source: the coefficients of the lower and the upper planes, and a bound of its size."""

    source: int
    below: Array
    above: Array
    size: Array


@dataclass(frozen=True)
class Planes:
    """For every element sum of below . x + below_shift <= y <= sum of above . x + above_shift."""

    sides: tuple[Side, ...]
    below_shift: Array
    above_shift: Array

    def take(self, owner: Owner) -> Planes:
        """Those of the regions that rows are about."""
        sides = tuple(Side(s.source, taken(s.below, owner), taken(s.above, owner), s.size) for s in self.sides)
        return Planes(sides, taken(self.below_shift, owner), taken(self.above_shift, owner))

    def at(self, places: Elements | None) -> Planes:
        """Those of some elements (None: of all)."""
        if places is None:
            return self
        sides = tuple(
            Side(s.source, s.below[..., places], s.above[..., places], s.size[..., places]) for s in self.sides
        )
        return Planes(sides, self.below_shift[..., places], self.above_shift[..., places])

    @property
    def price(self) -> Array:
        """What an absolute unit of every coefficient may lose, in any region; (n,)."""
        n = self.below_shift.shape[-1]
        price = gamma(2 * n) * np.maximum(np.abs(self.below_shift), np.abs(self.above_shift)) + TINY
        for side in self.sides:
            price = price + 1.05 * U * np.maximum(np.abs(side.below), np.abs(side.above)) * side.size
        return greatest(np.asarray(price))

    def pull(self, rows: Array, price: Array) -> tuple[Parts, Array, Array]:
        """(source, rows) pairs, the rounded constant, and what was lost but for underflow."""
        over, under = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
        parts = []
        for side in self.sides:
            found = over * side.below
            found += under * side.above
            parts.append((side.source, found))
        constant = dots(over, self.below_shift) + dots(under, self.above_shift)
        return parts, constant, weighed(rows, price)


class FloatElementwise:
    """y = f(x)."""

    def __init__(self, step: Elementwise):
        self.sources = (step.source,)
        self.curve = FloatCurve(step.curve)

    def forward(self, boxes: Boxes) -> Box:
        """The range of f."""
        x = boxes[self.sources[0]]
        return Box(*self.curve.range(x.low, x.high))

    def planes(self, ends: Sequence[Ends], given: Array | None, boxes: Boxes) -> Planes:
        """Lines of the given slopes, (rows, 2, n), the default ones where these are NaN."""
        ((low, high),) = ends
        slopes = None if given is None else (given[:, 0], given[:, 1])
        if slopes is not None and np.isnan(slopes[0]).any():
            default = self.curve.lines(low, high, None)
            slopes = (
                np.where(np.isnan(slopes[0]), default.below, slopes[0]),
                np.where(np.isnan(slopes[1]), default.above, slopes[1]),
            )
        lines = self.curve.lines(low, high, slopes)
        side = Side(self.sources[0], lines.below, lines.above, boxes[self.sources[0]].most)
        return Planes((side,), lines.below_shift, lines.above_shift)

    def open(self, ends: Sequence[Box]) -> list[NDArray[np.bool_]]:
        """Which elements' better bounds could matter, for each source."""
        (x,) = ends
        if not self.curve.curve.linear:
            return [x.high - x.low > WIDE]
        found = np.zeros(x.low.shape, dtype=bool)
        for left, right in self.curve.knots:
            found |= (x.low < right) & (x.high > left)
        return [found]


WIDE = 1e-6
"""A smooth function's interval narrower than this is not worth a backward row."""


class FloatProduct:
    """y = left * right."""

    def __init__(self, step: Product):
        self.sources = (step.left, step.right)

    def forward(self, boxes: Boxes) -> Box:
        """The least and the greatest product of ends."""
        a, b = (boxes[v] for v in self.sources)
        low, high = _hull([p * q for p in (a.low, a.high) for q in (b.low, b.high)])
        return Box(down(low), up(high))

    def planes(self, ends: Sequence[Ends], given: Array | None, boxes: Boxes) -> Planes:
        """Planes by the given shares, (rows, 2, n) in 255ths, halves where these are NaN (McCormick 1976)."""
        (lx, ux), (ly, uy) = ends
        shares = np.full((1, 2, 1), 0.5) if given is None else np.where(np.isnan(given), 0.5, given / 255.0)
        s, t = shares[:, 0], shares[:, 1]
        below = (uy + s * (ly - uy), ux + s * (lx - ux))
        above = (ly + t * (uy - ly), ux + t * (lx - ux))
        shifts = [_shift(ends, below, 1.0), -_shift(ends, above, -1.0)]
        sides = tuple(
            Side(value, low, high, boxes[value].most)
            for value, low, high in zip(self.sources, below, above, strict=True)
        )
        return Planes(sides, shifts[0], shifts[1])

    def open(self, ends: Sequence[Box]) -> list[NDArray[np.bool_]]:
        """Elements that are wide and meet a wide one."""
        wide = np.logical_and.reduce([x.high - x.low > WIDE for x in ends])
        return [wide, wide]


def _hull(ends: Sequence[Array]) -> Ends:
    low, high = ends[0], ends[0]
    for end in ends[1:]:
        low, high = np.minimum(low, end), np.maximum(high, end)
    return low, high


def _shift(ends: Sequence[Ends], plane: Ends, sign: float) -> Array:
    """The least sign (x y - p x - q y) over the box, rounded down: whatever p and q are, it is at a corner.

    Three products of half a unit in the last place, two sums of one each: below 4.2 u (|x y| + |p x| + |q y|).
    """
    (p, q), least = plane, np.asarray(np.inf)
    for x in ends[0]:
        for y in ends[1]:
            xy, px, qy = x * y, p * x, q * y
            loss = 4.2 * U * (np.abs(xy) + np.abs(px) + np.abs(qy)) + TINY
            least = np.asarray(np.minimum(least, down(sign * ((xy - px) - qy) - loss)))
    return least
