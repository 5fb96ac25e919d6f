"""The reference: dual-tree leaves bounded in Python integers, with the standard library only.

Every number is dyadic. Intervals and affine steps are exact; after every ReLU a row's coefficients are rounded in the
direction that keeps the row a lower bound (`exact_steps.ExactRelu`), and what is not dyadic (the root in a batch
norm, 1/9, eps = 8/255) is enclosed. There is no error term to forget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import isqrt

from unmoved_check.exact_bent import ExactElementwise, ExactProduct
from unmoved_check.exact_deployed import ExactRounded
from unmoved_check.exact_numbers import (
    Form,
    Interval,
    ceil_at,
    floor_at,
    least_on,
    scaled_floats,
    times_power,
)
from unmoved_check.exact_steps import ExactRelu, ExactStep, prepared
from unmoved_check.leaf import (
    BENT,
    NO_CHOICES,
    Choices,
    Given,
    Hidden,
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
from unmoved_check.model.steps import Elementwise, Graph, Maximum, Product, Relu, Rounded, Step, sources
from unmoved_check.region import Ball, Region

INPUT_EXP = 128
"""Rational ends of the input box are rounded outward to multiples of 2^-INPUT_EXP, as are intervals refined by rows."""


class ExactEngine:
    """Lower bounds in integers for one graph."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.steps = [_made(step, graph.sizes) for step in graph.steps]
        self.tight, self.live, self.leading = tight(graph), live(graph), leading(graph)
        self.elementwise = [elementwise(graph, i) for i in range(len(graph.steps))]
        self.origins = origins(graph)

    def margins(
        self,
        region: Region,
        leaves: Sequence[Leaf],
        intermediate: str,
        choices: Choices = NO_CHOICES,
    ) -> list[Fraction | float | None]:
        """For every leaf a rational lower bound, None when region and splits have no point in common.

        `linear`: bounds of ReLU inputs are those of the region, cut by the leaf's own splits for its final row.
        `interval`: intervals are propagated anew under the leaf's splits; multipliers are not used.
        """
        found: list[Fraction | float | None] = [None] * len(leaves)
        for part, members in places(leaves).items():
            inner = region if part is None else replace(region, cuts=(*region.cuts, *part.cuts))
            hull = input_hull(inner)
            if hull is None:
                continue
            if intermediate == "interval":
                for k in members:
                    found[k] = self._interval_leaf(hull, leaves[k])
                continue
            refined = self._refined(hull, inner, choices)
            here, narrowed = {k: leaves[k] for k in members}, partial(self._narrowed, inner, choices)
            for bounds, inside in by_scope(here, refined, narrowed):
                if bounds is not None:
                    for k in inside:
                        found[k] = self._linear_leaf(bounds, inner, leaves[k], choices)
        return found

    def enclose(self, region: Region) -> list[Interval] | None:
        """Intervals of every value, exact at a single point but for enclosed constants; None when it is empty."""
        hull = input_hull(region)
        return None if hull is None else self._intervals(hull, ())

    def least(self, bounds: list[Interval], row: Mapping[int, Fraction], constant: Fraction) -> Fraction:
        """The least row . y + constant that the intervals allow, through the affine steps before the output."""
        form = self._start(row, constant)
        for i in range(len(self.steps) - 1, -1, -1):
            if isinstance(self.graph.steps[i], BENT) or i + 1 not in form.coefs:
                continue
            coefs, exp = form.coefs.pop(i + 1)
            self.steps[i].backward(form, coefs, exp, bounds)
        for value, (coefs, exp) in form.coefs.items():
            form.charge(least_on(coefs, bounds[value]), exp + bounds[value].exp)
        return form.constant

    def _interval_leaf(self, hull: Interval, leaf: Leaf) -> Fraction | None:
        bounds = self._intervals(hull, leaf.splits)
        return None if bounds is None else self.least(bounds, leaf.row, leaf.constant)

    def _intervals(self, hull: Interval, splits: Sequence[Split]) -> list[Interval] | None:
        bounds: list[Interval] = []
        for value in range(len(self.steps) + 1):
            fresh = hull if value == 0 else self.steps[value - 1].forward(bounds).compact()
            here = [s for s in splits if s.value == value]
            cut = clipped(fresh, here) if here else fresh
            if cut is None:
                return None
            bounds.append(cut)
        return bounds

    def _refined(self, hull: Interval, region: Region, choices: Choices) -> list[Interval]:
        """Intervals, with the undecided inputs of what is not affine bounded again by rows, and by the hidden rows."""
        bounds, done = [hull], dict[int, set[int]]()
        for i, (step, exact) in enumerate(zip(self.graph.steps, self.steps, strict=True)):
            if not self.live[i]:
                pass
            elif isinstance(step, Relu | Maximum) and step.source not in done:
                value = step.source
                if region.curved or not self.tight[value]:
                    which = asked(choices, value, undecided(step, bounds[value]))
                    rows = Hidden((*which, *which), len(which), {})
                    bounds[value] = self._rows(bounds, region, value, rows, choices)
                    if value in choices.hidden:
                        bounds[value] = self._rows(bounds, region, value, choices.hidden[value], choices)
                    done[value] = set()
            elif isinstance(exact, ExactElementwise | ExactProduct):
                self._tighten(bounds, region, exact, choices, done)
            bounds.append(exact.forward(bounds).compact())
        return bounds

    def _tighten(
        self,
        bounds: list[Interval],
        region: Region,
        step: ExactElementwise | ExactProduct,
        choices: Choices,
        done: dict[int, set[int]],
    ) -> None:
        """Rows for the tensors whose elements, moved and scaled, are undecided inputs of a step."""
        for value, open_ in zip(step.sources, step.open(bounds), strict=True):
            start = self.origins.get(value)
            if start is None or not (region.curved or not self.tight[start.value]):
                continue
            places = {start.which[i] for i in asked(choices, value, open_)}
            old = done.setdefault(start.value, set())
            fresh = asked(choices, start.value, sorted(p for p in places - old if p >= 0))
            if fresh:
                old.update(fresh)
                rows = Hidden((*fresh, *fresh), len(fresh), {})
                bounds[start.value] = self._rows(bounds, region, start.value, rows, choices)
                for k in start.path:
                    bounds[k + 1] = intersected(self.steps[k].forward(bounds), bounds[k + 1])

    def _narrowed(
        self, region: Region, choices: Choices, bounds: list[Interval], scope: Scope
    ) -> list[Interval] | None:
        """Bounds in a scope: cut by its splits, then by its rows, one value after the other; None when it is empty."""
        found = self._cut(bounds, scope.splits)
        for value, rows in sorted(scope.hidden.items()):
            if found is None:
                return None
            found[value] = self._rows(found, region, value, rows, choices, scope.splits)
            found = self._cut(found, (), value)
        return found

    def _rows(
        self,
        bounds: list[Interval],
        region: Region,
        value: int,
        rows: Hidden,
        choices: Choices,
        splits: Sequence[Split] = (),
    ) -> Interval:
        """The interval of `value` intersected with what the rows, with their multipliers of the splits, say."""
        found = bounds[value].finer(INPUT_EXP)
        size = len(found.low)
        low, high = list(found.low), list(found.high)
        for r, i in enumerate(rows.elements):
            unit = [0] * size
            unit[i] = 1 if r < rows.lows else -1
            slopes = {v: spread(bounds[v], elements, given[r]) for v, (elements, given) in rows.slopes.items()}
            form, top = Form({value: (unit, 0)}), value
            for split, multiplier in zip(splits, rows.multipliers[r] if splits else (), strict=True):
                self._pull(form, split, multiplier)
                top = max(top, split.value)
            least = floor_at(self._walk(form, bounds, region, top, (slopes, choices.given)), found.exp)
            if r < rows.lows:
                low[i] = max(low[i], least)
            else:
                high[i] = min(high[i], -least)
        return Interval(low, high, found.exp)

    def _linear_leaf(self, bounds: list[Interval], region: Region, leaf: Leaf, choices: Choices) -> Fraction | None:
        cut = self._cut(bounds, leaf.splits)
        if cut is None:
            return None
        form = self._start(leaf.row, leaf.constant)
        for split in leaf.splits:
            self._pull(form, split, split.multiplier)
        return self._walk(form, cut, region, len(self.steps), (leaf.slopes, {**choices.given, **leaf.given}))

    def _pull(self, form: Form, split: Split, multiplier: float) -> None:
        """Weak duality: on z >= p, row >= row - multiplier * (z - p); on z <= p, row >= row + multiplier * (z - p)."""
        numbers, exp = scaled_floats([multiplier])
        signed = numbers[0] if split.positive else -numbers[0]
        coefs = [0] * self.graph.sizes[split.value]
        coefs[split.index] = -signed
        form.add(split.value, coefs, exp)
        form.charge(floor_at(signed * split.point, INPUT_EXP), exp + INPUT_EXP)

    def _cut(self, bounds: list[Interval], splits: Sequence[Split], *narrower: int) -> list[Interval] | None:
        """Bounds under the splits, and of what is computed from these element by element; None when nothing is left.

        Likewise from values that have become narrower.
        """
        found, changed = list(bounds), {*narrower, *(s.value for s in splits)}
        for value in range(len(bounds)) if changed else ():
            passes = value and self.leading[value] and self.elementwise[value - 1]
            if passes and changed.intersection(sources(self.graph.steps[value - 1])):
                found[value] = intersected(self.steps[value - 1].forward(found), found[value])
                changed.add(value)
            if value in changed:
                cut = clipped(found[value], [s for s in splits if s.value == value])
                if cut is None:
                    return None
                found[value] = cut
        return found

    def _start(self, row: Mapping[int, Fraction], constant: Fraction) -> Form:
        """The row on the output; a number that is not dyadic was refused where it was read."""
        exp = max([0, *(r.denominator.bit_length() - 1 for r in row.values())])
        coefs = [0] * self.graph.outputs
        for j, r in row.items():
            coefs[j] = floor_at(r, exp)
            if times_power(coefs[j], exp) != r:
                raise ValueError("a row that is not dyadic")
        form = Form({self.graph.output: (coefs, exp)})
        form.charge(floor_at(constant, exp + INPUT_EXP), exp + INPUT_EXP)
        return form

    def _walk(
        self,
        form: Form,
        bounds: list[Interval],
        region: Region,
        value: int,
        chosen: tuple[Mapping[int, bytes], Given],
    ) -> Fraction:
        """The form's lower bound over the region, walking back from `value` to the input."""
        for i in range(value - 1, -1, -1):
            if i + 1 not in form.coefs:
                continue
            coefs, exp = form.coefs.pop(i + 1)
            step = self.steps[i]
            if isinstance(step, ExactRelu):
                step.backward(form, coefs, exp, bounds, chosen[0].get(step.step.source))
            elif isinstance(step, ExactElementwise | ExactProduct):
                step.backward(form, coefs, exp, bounds, chosen[1].get(i + 1))
            else:
                step.backward(form, coefs, exp, bounds)
        if 0 not in form.coefs:
            return form.constant
        coefs, exp = form.coefs[0]
        best = times_power(least_on(coefs, bounds[0]), exp + bounds[0].exp)
        if region.ball is not None and region.curved:
            best = max(best, least_on_ball(coefs, exp, region.ball))
        return form.constant + best


