"""Each step of a graph in float64 with proved error bounds: `forward` an interval, `backward` a batch of rows.

A box may hold many regions, a row each: everything here treats them alike and apart, but for prices, whose largest
over the regions is what rows pay.

Backward: rows A (m, n) of float64, read as exact reals, stand for A . y. A step gives rows B over its sources and a
constant k with A . y >= B . x + k for every x within the bounds. B is a rounded B*; the loss |B - B*| . X, X >= |x|,
is at most |A| . price with a price vector that depends on the step and on X only: one matrix-vector product.
Underflow: a product off by 2^-1022 in B costs 2^-1022 X_i, in total at most TINY (1 + sum X); TINY in every price pays
for underflow inside the price. gamma, raised, weighed: see floating_rounding.
"""

from __future__ import annotations

from copy import copy
from typing import Protocol

import numpy as np

from unmoved_check.floating_boxes import Box, Boxes, Elements, Parts
from unmoved_check.floating_kinks import FloatMaximum, FloatRelu
from unmoved_check.floating_linear import FloatConv, FloatDense
from unmoved_check.floating_rounding import TINY, Array, U, down, gamma, nearest, up
from unmoved_check.floating_select import FloatSelect
from unmoved_check.model.steps import (
    Conv,
    Dense,
    Elementwise,
    Maximum,
    Product,
    Relu,
    Rounded,
    Scale,
    Select,
    Step,
    Sum,
)

__all__ = [
    "Box",
    "FloatConv",
    "FloatDense",
    "FloatMaximum",
    "FloatRelu",
    "FloatScale",
    "FloatSelect",
    "FloatStep",
    "FloatSum",
    "prepared",
]


class FloatStep(Protocol):
    """One step in float64."""

    def forward(self, boxes: Boxes) -> Box:
        """A box of the result from those of the sources."""
        ...

    def price(self, boxes: Boxes) -> Array | None:
        """What an absolute unit of every coefficient may lose in `backward`; None when nothing is rounded."""
        ...

    def backward(self, rows: Array, boxes: Boxes) -> tuple[Parts, Array | float]:
        """(source, rows) pairs and the rounded constant; the losses are those of `price` and the floor of underflow."""
        ...


class FloatScale:
    """y = s x + t, s = s^ +- ds, t = t^ +- dt.

    |fl(A s^) - A s| X <= |A| (u |s^| + ds) X (no rounding when s^ is 1 or -1);
    A . t >= fl(A . t^) - g_n |A| . |t^| - |A| . dt.
    """

    def __init__(self, step: Scale):
        self.source = step.source
        which = np.asarray(step.which, dtype=np.intp)
        columns = [(*nearest(*s), *nearest(*t)) for s, t in step.pairs]
        table = np.array(columns, dtype=np.float64).reshape(-1, 4)
        self.s, self.s_open, self.t, self.t_open = (np.ascontiguousarray(table[which, k]) for k in range(4))
        self.plain = bool(np.all(self.s == 1.0))
        self.s_loss = np.where(np.abs(self.s) == 1.0, 0.0, 1.05 * U * np.abs(self.s) + TINY) + 1.05 * self.s_open
        self.t_loss = gamma(which.size) * np.abs(self.t) + 1.05 * self.t_open + TINY

    def forward(self, boxes: Boxes) -> Box:
        """Monotone products; each is off by at most u |s^ x| + 2^-1022, and ds X and dt are added."""
        x = boxes[self.source]
        a, b = self.s * x.low, self.s * x.high
        open_ = 1.05 * (self.s_loss * x.size + self.t_open) + TINY
        low, high = down(np.minimum(a, b) + self.t), up(np.maximum(a, b) + self.t)
        return Box(down(low - open_), up(high + open_))

    def price(self, boxes: Boxes) -> Array:
        """(u |s^| + ds) X + g_n |t^| + dt."""
        return np.asarray(1.05 * (self.s_loss * boxes[self.source].most + self.t_loss))

    def backward(self, rows: Array, boxes: Boxes) -> tuple[Parts, Array | float]:
        """Rows * s^ and rows . t^."""
        return [(self.source, rows if self.plain else rows * self.s)], np.asarray(rows @ self.t)

    def cut(self, out: Elements) -> FloatScale:
        """Make the elements `out` only."""
        made = copy(self)
        made.s, made.t = self.s[out], self.t[out]
        return made


class FloatSum:
    """left + right or left - right; rows are handed on unrounded."""

    def __init__(self, step: Sum):
        self.left, self.right, self.sign = step.left, step.right, step.sign

    def forward(self, boxes: Boxes) -> Box:
        """The sum of two intervals, each end rounded outward."""
        a, b = boxes[self.left], boxes[self.right]
        low, high = (b.low, b.high) if self.sign > 0 else (-b.high, -b.low)
        return Box(down(a.low + low), up(a.high + high))

    def price(self, boxes: Boxes) -> Array | None:
        """Nothing is rounded."""
        return None

    def backward(self, rows: Array, boxes: Boxes) -> tuple[Parts, Array | float]:
        """The rows on both."""
        return [(self.left, rows), (self.right, rows if self.sign > 0 else -rows)], 0.0


def prepared(step: Step, sizes: tuple[int, ...]) -> FloatStep:
    """The step in float64."""
    match step:
        case Dense():
            return FloatDense(step)
        case Conv():
            return FloatConv(step)
        case Scale():
            return FloatScale(step)
        case Select():
            return FloatSelect(step, sizes)
        case Sum():
            return FloatSum(step)
        case Relu():
            return FloatRelu(step)
        case Maximum():
            return FloatMaximum(step, sizes[step.source])
        case Rounded() | Elementwise() | Product():
            raise ValueError("a Rounded step within another")
