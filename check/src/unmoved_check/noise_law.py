"""What a law of noise must be able to say, and what it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Protocol

from unmoved_check.outcome import Rejection

__all__ = ["GRID_SAMPLER", "Law", "Told", "integers_within"]

GRID_SAMPLER = "philox4x32-10/grid/1"


@dataclass(frozen=True)
class Told:
    """What the evidence says of its noise: the words in brackets, the scale, the grid; and the input's shape."""

    words: str | None
    scale: Fraction
    grid: int
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of elements of an input."""
        return prod(self.shape)

    def plain(self, *, gridded: bool = True) -> None:
        """Reject words, a scale that is not positive, and a grid where the law has none (or none where it has one)."""
        if self.words is not None:
            raise Rejection("evidence.noise has parameters that this noise does not have")
        if self.scale <= 0:
            raise Rejection("evidence.sigma is not positive")
        self.on(gridded=gridded)

    def on(self, *, gridded: bool) -> None:
        """Reject a grid where the law has none, or none where it has one."""
        if gridded and self.grid < 1:
            raise Rejection("evidence.grid is not an integer >= 1")
        if not gridded and self.grid != 0:
            raise Rejection("evidence.grid is not 0, though this noise has no grid")


class Law(Protocol):
    """One law of noise and its theorem. `norm` is "2", "1" or "0" (elements changed: sizes are whole numbers)."""

    @property
    def norm(self) -> str:
        """The norm whose sizes the theorem speaks of."""
        ...

    @property
    def sampler(self) -> str:
        """The identifier of the procedure that draws the copies."""
        ...

    @property
    def deviation(self) -> Fraction:
        """A bound of the total variation between a copy as `sampler` draws it and one of the law, for one copy."""
        ...

    def admit(self, center: list[Fraction]) -> None:
        """Raise Rejection for a centre at which the law is not defined."""
        ...

    def radius(self, p_low: Fraction, p_high: Fraction, asked: Fraction) -> Fraction:
        """Return a radius R >= 0 with: a class of probability >= p_low at the grid point, all others <= p_high, is
        ahead of all others at every distance <= R from it.

        0 <= p_low, p_high <= 1 and p_high <= 1 - p_low or so: nothing is assumed of them. Laws that only test one
        size return `asked` if it is proved. Rejection where nothing (or not that much) is proved.
        """
        ...


def integers_within(center: list[Fraction], grid: int) -> None:
    """Raise Rejection unless every element's nearest multiple of 1/grid is one of 0, 1/grid, ..., 1."""
    for index, value in enumerate(center):
        if not 0 <= (2 * grid * value.numerator + value.denominator) // (2 * value.denominator) <= grid:
            raise Rejection(f"element {index} of the centre is not within [0, 1]")
