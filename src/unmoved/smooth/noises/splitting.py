"""Splitting noise for L1 on [0, 1]^d (Levine and Feizi 2021, arXiv 2103.10834), by chance and without chance.

Element i gets a threshold s_i, uniform on (0, 2 lam) whatever the joint law, and is seen as x~_i = (min(s_i, 1) + [x_i
> s_i])/2. Moving x_i by delta_i changes x~_i with probability at most |delta_i|/(2 lam), so by the union bound every
class probability is 1/(2 lam)-Lipschitz in L1: an event of probability p keeps at least p - r/(2 lam), and R = lam (pA
- pB).

Here s_i = (V_i + 1/2)/q with V_i uniform on the integers 0 ... L - 1, L = 2 lam q. At grid points that is splitting
noise followed by a rounding of s_i, for [m/q > s] = [m > floor(q s)]; so the theorem holds without loss.

**Without chance**: V_i = v_i + t mod L with public offsets v_i, one copy for each t = 0 ... L - 1. Each V_i is uniform
over the copies, so a move by one grid step in one element changes exactly one copy (or none). n_A and n_B change by at
most one vote a step: R = floor((n_A - n_B - [B < A])/2)/q, the least over B, between grid points; no sampling, no
alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.inversion import (
    MAX_VALUES,
    UNIT,
    blocks,
    check,
    draw,
    draw_into,
    evenly,
    grid_of,
    place,
    scale_of,
)
from unmoved.smooth.draws.seeds import Purpose, Stream
from unmoved.smooth.radii.search import check_size

SAMPLER = "philox4x32-10/splitting/1"


@dataclass(frozen=True)
class Splitting:
    """Splitting noise with thresholds on (0, 2 `lam`), on the grid Z/`grid`: certificates in L1 for inputs in [0, 1].

    Thresholds of different elements are independent. Raises UsageError unless 2 lam * grid is a positive integer.
    """

    lam: Fraction
    grid: int = 255
    kind = "splitting"
    norm = "1"
    sampler = SAMPLER

    def __init__(self, lam: object, grid: int = 255) -> None:
        _set(self, lam, grid)

    @property
    def scale(self) -> Fraction:
        """The parameter lam."""
        return self.lam

    @property
    def levels(self) -> int:
        """L = 2 lam q: how many thresholds there are."""
        return int(2 * self.lam * self.grid)

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the grid point nearest to `x`, in [0, 1], and what an L1 radius loses by the move."""
        return _place(x, self.grid)

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the split copies `first`, `first` + 1, ... of `point` into `out`, float32 (rows, *point.shape)."""
        check(point, out, first)
        law, rows = evenly(self.levels), out.reshape(len(out), -1)
        for part in blocks(*rows.shape):
            draw_into(rows[part], law, stream=stream, first=first + part.start)
            _split(rows[part], point, self.grid)

    def worst_case(self, p: float, r: float) -> float:
        """Return p - r/(2 lam), at least 0, rounded down."""
        check_size(p, r)
        return 0.0 if r >= 2 * self.lam else max(0.0, float_down(Fraction(p) - Fraction(r) / (2 * self.lam)))

    def radius(self, p_low: float, p_high: float) -> float:
        """Return lam (p_low - p_high), rounded down; not positive when nothing follows."""
        if not (0 <= p_low <= 1 and 0 <= p_high <= 1):
            raise UsageError("p_low, p_high", (p_low, p_high), "probabilities")
        exact = self.lam * (Fraction(p_low) - Fraction(p_high))
        return math.nextafter(float_down(exact), -math.inf) if exact > 0 else float_down(exact)

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return samples * elements * L 2^-64; see `smooth.draws.inversion`."""
        return samples * elements * self.levels * UNIT


@dataclass(frozen=True)
class DerandomizedSplitting:
    """Splitting noise whose L = 2 `lam` * `grid` copies are all evaluated: deterministic certificates in L1.

    The public offsets are drawn once, from `offsets`, an integer; they are part of the smoothed model's definition.
    For `smooth.classifiers.enumeration.Enumerated`. Raises UsageError unless 2 lam * grid is a positive integer.
    """

    lam: Fraction
    grid: int = 255
    offsets: int = 0
    kind = "splitting-derandomized"
    norm = "1"

    def __init__(self, lam: object, grid: int = 255, *, offsets: int = 0) -> None:
        _set(self, lam, grid)
        if isinstance(offsets, bool) or not isinstance(offsets, int) or not 0 <= offsets < 2**256:
            raise UsageError("offsets", offsets, "an integer from 0 to 2^256 - 1")
        object.__setattr__(self, "offsets", offsets)

    @property
    def step(self) -> Fraction:
        """1/q: sizes are counted in grid steps."""
        return Fraction(1, self.grid)

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the grid point nearest to `x`, in [0, 1]; off the grid a radius loses d/q."""
        point = _place(x, self.grid)
        return point if not point.on_grid else GridPoint(point.integers, point.shape, True, 0.0)

    def copies(self, point: GridPoint) -> int:
        """Return L."""
        return int(2 * self.lam * self.grid)

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the copies t = `first`, `first` + 1, ... into `out`, float32 (rows, *point.shape); no chance enters."""
        check(point, out, first)
        levels = self.copies(point)
        public = Stream(self.offsets.to_bytes(32, "little"), Purpose.CERTIFICATION)
        fixed = draw(evenly(levels), 1, point.integers.size, stream=public, first=0).astype(np.int64)
        t = np.arange(first, first + len(out), dtype=np.int64)[:, None]
        rows = out.reshape(len(out), -1)
        rows[:] = (fixed + t) % levels
        _split(rows, point, self.grid)

    def affected(self, point: GridPoint, size: int) -> int:
        """Return the most copies that a move by `size` grid steps in all can change: one a step."""
        return min(size, self.copies(point))


def _set(noise: object, lam: object, grid: int) -> None:
    exact = scale_of(lam, "lam")
    levels = 2 * exact * grid_of(grid)
    if levels.denominator != 1 or levels > MAX_VALUES:
        raise UsageError("lam", lam, f"2 lam * grid an integer from 1 to {MAX_VALUES} (the grid is {grid})")
    object.__setattr__(noise, "lam", exact)
    object.__setattr__(noise, "grid", grid)


def _place(x: npt.NDArray[np.float32], grid: int) -> GridPoint:
    point = place(x, grid, 0, "1")
    if point.integers.min() < 0 or point.integers.max() > grid:
        raise UsageError("x", (float(x.min()), float(x.max())), "elements from 0 to 1")
    return point


def _split(rows: npt.NDArray[np.float32], point: GridPoint, grid: int) -> None:
    """Turn the integers V into (min(s, 1) + [x > s])/2, s = (V + 1/2)/grid, each a function of V and [x > s] alone."""
    above = rows < point.integers.astype(np.float32)
    rows += np.float32(0.5)
    rows /= np.float32(grid)
    np.minimum(rows, np.float32(1), out=rows)
    rows += above
    rows *= np.float32(0.5)
