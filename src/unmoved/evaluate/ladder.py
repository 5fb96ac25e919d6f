"""The radii that smoothing with a fixed number of samples can give at all, and the cells that print alike.

With N samples, failure probability alpha and noise sigma, a radius is a function of whole numbers (the votes), so that
the possible radii are rungs of a ladder. Near the top the rungs are far apart against the printed digits, and near 0
they are again where small radii have more decimals: there a log gives away its N and alpha.

one-class: R(k) = sigma Phi^-1(CPlow(k, N, alpha)), k votes for the class (Cohen, Rosenfeld and Kolter 2019, theorem 1).
two-class: R = sigma/2 (Phi^-1(CPlow(k, N, alpha/2)) - Phi^-1(CPup(j, N, alpha/2))), j <= N - k votes for the next one;
CPup(j) = 1 - CPlow(N - j), so that R = sigma/2 (Z(k) + Z(N - j)) with Z the one-class ladder of alpha/2 at sigma 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from unmoved.core import UsageError

Floats = npt.NDArray[np.float64]

ENDS = 4000
"""Rungs at each end that a ladder of many samples is given; those between are never far apart."""

PAIRS = 300
"""Votes against the class up to which the two-class ladder is enumerated."""

SLACK = 2e-6
"""How far a radius / sigma may lie below its rung, where a sampler deducts its deviation from alpha (ours less than
1e-7 of .001 up to CIFAR's size), and for roundings downward."""


@dataclass(frozen=True)
class Ladder:
    """Possible radii / sigma, ascending: `rungs`, with the mean distance `gaps` to the neighbours at each.

    Nothing is known between `hole[0]` and `hole[1]`, where rungs were left out (hole[1] <= hole[0]: nowhere).
    """

    rungs: Floats
    gaps: Floats
    hole: tuple[float, float]

    @property
    def top(self) -> float:
        """The radius / sigma of a unanimous vote."""
        return float(self.rungs[-1])

    def known(self, low: Floats, high: Floats) -> npt.NDArray[np.bool_]:
        """Whether the ladder knows all of its rungs in [low, high], elementwise."""
        return np.asarray((high < self.hole[0]) | (low > self.hole[1]) | (self.hole[1] <= self.hole[0]))

    def within(self, low: Floats, high: Floats) -> npt.NDArray[np.bool_]:
        """Whether there is a rung in [low, high], elementwise."""
        return np.asarray(np.searchsorted(self.rungs, high, "right") > np.searchsorted(self.rungs, low, "left"))

    def below(self, value: Floats) -> Floats:
        """Return the largest rung <= value, elementwise; -inf where there is none."""
        place = np.searchsorted(self.rungs, value, "right") - 1
        return np.where(place >= 0, self.rungs[np.maximum(place, 0)], -np.inf)

    def chance(self, low: Floats, high: Floats) -> Floats:
        """Return the probability that an interval as wide as [low, high], put down near it, has a rung; elementwise."""
        place = np.clip(np.searchsorted(self.rungs, high, "right") - 1, 0, len(self.rungs) - 1)
        return np.asarray(np.clip((high - low) / self.gaps[place], 1e-12, 1.0))


@lru_cache(maxsize=512)
def ladder(samples: int, alpha: float, bound: str) -> Ladder:
    """Return the ladder of a fixed number of samples; `bound` is "one-class" or "two-class". Raises UsageError."""
    if bound == "one-class":
        return _one_class(samples, alpha)
    if bound == "two-class":
        return _two_class(samples, alpha)
    raise UsageError("bound", bound, "one-class or two-class")


def _one_class(samples: int, alpha: float) -> Ladder:
    # no vote of less than half certifies anything
    first = samples // 2
    if samples - first <= 2 * ENDS:
        return _joined([_positive(_z(np.arange(first, samples + 1), samples, alpha))])
    # the least certified count lies some 4 standard errors above the half at most
    start = first + int(np.searchsorted(_z(np.arange(first, first + 3 * ENDS), samples, alpha), 0.0))
    low = _z(np.arange(start, start + ENDS), samples, alpha)
    return _joined([_positive(low), _z(np.arange(samples - ENDS, samples + 1), samples, alpha)])


def _two_class(samples: int, alpha: float) -> Ladder:
    depth = min(PAIRS, samples)
    # z[m] belongs to m votes elsewhere
    z = _z(samples - np.arange(depth + 1), samples, alpha / 2)
    against, rival = np.tril_indices(depth + 1)
    possible = (rival > 0) | (against == 0)
    sums = (z[against[possible]] + z[rival[possible]]) / 2
    # with more votes elsewhere than were enumerated, no radius is larger than this one
    limit = (z[depth] + z[1]) / 2 if depth < samples else 0.0
    rungs = np.unique(sums[(sums > max(limit, 0.0)) & np.isfinite(sums)])
    return Ladder(rungs, _gaps(rungs), (0.0, float(limit)))


def _joined(parts: Sequence[Floats]) -> Ladder:
    hole = (float(parts[0][-1]), float(parts[-1][0])) if len(parts) > 1 else (0.0, 0.0)
    return Ladder(np.concatenate(parts), np.concatenate([_gaps(part) for part in parts]), hole)


def _gaps(rungs: Floats) -> Floats:
    """Return the mean distance between rungs over up to four neighbours at each side."""
    if len(rungs) < 2:
        return np.full(len(rungs), 1.0)
    place = np.arange(len(rungs))
    left, right = np.maximum(place - 4, 0), np.minimum(place + 4, len(rungs) - 1)
    return np.asarray((rungs[right] - rungs[left]) / (right - left))


def _positive(z: Floats) -> Floats:
    return z[z > 0]


def _z(votes: npt.NDArray[Any], samples: int, alpha: float) -> Floats:
    """Return Phi^-1(CPlow(votes, samples, alpha)); -inf for no votes."""
    low = special.betaincinv(np.maximum(votes, 1), samples - votes + 1.0, alpha)
    return np.asarray(np.where(votes > 0, special.ndtri(low), -np.inf))


@dataclass(frozen=True)
class Printed:
    """The distinct positive radii of a log: `values`, and `units`, what one more in the last printed digit is worth.

    `rows` says how many rows have each. Ascending. `style` says how they were printed, in words.
    """

    values: Floats
    units: Floats
    rows: npt.NDArray[np.int64]
    style: str

    def cells(self, rounding: str, sigma: float) -> tuple[Floats, Floats]:
        """Return the ends of what prints as each value under a rounding, in units of sigma, with the SLACK."""
        down, up = ROUNDINGS[rounding]
        return (self.values + down * self.units) / sigma, (self.values + up * self.units) / sigma + SLACK


ROUNDINGS = {"nearest": (-0.5, 0.5), "down": (0.0, 1.0), "up": (-1.0, 0.0)}
"""From where to where the exact number lies, seen from the printed one, in units of the last digit."""


def printed(texts: Sequence[str]) -> Printed:
    """Return the distinct positive radii among texts of finite radii, with what their last digit is worth.

    All with as many decimals as each other: fixed decimals. Else the most significant digits that any has are what was
    asked for (`{:.3}` drops trailing zeros).
    """
    counts: dict[float, int] = {}
    for text in texts:
        counts[float(text)] = counts.get(float(text), 0) + 1
    values = np.array(sorted(value for value in counts if value > 0), dtype=np.float64)
    rows = np.array([counts[value] for value in values.tolist()], dtype=np.int64)
    decimals = {_decimals(text) for text in texts}
    if len(decimals) == 1 and None not in decimals and (places := decimals.pop()):
        return Printed(values, np.full(len(values), 10.0**-places), rows, f"{places} decimals")
    digits = max((_significant(text) for text in texts), default=1)
    units = 10.0 ** (np.floor(np.log10(values)) - digits + 1)
    return Printed(values, units, rows, f"{digits} significant digits")


def _decimals(text: str) -> int | None:
    head, point, tail = text.partition(".")
    return len(tail) if point and tail.isdigit() and head.isdigit() else None


def _significant(text: str) -> int:
    mantissa = text.lower().partition("e")[0].lstrip("+-")
    return max(1, len(mantissa.replace(".", "").lstrip("0")))
