"""Discrete noise for L0 (Lee, Yuan, Chang and Jaakkola 2019, arXiv 1906.04948): exact, and independent of d.

An element with values 0/q ... K/q is kept with probability a, else replaced by one of the K others, each with
probability b = (1 - a)/K. Let x' differ from x in r elements. Only those matter, and only m = #(z = x) - #(z = x')
among them: the likelihood ratio of x to x' is (a/b)^m. With c = 1 - a - b, m is a sum of r independent steps +1, -1, 0
with probabilities a, b, c under x, and b, a, c under x'. By Neyman and Pearson an event of probability p keeps the
least when it is filled up from the largest m, the last value in part. Fewer changed elements keep more: an event may
ignore one.

All of it in whole numbers: masses are over the common denominator (D K)^r, D that of a.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb, inf

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down
from unmoved.smooth.draws.grid import GridPoint, Thresholds
from unmoved.smooth.draws.inversion import UNIT, blocks, ceil_share, check, draw_into, grid_of, place, share_of, tables
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.radii.search import check_size, largest_whole

MAX_CHANGES = 1000
"""Largest radius that is looked for."""


@dataclass(frozen=True)
class Discrete:
    """Keeps an element with probability `keep`, else draws one of the `grid` other values: certificates in L0.

    Inputs are in [0, 1], with values k/`grid` (grid = 255: 8-bit images; 1: binary data), held exactly. Rounding an
    input off the grid costs nothing: equal elements stay equal. Raises UsageError unless 1/(grid + 1) < keep < 1.
    """

    keep: Fraction
    grid: int = 255
    kind = "discrete"
    norm = "0"
    sampler = "philox4x32-10/replace/1"

    def __init__(self, keep: object, grid: int = 255) -> None:
        exact = share_of(keep, "keep")
        if not Fraction(1, grid_of(grid) + 1) < exact < 1:
            raise UsageError("keep", keep, f"more than 1/{grid + 1} (which is pure noise) and less than 1")
        if grid > 2**16:
            raise UsageError("grid", grid, "an integer from 1 to 65536")
        object.__setattr__(self, "keep", exact)
        object.__setattr__(self, "grid", grid)

    @property
    def scale(self) -> Fraction:
        """The probability of keeping an element."""
        return self.keep

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the grid point nearest to `x`; nothing is lost."""
        point = place(x, self.grid, 0, self.norm)
        if point.integers.min() < 0 or point.integers.max() > self.grid:
            raise UsageError("x", (float(x.min()), float(x.max())), "elements from 0 to 1")
        return point

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the noisy copies `first`, `first` + 1, ... of `point` into `out`, float32 (rows, *point.shape).

        A copy is m + S modulo grid + 1 over grid, S = 0 with probability `keep`, else 1 ... grid evenly.
        """
        check(point, out, first)
        law, base = _thresholds(self.keep, self.grid), point.integers.astype(np.float32)
        whole = out.reshape(len(out), -1)
        for part in blocks(*whole.shape):
            rows = whole[part]
            draw_into(rows, law, stream=stream, first=first + part.start)
            rows += base
            rows -= (rows > self.grid) * np.float32(self.grid + 1)
            rows /= np.float32(self.grid)

    def worst_case(self, p: float, r: float) -> float:
        """Return the least probability kept when at most floor(r) elements change, rounded down once, at the end."""
        check_size(p, r)
        return float_down(self.exact_worst_case(Fraction(p), int(r)))

    def exact_worst_case(self, p: Fraction, r: int) -> Fraction:
        """Return the least probability under x' of an event of probability p under x, r elements changed."""
        masses, total = _masses(self.keep, self.grid, r)
        wanted, kept = p * total, Fraction(0)
        for here, there in zip(masses, reversed(masses), strict=True):
            if here >= wanted:
                return (kept + (there * wanted / here if wanted else 0)) / total
            wanted -= here
            kept += there
        return kept / total

    def radius(self, p_low: float, p_high: float) -> float:
        """Return the largest r (at most 1000) at which the class is ahead, exactly; -1 if not even unmoved.

        One-class (p_high = 1 - p_low): the least probability kept exceeds 1/2.
        """
        if not (0 <= p_low <= 1 and 0 <= p_high <= 1):
            raise UsageError("p_low, p_high", (p_low, p_high), "probabilities")
        ours, rest = Fraction(p_low), 1 - Fraction(p_high)
        if ours == rest == 1:
            return inf

        def ahead(r: int) -> bool:
            return self.exact_worst_case(ours, r) + self.exact_worst_case(rest, r) > 1

        return float(largest_whole(ahead, MAX_CHANGES))

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return samples * elements * (grid + 1) 2^-64; see `smooth.draws.inversion`."""
        return samples * elements * (self.grid + 1) * UNIT


@lru_cache(maxsize=256)
def _masses(keep: Fraction, others: int, r: int) -> tuple[tuple[int, ...], int]:
    """Return the weights of m = r, r - 1, ..., -r under x, and their total; reversed, they are those under x'."""
    a, b = keep.numerator * others, keep.denominator - keep.numerator
    total = keep.denominator * others
    c = total - a - b
    weights = []
    for m in range(r, -r - 1, -1):
        # j steps down, j + m up, the rest stay
        ways = range(max(0, -m), (r - m) // 2 + 1)
        weights.append(sum(comb(r, j) * comb(r - j, j + m) * a ** (j + m) * b**j * c ** (r - 2 * j - m) for j in ways))
    return tuple(weights), total**r


@lru_cache(maxsize=8)
def _thresholds(keep: Fraction, others: int) -> Thresholds:
    """Return the tables of the shift: 0 with probability `keep`, else each of 1 ... `others` with the same one."""
    return tables([ceil_share(keep + (1 - keep) * Fraction(i, others)) for i in range(others + 1)])
