"""What an engine is asked to bound: one leaf of a dual tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from operator import mul
from typing import Protocol, TypeVar

from unmoved_check.model.steps import Elementwise, Graph, Maximum, Product, Relu, Rounded, Scale, Select, sources
from unmoved_check.region import Part, Region


@dataclass(frozen=True)
class Split:
    """z[index] >= point (`positive`) or <= point of a value, with its multiplier >= 0."""

    value: int
    index: int
    positive: bool
    multiplier: float
    point: Fraction = Fraction(0)


Given = Mapping[int, Sequence[float]]
"""By the value that an Elementwise or Product step makes: slopes of the lower and then of the upper lines of all
elements, or shares of planes in 255ths."""


@dataclass(frozen=True)
class Leaf:
    """Bound sum_i row[i] * y_i + constant from below over a part of the region (None: all of it) and the splits.

    `slopes` gives, for some ReLU inputs, the lower line's slope of every element in 255ths (final row only), `given`
    lines and planes of other steps.
    """

    number: int
    row: Mapping[int, Fraction]
    constant: Fraction
    splits: tuple[Split, ...] = ()
    slopes: Mapping[int, bytes] = field(default_factory=dict)
    given: Given = field(default_factory=dict)
    part: Part | None = None
    scope: Scope | None = None


@dataclass(frozen=True)
class Hidden:
    """Rows that bound elements of one ReLU input once more, the first `lows` of them from below, the others from above.

    `slopes` gives, for other ReLU inputs, elements and each row's lower-line slopes there in 255ths, row by row.
    `multipliers`, in a scope, has one number >= 0 a split, row by row.
    """

    elements: tuple[int, ...]
    lows: int
    slopes: Mapping[int, tuple[tuple[int, ...], Sequence[bytes]]]
    multipliers: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, eq=False)
class Scope:
    """What all splits from the root to a node cut out of the region, where bounds are narrower: `hidden` by value.

    `outer` is the scope that the node lies in. Leaves of several trees may share one.
    """

    outer: Scope | None
    splits: tuple[Split, ...]
    hidden: Mapping[int, Hidden]


@dataclass(frozen=True)
class Choices:
    """What the evidence says of all leaves: further rows for ReLU inputs, lines and planes for every row.

    `rows`, by value: for each element, or for all, whether backward rows bound it when it is undecided.
    """

    hidden: Mapping[int, Hidden] = field(default_factory=dict)
    given: Given = field(default_factory=dict)
    rows: Mapping[int, bytes] = field(default_factory=dict)


NO_CHOICES = Choices()


Bounds = TypeVar("Bounds")


def by_scope(
    leaves: Mapping[int, Leaf], bounds: Bounds, narrowed: Callable[[Bounds, Scope], Bounds | None]
) -> Iterator[tuple[Bounds | None, list[int]]]:
    """Yield the bounds of every scope, None where it is empty, and the keys of its leaves.

    `bounds` are those outside of all scopes; each scope is narrowed once, and only its own path is kept in memory.
    """
    members: dict[Scope | None, list[int]] = {}
    inner: dict[Scope | None, dict[Scope, None]] = {}
    for place, leaf in leaves.items():
        scope = leaf.scope
        if scope not in members:
            members[scope] = []
            while scope is not None and scope not in inner.setdefault(scope.outer, {}):
                inner[scope.outer][scope] = None
                scope = scope.outer
        members[leaf.scope].append(place)
    open_: list[tuple[Scope | None, Bounds | None]] = [(None, bounds)]
    while open_:
        scope, outer = open_.pop()
        found = outer if scope is None or outer is None else narrowed(outer, scope)
        if members.get(scope):
            yield found, members[scope]
        open_ += [(each, found) for each in reversed(inner.get(scope, {}))]


class Engine(Protocol):
    """One arithmetic: lower bounds that hold in exact real numbers."""

    graph: Graph
    origins: dict[int, Origin]

    def margins(
        self, region: Region, leaves: Sequence[Leaf], intermediate: str, choices: Choices = ...
    ) -> list[Fraction | float | None]:
        """For every leaf a lower bound over its part of the region and its splits; None when that set is empty.

        Only `linear` bounds use the choices and know scopes.
        """
        ...


def places(leaves: Sequence[Leaf]) -> dict[Part | None, list[int]]:
    """The places in `leaves` of those about each part."""
    found: dict[Part | None, list[int]] = {}
    for k, leaf in enumerate(leaves):
        found.setdefault(leaf.part, []).append(k)
    return found


def tight(graph: Graph) -> list[bool]:
    """For every value, whether intervals of it are already exact on a box (so that backward rows can't improve them).

    True of the input and, behind it, of elementwise steps, and of one step that mixes independent inputs.
    """
    independent, exact = [True], [True]
    for step in graph.steps:
        origin = sources(step)
        alone = len(origin) == 1
        kept = [w for w in step.which if w >= 0] if isinstance(step, Select) else []
        elementwise = isinstance(step, Scale | Relu | Elementwise | Rounded) or (
            isinstance(step, Select) and len(set(kept)) == len(kept)
        )
        independent.append(alone and elementwise and independent[origin[0]])
        mixes = alone and independent[origin[0]] and not isinstance(step, Maximum)
        exact.append(mixes or (alone and elementwise and exact[origin[0]]))
    return exact


BENT = Relu | Maximum | Elementwise | Product
"""The steps that are not affine."""


@dataclass(frozen=True)
class Origin:
    """The value whose elements, scaled and moved by the steps `path`, are those of another one: `which` of them.

    `which` is -1 for constants. `between` are the values on the way with the elements that they give, likewise.
    """

    value: int
    which: Sequence[int]
    path: tuple[int, ...]
    between: tuple[tuple[int, Sequence[int]], ...] = ()


def origins(graph: Graph) -> dict[int, Origin]:
    """For every input of an Elementwise or Product step where its elements come from.

    Left out where rows are of no use: the input, and what a Relu, a Maximum or an Elementwise step makes.
    """
    found = {}
    for step in graph.steps:
        for value in sources(step) if isinstance(step, Elementwise | Product) else ():
            start = _origin(graph, value)
            if start is not None:
                found[value] = start
    return found


def _origin(graph: Graph, value: int) -> Origin | None:
    which = list(range(graph.sizes[value]))
    path: list[int] = []
    between: list[tuple[int, Sequence[int]]] = []
    while value:
        step = graph.steps[value - 1]
        if isinstance(step, Select) and len(step.sources) == 1:
            reads = list(step.which)
            if min(reads, default=0) < -1:
                reads = [max(w, -1) for w in reads]
            reads.append(-1)
            which = list(map(reads.__getitem__, which))
        elif not isinstance(step, Scale):
            useless = isinstance(step, Relu | Maximum | Elementwise)
            return None if useless else Origin(value, which, tuple(path[::-1]), tuple(between[:-1]))
        path.append(value - 1)
        value = sources(step)[0]
        between.append((value, which))
    return None


def passed_on(graph: Graph, origins: Mapping[int, Origin], rows: Mapping[int, bytes]) -> dict[int, bytes]:
    """What `rows` say of values between a tensor and the step that reads it, said of the step's input too."""
    found = dict(rows)
    for value, start in origins.items():
        for stage, which in start.between:
            given = rows.get(stage)
            if given is None:
                continue
            # a constant's number is -1: the last one
            said = bytes(map(bool, given * graph.sizes[stage] if len(given) == 1 else given)) + b"\1"
            old = found.get(value, b"\1")
            old = old * graph.sizes[value] if len(old) == 1 else old
            found[value] = bytes(map(mul, map(bool, old), map(said.__getitem__, which)))
    return found


def elementwise(graph: Graph, i: int) -> bool:
    """Whether every element that step i makes depends on one element of its sources only."""
    return isinstance(graph.steps[i], Scale | Select | Relu | Elementwise)


def leading(graph: Graph) -> list[bool]:
    """For every value, whether its bounds shape, element by element, the relaxation of a step behind it."""
    found = [False] * (len(graph.steps) + 1)
    for i in range(len(graph.steps) - 1, -1, -1):
        step = graph.steps[i]
        if isinstance(step, Relu | Elementwise | Product) or (elementwise(graph, i) and found[i + 1]):
            for source in sources(step):
                found[source] = True
    return found


def live(graph: Graph) -> list[bool]:
    """For every step, whether the output depends on what it makes."""
    found = [False] * (len(graph.steps) + 1)
    found[graph.output] = True
    for i in range(len(graph.steps) - 1, -1, -1):
        if found[i + 1]:
            for source in sources(graph.steps[i]):
                found[source] = True
    return found[1:]
