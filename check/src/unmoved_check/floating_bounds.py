"""Bounds of every value over a batch of regions, in float64: intervals, and backward rows where these leave open.

A row bounds one element of one value in one region. The rows of all regions travel together: first, as far as steps
are affine, one row an element, the same for all regions; from there on one a region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_bent import FloatElementwise, FloatProduct
from unmoved_check.floating_boxes import Box, Boxes, Elements
from unmoved_check.floating_cone import AnyStep, Cone, bunches, cone
from unmoved_check.floating_kinks import FloatMaximum, FloatRelu
from unmoved_check.floating_rounding import LARGEST, Array
from unmoved_check.floating_scope import Pulls
from unmoved_check.floating_walk import Shared, Walk, regions
from unmoved_check.leaf import BENT, Choices, Hidden, Origin, Split
from unmoved_check.model.steps import Graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Region

CELLS = 1 << 17
"""Rows are walked in chunks whose largest matrix has about this many numbers (1 MiB): larger ones leave the cache."""


@dataclass(frozen=True)
class Facts:
    """What is known of a graph before any region: its steps in float64, and what `leaf` says of its values."""

    graph: Graph
    steps: Sequence[AnyStep]
    tight: Sequence[bool]
    live: Sequence[bool]
    origins: Mapping[int, Origin]
    chunk: int
    _cones: dict[int, list[tuple[Elements, Cone]]] = field(default_factory=dict)

    def cones(self, value: int) -> list[tuple[Elements, Cone]]:
        """All elements of a value in bunches, each with its cone; made once."""
        if value not in self._cones:
            found = bunches(self.graph, value)
            self._cones[value] = [(b, cone(self.steps, self.graph, value, b)) for b in found]
        return self._cones[value]


@dataclass
class Refinement:
    """Intervals of a batch of regions, the undecided inputs of what is not affine bounded again by rows."""

    facts: Facts
    region: Region
    choices: Choices
    shared: Shared
    done: dict[int, NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, facts: Facts, hull: Box, region: Region, choices: Choices, around: tuple[Boxes, Elements] | None = None
    ) -> Shared:
        """The bounds over every row of `hull`, which are regions that differ in their cuts only.

        `around`, if given: bounds over wider regions, and the number of that around each, in which it lies.
        """
        made = cls(facts, region, choices, Shared([checked(hull)], choices.given))
        for i, step in enumerate(facts.steps):
            if not facts.live[i]:
                pass
            elif isinstance(step, FloatRelu | FloatMaximum) and made.useful(step.source):
                made.tighten(step)
            elif isinstance(step, FloatElementwise | FloatProduct):
                made.tighten_bent(step)
            box = checked(step.forward(made.shared.boxes))
            if around is not None:
                outer, number = around[0][i + 1], around[1]
                box = Box(np.maximum(box.low, outer.low[number]), np.minimum(box.high, outer.high[number]))
            made.shared.boxes.append(box)
        return made.shared

    def useful(self, value: int) -> bool:
        """Whether rows can bound a value better than intervals do."""
        return self.region.curved or not self.facts.tight[value]

    def tighten(self, step: FloatRelu | FloatMaximum) -> None:
        """Rows, and then hidden rows, for the input of a Relu or a MaxPool."""
        value, boxes = step.source, self.shared.boxes
        mask = self.asked(value, undecided(step, boxes[value]))
        self.rows(value, mask, -1.0)
        if isinstance(step, FloatRelu):
            # what is never above 0 is decided
            mask &= boxes[value].high > 0.0
        self.rows(value, mask, 1.0)
        if value in self.choices.hidden:
            self.hidden(value, self.choices.hidden[value])

    def tighten_bent(self, step: FloatElementwise | FloatProduct) -> None:
        """Rows for the tensors whose elements, moved and scaled, are undecided inputs of a step."""
        boxes = self.shared.boxes
        open_ = step.open([boxes[v] for v in step.sources])
        for value, mask in zip(step.sources, open_, strict=True):
            start = self.facts.origins.get(value)
            if start is None or not self.useful(start.value):
                continue
            wanted, which = np.zeros(boxes[start.value].low.shape, dtype=bool), np.asarray(start.which)
            kept = which >= 0
            owner, place = np.nonzero(self.asked(value, mask)[:, kept])
            wanted[owner, which[kept][place]] = True
            wanted = self.asked(start.value, wanted) & ~self.done.get(start.value, np.zeros(1, dtype=bool))
            self.done[start.value] = wanted | self.done.get(start.value, np.zeros(1, dtype=bool))
            if wanted.any():
                self.rows(start.value, wanted, -1.0)
                self.rows(start.value, wanted, 1.0)
                for k in start.path:
                    fresh, old = self.facts.steps[k].forward(boxes), boxes[k + 1]
                    boxes[k + 1] = checked(Box(np.maximum(fresh.low, old.low), np.minimum(fresh.high, old.high)))

    def asked(self, value: int, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Those elements for which the evidence asks rows: all where it says nothing."""
        mask = self.choices.rows.get(value)
        return which if mask is None else which & (np.frombuffer(mask, dtype=np.uint8) != 0)

    def rows(self, value: int, mask: NDArray[np.bool_], sign: float) -> None:
        """Intersect the box of `value` with what rows `sign` times single elements say, where `mask` (regions, n)."""
        boxes, asked = self.shared.boxes, np.asarray(mask.any(axis=0))
        if not asked.any():
            return
        ends = [end.copy() for end in regions(boxes[value])]
        for bunch, seen in self.facts.cones(value):
            wanted = np.flatnonzero(asked[bunch])
            for at in range(0, wanted.size, self.facts.chunk):
                some = wanted[at : at + self.facts.chunk]
                part = bunch[some]
                whole = seen.places.get(value) is None
                units = np.zeros((part.size, asked.size if whole else bunch.size))
                units[np.arange(part.size), part if whole else some] = sign
                start = Walk({value: units}, np.zeros(part.size), self.shared, cone=seen)
                affine_back(start, self.facts, value)
                for places, low in self.spread(start, value, np.nonzero(mask[:, part])):
                    bound(ends, sign, (places[0], part[places[1]]), low)
        boxes[value] = checked(Box(*ends))

    def spread(
        self, start: Walk, value: int, wanted: Sequence[Elements]
    ) -> Iterator[tuple[tuple[Elements, Elements], Array]]:
        """Walk rows (regions, number in `start`) to the input, a chunk at a time: which they are, and lower bounds."""
        for at in range(0, wanted[0].size, self.facts.chunk):
            owner, number = (w[at : at + self.facts.chunk] for w in wanted)
            coefs = {v: np.take(c, number, axis=0) for v, c in start.coefs.items()}
            walk = Walk(coefs, start.constant[number], self.shared, owner, start.cone)
            yield (owner, number), walk.finish(self.facts.steps, value, self.region)

    def hidden(self, value: int, given: Hidden, splits: Sequence[Split] = ()) -> None:
        """Intersect the box with what hidden rows, with their multipliers of splits, say: the same in all regions."""
        boxes, pulls = self.shared.boxes, Pulls.of(splits, given)
        ends = [end.copy() for end in regions(boxes[value])]
        elements = np.array(given.elements, dtype=np.intp)
        owner = np.repeat(np.arange(len(ends[0])), elements.size)
        number = np.tile(np.arange(elements.size), len(ends[0]))
        for at in range(0, owner.size, self.facts.chunk):
            whose, r = owner[at : at + self.facts.chunk], number[at : at + self.facts.chunk]
            sign = np.where(r < given.lows, 1.0, -1.0)
            units = np.zeros((r.size, ends[0].shape[1]))
            units[np.arange(r.size), elements[r]] = sign
            walk = Walk({value: units}, np.zeros(r.size), self.shared, whose)
            walk.slopes = {v: spread(boxes[v], whose, which, rows, r) for v, (which, rows) in given.slopes.items()}
            walk.pay(pulls.add(walk.coefs, r, boxes), 0.0)
            low = walk.finish(self.facts.steps, max(walk.coefs), self.region)
            for s in (1.0, -1.0):
                mine = sign == s
                bound(ends, s, (whose[mine], elements[r[mine]]), low[mine])
        boxes[value] = checked(Box(*ends))


