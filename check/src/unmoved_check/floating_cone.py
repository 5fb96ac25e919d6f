"""Cones: what some elements of a value depend on, step by step back to the input.

Rows of single elements see a small part of the values before them (a convolution's window, a token's row). A cone
holds, for every value on the way, the places that count, in order, and steps cut down to these: the same sums with the
terms left out that are zero. What rows pay is unchanged: prices of the whole value, at those places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_bent import FloatElementwise, FloatProduct
from unmoved_check.floating_boxes import Elements, Parts, scattered
from unmoved_check.floating_deployed import FloatRounded
from unmoved_check.floating_kinks import FloatRelu
from unmoved_check.floating_linear import FloatConv, FloatDense
from unmoved_check.floating_rounding import Array
from unmoved_check.floating_select import FloatSelect
from unmoved_check.floating_steps import FloatScale, FloatStep, FloatSum
from unmoved_check.model.steps import Conv, Dense, Graph, Maximum, Select, sources

AnyStep = FloatStep | FloatElementwise | FloatProduct
Places = Elements | None
"""Flat places of a value, in order; None: all."""

MOST = 0.6
"""Of a value: more places than that are taken as all of them."""

BUNCH = 64
"""Elements that look at the same things, about as many as this, get a cone together."""


@dataclass(frozen=True)
class Link:
    """One step of a cone: `step` on rows, laid out at `outer` of `size` first (if given), and where its parts go."""

    step: AnyStep
    outer: Places
    size: int
    into: tuple[tuple[Places, int], ...]

    def laid_out(self, rows: Array) -> Array:
        """Rows as the step reads them."""
        return scattered(rows, self.outer, self.size)

    def joined(self, parts: Parts) -> Parts:
        """The step's parts on the places of the cone."""
        return [(v, scattered(rows, *into)) for (v, rows), into in zip(parts, self.into, strict=True)]


@dataclass(frozen=True)
class Cone:
    """`places` of the values seen (None, and what is not listed: all), and the links by step (not listed: whole)."""

    places: Mapping[int, Places] = field(default_factory=dict)
    links: Mapping[int, Link] = field(default_factory=dict)

    def at(self, value: int, table: Array) -> Array:
        """The columns of a table of the whole value."""
        places = self.places.get(value)
        return table if places is None else np.take(table, places, axis=-1)


WHOLE = Cone()


def cone(steps: Sequence[AnyStep], graph: Graph, value: int, places: Places) -> Cone:
    """The cone of elements `places` of a value."""
    seen: dict[int, Places] = {value: _some(places, graph.sizes[value])}
    cuts: dict[int, tuple[AnyStep, list[Elements]] | None] = {}
    for i in range(value - 1, -1, -1):
        if i + 1 not in seen:
            continue
        out = seen[i + 1]
        cuts[i] = None if out is None else _cut(steps[i], out)
        made, origin = cuts[i], sources(graph.steps[i])
        for k, source in enumerate(origin):
            wanted = None if made is None else made[1][k]
            if source in seen and wanted is not None:
                old = seen[source]
                wanted = None if old is None else np.union1d(old, wanted)
            seen[source] = _some(wanted, graph.sizes[source])
    links = {}
    for i, made in cuts.items():
        out = seen[i + 1]
        if out is not None:
            into = [(seen[s], graph.sizes[s]) for s in sources(graph.steps[i])]
            links[i] = _link(steps[i], out, graph.sizes[i + 1], made, into)
        elif any(seen[s] is not None for s in sources(graph.steps[i])):
            raise AssertionError("a whole value depends on whole values")
    return Cone(seen, links)


def _some(places: Places, size: int) -> Places:
    return None if places is None or places.size > MOST * size else places


def _cut(step: AnyStep, out: Elements) -> tuple[AnyStep, list[Elements]] | None:
    """The step that makes the elements `out` only, and the places of each source that it reads; None: not cut."""
    if isinstance(step, FloatDense | FloatConv | FloatSelect):
        return step.cut(out)
    if isinstance(step, FloatScale):
        return step.cut(out), [out]
    if isinstance(step, FloatRelu | FloatElementwise | FloatRounded):
        return step, [out]
    if isinstance(step, FloatSum | FloatProduct):
        return step, [out, out]
    return None


def _link(
    step: AnyStep,
    out: Elements,
    size: int,
    made: tuple[AnyStep, list[Elements]] | None,
    into: Sequence[tuple[Places, int]],
) -> Link:
    """Place a step that was cut, or the whole one, among the places of the cone."""
    if made is None:
        return Link(step, out, size, tuple((None, whole) for _, whole in into))
    where: list[tuple[Places, int]] = []
    for (places, whole), natural in zip(into, made[1], strict=True):
        if places is None:
            where.append((natural, whole))
        elif np.array_equal(places, natural):
            where.append((None, natural.size))
        else:
            where.append((np.searchsorted(places, natural), places.size))
    return Link(made[0], None, out.size, tuple(where))


def bunches(graph: Graph, value: int) -> list[Elements]:
    """All elements of a value in bunches that look at much the same: at one place of an image, one row of a matrix."""
    keys = _keys(graph, value, {})
    order = np.argsort(keys, kind="stable")
    _, starts = np.unique(keys[order], return_index=True)
    found: list[Elements] = []
    begin = 0
    for stop in [*starts[1:].tolist(), keys.size]:
        if stop - begin >= BUNCH or stop == keys.size:
            found.append(np.sort(order[begin:stop]))
            begin = stop
    return found


def _keys(graph: Graph, value: int, known: dict[int, NDArray[np.intp]]) -> NDArray[np.intp]:
    """A number for every element; those with the same number read much the same."""
    if value in known:
        return known[value]
    size = graph.sizes[value]
    step = graph.steps[value - 1] if value else None
    if step is None or isinstance(step, Maximum):
        found = np.zeros(size, dtype=np.intp)
    elif isinstance(step, Conv):
        found = np.arange(size) % int(np.prod(step.space_out))
    elif isinstance(step, Dense):
        found = np.arange(size) // step.outer
    elif isinstance(step, Select):
        parts = [_keys(graph, s, known) for s in step.sources]
        starts = np.cumsum([0, *(int(p.max(initial=0)) + 1 for p in parts)])
        joined = np.concatenate([p + s for p, s in zip(parts, starts[:-1], strict=True)])
        which = np.asarray(step.which, dtype=np.intp)
        found = np.where(which >= 0, joined[np.maximum(which, 0)], 0)
    else:
        left, *right = [_keys(graph, s, known) for s in sources(step)]
        found = left
        for other in right:
            found = np.unique(np.stack([found, other]), axis=1, return_inverse=True)[1].ravel()
    known[value] = found
    return found
