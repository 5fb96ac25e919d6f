"""Sparsity-aware flips of binary data (Bojchevski, Klicpera and Guennemann 2020, arXiv 2008.12952): L0, by kind of
change.

A zero becomes one with probability p+ (`add`), a one zero with p- (`delete`): sparse data stay sparse when p+ is small.
Let x' have r_a ones more and r_d fewer than x, elsewhere equal. Let Q count the changed elements in which z differs
from x: a sum of r_a flips with p+ and r_d with p- under x, of r_a with 1 - p- and r_d with 1 - p+ under x'. The
likelihood ratio of x to x' is (p+/(1 - p-))^(Q - r_d) (p-/(1 - p+))^(Q - r_a): it falls with Q when p+ + p- < 1. So by
Neyman and Pearson an event of probability p keeps the least when it is filled up from Q = 0, the last value in part.
All in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from math import inf

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down
from unmoved.smooth.draws.grid import GridPoint, Thresholds
from unmoved.smooth.draws.inversion import UNIT, blocks, ceil_share, check, draw_into, place, share_of, tables
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.radii.search import check_size, largest_whole

MAX_CHANGES = 200
"""Most additions, deletions or both that are looked at."""


@dataclass(frozen=True)
class Sparse:
    """Flips zeros with probability `add` and ones with probability `delete`: certificates for binary data.

    Engine radii are in L0: any `r` flips. `ahead` and `frontier` tell additions from deletions. Both probabilities are
    held exactly. Raises UsageError unless they are in [0, 1), not both 0, and add + delete < 1.
    """

    add: Fraction
    delete: Fraction
    norm = "0"
    grid = 1
    sampler = "philox4x32-10/flips/1"

    def __init__(self, add: object, delete: object) -> None:
        plus, minus = share_of(add, "add"), share_of(delete, "delete")
        if not 0 < plus + minus < 1:
            raise UsageError("add, delete", (add, delete), "0 < add + delete < 1")
        object.__setattr__(self, "add", plus)
        object.__setattr__(self, "delete", minus)

    @property
    def kind(self) -> str:
        """The name, with the second parameter."""
        return f"sparse-flips(delete={self.delete})"

    @property
    def scale(self) -> Fraction:
        """The probability of adding a one."""
        return self.add

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the point for `x`, whose elements are 0 or 1; nothing is lost. Raises UsageError for other values."""
        point = place(x, 1, 0, self.norm)
        if not ((x == 0) | (x == 1)).all():
            raise UsageError("x", float(x[(x != 0) & (x != 1)].flat[0]), "elements 0 or 1")
        return point

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the flipped copies `first`, `first` + 1, ... of `point` into `out`, float32 (rows, *point.shape)."""
        check(point, out, first)
        law = _thresholds(self.add, self.delete)
        rows = out.reshape(len(out), -1)
        ones = point.integers.astype(np.bool_)
        # degree 2 flips both kinds, degree 1 only the kind that flips more often, degree 0 none
        if_one, if_zero = 1 if self.delete >= self.add else 2, 1 if self.add >= self.delete else 2
        needed = np.where(ones, if_one, if_zero).astype(np.float32)
        for part in blocks(*rows.shape):
            draw_into(rows[part], law, stream=stream, first=first + part.start)
            rows[part] = (rows[part] >= needed) != ones

    def worst_case(self, p: float, r: float) -> float:
        """Return the least probability kept when at most floor(r) elements flip, of whatever kind, rounded down."""
        check_size(p, r)
        return float_down(self._any_kind(Fraction(p), int(r)))

    def _any_kind(self, p: Fraction, r: int) -> Fraction:
        return min(self.exact_worst_case(p, added, r - added) for added in range(r + 1))

    def exact_worst_case(self, p: Fraction, added: int, deleted: int) -> Fraction:
        """Return the least probability under x' of an event of probability p under x, exactly."""
        here, there, total = _masses(self.add, self.delete, added, deleted)
        wanted, kept = p * total, Fraction(0)
        for mass, moved in zip(here, there, strict=True):
            if mass >= wanted:
                return (kept + (moved * wanted / mass if wanted else 0)) / total
            wanted -= mass
            kept += moved
        return kept / total

    def ahead(self, p_low: float, p_high: float, *, added: int, deleted: int) -> bool:
        """Return whether a class of probability >= p_low stays ahead of others <= p_high, exactly, after the change."""
        rest = 1 - Fraction(p_high)
        kept = self.exact_worst_case(Fraction(p_low), added, deleted)
        return kept + self.exact_worst_case(rest, added, deleted) > 1

    def _ahead_after(self, p_low: float, p_high: float, added: int, deleted: int) -> bool:
        return self.ahead(p_low, p_high, added=added, deleted=deleted)

    def frontier(self, p_low: float, p_high: float, most: int = 50) -> list[tuple[int, int]]:
        """Return for each number of additions 0, 1, ... the most deletions certified with it, while there are any.

        Pairs (additions, deletions); anything below a pair in both is certified too. At most `most` of each.
        """
        pairs = []
        for added in range(most + 1):
            deleted = largest_whole(partial(self._ahead_after, p_low, p_high, added), most)
            if deleted < 0:
                break
            pairs.append((added, deleted))
        return pairs

    def radius(self, p_low: float, p_high: float) -> float:
        """Return the largest r (at most 200): any r flips leave the class ahead, exactly; -1 if not even unmoved."""
        if not (0 <= p_low <= 1 and 0 <= p_high <= 1):
            raise UsageError("p_low, p_high", (p_low, p_high), "probabilities")
        if p_low == 1 and p_high == 0 and self.add and self.delete:
            return inf

        def holds(r: int) -> bool:
            return all(self.ahead(p_low, p_high, added=a, deleted=r - a) for a in range(r + 1))

        return float(largest_whole(holds, MAX_CHANGES))

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return samples * elements * 3 * 2^-64; see `smooth.draws.inversion`."""
        return samples * elements * 3 * UNIT


@lru_cache(maxsize=1024)
def _masses(plus: Fraction, minus: Fraction, added: int, deleted: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Return the weights of Q = 0, 1, ... under x and under x', and their common total."""
    unit = plus.denominator * minus.denominator
    p, m = plus.numerator * minus.denominator, minus.numerator * plus.denominator
    here = _flips([p] * added + [m] * deleted, unit)
    there = _flips([unit - m] * added + [unit - p] * deleted, unit)
    return here, there, unit ** (added + deleted)


def _flips(weights: list[int], unit: int) -> tuple[int, ...]:
    """Return the law of the number of successes of independent trials with probabilities weights/unit."""
    law = [1]
    for weight in weights:
        law = [a * (unit - weight) + b * weight for a, b in zip([*law, 0], [0, *law], strict=True)]
    return tuple(law)


@lru_cache(maxsize=8)
def _thresholds(plus: Fraction, minus: Fraction) -> Thresholds:
    """Return the tables of the degree: 2 with the smaller probability, 1 or more with the larger one."""
    low, high = sorted((plus, minus))
    return tables([ceil_share(1 - high), ceil_share(1 - low), 2**64])
