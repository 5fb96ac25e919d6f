"""Balls of the norms L_inf, L2 and L1 around the input, optionally clipped to the range that data can have."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import Floats, float_down, float_up, rational, sum_down, sum_up
from unmoved.core.threat import AnyFloats, Region, Threat, exact

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Lp(Threat):
    """All x' with ||x' - x||_norm <= eps and, with `clip`, low <= x'_i <= high.

    `eps` is exact: a number, or text such as "8/255" or "0.1" (one tenth, not the nearest float). `clip` is a pair of
    such numbers. Raises UsageError when eps is negative or not finite, or the clip range is empty.
    """

    eps: Fraction
    clip: tuple[Fraction, Fraction] | None = None
    norm: ClassVar[str]
    word: ClassVar[str]
    text: str = field(default="", compare=False)

    def __init__(self, eps: object, clip: tuple[object, object] | None = None) -> None:
        """Check the arguments and keep them as exact rationals."""
        size = rational(eps, "eps")
        if size < 0:
            raise UsageError("eps", eps, "a number >= 0")
        object.__setattr__(self, "eps", size)
        object.__setattr__(self, "clip", None if clip is None else _ends(clip))
        object.__setattr__(self, "text", eps.strip() if isinstance(eps, str) else _short(size))

    @property
    def name(self) -> str:
        """The threat as the command line writes it."""
        return f"{self.word}:{self.text}"

    @property
    def size(self) -> Fraction:
        """Its eps, exactly."""
        return self.eps

    def contains(self, x: AnyFloats, point: AnyFloats) -> bool:
        """Say exactly whether `point` is within eps of x and within the clip range. No tolerance."""
        if x.shape != point.shape or not (exact(x) and exact(point)):
            return False
        if self.clip is not None:
            low, high = self.clip
            if point.size and (float(point.min()) < low or float(point.max()) > high):
                return False
        return self._within(x.astype(np.float64).reshape(-1), point.astype(np.float64).reshape(-1))

    def region(self, x: AnyFloats) -> Region:
        """Return the ball and its box hull, rounded outward. UsageError when an input lies outside the clip range."""
        center = x.astype(np.float64)
        reach = float_up(self.eps)
        low, high = sum_down(center, -reach), sum_up(center, reach)
        if self.clip is not None:
            floor, ceiling = float_down(self.clip[0]), float_up(self.clip[1])
            # Python compares floats with rationals exactly: a centre between the clip and its rounding is outside
            if center.size and (float(center.min()) < self.clip[0] or float(center.max()) > self.clip[1]):
                value = f"values from {center.min():g} to {center.max():g}"
                raise UsageError("x", value, f"values within the clip range [{self.clip[0]}, {self.clip[1]}]")
            low, high = np.maximum(low, floor), np.minimum(high, ceiling)
        return Region(low, high, center, None if self.norm == "inf" else self.norm, reach)

    def inner_box(self, x: AnyFloats) -> tuple[Singles, Singles]:
        """Return the float32 ends of the box hull rounded INWARD (but never past x): what attacks clamp to."""
        center = x.astype(np.float64)
        reach = float_down(self.eps)
        low, high = sum_up(center, -reach), sum_down(center, reach)
        if self.clip is not None:
            low = np.maximum(low, float_up(self.clip[0]))
            high = np.minimum(high, float_down(self.clip[1]))
        single = x.astype(np.float32)
        return np.minimum(_single_up(low), single), np.maximum(_single_down(high), single)

    def project(self, x: AnyFloats, points: AnyFloats) -> AnyFloats:
        """Return float32 points of S(x) near `points`, both (batch, *shape); where rounding spoils that, x itself."""
        low, high = self.inner_box(x)
        center = x.astype(np.float64)
        move = self._shrink(points.astype(np.float64) - center)
        result = np.clip((center + move).astype(np.float32), low, high)
        for i in range(len(x)):
            for factor in (1 - 1e-7, 1 - 1e-6, 1 - 1e-5, 1 - 1e-4, 1 - 1e-3):
                if self.contains(x[i], result[i]):
                    break
                result[i] = np.clip((center[i] + factor * move[i]).astype(np.float32), low[i], high[i])
            else:
                if not self.contains(x[i], result[i]):
                    result[i] = x[i]
        return result

    @abstractmethod
    def _within(self, x: Floats, point: Floats) -> bool:
        """Say exactly whether ||point - x|| <= eps, both flat."""

    @abstractmethod
    def _shrink(self, move: Floats) -> Floats:
        """Return moves (batch, *shape) of norm <= eps, up to rounding, near the given ones."""


class Linf(Lp):
    """Every coordinate moves by at most eps."""

    norm = "inf"
    word = "linf"

    def _within(self, x: Floats, point: Floats) -> bool:
        gap = np.abs(point - x)
        # one rounding error in the difference: what is clearly inside needs no exact arithmetic
        unclear = np.flatnonzero(np.nextafter(gap, np.inf) > float_down(self.eps))
        return all(abs(Fraction(point[i]) - Fraction(x[i])) <= self.eps for i in unclear)

    def _shrink(self, move: Floats) -> Floats:
        reach = float_down(self.eps)
        return np.clip(move, -reach, reach)


class L2(Lp):
    """The Euclidean distance is at most eps."""

    norm = "2"
    word = "l2"

    def _within(self, x: Floats, point: Floats) -> bool:
        clear = _clear(float(np.square(point - x).sum()), x.size, self.eps**2)
        if clear is not None:
            return clear
        total = sum(((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x, point, strict=True) if a != b), Fraction(0))
        return total <= self.eps**2

    def _shrink(self, move: Floats) -> Floats:
        flat = move.reshape(len(move), -1)
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        factor = np.minimum(1.0, float_down(self.eps) / np.maximum(length, 1e-300))
        return np.asarray(flat * factor).reshape(move.shape)


class L1(Lp):
    """The sum of the absolute moves is at most eps."""

    norm = "1"
    word = "l1"

    def _within(self, x: Floats, point: Floats) -> bool:
        clear = _clear(float(np.abs(point - x).sum()), x.size, self.eps)
        if clear is not None:
            return clear
        total = sum((abs(Fraction(a) - Fraction(b)) for a, b in zip(x, point, strict=True) if a != b), Fraction(0))
        return total <= self.eps

    def _shrink(self, move: Floats) -> Floats:
        """Euclidean projection on the L1 ball (Duchi et al. 2008, figure 1)."""
        flat = move.reshape(len(move), -1)
        size = np.abs(flat)
        reach = float_down(self.eps)
        falling = -np.sort(-size, axis=1)
        excess = np.cumsum(falling, axis=1) - reach
        count = np.arange(1, size.shape[1] + 1)
        active = np.maximum((falling * count > excess).sum(axis=1), 1)
        level = np.maximum(excess[np.arange(len(flat)), active - 1] / active, 0.0)
        inside = size.sum(axis=1) <= reach
        kept = np.where(inside[:, None], size, np.maximum(size - level[:, None], 0.0))
        return (np.sign(flat) * kept).reshape(move.shape)


def _clear(total: float, terms: int, bound: Fraction) -> bool | None:
    """Say whether the sum whose rounded value is `total` is at most `bound`; None where only exact arithmetic can tell.

    Each term is >= 0 and has at most 2 roundings, the sum `terms` - 1, in any order: with u = 2^-53 the relative error
    is below (1 + u)^(terms + 2) - 1 <= (terms + 8) 2^-53 (Higham 2002, lemma 3.1), and 2^-52 covers its reciprocal.
    Underflow cannot matter within the limits on `total`.
    """
    if not (1e-250 < total < 1e250 and terms < 2**40):
        return None
    slack = Fraction(terms + 8, 2**52)
    if Fraction(total) * (1 + slack) <= bound:
        return True
    return False if Fraction(total) * (1 - slack) > bound else None


def _ends(clip: object) -> tuple[Fraction, Fraction]:
    if not isinstance(clip, tuple | list) or len(clip) != 2:
        raise UsageError("clip", clip, "a pair (low, high)")
    low, high = rational(clip[0], "clip"), rational(clip[1], "clip")
    if low > high:
        raise UsageError("clip", clip, "a range with low <= high")
    return low, high


def _short(size: Fraction) -> str:
    """Return a size as people write it: a short decimal if it is one, a small fraction, else its float in full."""
    near = float(size)
    if Fraction(f"{near:g}") == size:
        return f"{near:g}"
    return str(size) if size.denominator <= 1000 else repr(near)


def _single_up(value: Floats) -> Singles:
    near = value.astype(np.float32)
    return np.where(near < value, np.nextafter(near, np.float32(np.inf)), near)


def _single_down(value: Floats) -> Singles:
    near = value.astype(np.float32)
    return np.where(near > value, np.nextafter(near, np.float32(-np.inf)), near)


LP: dict[str, Any] = {kind.word: kind for kind in (Linf, L2, L1)}
