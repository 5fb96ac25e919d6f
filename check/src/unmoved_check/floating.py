"""The fast path: dual-tree leaves bounded in float64 with a-priori rounding bounds.

The bounds are derived in floating_rounding and floating_steps. Leaves are bounded many at once: those about one part of
the region share its bounds (floating_bounds), and all parts, and all leaves, travel together (floating_walk).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import inf, nextafter

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_bounds import CELLS, Facts, Refinement, checked
from unmoved_check.floating_boxes import Box, Boxes, Owner
from unmoved_check.floating_hull import input_hull, part_hulls, wider
from unmoved_check.floating_leaves import chosen_slopes, chosen_tables, cut, cut_boxes, multiplied
from unmoved_check.floating_rounding import Array, U, float_down, nearest, weighed
from unmoved_check.floating_walk import Shared, Walk, least_on, least_on_ball, made, regions, sure
from unmoved_check.leaf import (
    BENT,
    NO_CHOICES,
    Choices,
    Leaf,
    Scope,
    Split,
    by_scope,
    elementwise,
    leading,
    live,
    origins,
    places,
    tight,
)
from unmoved_check.model.steps import Graph, sources
from unmoved_check.outcome import Rejection
from unmoved_check.region import Part, Region

__all__ = ["FloatEngine", "Shared", "Walk", "checked", "input_hull", "least_on", "least_on_ball", "require_ieee"]

NUMBERS = 1 << 22
"""Regions are bounded in batches whose bounds are about this many numbers (some 100 MiB with what belongs to them)."""

TOGETHER = 8
"""Parts that share the bounds of a wider one around them, at most; and at least, on average, LEAST."""
LEAST = 4

Margins = list[Fraction | float | None]


@dataclass(frozen=True)
class Asked:
    """What all leaves have in common: the region, a box around it, and how values before the output are bounded."""

    region: Region
    hull: Box
    intermediate: str
    choices: Choices


class FloatEngine:
    """Lower bounds in float64 for one graph; |W| and folded constants are kept between calls."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.steps = [made(step, graph.sizes) for step in graph.steps]
        self.chunk = max(64, CELLS // max(graph.sizes))
        self.origins = origins(graph)
        self.facts = Facts(graph, self.steps, tight(graph), live(graph), self.origins, self.chunk)
        self.leading = leading(graph)
        self.elementwise = [elementwise(graph, i) for i in range(len(graph.steps))]

    def margins(
        self,
        region: Region,
        leaves: Sequence[Leaf],
        intermediate: str,
        choices: Choices = NO_CHOICES,
    ) -> Margins:
        """For every leaf a lower bound, None when part and splits have no point in common.

        As in `exact.ExactEngine.margins`: `linear` takes the part's bounds of ReLU inputs, cut by the leaf's splits;
        `interval` propagates anew under the splits. Rejection when a number is not finite or too large.
        """
        found: Margins = [None] * len(leaves)
        with np.errstate(all="ignore"):
            require_ieee()
            hull = input_hull(region)
            if hull is None:
                return found
            asked = Asked(region, hull, intermediate, choices)
            free: list[int] = []
            for part, members in places(leaves).items():
                inside = {k: leaves[k] for k in members}
                if not any(leaf.scope for leaf in inside.values()):
                    free += members
                    continue
                for k, margin in self._scoped_leaves(part_hulls(hull, [part]), region, inside, choices):
                    found[k] = margin
            for k, margin in zip(free, self._bounded(asked, [leaves[k] for k in free], TOGETHER), strict=True):
                found[k] = margin
            # what parts share is looser than what each has of its own: once more for those that need it
            known = {k: m for k in free if (m := found[k]) is not None}
            open_ = [k for k, m in known.items() if not m > 0 and leaves[k].part is not None]
            if open_ and intermediate == "linear":
                for k, margin in zip(open_, self._bounded(asked, [leaves[k] for k in open_], 1), strict=True):
                    found[k] = max(m for m in (found[k], margin) if m is not None)
        return found

    def _bounded(self, asked: Asked, leaves: Sequence[Leaf], together: int) -> Margins:
        """The margins, in batches of parts; at most `together` parts share bounds of a wider one."""
        found: Margins = [None] * len(leaves)
        groups = list(places(leaves).items())
        many = max(1, NUMBERS // sum(self.graph.sizes))
        for at in range(0, len(groups), many):
            group = groups[at : at + many]
            boxes, empty = part_hulls(asked.hull, [part for part, _ in group])
            order, owner = _members([members for _, members in group], empty)
            chosen = [leaves[k] for k in order]
            if not chosen:
                continue
            if asked.intermediate == "interval":
                margins = self._interval_leaves(boxes, chosen, owner)
            else:
                shared = self._shared(asked, [part for part, _ in group], boxes, together)
                margins = self._linear_leaves(shared, asked.region, chosen, owner)
            for k, margin in zip(order, margins, strict=True):
                found[k] = margin
        return found

    def _shared(self, asked: Asked, parts: Sequence[Part | None], boxes: Box, together: int) -> Shared:
        """Bounds over parts, from those over wider parts around several of them, which hold in each."""
        outer = wider(parts, together)
        if len(set(outer)) * LEAST > len(parts):
            return Refinement.of(self.facts, boxes, asked.region, asked.choices)
        around = list(dict.fromkeys(outer))
        number = {part: r for r, part in enumerate(around)}
        known = self._shared(asked, around, part_hulls(asked.hull, around)[0], together)
        index = np.array([number[part] for part in outer], dtype=np.intp)
        return Refinement.of(self.facts, boxes, asked.region, asked.choices, (known.boxes, index))

    def _interval_leaves(self, hull: Box, leaves: Sequence[Leaf], owner: NDArray[np.intp]) -> Margins:
        """Leaves under the same splits of the same part share one propagation."""
        together: dict[tuple[int, tuple[Split, ...]], list[int]] = {}
        for k, leaf in enumerate(leaves):
            together.setdefault((int(owner[k]), leaf.splits), []).append(k)
        found: Margins = [None] * len(leaves)
        groups = list(together.items())
        many = max(1, NUMBERS // sum(self.graph.sizes))
        for at in range(0, len(groups), many):
            group = groups[at : at + many]
            whose = np.array([r for (r, _), _ in group], dtype=np.intp)
            low, high = (end[whose] for end in regions(hull))
            empty = np.zeros(len(group), dtype=bool)
            boxes = self._intervals(Box(low, high), [splits for (_, splits), _ in group], empty)
            order, chosen = _members([members for _, members in group], empty)
            if order:
                for k, margin in zip(order, self._least(boxes, [leaves[k] for k in order], chosen), strict=True):
                    found[k] = float(margin)
        return found

    def _intervals(
        self, hull: Box, splits: Sequence[Sequence[Split]] = (), empty: NDArray[np.bool_] | None = None
    ) -> Boxes:
        """The intervals of every value under the splits of every row of `hull`; `empty` rows are noted, and not cut."""
        boxes: Boxes = []
        for value in range(len(self.steps) + 1):
            box = hull if value == 0 else checked(self.steps[value - 1].forward(boxes))
            here = [(r, split) for r, group in enumerate(splits) for split in group if split.value == value]
            if here:
                low, high = box.low.copy(), box.high.copy()
                for r, split in here:
                    cut(low[r], high[r], split)
                void = (low > high).any(axis=1)
                if void.any():
                    assert empty is not None
                    empty |= void
                    low[void], high[void] = box.low[void], box.high[void]
                box = Box(low, high)
            boxes.append(box)
        return boxes

    def _linear_leaves(
        self, shared: Shared, region: Region, leaves: Sequence[Leaf], owner: NDArray[np.intp]
    ) -> Margins:
        """The final rows of leaves about the regions `owner` of a batch."""
        found: Margins = []
        for at in range(0, len(leaves), self.chunk):
            part, whose = leaves[at : at + self.chunk], owner[at : at + self.chunk]
            walk = self._start(shared, part, whose)
            cuts = self._split(walk, part)
            empty = self._passed_on(cuts, walk)
            walk.cuts = cuts
            walk.slopes, walk.given = chosen_slopes(walk, part), chosen_tables(shared, part)
            margins = walk.finish(self.steps, len(self.steps), region)
            found += [None if e else float(m) for m, e in zip(margins, empty, strict=True)]
        return found

    def _scoped_leaves(
        self, hull: tuple[Box, NDArray[np.bool_]], region: Region, leaves: Mapping[int, Leaf], choices: Choices
    ) -> Iterator[tuple[int, Fraction | float | None]]:
        """The margins of leaves about one part, some of which lie in scopes, by their keys."""
        if hull[1][0]:
            return
        refined = Refinement.of(self.facts, hull[0], region, choices).boxes
        for boxes, members in by_scope(leaves, refined, partial(self._narrowed, region, choices)):
            if boxes is not None:
                asked, owner = [leaves[k] for k in members], np.zeros(len(members), dtype=np.intp)
                margins = self._linear_leaves(Shared(boxes, choices.given), region, asked, owner)
                yield from zip(members, margins, strict=True)

    def _narrowed(self, region: Region, choices: Choices, boxes: Boxes, scope: Scope) -> Boxes | None:
        """Bounds in a scope: cut by its splits, then by its rows, one value after the other; None when it is empty."""
        cuts: dict[int, tuple[Array, Array]] = {}
        for split in scope.splits:
            if split.value not in cuts:
                low, high = regions(boxes[split.value])
                cuts[split.value] = low.copy(), high.copy()
            low, high = cuts[split.value]
            cut(low[0], high[0], split)
        found = self._renewed(boxes, cuts, choices)
        for value, rows in sorted(scope.hidden.items()):
            if found is None:
                return None
            inside = Refinement(self.facts, region, choices, Shared(found, choices.given))
            inside.hidden(value, rows, scope.splits)
            found = self._renewed(found, {value: regions(inside.shared.boxes[value])}, choices)
        return found

    def _renewed(self, boxes: Boxes, cuts: dict[int, tuple[Array, Array]], choices: Choices) -> Boxes | None:
        """The boxes with narrower ones of some values and of what is computed from these element by element."""
        if self._passed_on(cuts, Walk({}, np.zeros(1), Shared(boxes, choices.given)))[0]:
            return None
        return [checked(Box(*cuts[v])) if v in cuts else box for v, box in enumerate(boxes)]

    def _split(self, walk: Walk, leaves: Sequence[Leaf]) -> dict[int, tuple[Array, Array]]:
        """The leaves' own bounds of the values that they split; the multipliers join the rows."""
        cuts: dict[int, tuple[Array, Array]] = {}
        shift = np.zeros(len(leaves))
        for r, leaf in enumerate(leaves):
            for split in leaf.splits:
                if split.value not in cuts:
                    shape = (len(leaves), self.graph.sizes[split.value])
                    cuts[split.value] = tuple(np.array(np.broadcast_to(e, shape)) for e in walk.ends(split.value))  # type: ignore[assignment]
                    walk.coefs.setdefault(split.value, np.zeros(shape))
                low, high = cuts[split.value]
                cut(low[r], high[r], split)
                shift[r] = nextafter(shift[r] + multiplied(walk.coefs[split.value][r], split), -inf)
        walk.pay(shift, 0.0)
        return cuts

    def _passed_on(self, cuts: dict[int, tuple[Array, Array]], walk: Walk) -> NDArray[np.bool_]:
        """Cut what is computed element by element from what is cut; which rows are left without a point."""
        boxes = walk.shared.boxes
        empty = np.zeros(len(walk.constant), dtype=bool)
        for value in range(len(boxes)) if cuts else ():
            step = self.steps[value - 1] if value else None
            if step is not None and self.leading[value] and self.elementwise[value - 1]:
                origin = sources(self.graph.steps[value - 1])
                if any(v in cuts for v in origin):
                    fresh = step.forward(cut_boxes(walk, cuts, origin))
                    low, high = cuts.get(value, walk.ends(value))
                    cuts[value] = (np.maximum(low, fresh.low), np.minimum(high, fresh.high))
            if value in cuts:
                low, high = cuts[value]
                void = (low > high).any(axis=1)
                if void.any():
                    empty |= void
                    for end, whole in zip((low, high), walk.ends(value), strict=True):
                        end[void] = np.broadcast_to(whole, end.shape)[void]
        return empty

    def _start(self, shared: Shared, leaves: Sequence[Leaf], owner: Owner = None) -> Walk:
        """The leaves' rows on the output; what float64 can't hold of them is paid for at the output's bounds."""
        rows = np.zeros((len(leaves), self.graph.outputs))
        loss = np.zeros_like(rows)
        constant = np.zeros(len(leaves))
        known: dict[int, tuple[float, Array, Array]] = {}
        for r, leaf in enumerate(leaves):
            if id(leaf.row) not in known:
                for j, coefficient in leaf.row.items():
                    rows[r, j], loss[r, j] = nearest(coefficient, coefficient)
                known[id(leaf.row)] = float_down(leaf.constant), rows[r], loss[r]
            constant[r], rows[r], loss[r] = known[id(leaf.row)]
        walk = Walk({self.graph.output: rows}, constant, shared, owner)
        if loss.any():
            box = shared.boxes[self.graph.output]
            walk.pay(0.0, weighed(loss, box.most) + box.floor)
        return walk

    def _least(self, boxes: Boxes, leaves: Sequence[Leaf], owner: NDArray[np.intp]) -> Array:
        """The least values that the intervals allow, through the affine steps before the output."""
        walk = self._start(Shared(boxes), leaves, owner)
        for i in range(len(self.steps) - 1, -1, -1):
            if i + 1 in walk.coefs and not isinstance(self.graph.steps[i], BENT):
                walk.back(self.steps, i)
        for value, rows in walk.coefs.items():
            walk.pay(least_on(rows, boxes[value], owner), 0.0)
        return sure(walk.constant)


def _members(groups: Sequence[Sequence[int]], empty: NDArray[np.bool_]) -> tuple[list[int], NDArray[np.intp]]:
    """The members of all groups that are not empty, and the number of each one's group."""
    of = [(k, r) for r, members in enumerate(groups) if not empty[r] for k in members]
    return [k for k, _ in of], np.array([r for _, r in of], dtype=np.intp)


def require_ieee() -> None:
    """Refuse to work where arithmetic is not round-to-nearest with gradual underflow (a stray -ffast-math library)."""
    one, small = np.ones(1), np.full(1, 2.0**-1022)
    nearest_ = one + U == one and -one - U == -one and one + 3 * U == one + 4 * U
    if not nearest_ or not small * 0.5 > 0.0:
        raise Rejection("floating-point arithmetic is not IEEE round-to-nearest here")