def _made(step: Step, sizes: Sequence[int]) -> ExactStep:
    """The step in integers."""
    if isinstance(step, Rounded):
        return ExactRounded(step, [prepared(inner, step.sizes) for inner in step.program])
    if isinstance(step, Elementwise):
        return ExactElementwise(step)
    if isinstance(step, Product):
        return ExactProduct(step)
    return prepared(step, sizes)


def intersected(x: Interval, y: Interval) -> Interval:
    """Both at once; low > high where they don't meet."""
    exp = max(x.exp, y.exp)
    x, y = x.finer(exp), y.finer(exp)
    low = [max(a, b) for a, b in zip(x.low, y.low, strict=True)]
    return Interval(low, [min(a, b) for a, b in zip(x.high, y.high, strict=True)], exp)


def asked(choices: Choices, value: int, which: Sequence[int]) -> list[int]:
    """Those elements for which the evidence asks rows: all where it says nothing."""
    mask = choices.rows.get(value)
    if mask is None:
        return list(which)
    return [i for i in which if mask[i if len(mask) > 1 else 0]]


def spread(x: Interval, elements: Sequence[int], given: bytes) -> bytes:
    """One row's slopes of all elements: those that are given, else the default."""
    found = bytearray(255 if b >= -a else 0 for a, b in zip(x.low, x.high, strict=True))
    for i, slope in zip(elements, given, strict=True):
        found[i] = slope
    return bytes(found)