def bound(ends: Sequence[Array], sign: float, places: tuple[Elements, Elements], low: Array) -> None:
    """Raise lower ends to `low`, or lower upper ends to -`low`, at (regions, elements)."""
    if sign > 0:
        ends[0][places] = np.maximum(ends[0][places], low)
    else:
        ends[1][places] = np.minimum(ends[1][places], -low)


def affine_back(walk: Walk, facts: Facts, value: int) -> None:
    """Walk rows back from `value` to the first step that is not affine: what follows from them in all regions."""
    for i in range(value - 1, -1, -1):
        if i + 1 in walk.coefs:
            if isinstance(facts.graph.steps[i], BENT):
                break
            walk.back(facts.steps, i)


def checked(box: Box) -> Box:
    """The box, when all its numbers are finite and not too large."""
    if not bool((box.size < LARGEST).all()):
        raise Rejection("numbers too large for floating-point checking")
    return box


def undecided(step: FloatRelu | FloatMaximum, x: Box) -> NDArray[np.bool_]:
    """Which elements of a non-linear step's input (regions, n) better bounds could matter for."""
    if isinstance(step, FloatRelu):
        return (x.low < 0.0) & (x.high > 0.0)
    won, found = step.winners(x), np.zeros(x.low.shape, dtype=bool)
    floor = np.take_along_axis(x.low, won.best, -1)[..., None]
    rivals = (step.windows != won.best[..., None]) & (x.high[..., step.windows] > floor)
    owner, window, place = np.nonzero(rivals)
    found[owner, step.windows[window, place]] = True
    owner, window = np.nonzero(rivals.any(axis=-1))
    found[owner, won.best[owner, window]] = True
    return found


def default_slopes(low: Array, high: Array) -> Array:
    """Slope 1 where high >= -low, else 0."""
    return (high >= -low).astype(np.float64)


def spread(box: Box, owner: Elements, which: tuple[int, ...], rows: Sequence[bytes], numbers: Elements) -> Array:
    """The slopes of all elements in rows `numbers`: those that are given, else their regions' default."""
    low, high = regions(box)
    found = np.take(default_slopes(low, high), owner, axis=0)
    if which:
        given = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1)
        found[:, list(which)] = given[numbers] / 255.0
    return found
