"""The grid Z/q: the exact law of the noise on it, and where an input lies on it.

Law: E is an integer with P(E <= k) = Phi((k + 1/2) / (q sigma)), Phi the normal distribution function. The sampler uses
T_k = ceil(2^64 P(E <= k)) for -K <= k <= K, K = ceil(10 sigma q). Each T_k / 2^64 exceeds P(E <= k) by less than 2^-64
and T_K = 2^64, so the sampled law is within (2 K + 2) 2^-64 of the exact one in total variation: half of the sum of 2
K + 1 differences of two such errors, plus both tails beyond K, Phi(-10) < 2^-76 each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.smooth.draws.philox import AMBIGUOUS, guide_of

PRECISION = 200
"""Bits of the arithmetic behind the thresholds: 2^64 P then has more than 130 correct bits after the point."""

MAX_WIDTH = 20_000
"""Largest sigma * q: the table of thresholds stays below 4e5 entries (some ten seconds of mpmath, once)."""

EXACT_INTEGERS = 2**24
"""float32 holds every integer up to this size exactly."""


@dataclass(frozen=True, eq=False)
class Thresholds:
    """The law as tables: `last` uint64 (2 K + 1,) is T_k - 1 for k = -K..K; `guide`, `first` (65536,) for leading bits.

    For a number u whose leading 16 bits are t: `guide[t]` is E, or the least number of the table's type when t leaves
    it open; `first[t]` is the least index m with last[m] >= 2^48 t, where the search for E = m - K starts.
    """

    reach: int
    last: npt.NDArray[np.uint64]
    guide: npt.NDArray[np.int16] | npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class GridPoint:
    """The grid point that stands for an input, exactly: `integers` / q, int32, flat.

    `shape` is the input's. `on_grid`: the input is the grid point, up to the rounding of float32. `distance`, rounded
    up, is what every radius around the grid point loses when it is stated around the input.
    """

    integers: npt.NDArray[np.int32]
    shape: tuple[int, ...]
    on_grid: bool
    distance: float


def reach(sigma: Fraction, q: int) -> int:
    """Return K = ceil(10 sigma q), exactly."""
    return math.ceil(10 * sigma * q)


@lru_cache(maxsize=8)
def thresholds(sigma: Fraction, q: int) -> Thresholds:
    """Return the tables for noise of standard deviation `sigma` on the grid Z/q; the last eight are kept."""
    if not 0 < sigma * q <= MAX_WIDTH:
        raise UsageError("sigma", str(sigma), f"0 < sigma * grid <= {MAX_WIDTH} (the grid is {q})")
    top = reach(sigma, q)
    context = mpmath.MPContext()
    context.prec = PRECISION
    # By symmetry P(E <= -k-1) = 1 - P(E <= k) = tail(k); 2^64 tail(k) is no integer, so ceil(y) - 1 = floor(y).
    tails = [_tail(context, k, sigma * q) for k in range(top + 1)]
    below = [tails[k] for k in range(top - 1, -1, -1)]
    above = [2**64 - 1 - tail for tail in tails]
    last = np.array(below + above, dtype=np.uint64)
    starts = np.arange(2**16, dtype=np.uint64) << np.uint64(48)
    first = np.searchsorted(last, starts, side="left")
    final = np.searchsorted(last, starts | np.uint64(2**48 - 1), side="left")
    guide = np.where(first == final, first - top, AMBIGUOUS)
    return Thresholds(top, last, guide_of(guide), first.astype(np.int32))


def _tail(context: Any, k: int, width: Fraction) -> int:
    """Return floor(2^64 (1 - Phi((k + 1/2) / width))); refuses to guess when too close to an integer to tell."""
    point = Fraction(2 * k + 1, 2) / width
    argument = context.mpf(point.numerator) / context.mpf(point.denominator)
    value = context.ldexp(context.erfc(argument / context.sqrt(2)), 63)
    whole = context.floor(value)
    slack = context.ldexp(1, -96)
    # 0 < value < 1 has floor 0 however small it is; elsewhere both neighbouring integers must be out of reach.
    if value - whole > 1 - slack or (whole > 0 and value - whole < slack):
        raise ArithmeticError(f"threshold {k} at width {width} needs more than {PRECISION} bits")
    return int(whole)


def place(x: npt.NDArray[np.float32], q: int, reach: int) -> GridPoint:
    """Return the grid point nearest to `x` (float32, any shape) and what a radius loses by the move.

    On the grid means |x_i - m_i / q| <= 2^-24 |x_i| for all i, m_i = round(q x_i) (float32 holds k/255 only to
    rounding): then the exact distance sqrt(sum (x_i - m_i/q)^2) is lost. Else sqrt(d)/q: the certified function is
    g o round_q, and both x and the moved input may be sqrt(d)/(2 q) from their grid points.
    In float64 the products q x_i (24 + at most 26 bits), the differences and the comparison are exact.
    Raises UsageError unless x is a non-empty float32 array of finite numbers with |m_i| + `reach` <= 2^24.
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.size == 0:
        shown = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise UsageError("x", shown, "a non-empty float32 array (the shape of one input)")
    if not np.isfinite(x).all():
        raise UsageError("x", "NaN or infinity", "finite numbers")
    scaled = x.astype(np.float64).ravel() * q
    nearest = np.rint(scaled)
    if np.abs(nearest).max() + reach > EXACT_INTEGERS:
        expected = f"|grid * x| + 10 * sigma * grid <= 2^24 (the grid is {q}): a coarser grid"
        raise UsageError("x", float(np.abs(x).max()), expected)
    gap = np.abs(scaled - nearest)
    on_grid = bool((gap <= np.abs(scaled) * 2.0**-24).all())
    squared = float(np.square(gap).sum()) if on_grid else float(x.size)
    # (d + 8) 2^-52 exceeds the relative rounding errors of d squares, their sum, the root and the quotient.
    distance = math.sqrt(squared) / q * (1 + (x.size + 8) * 2.0**-52)
    return GridPoint(nearest.astype(np.int32), x.shape, on_grid, distance)