def undecided(step: Relu | Maximum, x: Interval) -> list[int]:
    """The elements of a non-linear step's input whose better bounds could matter."""
    if isinstance(step, Relu):
        return [i for i, (a, b) in enumerate(zip(x.low, x.high, strict=True)) if a < 0 < b]
    found: set[int] = set()
    for window in step.windows:
        best = max(window, key=x.low.__getitem__)
        rivals = [j for j in window if j != best and x.high[j] > x.low[best]]
        if rivals:
            found.update(rivals, (best,))
    return sorted(found)


def clipped(x: Interval, splits: Sequence[Split]) -> Interval | None:
    """The interval under z_i >= p or z_i <= p, p rounded outward; None when nothing is left."""
    x = x.finer(max([0, *(INPUT_EXP for s in splits if s.point)]))
    low, high = list(x.low), list(x.high)
    for split in splits:
        i = split.index
        if split.positive:
            low[i] = max(low[i], floor_at(split.point, x.exp))
        else:
            high[i] = min(high[i], ceil_at(split.point, x.exp))
    return None if any(a > b for a, b in zip(low, high, strict=True)) else Interval(low, high, x.exp)


def input_hull(region: Region) -> Interval | None:
    """The smallest box, rounded outward to 2^-INPUT_EXP or finer, around the region; None when it is empty."""
    if region.ball is not None:
        centre, exp = scaled_floats(region.ball.center)
        shift = max(INPUT_EXP - exp, 0)
        exp += shift
        reach = ceil_at(region.ball.eps, exp)
        low, high = [(n << shift) - reach for n in centre], [(n << shift) + reach for n in centre]
    else:
        if region.box is None:
            raise ValueError("a region without a ball or a box")
        size = len(region.box[0])
        both, exp = scaled_floats((*region.box[0], *region.box[1]))
        both = [n << max(INPUT_EXP - exp, 0) for n in both]
        exp = max(exp, INPUT_EXP)
        low, high = both[:size], both[size:]
    if region.clip is not None:
        least, most = floor_at(region.clip[0], exp), ceil_at(region.clip[1], exp)
        low, high = [max(n, least) for n in low], [min(n, most) for n in high]
    for cut in region.cuts:
        if cut.below:
            high[cut.index] = min(high[cut.index], ceil_at(cut.point, exp))
        else:
            low[cut.index] = max(low[cut.index], floor_at(cut.point, exp))
    return None if any(a > b for a, b in zip(low, high, strict=True)) else Interval(low, high, exp)


def least_on_ball(coefs: Sequence[int], exp: int, ball: Ball) -> Fraction:
    """A lower bound of coefs * 2^-exp . x over an L1 or L2 ball: at the centre, less eps times the dual norm."""
    centre, centre_exp = scaled_floats(ball.center)
    middle = times_power(sum(a * c for a, c in zip(coefs, centre, strict=True)), exp + centre_exp)
    if ball.norm == "1":
        return middle - ball.eps * times_power(max(map(abs, coefs), default=0), exp)
    norm = isqrt(sum(a * a for a in coefs) << INPUT_EXP) + 1
    return middle - ball.eps * times_power(norm, exp + INPUT_EXP // 2)
