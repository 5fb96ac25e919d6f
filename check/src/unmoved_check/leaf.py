"""What an engine is asked to bound: one leaf of a dual tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from unmoved_check.model.steps import Graph, Maximum, Relu, Rounded, Scale, Select, sources
from unmoved_check.region import Region


@dataclass(frozen=True)
class Split:
    """z[index] >= 0 (`positive`) or <= 0 of a ReLU's input `value`, with its multiplier >= 0."""

    value: int
    index: int
    positive: bool
    multiplier: float


@dataclass(frozen=True)
class Leaf:
    """Bound sum_i row[i] * y_i + constant from below over the region and the splits.

    `slopes` gives, for some ReLU inputs, the lower line's slope of every element in 255ths (final row only).
    """

    number: int
    row: Mapping[int, Fraction]
    constant: Fraction
    splits: tuple[Split, ...] = ()
    slopes: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Hidden:
    """Rows that bound elements of one ReLU input once more, the first `lows` of them from below, the others from above.

    `slopes` gives, for earlier ReLU inputs, elements and each row's lower-line slopes there in 255ths, row by row.
    """

    elements: tuple[int, ...]
    lows: int
    slopes: Mapping[int, tuple[tuple[int, ...], Sequence[bytes]]]


class Engine(Protocol):
    """One arithmetic: lower bounds that hold in exact real numbers."""

    graph: Graph

    def margins(
        self, region: Region, leaves: Sequence[Leaf], intermediate: str, hidden: Mapping[int, Hidden] = ...
    ) -> list[Fraction | float | None]:
        """For every leaf a lower bound over the region and its splits; None when that set is empty.

        `hidden` holds rows of further choices for ReLU inputs; only `linear` bounds use them.
        """
        ...


def tight(graph: Graph) -> list[bool]:
    """For every value, whether intervals of it are already exact on a box (so that backward rows can't improve them).

    True of the input and, behind it, of elementwise steps, and of one step that mixes independent inputs.
    """
    independent, exact = [True], [True]
    for step in graph.steps:
        origin = sources(step)
        alone = len(origin) == 1
        kept = [w for w in step.which if w >= 0] if isinstance(step, Select) else []
        elementwise = isinstance(step, Scale | Relu | Rounded) or (
            isinstance(step, Select) and len(set(kept)) == len(kept)
        )
        independent.append(alone and elementwise and independent[origin[0]])
        mixes = alone and independent[origin[0]] and not isinstance(step, Maximum)
        exact.append(mixes or (alone and elementwise and exact[origin[0]]))
    return exact
