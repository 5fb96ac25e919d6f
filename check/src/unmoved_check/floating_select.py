"""Selections of elements in float64, and the sums that their rows become."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from unmoved_check.floating_boxes import Box, Boxes, Elements, Parts, scattered
from unmoved_check.floating_rounding import TINY, Array, down, gamma, nearest, up
from unmoved_check.model.steps import Select


def _joined(parts: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """Values end to end, one row or several."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.broadcast_to(p, (*shape, p.shape[-1])) for p in parts], axis=-1)


class FloatSelect:
    """Elements of the sources, or constants: no rounding, but where an input is read more than once or constants enter.

    An element that is read k times collects k coefficients: g_k |A| X, here with the largest k.
    """

    def __init__(self, step: Select, sizes: tuple[int, ...]):
        self.sources = step.sources
        self.sizes = [sizes[v] for v in step.sources]
        which = np.asarray(step.which, dtype=np.intp)
        self.which, self.size = which, which.size
        self.kept = np.flatnonzero(which >= 0)
        self.filled = np.flatnonzero(which < 0)
        fill = np.array([(*nearest(f, f),) for f in step.fill], dtype=np.float64).reshape(-1, 2)
        self.fill, self.fill_open = fill[-1 - which[self.filled]].T if fill.size else np.zeros((2, 0))
        self.places = which[self.kept]
        self.collect = Collect.of(which, sum(self.sizes))
        self.times = self.collect.times

    def forward(self, boxes: Boxes) -> Box:
        """The intervals at those places."""
        shape = np.broadcast_shapes(*(boxes[v].low.shape[:-1] for v in self.sources))
        low, high = np.empty((*shape, self.size)), np.empty((*shape, self.size))
        low[..., self.kept] = _joined([boxes[v].low for v in self.sources], shape)[..., self.places]
        high[..., self.kept] = _joined([boxes[v].high for v in self.sources], shape)[..., self.places]
        low[..., self.filled] = down(self.fill - self.fill_open)
        high[..., self.filled] = up(self.fill + self.fill_open)
        return Box(low, high)

    def price(self, boxes: Boxes) -> Array | None:
        """g_k X for what is read k > 1 times; g_n |fill| + its own error for constants."""
        if self.times <= 1 and not self.filled.size:
            return None
        price = np.full(self.size, TINY)
        if self.times > 1:
            sizes = np.concatenate([boxes[v].most for v in self.sources])
            price[self.kept] += gamma(self.times) * sizes[self.places]
        price[self.filled] += gamma(self.filled.size) * np.abs(self.fill) + 1.05 * self.fill_open
        return price

    def backward(self, rows: Array, boxes: Boxes) -> tuple[Parts, Array | float]:
        """Every coefficient back to its place."""
        ends = np.cumsum(self.sizes)[:-1]
        found = np.split(self.collect.sums(rows), ends, axis=1) if ends.size else [self.collect.sums(rows)]
        constant = rows[:, self.filled] @ self.fill if self.filled.size else 0.0
        return list(zip(self.sources, found, strict=True)), constant

    def cut(self, out: Elements) -> tuple[FloatSelect, list[Elements]]:
        """Make the elements `out` only, from those that they read."""
        made, which = copy(self), self.which[out]
        read, number = np.unique(which[which >= 0], return_inverse=True)
        starts = np.cumsum([0, *self.sizes])
        pieces = [read[(a <= read) & (read < b)] - a for a, b in pairwise(starts.tolist())]
        place = np.full(out.size, -1)
        place[which >= 0] = number
        made.sizes, made.filled = [len(p) for p in pieces], np.flatnonzero(which < 0)
        made.fill = self.fill[np.searchsorted(self.filled, out[made.filled])]
        made.collect = Collect.of(place, read.size)
        return made, pieces


@dataclass(frozen=True)
class Collect:
    """Sums of columns: column j of `rows` goes to place which[j] of `size`, or nowhere when that is negative.

    `order` are the columns by their places, None when they are in order already; `targets` the places that get some,
    None when all do, from `starts` on in that order; `times` is the most that one place gets.
    """

    size: int
    times: int
    order: Elements | None
    targets: Elements | None
    starts: Elements

    @classmethod
    def of(cls, which: Elements, size: int) -> Collect:
        """Work out the order."""
        kept = np.flatnonzero(which >= 0)
        order = kept[np.argsort(which[kept], kind="stable")]
        targets, starts, counts = np.unique(which[order], return_index=True, return_counts=True)
        straight = np.array_equal(order, np.arange(which.size))
        all_ = targets.size == size
        return cls(size, int(counts.max(initial=0)), None if straight else order, None if all_ else targets, starts)

    def sums(self, rows: Array) -> Array:
        """Of shape (m, size)."""
        found = rows if self.order is None else np.take(rows, self.order, axis=1)
        if self.times > 1 and self.times * self.starts.size == found.shape[1]:
            # as many everywhere: one product with ones
            found = (found.reshape(-1, self.times) @ np.ones(self.times)).reshape(len(rows), -1)
        elif self.times > 1:
            found = np.add.reduceat(found, self.starts, axis=1)
        return scattered(found, self.targets, self.size)
