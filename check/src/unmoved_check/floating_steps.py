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

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_conv import Patches
from unmoved_check.floating_rounding import (
    SMALLEST,
    TINY,
    Array,
    U,
    dots,
    down,
    gamma,
    nearest,
    raised,
    up,
)
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


@dataclass
class Box:
    """low <= v <= high for every element of one value, float64 of shape (n,), or (regions, n) for regions of a batch.

    `size` >= |v|; `most`, of shape (n,), is the greatest of all regions, and `floor` at least TINY (1 + its sum).
    """

    low: Array
    high: Array
    size: Array = field(init=False)

    def __post_init__(self) -> None:
        self.size = np.maximum(np.abs(self.low), np.abs(self.high))

    @cached_property
    def most(self) -> Array:
        """The greatest sizes, (n,)."""
        return greatest(self.size)

    @cached_property
    def floor(self) -> float:
        """What underflow may cost a row, in any region."""
        return TINY * (2.0 + 2.0 * float(self.most.sum()))

    def ball(self) -> tuple[Array, Array]:
        """A centre and a radius with |v - centre| <= radius: (high - centre)(1 + u) etc., any centre."""
        centre = (self.low + self.high) * 0.5
        radius = np.maximum(self.high - centre, centre - self.low)
        return centre, radius * (1.0 + 4.0 * U)


def greatest(numbers: Array) -> Array:
    """The greatest of all regions: of shape (n,) from (n,) or (regions, n)."""
    return numbers if numbers.ndim == 1 else np.asarray(numbers.max(axis=0))


Boxes = list[Box]
Parts = list[tuple[int, Array]]
Owner = NDArray[np.intp] | None
"""For every row of a batch the region that it is about; None when there is one region only."""

Elements = NDArray[np.intp]
"""Flat places of a value."""

T = TypeVar("T", bound=np.generic)


def taken(table: NDArray[T], owner: Owner) -> NDArray[T]:
    """For every row what a table (regions, n) says of its region; a table of one row is left as it is."""
    return table if owner is None or len(table) == 1 else np.take(table, owner, axis=0)


def scattered(rows: Array, places: Elements | None, size: int) -> Array:
    """Rows (m, k) as (m, size): their columns at `places` (None: they are all there), zeros elsewhere."""
    if places is None:
        return rows
    found = np.zeros((len(rows), size))
    found[:, places] = rows
    return found


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
