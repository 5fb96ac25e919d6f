"""Group-sequential decisions: what the counts of one look add to what is proved, and whether to go on.

Success costs the alpha of the looks (`looks`), which is spent beforehand whether they are used or not. Stopping
without success (futility) can make no wrong claim, hence costs no alpha and needs no proof: here it is a guess at the
chance that the last look succeeds after all. Early a look is cheap and little is known, late the copies still to come
are dear: going on at the share t of all copies takes a chance of sqrt(t)/4 at least. (Tried on the p_A of thirteen
published logs: a fixed chance either drops certificates early or pays for hopeless inputs to the end. 2.5 standard
errors, as before, cost a third more copies at the same loss.) The price of a wrong guess is a missed certificate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from scipy.special import ndtri

from unmoved.smooth.statistics.bounds import Bounds, bound_named
from unmoved.smooth.statistics.plan import Plan

LEAST_CHANCE = 0.25
"""The chance of success that makes the very last copies worth drawing; at the share t of them, sqrt(t) times it."""

MOST_SAMPLES = 10**10
"""Largest number of samples that is named as the one that would do."""

TRIVIAL = Bounds(0.0, 1.0)


@dataclass(frozen=True)
class Standing:
    """Where things stand after some looks: the largest radius proved (0: none), at which look, by which bounds.

    `bounds` are those of the look `at`, or, with nothing proved, of the latest look. `stop` says why no further look is
    worth it ("" while one is): `proved`, `futile`, `last`.
    """

    best: float = 0.0
    at: int | None = None
    bounds: Bounds = TRIVIAL
    stop: str = ""


@dataclass(frozen=True)
class Rule:
    """The decisions of one plan, for one noise and one input.

    `alpha` is what is left of the plan's after the sampler's deviation. `radius` gives the radius around the grid point
    for (p_low, p_high), rounded down; `distance` (rounded up) is what a radius around the input loses.
    """

    plan: Plan
    alpha: Fraction
    radius: Callable[[float, float], float]
    distance: float = 0.0

    def level(self, at: int) -> Fraction:
        """Return the probability with which the bounds of look `at` may be wrong."""
        return self.alpha * self.plan.looks.shares[at]

    def bounds(self, counts: Sequence[int], top: int, at: int) -> Bounds:
        """Return the bounds that look `at` gives for these counts."""
        return bound_named(self.plan.bound)(counts, top, self.level(at))

    def around(self, bounds: Bounds) -> float:
        """Return the radius around the input, rounded down; zero or negative when nothing is proved."""
        radius = self.radius(bounds.p_low, bounds.p_high)
        return math.nextafter(radius - self.distance, -math.inf) if self.distance else radius

    def look(self, at: int, counts: Sequence[int], top: int, before: Standing) -> Standing:
        """Return where things stand after look `at`, whose counts (one a class) are of its first `sizes[at]` copies.

        With probability >= 1 - alpha every `best` of every look is right. Looks are to be taken in order.
        """
        bounds = self.bounds(counts, top, at)
        radius = self.around(bounds)
        better = radius > before.best
        best = radius if better else before.best
        shown = bounds if better or before.at is None else before.bounds
        stop = self._stop(at, counts, top, best)
        return Standing(best, at if better else before.at, shown, stop)

    def _stop(self, at: int, counts: Sequence[int], top: int, best: float) -> str:
        last = at == len(self.plan.looks.sizes) - 1
        goal = self.plan.next_goal(best)
        if goal is None:
            return "proved"
        if last:
            return "last"
        # with something proved, mode radius goes on to the end: any more is welcome
        hopeless = (best <= 0 or goal > best) and not self.possible(counts, top, goal)
        return ("proved" if best > 0 and self.plan.mode == "grid" else "futile") if hopeless else ""

    def possible(self, counts: Sequence[int], top: int, goal: Fraction) -> bool:
        """Return whether the last look has a fair chance to prove `goal` (0: anything), as far as can be guessed.

        With p unknown beforehand, a share of the votes at the last look of N is about normal around the share of the
        `seen` votes, its variance p (1 - p) (1/seen - 1/N). Taken is the share that it exceeds with the least chance
        that is worth going on for, and likewise the rival's from below.
        """
        seen, total = sum(counts), self.plan.looks.last
        rival = max((count for label, count in enumerate(counts) if label != top), default=0)
        width = -float(ndtri(LEAST_CHANCE * math.sqrt(seen / total))) * math.sqrt(1 - seen / total)
        high = min(1.0, _beyond(counts[top], seen, width))
        low = max(0.0, min(_beyond(rival, seen, -width), 1 - high))
        most = min(total, math.ceil(high * total))
        least = min(total - most, math.floor(low * total))
        ending = self.around(self.bounds((most, least, total - most - least), 0, len(self.plan.looks.sizes) - 1))
        return ending > 0 and ending >= goal

    def reaches(self, goal: Fraction) -> bool:
        """Return whether a unanimous vote proves `goal` (0: anything) at the last look; if not, no vote ever does."""
        largest = self.around(self.bounds((self.plan.looks.last, 0), 0, len(self.plan.looks.sizes) - 1))
        return largest > 0 and largest >= goal

    def samples_needed(self, goal: Fraction) -> int | None:
        """Return a number of samples that reaches `goal`, while one less does not; None beyond MOST_SAMPLES."""

        def enough(number: int) -> bool:
            return replace(self, plan=self.plan.but(samples=number)).reaches(goal)

        low, high = 0, 1
        while not enough(high):
            low, high = high, 2 * high
            if high > MOST_SAMPLES:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


def _beyond(count: int, seen: int, width: float) -> float:
    share = count / seen
    return share + width * math.sqrt(share * (1 - share) / seen)
