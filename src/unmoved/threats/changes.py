"""Threats without a bound on how far an element moves: only which elements may change is limited."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import Floats, float_down, float_up, rational
from unmoved.core.threat import AnyFloats, Region, Threat, exact

Changed = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Changes(Threat):
    """All x' that differ from x in a set of elements that is allowed and, with `clip`, low <= x'_i <= high.

    `number` is a whole number, which says how large such a set may be. Without `clip` the region is unbounded (its ends
    are infinite): no bound by boxes can say anything of it, only smoothing. Raises UsageError when the number is not
    whole and >= 0, or the clip range is empty.
    """

    number: int
    clip: tuple[Fraction, Fraction] | None = None
    word: ClassVar[str]
    norm: ClassVar[str]

    def __init__(self, number: object, clip: tuple[object, object] | None = None) -> None:
        whole = rational(number, "number")
        if whole.denominator != 1 or not 0 <= whole < 2**31:
            raise UsageError("number", number, "a whole number >= 0")
        object.__setattr__(self, "number", int(whole))
        object.__setattr__(self, "clip", None if clip is None else _ends(clip))

    @property
    def name(self) -> str:
        """The threat as the command line writes it."""
        return f"{self.word}:{self.number}"

    @property
    def size(self) -> Fraction:
        """Its number."""
        return Fraction(self.number)

    @abstractmethod
    def allows(self, changed: Changed) -> bool:
        """Say whether exactly the elements where `changed` (an input's shape) is true may differ."""

    @abstractmethod
    def choose(self, move: Floats) -> Changed:
        """Return a set of elements that is allowed, among those where `move` (an input's shape, >= 0) is large."""

    def contains(self, x: AnyFloats, point: AnyFloats) -> bool:
        """Say exactly whether `point` differs from x only as allowed and lies within the clip range."""
        if x.shape != point.shape or not (exact(x) and exact(point)):
            return False
        if self.clip is not None and point.size:
            low, high = self.clip
            if float(point.min()) < low or float(point.max()) > high:
                return False
        return self.allows(x.astype(np.float64) != point.astype(np.float64))

    def region(self, x: AnyFloats) -> Region:
        """Return the clip range as a box, or one with infinite ends; of number 0 x itself.

        UsageError when an input lies outside the clip range, or has a shape that the threat does not fit.
        """
        self.allows(np.zeros(x.shape[1:], np.bool_))
        center = x.astype(np.float64)
        low, high = np.full_like(center, -np.inf), np.full_like(center, np.inf)
        if self.clip is not None:
            if center.size and (float(center.min()) < self.clip[0] or float(center.max()) > self.clip[1]):
                value = f"values from {center.min():g} to {center.max():g}"
                raise UsageError("x", value, f"values within the clip range [{self.clip[0]}, {self.clip[1]}]")
            low[:], high[:] = float_down(self.clip[0]), float_up(self.clip[1])
        return Region(center, center, center) if self.number == 0 else Region(low, high, center)

    def project(self, x: AnyFloats, points: AnyFloats) -> AnyFloats:
        """Return float32 points of S(x): the largest moves that are allowed, clipped; the rest of x, as it was.

        x itself where an element of it is no float32; NaN is no move, infinity one to the end of the range.
        """
        result = x.astype(np.float32)
        wanted = np.where(np.isnan(points), x, points).astype(np.float32)
        largest = np.finfo(np.float32).max
        low, high = (-largest, largest) if self.clip is None else _single_ends(self.clip)
        wanted = np.clip(wanted, low, high)
        for i in range(len(x)):
            move = np.abs(wanted[i].astype(np.float64) - x[i].astype(np.float64))
            result[i] = np.where(self.choose(move), wanted[i], result[i])
            if not self.contains(x[i], result[i]):
                result[i] = x[i]
        return result


def _single_ends(clip: tuple[Fraction, Fraction]) -> tuple[Any, Any]:
    """Return the least and the largest float32 within a range."""
    low, high = np.float32(float(clip[0])), np.float32(float(clip[1]))
    low = np.nextafter(low, np.float32(np.inf)) if float(low) < clip[0] else low
    high = np.nextafter(high, np.float32(-np.inf)) if float(high) > clip[1] else high
    return low, high


def _ends(clip: object) -> tuple[Fraction, Fraction]:
    if not isinstance(clip, tuple | list) or len(clip) != 2:
        raise UsageError("clip", clip, "a pair (low, high)")
    low, high = rational(clip[0], "clip"), rational(clip[1], "clip")
    if low > high:
        raise UsageError("clip", clip, "a range with low <= high")
    return low, high
