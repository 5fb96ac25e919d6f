"""Relu and maxima in float64: lines that hold exactly, and the winners of windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_boxes import Box, Boxes, Elements, Owner, Parts, greatest, taken
from unmoved_check.floating_rounding import TINY, Array, U, dots, gamma, raised
from unmoved_check.model.steps import Maximum, Relu


class FloatRelu:
    """max(x, 0), with the lines of `lines`."""

    def __init__(self, step: Relu):
        self.source = step.source

    def forward(self, boxes: Boxes) -> Box:
        """Both ends cut at 0."""
        x = boxes[self.source]
        return Box(np.maximum(x.low, 0.0), np.maximum(x.high, 0.0))

    def price(self, boxes: Boxes) -> Array | None:
        """The roundings are in `lines`."""
        return None

    def backward(self, rows: Array, boxes: Boxes) -> tuple[Parts, Array | float]:
        """With the boxes' own bounds and the default slopes."""
        x = boxes[self.source]
        found, constant = self.lines(rows, x.low[None], x.high[None], None)
        return [(self.source, found)], constant

    def lines(self, rows: Array, low: Array, high: Array, slopes: Array | None) -> tuple[Array, Array]:
        """Rows over x and an exact lower bound of the constant; bounds and slopes of shape (1, n) or (m, n)."""
        return Bends.of(low, high, slopes).pull(rows)


@dataclass(frozen=True)
class Bends:
    """Lines of slope `below` under and `above` over relu, the latter moved up by `above` times `drop`; (1 or m, n).

    a >= 0: fl(a s) is in [0, a] because rounding is monotone and s is in [0, 1]: a line of slope fl(a s) / a.
    a < 0 with low < 0 < high: c = fl(a t), t = fl(fl(high / fl(high - low)) (1 + 8 u)) + TINY. The four roundings
    take less than (1 - u)^3 / (1 + u), so |c| >= |a| high / (high - low) but for underflow of a t, which costs
    at most 2^-1022 (high - low) and is in the box's floor. The line c (x - low) / a lies above relu for any
    |c| as large: the row gains c x - c low, and -c low = -|c| |low|, all of one sign, is summed and `raised`.
    """

    below: Array
    above: Array
    drop: Array

    @classmethod
    def of(cls, low: Array, high: Array, slopes: Array | None) -> Bends:
        """For bounds (1 or m, n), with the given slopes below, or 1 where high >= -low, else 0."""
        alive, unstable = high > 0.0, (low < 0.0) & (high > 0.0)
        width = np.where(unstable, high - low, 1.0)
        above = np.where(unstable, high / width * (1.0 + 8.0 * U) + TINY, alive.astype(np.float64))
        default = (high >= -low).astype(np.float64)
        below = np.where(unstable, default if slopes is None else slopes, alive.astype(np.float64))
        return cls(below, above, np.where(unstable, -low, 0.0))

    def at(self, places: Elements | None) -> Bends:
        """Those of some elements (None: of all)."""
        if places is None:
            return self
        return Bends(self.below[:, places], self.above[:, places], self.drop[:, places])

    def take(self, owner: Owner) -> Bends:
        """Those of the regions that rows are about."""
        return Bends(taken(self.below, owner), taken(self.above, owner), taken(self.drop, owner))

    def pull(self, rows: Array) -> tuple[Array, Array]:
        """Rows over x, and a lower bound of the constant."""
        steep = np.minimum(rows, 0.0) * self.above
        loss = raised(-dots(steep, self.drop), rows.shape[1])
        found = np.maximum(rows, 0.0) * self.below
        found += steep
        return found, -loss


@dataclass(frozen=True)
class Winners:
    """Of every window, (..., windows): who is `best`, whether it wins `always`, and the `most` that any can be."""

    best: NDArray[np.intp]
    always: NDArray[np.bool_]
    most: Array

    def take(self, owner: Owner) -> Winners:
        """Those of the regions that rows are about."""
        return Winners(taken(self.best, owner), taken(self.always, owner), taken(self.most, owner))


class FloatMaximum:
    """The greatest of a window; windows are made rectangular by repeating an input.

    An input that wins in k windows collects k coefficients: g_k |A| X, k <= the most windows an input is in.
    """

    def __init__(self, step: Maximum, size: int):
        self.source, self.size = step.source, size
        widest = max(map(len, step.windows))
        self.windows = np.array([w + w[:1] * (widest - len(w)) for w in step.windows], dtype=np.intp)
        self.times = int(np.bincount(np.concatenate([np.asarray(w) for w in step.windows])).max())

    def forward(self, boxes: Boxes) -> Box:
        """The greatest low and the greatest high."""
        x = boxes[self.source]
        return Box(x.low[..., self.windows].max(axis=-1), x.high[..., self.windows].max(axis=-1))

    def winners(self, x: Box) -> Winners:
        """For every window the input with the greatest low, whether it always wins, and the greatest high."""
        lows, highs = x.low[..., self.windows], x.high[..., self.windows]
        best = self.windows[np.arange(len(self.windows)), lows.argmax(axis=-1)]
        rivals = np.where(self.windows == best[..., None], -np.inf, highs)
        always = np.take_along_axis(x.low, best, -1) >= rivals.max(axis=-1)
        return Winners(best, always, highs.max(axis=-1))

    def price(self, boxes: Boxes) -> Array:
        """g_k X of the winner, and g_n |greatest high| of the constant."""
        x = boxes[self.source]
        won = self.winners(x)
        size = np.take_along_axis(x.size, won.best, -1)
        return greatest(gamma(self.times) * size + gamma(len(self.windows)) * np.abs(won.most) + TINY)

    def backward(self, rows: Array, boxes: Boxes) -> tuple[Parts, Array | float]:
        """With the winners of the boxes' own bounds."""
        return self.pull(rows, self.winners(boxes[self.source]))

    def pull(self, rows: Array, won: Winners) -> tuple[Parts, Array | float]:
        """A >= 0: a times the winner. a < 0: likewise when it always wins, else a times the greatest high."""
        below, (m, n) = np.minimum(rows, 0.0), rows.shape
        kept = np.maximum(rows, 0.0) + below * won.always
        places = np.broadcast_to(won.best, (m, n)) + np.arange(m)[:, None] * self.size
        sums = np.asarray(np.bincount(places.ravel(), kept.ravel(), m * self.size), dtype=np.float64)
        return [(self.source, sums.reshape(m, self.size))], dots(below * ~won.always, won.most)
