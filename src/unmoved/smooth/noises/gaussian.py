"""Gaussian noise for L2: exact Gaussian smoothing of f o round_q, so that no floating-point noise enters the theorem.

Let x be a point of the grid Z/q and N a standard normal vector. round_q(x + sigma N) = x + E/q, with independent
integers E_i, P(E_i = k) = Phi((k + 1/2)/(q sigma)) - Phi((k - 1/2)/(q sigma)). Hence drawing E and evaluating f at
(q x + E)/q is Gaussian smoothing of the function f o round_q, and Cohen, Rosenfeld and Kolter 2019 (arXiv
1902.02918), theorem 1, holds for it without loss. The certified function is G(x') = argmax_c P(f(round_q(x' + sigma
N)) = c) for real x', which equals g(x') at every grid point. Why not x + sigma * torch.randn: the sums that float32
can reach from x differ from those it can reach from x', and a classifier may look at that (Voracek and Hein, ICLR
2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down, rational
from unmoved.smooth import statistics
from unmoved.smooth.draws.grid import MAX_WIDTH, GridPoint, Thresholds, place, reach, thresholds
from unmoved.smooth.draws.philox import SAMPLER, fill
from unmoved.smooth.draws.seeds import Stream


@dataclass(frozen=True)
class Gaussian:
    """Gaussian noise of standard deviation `sigma` on the grid Z/`grid` (255: images of 8 bits scaled to [0, 1]).

    `sigma` is a number or its text ("0.25", "1/4"), held as an exact rational. Raises UsageError for sigma <= 0, a grid
    that is not a positive integer, or sigma * grid beyond the tables.
    """

    sigma: Fraction
    grid: int = 255
    kind = "gaussian-grid"
    norm = "2"
    sampler = SAMPLER

    def __init__(self, sigma: object, grid: int = 255) -> None:
        exact = rational(sigma, "sigma")
        if exact <= 0:
            raise UsageError("sigma", sigma, "a number > 0")
        if isinstance(grid, bool) or not isinstance(grid, int) or not 1 <= grid <= 2**24:
            raise UsageError("grid", grid, "an integer from 1 to 2^24")
        if exact * grid > MAX_WIDTH:
            raise UsageError("sigma", sigma, f"sigma * grid <= {MAX_WIDTH} (the grid is {grid})")
        object.__setattr__(self, "sigma", exact)
        object.__setattr__(self, "grid", grid)

    @property
    def scale(self) -> Fraction:
        """Sigma."""
        return self.sigma

    @property
    def reach(self) -> int:
        """K = ceil(10 sigma q): no noise number exceeds it in size."""
        return reach(self.sigma, self.grid)

    @property
    def law(self) -> Thresholds:
        """The law of E, as tables."""
        return thresholds(self.sigma, self.grid)

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the grid point nearest to `x`; see `smooth.draws.grid.place`."""
        return place(x, self.grid, self.reach)

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the noisy copies `first`, `first` + 1, ... of `point` into `out`, float32 (rows, *point.shape).

        Copy s depends on (point, stream, s) alone; the layout is in `smooth.draws.philox`. About 2.5 ns a number.
        Raises UsageError unless `out` is C-contiguous float32 of that shape and `first` >= 0.
        """
        if out.dtype != np.float32 or out.shape[1:] != point.shape or not out.flags.c_contiguous:
            raise UsageError("out", f"{out.dtype} {out.shape}", f"contiguous float32 (rows, *{point.shape})")
        if not 0 <= first <= 2**63:
            raise UsageError("first", first, "an integer >= 0")
        law = self.law
        rows = out.reshape(out.shape[0], point.integers.size)
        q, number, word = np.float32(self.grid), np.uint64(first), np.uint64(stream.purpose)
        fill(rows, point.integers, law.guide, law.first, law.last, q, stream.key, word, number)

    def worst_case(self, p: float, r: float) -> float:
        """Return Phi(Phi^-1(p) - r / sigma), rounded down (Neyman-Pearson; Cohen et al. 2019, lemma 4; half-spaces)."""
        if not (0 <= p <= 1 and r >= 0):
            raise UsageError("p, r", (p, r), "0 <= p <= 1 and r >= 0")
        shift = math.nextafter(r / float_down(self.sigma), math.inf)
        value = float(ndtr(math.nextafter(statistics.quantile_low(p) - shift, -math.inf)))
        return max(0.0, value * (1 - statistics.MARGIN))

    def radius(self, p_low: float, p_high: float) -> float:
        """Return sigma/2 (Phi^-1(p_low) - Phi^-1(p_high)), rounded down (Cohen et al. 2019, theorem 1)."""
        return statistics.gaussian_radius(p_low, p_high, self.sigma)

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return samples * elements * (2 K + 2) 2^-64; see `smooth.draws.grid` for the bound of one number."""
        return Fraction(samples * elements * (2 * self.reach + 2), 2**64)
