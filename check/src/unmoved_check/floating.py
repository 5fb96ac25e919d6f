"""The fast path: dual-tree leaves bounded in float64 with a-priori rounding bounds.

The bounds are derived in floating_rounding and floating_steps. A batch of rows walks back from the output to the
input. Invariant, in exact reals, for every row r and every x of the region:
target_r(x) >= sum over v of coefs[v][r] . v(x) + constant[r]. Every operation that rounds pays its bound into the
constant, which itself is only ever lowered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, nextafter

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_bent import FloatElementwise, FloatProduct, Planes
from unmoved_check.floating_deployed import FloatRounded
from unmoved_check.floating_rounding import (
    LARGEST,
    TINY,
    Array,
    U,
    down,
    float_down,
    float_up,
    gamma,
    nearest,
    up,
    weighed,
)
from unmoved_check.floating_steps import Box, Boxes, FloatMaximum, FloatRelu, FloatStep, Parts, prepared
from unmoved_check.leaf import (
    BENT,
    NO_CHOICES,
    Choices,
    Given,
    Leaf,
    Split,
    elementwise,
    leading,
    live,
    origins,
    tight,
)
from unmoved_check.model.steps import Elementwise, Graph, Product, Rounded, Step, sources
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region

CELLS = 1 << 18
"""Rows are walked in chunks whose largest matrix has about this many numbers (2 MiB): larger ones leave the cache."""

Overrides = Mapping[int, tuple[Array, Array]]


@dataclass
class Shared:
    """What all rows of one region have in common: bounds, given lines and planes, and what follows for each step."""

    boxes: Boxes
    given: Given = field(default_factory=dict)
    prices: dict[int, Array | None] = field(default_factory=dict)
    planes: dict[int, tuple[Planes, Array]] = field(default_factory=dict)


@dataclass
class Walk:
    """One batch of rows on its way back: coefs[v] of shape (m, n_v), constant (m,), bounds and prices paid so far."""

    coefs: dict[int, Array]
    constant: Array
    shared: Shared
    slopes: Mapping[int, Array] = field(default_factory=dict)
    cuts: Overrides = field(default_factory=dict)
    given: Mapping[int, Array] = field(default_factory=dict)

    def pay(self, constant: Array | float, loss: Array | float) -> None:
        """Constant += constant - loss, rounded down."""
        self.constant = down(self.constant + down(constant - np.asarray(loss)))

    def add(self, value: int, rows: Array) -> None:
        """Add rows . value: where rows meet, each sum is off by at most u |sum| (and never by underflow)."""
        if value not in self.coefs:
            self.coefs[value] = rows
            return
        total = self.coefs[value] + rows
        self.coefs[value] = total
        box = self.shared.boxes[value]
        self.pay(0.0, weighed(total, 1.05 * U * box.size + TINY) + box.floor)


class FloatEngine:
    """Lower bounds in float64 for one graph; |W| and folded constants are kept between calls."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.steps: list[FloatStep | FloatElementwise | FloatProduct] = [
            _made(step, graph.sizes) for step in graph.steps
        ]
        self.tight, self.live, self.leading = tight(graph), live(graph), leading(graph)
        self.elementwise = [elementwise(graph, i) for i in range(len(graph.steps))]
        self.origins = origins(graph)
        self.chunk = max(16, CELLS // max(graph.sizes))

    def margins(
        self,
        region: Region,
        leaves: Sequence[Leaf],
        intermediate: str,
        choices: Choices = NO_CHOICES,
    ) -> list[Fraction | float | None]:
        """For every leaf a lower bound, None when region and splits have no point in common.

        As in `exact.ExactEngine.margins`: `linear` takes the region's bounds of ReLU inputs, cut by the leaf's splits;
        `interval` propagates anew under the splits. Rejection when a number is not finite or too large.
        """
        with np.errstate(all="ignore"):
            require_ieee()
            hull = input_hull(region)
            if hull is None:
                return [None] * len(leaves)
            if intermediate == "interval":
                return self._interval_leaves(hull, leaves)
            found: list[Fraction | float | None] = []
            shared = Shared(self._refined(hull, region, choices), choices.given)
            for at in range(0, len(leaves), self.chunk):
                found += self._linear_leaves(shared, region, leaves[at : at + self.chunk])
            return found

    def _interval_leaves(self, hull: Box, leaves: Sequence[Leaf]) -> list[Fraction | float | None]:
        """Leaves under the same splits share one propagation."""
        found: list[Fraction | float | None] = [None] * len(leaves)
        together: dict[tuple[Split, ...], list[int]] = {}
        for k, leaf in enumerate(leaves):
            together.setdefault(leaf.splits, []).append(k)
        for splits, members in together.items():
            boxes = self._intervals(hull, splits)
            if boxes is not None:
                margins = self._least(boxes, [leaves[k] for k in members])
                for k, margin in zip(members, margins, strict=True):
                    found[k] = float(margin)
        return found

    def _intervals(self, hull: Box, splits: Sequence[Split]) -> Boxes | None:
        boxes: Boxes = []
        for value in range(len(self.steps) + 1):
            box = hull if value == 0 else checked(self.steps[value - 1].forward(boxes))
            low, high = box.low, box.high
            for split in splits:
                if split.value == value:
                    low, high = cut(low, high, split)
                    if low[split.index] > high[split.index]:
                        return None
            boxes.append(box if low is box.low and high is box.high else Box(low, high))
        return boxes

    def _refined(self, hull: Box, region: Region, choices: Choices) -> Boxes:
        """Intervals, with the undecided inputs of what is not affine bounded again by rows, and by the hidden rows."""
        boxes, done = [checked(hull)], Done()
        for i, step in enumerate(self.steps):
            if not self.live[i]:
                pass
            elif isinstance(step, FloatRelu | FloatMaximum) and (region.curved or not self.tight[step.source]):
                self._tighten(boxes, region, step, choices)
            elif isinstance(step, FloatElementwise | FloatProduct):
                self._tighten_bent(boxes, region, i, choices, done)
            boxes.append(checked(step.forward(boxes)))
        return boxes

    def _tighten(self, boxes: Boxes, region: Region, step: FloatRelu | FloatMaximum, choices: Choices) -> None:
        """Rows, and then hidden rows, for the input of a Relu or a MaxPool."""
        value = step.source
        which = asked(choices, value, undecided(step, boxes[value]))
        if which.size:
            both = np.concatenate([which, which])
            boxes[value] = self._rows(Shared(boxes, choices.given), region, value, both, which.size, {})
        if value in choices.hidden:
            rows = choices.hidden[value]
            elements = np.array(rows.elements, dtype=np.intp)
            slopes = {v: spread(boxes[v], *given) for v, given in rows.slopes.items()}
            boxes[value] = self._rows(Shared(boxes, choices.given), region, value, elements, rows.lows, slopes)

    def _tighten_bent(self, boxes: Boxes, region: Region, i: int, choices: Choices, done: Done) -> None:
        """Rows for the tensors whose elements, moved and scaled, are undecided inputs of step i."""
        step = self.steps[i]
        assert isinstance(step, FloatElementwise | FloatProduct)
        open_ = step.open([boxes[v] for v in step.sources])
        for value, mask in zip(step.sources, open_, strict=True):
            start = self.origins.get(value)
            if start is None or not (region.curved or not self.tight[start.value]):
                continue
            places = np.asarray(start.which)[asked(choices, value, np.flatnonzero(mask))]
            which = done.fresh(start.value, asked(choices, start.value, np.unique(places[places >= 0])))
            if which.size:
                both = np.concatenate([which, which])
                boxes[start.value] = self._rows(Shared(boxes, choices.given), region, start.value, both, which.size, {})
                for k in start.path:
                    fresh, old = self.steps[k].forward(boxes), boxes[k + 1]
                    boxes[k + 1] = checked(Box(np.maximum(fresh.low, old.low), np.minimum(fresh.high, old.high)))

    def _rows(
        self,
        shared: Shared,
        region: Region,
        value: int,
        elements: NDArray[np.intp],
        lows: int,
        slopes: Mapping[int, Array],
    ) -> Box:
        """The box of `value` intersected with what rows say: the first `lows` are single elements, the others -1 x."""
        low, high = shared.boxes[value].low.copy(), shared.boxes[value].high.copy()
        signs = np.where(np.arange(elements.size) < lows, 1.0, -1.0)
        for at in range(0, elements.size, self.chunk):
            part = slice(at, at + self.chunk)
            which, sign = elements[part], signs[part]
            rows = np.zeros((which.size, low.size))
            rows[np.arange(which.size), which] = sign
            chosen = {v: given[part] for v, given in slopes.items()}
            walk = Walk({value: rows}, np.zeros(which.size), shared, chosen)
            least, below = self._walk(walk, region, value), sign > 0
            low[which[below]] = np.maximum(low[which[below]], least[below])
            high[which[~below]] = np.minimum(high[which[~below]], -least[~below])
        return checked(Box(low, high))

    def _linear_leaves(self, shared: Shared, region: Region, leaves: Sequence[Leaf]) -> list[Fraction | float | None]:
        walk, boxes = self._start(shared, leaves), shared.boxes
        cuts: dict[int, tuple[Array, Array]] = {}
        slopes: dict[int, Array] = {}
        shift = np.zeros(len(leaves))
        for r, leaf in enumerate(leaves):
            for split in leaf.splits:
                if split.value not in cuts:
                    box, shape = boxes[split.value], (len(leaves), boxes[split.value].low.size)
                    cuts[split.value] = (np.tile(box.low, (shape[0], 1)), np.tile(box.high, (shape[0], 1)))
                    walk.coefs.setdefault(split.value, np.zeros(shape))
                low, high = cuts[split.value]
                low[r], high[r] = cut(low[r], high[r], split)
                shift[r] = nextafter(shift[r] + _multiplied(walk.coefs[split.value][r], split), -inf)
            for value, bytes_ in leaf.slopes.items():
                if value not in slopes:
                    slopes[value] = default_slopes(boxes[value], cuts.get(value), len(leaves))
                slopes[value][r] = np.frombuffer(bytes_, dtype=np.uint8) / 255.0
        walk.pay(shift, 0.0)
        empty = self._passed_on(cuts, boxes, len(leaves))
        walk.cuts, walk.slopes, walk.given = cuts, slopes, _tables(shared, leaves)
        margins = self._walk(walk, region, len(self.steps))
        return [None if e else float(m) for m, e in zip(margins, empty, strict=True)]

    def _passed_on(self, cuts: dict[int, tuple[Array, Array]], boxes: Boxes, rows: int) -> NDArray[np.bool_]:
        """Cut what is computed element by element from what is cut; which rows are left without a point."""
        empty = np.zeros(rows, dtype=bool)
        for value in range(len(boxes)):
            step = self.steps[value - 1] if value else None
            if step is not None and self.leading[value] and self.elementwise[value - 1]:
                origin = sources(self.graph.steps[value - 1])
                if any(v in cuts for v in origin):
                    fresh = step.forward(_cut_boxes(boxes, cuts, origin))
                    low, high = cuts.get(value, (boxes[value].low[None], boxes[value].high[None]))
                    cuts[value] = (np.maximum(low, fresh.low), np.minimum(high, fresh.high))
            if value in cuts:
                low, high = cuts[value]
                void = (low > high).any(axis=1)
                if void.any():
                    empty |= void
                    low[void], high[void] = boxes[value].low, boxes[value].high
        return empty

    def _start(self, shared: Shared, leaves: Sequence[Leaf]) -> Walk:
        """The leaves' rows on the output; what float64 can't hold of them is paid for at the output's bounds."""
        rows = np.zeros((len(leaves), self.graph.outputs))
        loss = np.zeros_like(rows)
        constant = np.array([float_down(leaf.constant) for leaf in leaves])
        for r, leaf in enumerate(leaves):
            for j, coefficient in leaf.row.items():
                rows[r, j], loss[r, j] = nearest(coefficient, coefficient)
        walk = Walk({self.graph.output: rows}, constant, shared)
        if loss.any():
            box = shared.boxes[self.graph.output]
            walk.pay(0.0, weighed(loss, box.size) + box.floor)
        return walk

    def _walk(self, walk: Walk, region: Region, value: int) -> Array:
        """Lower bounds over the region, walking back from `value` to the input; -inf where a number overflowed."""
        for i in range(value - 1, -1, -1):
            if i + 1 in walk.coefs:
                self._step(walk, i)
        if 0 in walk.coefs:
            rows = walk.coefs[0]
            best = least_on(rows, walk.shared.boxes[0])
            if region.ball is not None and region.curved:
                best = np.maximum(best, least_on_ball(rows, region.ball))
            walk.pay(best, 0.0)
        return np.where(np.isfinite(walk.constant), walk.constant, -np.inf)

    def _step(self, walk: Walk, i: int) -> None:
        """The rows on value i + 1 become rows on the sources of step i."""
        rows, step, shared = walk.coefs.pop(i + 1), self.steps[i], walk.shared
        boxes = shared.boxes
        if isinstance(step, FloatRelu) and (step.source in walk.cuts or step.source in walk.slopes):
            box = boxes[step.source]
            low, high = walk.cuts.get(step.source, (box.low[None], box.high[None]))
            found, intercept = step.lines(rows, low, high, walk.slopes.get(step.source))
            walk.pay(intercept, box.floor)
            walk.add(step.source, found)
            return
        if isinstance(step, FloatElementwise | FloatProduct):
            parts, constant, loss = self._bent(walk, i, step, rows)
        else:
            if i not in shared.prices:
                shared.prices[i] = step.price(boxes)
            price = shared.prices[i]
            parts, constant = step.backward(rows, boxes)
            loss = 0.0 if price is None else weighed(rows, price)
        walk.pay(constant, loss + sum(boxes[source].floor for source, _ in parts))
        for source, found in parts:
            walk.add(source, found)

    def _bent(
        self, walk: Walk, i: int, step: FloatElementwise | FloatProduct, rows: Array
    ) -> tuple[Parts, Array | float, Array | float]:
        """Planes of the region, or of each row's own cuts and choices."""
        shared, own = walk.shared, walk.given.get(i + 1)
        if own is None and not any(v in walk.cuts for v in step.sources):
            if i not in shared.planes:
                planes = step.planes(
                    _ends(shared.boxes, {}, step.sources), _table(shared.given.get(i + 1)), shared.boxes
                )
                shared.planes[i] = planes, planes.price
            planes, price = shared.planes[i]
        else:
            given = _table(shared.given.get(i + 1)) if own is None else own
            planes = step.planes(_ends(shared.boxes, walk.cuts, step.sources), given, shared.boxes)
            price = planes.price
        return planes.pull(rows, price)

    def _least(self, boxes: Boxes, leaves: Sequence[Leaf]) -> Array:
        """The least values that the intervals allow, through the affine steps before the output."""
        walk = self._start(Shared(boxes), leaves)
        for i in range(len(self.steps) - 1, -1, -1):
            if i + 1 in walk.coefs and not isinstance(self.graph.steps[i], BENT):
                self._step(walk, i)
        for value, rows in walk.coefs.items():
            walk.pay(least_on(rows, boxes[value]), 0.0)
        return np.where(np.isfinite(walk.constant), walk.constant, -np.inf)


def _made(step: Step, sizes: tuple[int, ...]) -> FloatStep | FloatElementwise | FloatProduct:
    """The step in float64."""
    if isinstance(step, Rounded):
        return FloatRounded(step, [prepared(inner, step.sizes) for inner in step.program])
    if isinstance(step, Elementwise):
        return FloatElementwise(step)
    if isinstance(step, Product):
        return FloatProduct(step)
    return prepared(step, sizes)


def require_ieee() -> None:
    """Refuse to work where arithmetic is not round-to-nearest with gradual underflow (a stray -ffast-math library)."""
    one, small = np.ones(1), np.full(1, 2.0**-1022)
    nearest_ = one + U == one and -one - U == -one and one + 3 * U == one + 4 * U
    if not nearest_ or not small * 0.5 > 0.0:
        raise Rejection("floating-point arithmetic is not IEEE round-to-nearest here")


def checked(box: Box) -> Box:
    """The box, when all its numbers are finite and not too large."""
    if not bool((box.size < LARGEST).all()):
        raise Rejection("numbers too large for floating-point checking")
    return box


def cut(low: Array, high: Array, split: Split) -> tuple[Array, Array]:
    """Bounds under z_i >= p or z_i <= p, p rounded outward."""
    low, high = low.copy(), high.copy()
    if split.positive:
        low[split.index] = max(low[split.index], float_down(split.point))
    else:
        high[split.index] = min(high[split.index], float_up(split.point))
    return low, high


def _multiplied(row: Array, split: Split) -> float:
    """Add what a split's multiplier makes of a row, and return a lower bound of the constant that comes with it.

    Weak duality: on z >= p, row >= row - m (z - p). The coefficient fl(a - m) is a less some m' >= 0, because rounding
    is monotone, with |m' - m| <= u |fl(a - m)|: m' p is what the constant gains.
    """
    signed = split.multiplier if split.positive else -split.multiplier
    row[split.index] -= signed
    if not split.point:
        return 0.0
    low, high = float_down(split.point), float_up(split.point)
    gain = min(nextafter(signed * low, -inf), nextafter(signed * high, -inf))
    loss = 2.0 * U * abs(float(row[split.index])) * max(abs(low), abs(high)) + TINY
    return nextafter(gain - loss, -inf)


def _cut_boxes(boxes: Boxes, cuts: Overrides, origin: Sequence[int]) -> Boxes:
    """The boxes with one row a leaf where the sources of a step are cut."""
    found = list(boxes)
    for v in origin:
        found[v] = Box(*cuts[v]) if v in cuts else Box(boxes[v].low[None], boxes[v].high[None])
    return found


def _ends(boxes: Boxes, cuts: Overrides, origin: Sequence[int]) -> list[tuple[Array, Array]]:
    return [cuts.get(v, (boxes[v].low[None], boxes[v].high[None])) for v in origin]


def _table(given: Sequence[float] | None) -> Array | None:
    """Given numbers as one row of lower and one of upper choices."""
    return None if given is None else np.array(given, dtype=np.float64).reshape(1, 2, -1)


def _tables(shared: Shared, leaves: Sequence[Leaf]) -> dict[int, Array]:
    """Choices of a leaf's own, (leaves, 2, n); those of all leaves, or NaN, where there are none."""
    found: dict[int, Array] = {}
    for r, leaf in enumerate(leaves):
        for value, numbers in leaf.given.items():
            if value not in found:
                common = _table(shared.given.get(value))
                one = np.full((1, 2, len(numbers) // 2), np.nan) if common is None else common
                found[value] = np.repeat(one, len(leaves), axis=0)
            found[value][r] = np.array(numbers, dtype=np.float64).reshape(2, -1)
    return found


class Done:
    """Which elements of which values rows have bounded."""

    def __init__(self) -> None:
        self._seen: dict[int, NDArray[np.intp]] = {}

    def fresh(self, value: int, which: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those that are new."""
        old = self._seen.get(value, np.zeros(0, dtype=np.intp))
        new: NDArray[np.intp] = np.setdiff1d(which, old)
        self._seen[value] = np.concatenate([old, new])
        return new


def asked(choices: Choices, value: int, which: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those elements for which the evidence asks rows: all where it says nothing."""
    mask = choices.rows.get(value)
    if mask is None:
        return which
    wanted = np.frombuffer(mask, dtype=np.uint8) != 0
    kept: NDArray[np.intp] = which[wanted[which] if wanted.size > 1 else np.full(which.size, wanted[0])]
    return kept


def default_slopes(box: Box, cuts: tuple[Array, Array] | None, rows: int) -> Array:
    """Slope 1 where high >= -low, else 0, for every row."""
    low, high = cuts if cuts is not None else (box.low[None], box.high[None])
    return np.array(np.broadcast_to((high >= -low).astype(np.float64), (rows, box.low.size)))


def spread(box: Box, elements: tuple[int, ...], rows: Sequence[bytes]) -> Array:
    """The rows' slopes of all elements: those that are given, else the default."""
    found = default_slopes(box, None, len(rows))
    if elements:
        found[:, list(elements)] = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1) / 255.0
    return found


def undecided(step: FloatRelu | FloatMaximum, x: Box) -> NDArray[np.intp]:
    """The elements of a non-linear step's input whose better bounds could matter."""
    if isinstance(step, FloatRelu):
        return np.flatnonzero((x.low < 0.0) & (x.high > 0.0))
    best, _, _ = step.winners(x)
    rivals = (step.windows != best[:, None]) & (x.high[step.windows] > x.low[best][:, None])
    open_ = rivals.any(axis=1)
    return np.unique(np.concatenate([step.windows[rivals], best[open_]]))


def input_hull(region: Region) -> Box | None:
    """A box around the region, every end rounded outward; None when the region is empty."""
    if region.ball is not None:
        center, eps = np.array(region.ball.center), float_up(region.ball.eps)
        low, high = down(center - eps), up(center + eps)
    else:
        if region.box is None:
            raise ValueError("a region without a ball or a box")
        low, high = np.array(region.box[0]), np.array(region.box[1])
    if region.clip is not None:
        low = np.maximum(low, float_down(region.clip[0]))
        high = np.minimum(high, float_up(region.clip[1]))
    for limit in region.cuts:
        if limit.below:
            high[limit.index] = min(high[limit.index], float_up(limit.point))
        else:
            low[limit.index] = max(low[limit.index], float_down(limit.point))
    return None if bool((low > high).any()) else Box(low, high)


def least_on(rows: Array, box: Box) -> Array:
    """A lower bound of every row over a box: max(a, 0) . low + min(a, 0) . high, less g_(2n) |a| . X."""
    value = np.maximum(rows, 0.0) @ box.low + np.minimum(rows, 0.0) @ box.high
    return down(value - (weighed(rows, gamma(2 * rows.shape[1]) * box.size + TINY) + box.floor))


def least_on_ball(rows: Array, ball: Ball) -> Array:
    """A lower bound of every row over an L1 or L2 ball: at the centre, less eps times the dual norm."""
    center, n = np.array(ball.center), rows.shape[1]
    middle = down(rows @ center - (weighed(rows, gamma(n) * np.abs(center) + TINY) + TINY))
    if ball.norm == "2":
        squares = (rows * rows).sum(axis=1)
        norm = up(np.sqrt(squares * (1.0 + gamma(n)) + TINY))
    else:
        norm = np.abs(rows).max(axis=1, initial=0.0)
    return down(middle - up(norm * float_up(ball.eps)))
