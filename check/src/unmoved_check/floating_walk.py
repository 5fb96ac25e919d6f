"""Rows on their way back from a value to the input, in float64, many regions at once.

Invariant, in exact reals, for every row r and every x of the region that it is about:
target_r(x) >= sum over v of coefs[v][r] . v(x) + constant[r]. Every operation that rounds pays its bound into the
constant, which itself is only ever lowered. What a step does to a row depends on the bounds of the row's own region;
what it loses is bounded by prices that hold in all regions of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from unmoved_check.floating_bent import FloatElementwise, FloatProduct, Planes
from unmoved_check.floating_boxes import Box, Boxes, Owner, Parts, scattered, taken
from unmoved_check.floating_cone import WHOLE, AnyStep, Cone
from unmoved_check.floating_deployed import FloatRounded
from unmoved_check.floating_kinks import Bends, FloatMaximum, FloatRelu
from unmoved_check.floating_rounding import TINY, Array, U, dots, down, float_up, gamma, up, weighed
from unmoved_check.floating_select import FloatSelect
from unmoved_check.floating_steps import FloatStep, FloatSum, prepared
from unmoved_check.leaf import Given
from unmoved_check.model.steps import Elementwise, Product, Rounded, Step
from unmoved_check.region import Ball, Region

Overrides = Mapping[int, tuple[Array, Array]]
T = TypeVar("T")


@dataclass
class Shared:
    """What all rows of a batch of regions have in common: bounds, given lines and planes, and what follows."""

    boxes: Boxes
    given: Given = field(default_factory=dict)
    _kept: dict[int, tuple[tuple[Box, ...], object]] = field(default_factory=dict)

    def kept(self, i: int, sources: Sequence[int], made: Callable[[], T]) -> T:
        """What `made` says of step i, made anew when the boxes of its sources are other ones than the last time."""
        seen = tuple(self.boxes[v] for v in sources)
        old = self._kept.get(i)
        if old is None or any(a is not b for a, b in zip(old[0], seen, strict=True)):
            old = self._kept[i] = seen, made()
        return old[1]  # type: ignore[return-value]


@dataclass
class Walk:
    """One batch of rows on its way back: coefs[v] of shape (m, n_v), constant (m,), and whose they are.

    n_v are the places of the rows' cone. `slopes`, `cuts` and `given` are choices and bounds of the rows' own, (m, n)
    each, for rows whose cone is whole.
    """

    coefs: dict[int, Array]
    constant: Array
    shared: Shared
    owner: Owner = None
    cone: Cone = WHOLE
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
        self.pay(0.0, weighed(total, 1.05 * U * self.cone.at(value, box.most) + TINY) + box.floor)

    def back(self, steps: Sequence[AnyStep], i: int) -> None:
        """The rows on value i + 1 become rows on the sources of steps[i]."""
        rows, whole, boxes = self.coefs.pop(i + 1), steps[i], self.shared.boxes
        link, here = self.cone.links.get(i), self.cone.places.get(i + 1)
        step = whole
        if link is not None:
            rows, step = link.laid_out(rows), link.step
            here = here if link.outer is None else None
        constant: Array | float
        loss: Array | float = 0.0
        if isinstance(step, FloatRelu):
            found, constant = self._bends(i, step).pull(rows)
            parts: Parts = [(step.source, found)]
        elif isinstance(step, FloatElementwise | FloatProduct):
            planes, price = self._planes(i, step)
            parts, constant, loss = planes.pull(rows, price)
        elif isinstance(step, FloatMaximum):
            won = self.shared.kept(i, (step.source,), lambda: step.winners(boxes[step.source]))
            parts, constant = step.pull(rows, won.take(self.owner))
            loss = weighed(rows, step.price(boxes))
        else:
            assert not isinstance(whole, FloatElementwise | FloatProduct)
            paid = self.shared.kept(i, read(whole), lambda: whole.price(boxes))
            parts, constant = step.backward(rows, boxes)
            loss = 0.0 if paid is None else weighed(rows, paid if here is None else paid[here])
        self.pay(constant, loss + sum(boxes[source].floor for source, _ in parts))
        for source, found in parts if link is None else link.joined(parts):
            self.add(source, found)

    def _bends(self, i: int, step: FloatRelu) -> Bends:
        """The lines of the regions, or of each row's own cuts and slopes."""
        value = step.source
        if value in self.cuts or value in self.slopes:
            return Bends.of(*self.ends(value), self.slopes.get(value))
        box = self.shared.boxes[value]
        bends = self.shared.kept(i, (value,), lambda: Bends.of(*regions(box), None))
        return bends.at(self.cone.places.get(i + 1)).take(self.owner)

    def _planes(self, i: int, step: FloatElementwise | FloatProduct) -> tuple[Planes, Array]:
        """Planes and their price likewise."""
        own, shared = self.given.get(i + 1), self.shared
        common = table(shared.given.get(i + 1))
        if own is None and not any(v in self.cuts for v in step.sources):

            def made() -> tuple[Planes, Array]:
                found = step.planes([regions(shared.boxes[v]) for v in step.sources], common, shared.boxes)
                return found, found.price

            planes, price = shared.kept(i, step.sources, made)
            return planes.at(self.cone.places.get(i + 1)).take(self.owner), self.cone.at(i + 1, price)
        planes = step.planes([self.ends(v) for v in step.sources], common if own is None else own, shared.boxes)
        return planes, planes.price

    def ends(self, value: int) -> tuple[Array, Array]:
        """Bounds of a value for every row: its own cuts, or its region's."""
        if value in self.cuts:
            return self.cuts[value]
        low, high = regions(self.shared.boxes[value])
        return taken(low, self.owner), taken(high, self.owner)

    def finish(self, steps: Sequence[AnyStep], value: int, region: Region) -> Array:
        """Lower bounds over the region, walking back from `value` to the input; -inf where a number overflowed."""
        for i in range(value - 1, -1, -1):
            if i + 1 in self.coefs:
                self.back(steps, i)
        if 0 in self.coefs:
            rows = self.coefs[0]
            box, here = self.shared.boxes[0], self.cone.places.get(0)
            best = least_on(rows, box if here is None else Box(box.low[..., here], box.high[..., here]), self.owner)
            if region.ball is not None and region.curved:
                best = np.maximum(best, least_on_ball(scattered(rows, here, box.low.shape[-1]), region.ball))
            self.pay(best, 0.0)
        return sure(self.constant)


