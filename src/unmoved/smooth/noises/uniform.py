"""Uniform noise on [-lam, lam]^d, for L1 and for L_inf: exact uniform smoothing of f o round_q.

round_q(x + U) = x + E/q at every grid point x, P(E <= k) = (k + 1/2 + lam q)/(2 lam q) within [0, 1]: rational
thresholds. The laws at x and x' = x + delta overlap with mass V = prod_i (1 - |delta_i|/(2 lam))_+, and an event of
probability p keeps at least p - (1 - V); events that fill what is lost attain it.

* L1: 1 - V <= ||delta||_1/(2 lam), attained by a move of one coordinate; R = lam (pA - pB); one-class 2 lam (pA - 1/2).
* L_inf: 1 - V <= 1 - (1 - r/(2 lam))^d, attained by a move of all; R = 2 lam (1 - (1 - (pA - pB)/2)^(1/d)), one-class
  2 lam (1 - (3/2 - pA)^(1/d)). The dimension must be known: `elements`.

Lee, Yuan, Chang, Jaakkola 2019 (arXiv 1906.04948); Yang et al. 2020 (arXiv 2002.08118).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down
from unmoved.smooth.draws.grid import GridPoint, Thresholds
from unmoved.smooth.draws.inversion import MAX_VALUES, UNIT, ceil_share, grid_of, place, scale_of, tables, write
from unmoved.smooth.draws.philox import SAMPLER
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.radii.search import check_size
from unmoved.smooth.statistics import MARGIN


@dataclass(frozen=True)
class Uniform:
    """Uniform noise on [-`lam`, `lam`] in each element, on the grid Z/`grid`: certificates in L1, or L_inf.

    For L_inf say `norm="inf"` and the number of `elements` of an input. Raises UsageError for lam <= 0, lam * grid
    beyond the tables, another norm, and L_inf without `elements`.
    """

    lam: Fraction
    grid: int = 255
    norm: str = "1"
    elements: int = 0
    kind = "uniform-grid"
    sampler = SAMPLER

    def __init__(self, lam: object, grid: int = 255, *, norm: str = "1", elements: int = 0) -> None:
        exact = scale_of(lam, "lam")
        if 2 * exact * grid_of(grid) + 2 > MAX_VALUES:
            raise UsageError("lam", lam, f"2 lam * grid + 2 <= {MAX_VALUES} (the grid is {grid})")
        if norm not in ("1", "inf"):
            raise UsageError("norm", norm, '"1" or "inf"')
        if (norm == "inf") != (isinstance(elements, int) and not isinstance(elements, bool) and elements >= 1):
            raise UsageError("elements", elements, 'the number of elements of an input with norm="inf", else nothing')
        for name, value in (("lam", exact), ("grid", grid), ("norm", norm), ("elements", elements)):
            object.__setattr__(self, name, value)

    @property
    def scale(self) -> Fraction:
        """The parameter lam."""
        return self.lam

    @property
    def reach(self) -> int:
        """K = ceil(lam q - 1/2): the largest noise number."""
        return max(0, math.ceil(self.lam * self.grid - Fraction(1, 2)))

    @property
    def law(self) -> Thresholds:
        """The law of E, as tables."""
        return thresholds(self.lam * self.grid, self.reach)

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the grid point nearest to `x` and what a radius loses by it (off the grid: L1 d/q, L_inf 1/q)."""
        point = place(x, self.grid, self.reach, self.norm)
        if self.norm == "inf" and x.size != self.elements:
            raise UsageError("x", x.shape, f"{self.elements} elements, as the noise was told")
        return point

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the noisy copies `first`, `first` + 1, ... of `point` into `out`, float32 (rows, *point.shape)."""
        write(self.law, point, out, grid=self.grid, stream=stream, first=first)

    def worst_case(self, p: float, r: float) -> float:
        """Return p - (1 - V), at least 0, rounded down."""
        check_size(p, r)
        if r >= 2 * self.lam:
            return 0.0
        if self.norm == "1":
            return max(0.0, float_down(Fraction(p) - Fraction(r) / (2 * self.lam)))
        share = math.nextafter(r / float_down(2 * self.lam), math.inf)
        lost = 1.0 if share >= 1 else -math.expm1(self.elements * math.log1p(-share)) * (1 + MARGIN)
        return max(0.0, float_down(Fraction(p) - Fraction(lost)))

    def radius(self, p_low: float, p_high: float) -> float:
        """Return the closed form above, rounded down; not positive when nothing follows."""
        if not (0 <= p_low <= 1 and 0 <= p_high <= 1):
            raise UsageError("p_low, p_high", (p_low, p_high), "probabilities")
        gap = Fraction(p_low) - Fraction(p_high)
        if gap <= 0:
            return float_down(self.lam * gap)
        if self.norm == "1":
            return math.nextafter(float_down(self.lam * gap), -math.inf)
        power = math.log1p(-float_down(gap / 2)) / self.elements
        return -math.expm1(power) * float_down(2 * self.lam) * (1 - MARGIN)

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return samples * elements * (2 K + 1) 2^-64; see `smooth.draws.inversion`."""
        return samples * elements * (2 * self.reach + 1) * UNIT


@lru_cache(maxsize=8)
def thresholds(width: Fraction, reach: int) -> Thresholds:
    """Return the tables of E = round(U), U uniform on [-width, width]; the last eight are kept."""
    shares = ((k + Fraction(1, 2) + width) / (2 * width) for k in range(-reach, reach + 1))
    return tables([ceil_share(min(Fraction(1), share)) for share in shares])
