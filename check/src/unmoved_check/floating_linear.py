"""Matrices and convolutions in float64: products with a-priori error bounds, and what is left of them in a cone."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from math import prod
from typing import cast

import numpy as np

from unmoved_check.floating_boxes import Box, Boxes, Elements, Parts, scattered
from unmoved_check.floating_conv import Patches
from unmoved_check.floating_rounding import SMALLEST, TINY, Array, down, gamma, raised, up
from unmoved_check.model.steps import Conv, Dense


def _grid(places: Elements, size: int) -> Elements | None:
    """Places on a grid of so many, None when they are all of it in order."""
    return None if np.array_equal(places, np.arange(size)) else places


class FloatLinear:
    """Common to Dense and Conv: y = W x with matrix products of at most `inner` (forward) and `outer` (backward) terms.

    forward: |W x - fl(W c)| <= |W| r + g_inner |W| |c| = |W| (r + g |c|) for |x - c| <= r. The product g |c| may
    underflow, and |W| would make much of what is lost: SMALLEST, added before, is more.
    price: |fl(A W) - A W| . X <= g_outer |A| |W| X, so price = g_outer |W| X.
    """

    source: int
    inner: int
    outer: int

    def apply(self, x: Array, absolute: bool) -> Array:
        """W x, or |W| x."""
        raise NotImplementedError

    def transposed(self, rows: Array) -> Array:
        """Rows @ W."""
        raise NotImplementedError

    def forward(self, boxes: Boxes) -> Box:
        """Centre and radius, as above."""
        centre, radius = boxes[self.source].ball()
        middle = self.apply(centre, False)
        reach = raised(self.apply(radius + (gamma(self.inner) * np.abs(centre) + SMALLEST), True), self.inner)
        return Box(down(middle - reach), up(middle + reach))

    def price(self, boxes: Boxes) -> Array:
        """G |W| X."""
        reach: Array = raised(self.apply(boxes[self.source].most, True), self.inner)
        return np.asarray(gamma(self.outer) * reach + TINY)

    def backward(self, rows: Array, boxes: Boxes) -> tuple[Parts, Array | float]:
        """Rows @ W."""
        return [(self.source, self.transposed(rows))], 0.0


class FloatDense(FloatLinear):
    """One matrix on each of several rows of x."""

    def __init__(self, step: Dense):
        self.source, self.inner, self.outer, self.repeat = step.source, step.inner, step.outer, step.rows
        self.weights = np.frombuffer(step.weights, dtype=np.float64).reshape(step.outer, step.inner)
        self.sizes = np.abs(self.weights)
        self.grid: Elements | None = None

    def apply(self, x: Array, absolute: bool) -> Array:
        """X of shape (..., repeat * inner)."""
        found = x.reshape(-1, self.inner) @ (self.sizes if absolute else self.weights).T
        return found.reshape(*x.shape[:-1], self.repeat * self.outer)

    def transposed(self, rows: Array) -> Array:
        """Rows of shape (m, repeat * outer), or those of a grid of them."""
        rows = scattered(rows, self.grid, self.repeat * self.weights.shape[0])
        found = rows.reshape(-1, self.weights.shape[0]) @ self.weights
        return found.reshape(len(rows), self.repeat * self.inner)

    def cut(self, out: Elements) -> tuple[FloatDense, list[Elements]]:
        """Make the elements `out` only, from the rows of x that they read."""
        made = copy(self)
        rows, at = np.unique(out // self.outer, return_inverse=True)
        columns, column = np.unique(out % self.outer, return_inverse=True)
        made.repeat, made.weights = rows.size, self.weights[columns]
        made.grid = _grid(at * columns.size + column, rows.size * columns.size)
        return made, [(rows[:, None] * self.inner + np.arange(self.inner)).ravel()]


class FloatConv(FloatLinear):
    """A grouped convolution as products of patches; backward each input collects at most one sum per tap."""

    def __init__(self, step: Conv):
        self.source = step.source
        self.patches = Patches.of(step)
        self.inner = step.channels_in // step.groups * prod(step.kernel)
        self.outer = step.channels_out // step.groups + prod(step.kernel)
        weights = np.frombuffer(step.weights, dtype=np.float64)
        self.weights = weights.reshape(step.groups, step.channels_out // step.groups, self.inner)
        self.sizes = np.abs(self.weights)
        self.step, self.grid = step, cast("Elements | None", None)

    def apply(self, x: Array, absolute: bool) -> Array:
        """X of shape (..., channels_in * space)."""
        return self.patches.correlate(x, self.sizes if absolute else self.weights)

    def transposed(self, rows: Array) -> Array:
        """Rows of shape (m, channels_out * out), or those of a grid of them."""
        rows = scattered(rows, self.grid, self.step.channels_out * prod(self.patches.out))
        return self.patches.spread(rows, self.weights)

    def cut(self, out: Elements) -> tuple[FloatConv, list[Elements]]:
        """Make the elements `out` only, from the window of the image around those that they read."""
        made, step = copy(self), self.step
        channel, at = np.divmod(out, prod(step.space_out))
        spots = np.unravel_index(at, step.space_out)
        axes = range(len(spots))
        first, last = [int(s.min()) for s in spots], [int(s.max()) for s in spots]
        start = [first[i] * step.strides[i] - step.pads[i] for i in axes]
        stop = [last[i] * step.strides[i] - step.pads[i] + (step.kernel[i] - 1) * step.dilations[i] + 1 for i in axes]
        low = [min(max(start[i], 0), step.space_in[i]) for i in axes]
        high = [max(min(stop[i], step.space_in[i]), low[i]) for i in axes]
        space_out = tuple(last[i] - first[i] + 1 for i in axes)
        made.step = replace(
            step,
            space_in=tuple(high[i] - low[i] for i in axes),
            space_out=space_out,
            pads=tuple(low[i] - start[i] for i in axes),
        )
        made.patches = Patches.of(made.step)
        window = np.ravel_multi_index(tuple(s - f for s, f in zip(spots, first, strict=True)), space_out)
        made.grid = _grid(channel * prod(space_out) + window, step.channels_out * prod(space_out))
        image = np.arange(prod(step.space_in)).reshape(step.space_in)[tuple(map(slice, low, high))].ravel()
        return made, [(np.arange(step.channels_in)[:, None] * prod(step.space_in) + image).ravel()]
