"""Randomised ablation for L0 (Levine and Feizi 2020, arXiv 1911.09272): f sees k of the d pixels, chosen evenly.

A change of r pixels is invisible unless one of them is kept, with probability D = 1 - C(d - r, k)/C(d, k). So an event
of probability p keeps at least p - D, and class A stays ahead while pA - D > pB + D; with pB = 1 - pA while pA - D >
1/2. D is an exact rational.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.inversion import UNIT, check, place_bits, subsets
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.radii.search import check_size, largest_whole


@dataclass(frozen=True)
class Ablation:
    """Keeps `keep` of `pixels` pixels and hides the others: certificates in L0, counted in pixels.

    A pixel is a place of an image (C, H, W), with all of its channels; in inputs of one or two axes, an element. A
    batch of one in front of (C, H, W), as models have it, does not count.
    `blank` is the value of hidden pixels; without it they are 0, and one more channel says 1 where a pixel is kept:
    copies then have the shape (C + 1, H, W), (2, H, W) or (2, d). No grid: kept pixels have the input's own float32
    values. Raises UsageError unless 1 <= keep <= pixels.
    """

    keep: int
    pixels: int
    blank: float | None = None
    norm = "0"
    grid = 0
    sampler = "philox4x32-10/subset/1"

    def __post_init__(self) -> None:
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (self.keep, self.pixels))
        if not (whole and 1 <= self.keep <= self.pixels):
            raise UsageError("keep, pixels", (self.keep, self.pixels), "integers with 1 <= keep <= pixels")
        check_blank(self.blank)

    @property
    def kind(self) -> str:
        """The name, with both parameters and what is in place of hidden pixels."""
        return f"ablation({self.keep} of {self.pixels}, {'mask' if self.blank is None else self.blank})"

    @property
    def scale(self) -> Fraction:
        """The share of the pixels that is kept."""
        return Fraction(self.keep, self.pixels)

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the point for `x`, exactly `x`. Raises UsageError for another number of pixels."""
        point = place_bits(x, copy_shape(x.shape, self.blank))
        if x.size // channels(x.shape) != self.pixels:
            raise UsageError("x", x.shape, f"{self.pixels} pixels, as the noise was told")
        return point

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the ablated copies `first`, `first` + 1, ... of `point` into `out`, float32 (rows, *point.shape)."""
        check(point, out, first)
        masks = subsets(len(out), self.pixels, self.keep, stream=stream, first=first)
        hide(point, masks, out, self.blank)

    def exact_change(self, r: int) -> Fraction:
        """Return D, the probability that one of r pixels is kept."""
        return 1 - Fraction(comb(max(0, self.pixels - r), self.keep), comb(self.pixels, self.keep))

    def worst_case(self, p: float, r: float) -> float:
        """Return p - D for floor(r) pixels, at least 0, exact up to the last rounding down."""
        check_size(p, r)
        return max(0.0, float_down(Fraction(p) - self.exact_change(int(min(r, self.pixels)))))

    def radius(self, p_low: float, p_high: float) -> float:
        """Return the largest r with p_low - p_high > 2 D, exactly; -1 if the class is not ahead unmoved."""
        if not (0 <= p_low <= 1 and 0 <= p_high <= 1):
            raise UsageError("p_low, p_high", (p_low, p_high), "probabilities")
        gap = Fraction(p_low) - Fraction(p_high)
        return float(largest_whole(lambda r: gap > 2 * self.exact_change(r), self.pixels))

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return samples * pixels^2 * 2^-65: two equal keys; see `smooth.draws.inversion.subsets`."""
        return samples * self.pixels**2 * UNIT / 2


def check_blank(blank: float | None) -> None:
    """Raise UsageError unless `blank` is None or a finite number."""
    if blank is not None and (isinstance(blank, bool) or not np.isfinite(np.float32(blank))):
        raise UsageError("blank", blank, "None or a finite number")


def channels(shape: tuple[int, ...]) -> int:
    """Return how many values a pixel has: C in (C, H, W) and in (1, C, H, W), else 1."""
    inner = _alone(shape)
    return inner[0] if len(inner) >= 3 else 1


def copy_shape(shape: tuple[int, ...], blank: float | None) -> tuple[int, ...]:
    """Return the shape of copies of an input: its own, or with one more channel for the mask."""
    if blank is not None:
        return tuple(shape)
    inner = _alone(shape)
    places = inner[1:] if len(inner) >= 3 else inner
    return (*shape[: len(shape) - len(inner)], channels(shape) + 1, *places)


def _alone(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an image without the batch of one that models have in front."""
    return shape[1:] if len(shape) >= 4 and shape[0] == 1 else shape


def hide(point: GridPoint, masks: npt.NDArray[np.bool_], out: npt.NDArray[np.float32], blank: float | None) -> None:
    """Write the values of `point` where `masks` (rows, pixels) is true, and else `blank`, into `out`."""
    rows, pixels = masks.shape
    values = point.integers.view(np.float32).reshape(1, -1, pixels)
    planes = out.reshape(rows, -1, pixels)
    seen = planes[:, : values.shape[1]]
    np.copyto(seen, values)
    np.copyto(seen, np.float32(blank or 0.0), where=~masks[:, None, :])
    if blank is None:
        planes[:, -1] = masks