def made(step: Step, sizes: tuple[int, ...]) -> AnyStep:
    """The step in float64."""
    if isinstance(step, Rounded):
        return FloatRounded(step, [prepared(inner, step.sizes) for inner in step.program])
    if isinstance(step, Elementwise):
        return FloatElementwise(step)
    if isinstance(step, Product):
        return FloatProduct(step)
    return prepared(step, sizes)


def read(step: FloatStep) -> tuple[int, ...]:
    """The values whose boxes a price depends on."""
    if isinstance(step, FloatRounded):
        return step.step.starts
    if isinstance(step, FloatSelect):
        return step.sources
    return (step.left, step.right) if isinstance(step, FloatSum) else (step.source,)  # type: ignore[attr-defined]


def regions(box: Box) -> tuple[Array, Array]:
    """Both ends as (regions, n)."""
    return np.atleast_2d(box.low), np.atleast_2d(box.high)


def table(given: Sequence[float] | None) -> Array | None:
    """Given numbers as one row of lower and one of upper choices."""
    return None if given is None else np.array(given, dtype=np.float64).reshape(1, 2, -1)


def sure(low: Array) -> Array:
    """Bounds, -inf where there is no number."""
    return np.where(np.isfinite(low), low, -np.inf)


def least_on(rows: Array, box: Box, owner: Owner = None) -> Array:
    """A lower bound of every row over its region's box: max(a, 0) . low + min(a, 0) . high, less g_(2n) |a| . X."""
    low, high = (taken(end, owner) for end in regions(box))
    value = dots(np.maximum(rows, 0.0), low) + dots(np.minimum(rows, 0.0), high)
    return down(value - (weighed(rows, gamma(2 * rows.shape[1]) * box.most + TINY) + box.floor))


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
