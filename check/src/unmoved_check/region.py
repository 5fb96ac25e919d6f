"""The set that a leaf speaks of: the threat, cut by the input splits on the leaf's path."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Ball:
    """All x with ||x - center||_norm <= eps; norm is "inf", "2" or "1", center exact float64 numbers."""

    center: tuple[float, ...]
    norm: str
    eps: Fraction


@dataclass(frozen=True)
class Cut:
    """x[index] <= point when `below`, else x[index] >= point."""

    index: int
    point: Fraction
    below: bool


@dataclass(frozen=True)
class Region:
    """All x in the ball (if any), with low <= x_i <= high of `clip` (if any), in the box (if any), within the cuts."""

    ball: Ball | None = None
    clip: tuple[Fraction, Fraction] | None = None
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    cuts: tuple[Cut, ...] = ()

    @property
    def curved(self) -> bool:
        """Whether a row can be smaller on the box hull than on the region (L1 and L2 balls)."""
        return self.ball is not None and self.ball.norm != "inf"


@dataclass(frozen=True, eq=False)
class Part:
    """What is left of a part (of all of a region, if `outer` is None) on one side of a cut; equal to itself only."""

    outer: Part | None
    limit: Cut

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """All cuts, from the first to this one."""
        found, part = [self.limit], self.outer
        while part is not None:
            found.append(part.limit)
            part = part.outer
        return tuple(found[::-1])
