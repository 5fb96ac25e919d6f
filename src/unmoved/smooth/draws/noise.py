"""What a smoothing noise must be able to do: the extension point of this room, one file a noise."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.seeds import Stream


class Copies(Protocol):
    """Whatever makes copies of a point, by number: all that counting votes needs."""

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the copies number `first`, `first` + 1, ... of `point` into `out`, float32 (rows, *point.shape).

        A copy depends on the point, the stream and its number alone: not on the rows asked for, nor on the machine.
        """


class Noise(Copies, Protocol):
    """A law of noise, of size `scale`, drawn by the sampler called `sampler`, whose radii are sizes in `norm`.

    The smoothed classifier is g(x) = argmax_c P(f(z) = c), z a noisy copy of x. `kind` is the name in certificates. The
    copies may have another shape than the input (a mask as one more channel): `place` says which. A noise without
    chance, whose copies are all counted, is an `smooth.classifiers.enumeration.FiniteNoise` instead.
    """

    def __hash__(self) -> int: ...

    @property
    def kind(self) -> str:
        """The noise's name in a certificate, with its parameters where `scale` and `grid` do not say them."""

    @property
    def norm(self) -> str:
        """How a move is measured: "2", "1", "inf", or "0" (elements changed: sizes and radii are whole numbers)."""

    @property
    def scale(self) -> Fraction:
        """The parameter of the law (sigma for Gaussian noise), exactly."""

    @property
    def grid(self) -> int:
        """q: inputs and noisy copies are multiples of 1/q; 0 if elements are only hidden, and need no grid."""

    @property
    def sampler(self) -> str:
        """The identifier of the bit-exact procedure that draws the copies."""

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the grid point that stands for the input `x`, and what a radius loses by the move.

        Its `shape` is that of the copies, its `integers` whatever `sample` needs of x.
        """

    def worst_case(self, p: float, r: float) -> float:
        """Return a lower bound of the probability an event of probability >= p keeps when the input moves by <= r."""

    def radius(self, p_low: float, p_high: float) -> float:
        """Return r, rounded down: a class of probability >= p_low stays ahead of others <= p_high at any distance < r.

        Zero or negative when nothing follows. In L0: at any distance <= r, and 0 says that it is ahead without a move.
        Where no closed form is known, `smooth.radii.search.radius_by_search` finds r from `worst_case`.
        """

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return a bound of the total variation between the law of all numbers drawn and the exact law."""
