"""Discrete noise and flips of binary data: exact Neyman-Pearson bounds in L0, in whole numbers.

Let x' differ from x in r elements. Outside them both laws agree, so the least that an event of probability p can keep
is found on those r alone: fill an event with outcomes in the order of falling likelihood ratio (law at x over law at
x'), the last one in part. Fewer changed elements keep no less (an event may ignore one), so testing r elements
settles all sizes up to r.

`discrete` (Lee, Yuan, Chang and Jaakkola 2019): an element with values 0/q ... q/q is kept with probability a, else one
of the q others, each with b = (1 - a)/q < a. The ratio is (a/b)^m, m = #(z = x) - #(z = x') among the r: a sum of
steps +1, -1, 0 with probabilities a, b, 1 - a - b under x, and b, a, 1 - a - b under x'.

`sparse` (Bojchevski, Klicpera and Guennemann 2020): zeros become ones with p+, ones zeros with p-, p+ + p- < 1. Let
x' have `added` ones more and `deleted` fewer. The ratio falls with Q, the number of changed elements at which z differs
from x: a sum of `added` trials with p+ and `deleted` with p- under x, with 1 - p- and 1 - p+ under x'.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from unmoved_check.noise_law import Told, integers_within
from unmoved_check.outcome import Rejection

__all__ = ["discrete", "least_kept", "sparse", "sum_law"]

MOST_CHANGES = 1000
"""More changed elements than this are not checked (it would take too long)."""

_DELETE = re.compile(r"delete=(0|[1-9][0-9]{0,400}(?:/[1-9][0-9]{0,400})?)")


Weights = tuple[list[int], int]
"""A law on a list of outcomes: weights, and what they add up to."""


def least_kept(p: Fraction, here: Weights, there: Weights) -> Fraction:
    """The least probability under `there` of an event of probability >= p under `here`, laws on the same outcomes.

    The outcomes are in the order of falling ratio here/there (infinite first).
    """
    rest, kept = p * here[1], 0
    for weight, moved in zip(here[0], there[0], strict=True):
        if rest <= 0:
            break
        if weight >= rest:
            return (kept + moved * rest / weight) / there[1]
        rest -= weight
        kept += moved
    return Fraction(kept, there[1])


def sum_law(steps: Sequence[Sequence[Fraction]]) -> Weights:
    """The law of a sum of independent steps, each given by the probabilities of 0, 1, ..."""
    law, total = [1], 1
    for step in steps:
        unit = lcm(*(share.denominator for share in step))
        longer = [0] * (len(law) + len(step) - 1)
        for j, share in enumerate(step):
            weight = int(share * unit)
            for i, mass in enumerate(law):
                longer[i + j] += mass * weight
        law, total = longer, total * unit
    return law, total


def _whole(asked: Fraction) -> int:
    """The size asked for: a whole number of elements, not too large."""
    if asked.denominator != 1 or asked < 0:
        raise Rejection("claim.radius is not a whole number of elements")
    if asked > MOST_CHANGES:
        raise Rejection(f"claim.radius is more than this checker takes, {MOST_CHANGES} elements")
    return int(asked)


@dataclass(frozen=True)
class _Discrete:
    keep: Fraction
    grid: int
    deviation: Fraction
    norm: str = "0"
    sampler: str = "philox4x32-10/replace/1"

    def admit(self, center: list[Fraction]) -> None:
        """The values that the noise knows, after rounding."""
        integers_within(center, self.grid)

    def radius(self, p_low: Fraction, p_high: Fraction, asked: Fraction) -> Fraction:
        """`asked` elements, if the class is still ahead after so many changed."""
        changed, other = _whole(asked), (1 - self.keep) / self.grid
        # index 0 is m = changed: the largest ratio first
        here = sum_law([[self.keep, 1 - self.keep - other, other]] * changed)
        there = (here[0][::-1], here[1])
        if least_kept(p_low, here, there) + least_kept(1 - p_high, here, there) > 1:
            return asked
        raise Rejection("claim.radius is more than the counts prove")


@dataclass(frozen=True)
class _Sparse:
    add: Fraction
    delete: Fraction
    deviation: Fraction
    norm: str = "0"
    sampler: str = "philox4x32-10/flips/1"

    def admit(self, center: list[Fraction]) -> None:
        """Zeros and ones."""
        if any(value not in (0, 1) for value in center):
            raise Rejection("the centre is not binary")

    def radius(self, p_low: Fraction, p_high: Fraction, asked: Fraction) -> Fraction:
        """`asked` flips, if the class is still ahead after so many of whatever kinds."""
        changed = _whole(asked)
        for added in range(changed + 1):
            here, there = self._laws(added, changed - added)
            if not least_kept(p_low, here, there) + least_kept(1 - p_high, here, there) > 1:
                raise Rejection("claim.radius is more than the counts prove")
        return asked

    def _laws(self, added: int, deleted: int) -> tuple[Weights, Weights]:
        here = [self.add] * added + [self.delete] * deleted
        there = [1 - self.delete] * added + [1 - self.add] * deleted
        return sum_law([[1 - p, p] for p in here]), sum_law([[1 - p, p] for p in there])


def discrete(told: Told) -> _Discrete:
    """`scale` is the probability of keeping an element. grid + 1 thresholds: a copy's deviation is d (q + 1) 2^-64."""
    told.plain()
    if not Fraction(1, told.grid + 1) < told.scale < 1:
        raise Rejection("evidence.sigma is not between 1/(grid + 1) and 1, as discrete noise needs")
    return _Discrete(told.scale, told.grid, told.elements * Fraction(told.grid + 1, 1 << 64))


def sparse(told: Told) -> _Sparse:
    """`scale` is p+, the words say p-. Three thresholds: a copy's deviation is 3 d 2^-64."""
    told.on(gridded=True)
    found = None if told.words is None else _DELETE.fullmatch(told.words)
    if found is None or told.grid != 1:
        raise Rejection("evidence.noise is not sparse-flips(delete=P) on the grid 1")
    delete = Fraction(found[1])
    if not (told.scale >= 0 and 0 < told.scale + delete < 1):
        raise Rejection("evidence: the two probabilities do not add up to less than 1")
    return _Sparse(told.scale, delete, told.elements * Fraction(3, 1 << 64))
