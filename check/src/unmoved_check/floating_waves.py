"""Sines in float64: between neighbouring multiples of pi (for cosines of pi/2, odd ones) they bend one way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_rounding import Array, down, float_down, float_up, up
from unmoved_check.formulas import PI

QUARTER = float_down(PI[0] / 2), float_up(PI[1] / 2)
"""Pi / 2."""

ARCHES = 6
"""An interval that more of them meet is not cut up: f >= -1 is as good there."""

FARTHEST = 2.0**30
"""Of quarter turns: further out nothing is cut up."""

STEPS = 40
"""Of the search for a default slope: nothing is claimed of what is found."""


def knot(number: Array) -> tuple[Array, Array]:
    """Between which floats `number` times pi / 2 lies, for whole numbers."""
    ends = number * QUARTER[0], number * QUARTER[1]
    return down(np.minimum(*ends)), up(np.maximum(*ends))


class Arches:
    """The arches of a sine (of a cosine: `ahead` is 1) that meet the intervals [low, high], element by element."""

    def __init__(self, ahead: int, low: Array, high: Array):
        self.low, self.high = low, high
        with np.errstate(invalid="ignore"):
            first = np.floor((np.clip(low, -1e9, 1e9) / QUARTER[0] + ahead) / 2.0) - 1.0
        self.turns = [2.0 * (first + j) - ahead for j in range(ARCHES + 3)]
        self.concave = [(first + j) % 2.0 == 0.0 for j in range(ARCHES + 3)]
        ends = [knot(turn) for turn in self.turns]
        near = (np.abs(self.turns[0]) < FARTHEST) & (np.abs(self.turns[-1]) < FARTHEST)
        self.covered: NDArray[np.bool_] = near & (ends[0][0] <= low) & (ends[-1][0] >= high)
        self.ends = ends

    def parts(self) -> list[tuple[Array, Array, NDArray[np.bool_]]]:
        """(from, to, whether concave) of every arch within the intervals; from > to where there is nothing of it."""
        return [
            (np.maximum(self.low, self.ends[j][1]), np.minimum(self.high, self.ends[j + 1][0]), self.concave[j])
            for j in range(ARCHES + 2)
        ]

    def knots(self) -> list[tuple[Array, Array]]:
        """(from, to) of every enclosed knot within the intervals, likewise."""
        return [(np.maximum(self.low, a), np.minimum(self.high, b)) for a, b in self.ends]


def slope_at_middle(ahead: int, sign: float, low: Array, high: Array) -> Array:
    """About the slope at the middle of the convex envelope of sign f on [low, high].

    The maximiser of min over x of sign f(x) - s (x - middle), a concave function of s. With sign f(x) = sin(x + phase)
    the least is at an end or where x + phase = 2 pi k - arccos(s).
    """
    phase = (ahead + (0 if sign > 0 else 2)) * QUARTER[0]
    middle, turn = low + (high - low) * 0.5, 4.0 * QUARTER[0]
    least, most = np.full(low.shape, -1.0), np.full(low.shape, 1.0)
    for _ in range(STEPS):
        s = (least + most) * 0.5
        first = np.ceil((low + phase + np.arccos(s)) / turn) * turn - np.arccos(s) - phase
        x = np.stack([low, high, *(np.clip(first + k * turn, low, high) for k in range(ARCHES // 2 + 1))])
        lowest = np.argmin(np.sin(x + phase) - s * (x - middle), axis=0)
        left = np.take_along_axis(x, lowest[None], 0)[0] < middle
        # where the least is on the left a larger slope lifts it
        least, most = np.where(left, s, least), np.where(left, most, s)
    return np.asarray((least + most) * 0.5)
