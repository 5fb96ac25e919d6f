"""Laplace noise for L1: exact Laplace smoothing of f o round_q, no floating-point noise in the theorem.

As for Gaussian noise (`smooth.noises.gaussian`): round_q(x + Laplace(lam)) = x + E/q at every grid point x, with
P(E > k) = exp(-(k + 1/2)/(q lam))/2 for k >= 0, symmetric. F is the distribution function of Laplace(1).

**Worst case.** Move one coordinate by r: the ratio of the densities at x and at x' is monotone in that coordinate and
depends on nothing else, so by Neyman and Pearson an event of probability p keeps at least W_r(p) = F(F^-1(p) - r/lam),
what a half-line keeps. Now move coordinate after coordinate, by r_1, r_2, ...: what is kept is at least
W_{r_k}(...W_{r_1}(p)) = W_{r_1 + ... + r_k}(p), for these W form a semigroup and increase with p. So W_r(p), r the L1
size of the whole move, is a lower bound in any dimension, and half-spaces attain it.

**Radius.** A is ahead while F(F^-1(pA) - r/lam) > F(F^-1(pB) + r/lam): R = lam/2 (F^-1(pA) - F^-1(pB)). Two opposite
half-spaces attain both sides at once, so no larger radius is true. With pB = 1 - pA this is -lam ln(2 (1 - pA)) of
Teng, Lee, Yuan 2019 (and Yang et al. 2020, arXiv 2002.08118); Teng's two-class max{lam/2 ln(pA/pB), -lam ln(1 - pA +
pB)} is never above it (inequality of the means) and equal for pA <= 1/2 and for pB = 1 - pA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import mpmath
import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down
from unmoved.smooth.draws.grid import PRECISION, GridPoint, Thresholds
from unmoved.smooth.draws.inversion import UNIT, grid_of, place, scale_of, tables, write
from unmoved.smooth.draws.philox import SAMPLER
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.radii.search import check_size
from unmoved.smooth.statistics import MARGIN

MAX_WIDTH = 20_000
"""Largest lam * q: the table stays below 2 million entries."""


@dataclass(frozen=True)
class Laplace:
    """Laplace noise of scale `lam` (mean absolute value) on the grid Z/`grid`: certificates in L1.

    `lam` is a number or its text, held exactly. Raises UsageError for lam <= 0 or lam * grid beyond the tables.
    """

    lam: Fraction
    grid: int = 255
    kind = "laplace-grid"
    norm = "1"
    sampler = SAMPLER

    def __init__(self, lam: object, grid: int = 255) -> None:
        exact = scale_of(lam, "lam")
        if exact * grid_of(grid) > MAX_WIDTH:
            raise UsageError("lam", lam, f"lam * grid <= {MAX_WIDTH} (the grid is {grid})")
        object.__setattr__(self, "lam", exact)
        object.__setattr__(self, "grid", grid)

    @property
    def scale(self) -> Fraction:
        """The parameter lam."""
        return self.lam

    @property
    def reach(self) -> int:
        """K = ceil(45 lam q): beyond it lies less than e^-45/2 < 2^-65 on either side."""
        return math.ceil(45 * self.lam * self.grid)

    @property
    def law(self) -> Thresholds:
        """The law of E, as tables."""
        return thresholds(self.lam * self.grid, self.reach)

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the grid point nearest to `x` and what an L1 radius loses by the move."""
        return place(x, self.grid, self.reach, self.norm)

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the noisy copies `first`, `first` + 1, ... of `point` into `out`, float32 (rows, *point.shape)."""
        write(self.law, point, out, grid=self.grid, stream=stream, first=first)

    def worst_case(self, p: float, r: float) -> float:
        """Return F(F^-1(p) - r/lam), rounded down: what a half-space of probability p keeps."""
        check_size(p, r)
        if p == 0:
            return 0.0
        shift = math.nextafter(r / float_down(self.lam), math.inf)
        rest = 1 - p  # exact for p >= 1/2
        if p <= 0.5:
            kept = p * math.exp(-shift)
        elif rest * math.exp(shift) <= 0.5:
            return max(0.0, 1 - rest * math.exp(shift) * (1 + MARGIN) - 2.0**-53)
        else:
            kept = math.exp(-shift) / (4 * rest)
        return max(0.0, kept * (1 - MARGIN))

    def radius(self, p_low: float, p_high: float) -> float:
        """Return lam/2 (F^-1(p_low) - F^-1(p_high)), rounded down; not positive when nothing follows."""
        span = math.nextafter(_quantile(p_low, -MARGIN) - _quantile(p_high, MARGIN), -math.inf)
        return math.nextafter(float_down(self.lam / 2) * span, -math.inf) if span > 0 else span

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return samples * elements * (2 K + 2) 2^-64: all thresholds and both tails, as for Gaussian noise."""
        return samples * elements * (2 * self.reach + 2) * UNIT


def _quantile(p: float, margin: float) -> float:
    """Return F^-1(p), moved by `margin` times its size; infinite at 0 and 1."""
    if not 0 <= p <= 1:
        raise UsageError("p", p, "a probability")
    if p in (0.0, 1.0):
        return math.inf if p else -math.inf
    value = math.log(2 * p) if p <= 0.5 else -math.log(2 * (1 - p))
    return value + abs(value) * margin


@lru_cache(maxsize=8)
def thresholds(width: Fraction, reach: int) -> Thresholds:
    """Return the tables of E = round(width * Laplace(1)) on -reach ... reach; the last eight are kept."""
    context = mpmath.MPContext()
    context.prec = PRECISION
    exact = context.mpf(width.numerator) / context.mpf(width.denominator)
    slack = context.ldexp(1, -96)
    tails = []
    for k in range(reach):
        # floor(2^64 P(E > k)); from 2^-80 of an integer on, 200 bits could not tell its side
        value = context.ldexp(context.exp(-(2 * k + 1) / (2 * exact)), 63)
        whole = context.floor(value)
        if value - whole > 1 - slack or (whole > 0 and value - whole < slack):
            raise ArithmeticError(f"threshold {k} at width {width} needs more than {PRECISION} bits")
        tails.append(int(whole))
    # P(E <= -k-1) = P(E > k), and 2^64 times it is no integer: its ceiling is the floor plus one
    return tables([tail + 1 for tail in reversed(tails)] + [2**64 - tail for tail in tails] + [2**64])
