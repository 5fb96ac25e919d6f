"""Draws of any discrete law by inversion of 64-bit thresholds, with the Philox streams of `smooth.draws.philox`.

A law on the integers 0, 1, ..., n - 1 is a list of limits T_i = ceil(2^64 P(index <= i)), the last being 2^64; the draw
is min{i : u < T_i}, u of 64 fair bits. Every T_i / 2^64 exceeds P(index <= i) by less than 2^-64. So each of the n
probabilities is wrong by less than 2^-64, and the total variation is below n 2^-65: `n * UNIT` covers it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import rational
from unmoved.smooth.draws.grid import GridPoint, Thresholds
from unmoved.smooth.draws.grid import place as place_l2
from unmoved.smooth.draws.philox import AMBIGUOUS, fill, guide_of
from unmoved.smooth.draws.seeds import Stream

UNIT = Fraction(1, 2**64)
"""The weight of one value of u."""

MAX_VALUES = 2**22
"""Longest table of thresholds; every index is exact in float32."""

_KEYS = 2**14


def scale_of(value: object, argument: str) -> Fraction:
    """Return the positive rational that `value` denotes; raises UsageError, naming `argument`, for anything else."""
    exact = rational(value, argument)
    if exact <= 0:
        raise UsageError(argument, value, "a number > 0")
    return exact


def grid_of(value: object) -> int:
    """Return `value` if it is an integer from 1 to 2^24; raises UsageError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**24:
        raise UsageError("grid", value, "an integer from 1 to 2^24")
    return value


def share_of(value: object, argument: str) -> Fraction:
    """Return the rational in [0, 1] that `value` denotes; raises UsageError, naming `argument`, for anything else."""
    exact = rational(value, argument)
    if not 0 <= exact <= 1:
        raise UsageError(argument, value, "a number from 0 to 1")
    return exact


def ceil_share(share: Fraction) -> int:
    """Return ceil(2^64 share)."""
    return -((-share.numerator << 64) // share.denominator)


def tables(limits: Sequence[int]) -> Thresholds:
    """Return the look-up tables of a law given by its limits, 1 <= T_0 <= T_1 <= ... = 2^64.

    `fill` subtracts `reach` = (n - 1) // 2 from the index; for n = 2 K + 1 values that is the law on -K ... K.
    """
    if not 1 <= len(limits) <= MAX_VALUES or limits[0] < 1 or limits[-1] != 2**64:
        raise UsageError("limits", f"{len(limits)} of them", f"1 to {MAX_VALUES}, from >= 1 up to 2^64")
    last = np.array([limit - 1 for limit in limits], dtype=np.uint64)
    reach = (len(limits) - 1) // 2
    starts = np.arange(2**16, dtype=np.uint64) << np.uint64(48)
    first = np.searchsorted(last, starts, side="left")
    final = np.searchsorted(last, starts | np.uint64(2**48 - 1), side="left")
    guide = np.where(first == final, first - reach, AMBIGUOUS)
    return Thresholds(reach, last, guide_of(guide), first.astype(np.int32))


@lru_cache(maxsize=16)
def evenly(values: int) -> Thresholds:
    """Return the law with equal probabilities on 0 ... `values` - 1."""
    return tables([-((-(i + 1) << 64) // values) for i in range(values)])


def write(
    law: Thresholds,
    point: GridPoint,
    out: npt.NDArray[np.float32],
    *,
    grid: int,
    stream: Stream,
    first: int,
) -> None:
    """Write (m + index - reach) / `grid` into `out`, float32 (rows, *point.shape), copies from `first` on."""
    check(point, out, first)
    rows = out.reshape(out.shape[0], point.integers.size)
    number, word = np.uint64(first), np.uint64(stream.purpose)
    fill(rows, point.integers, law.guide, law.first, law.last, np.float32(grid), stream.key, word, number)


def draw(law: Thresholds, rows: int, elements: int, *, stream: Stream, first: int) -> npt.NDArray[np.float32]:
    """Return indices 0 ... n - 1 as float32 (rows, elements), exact integers; row s is of copy `first` + s alone."""
    out = np.empty((rows, elements), np.float32)
    draw_into(out, law, stream=stream, first=first)
    return out


def draw_into(out: npt.NDArray[np.float32], law: Thresholds, *, stream: Stream, first: int) -> None:
    """Write what `draw` returns into `out`, contiguous float32 (rows, elements)."""
    base = np.full(out.shape[1], law.reach, np.int32)
    number, word = np.uint64(first), np.uint64(stream.purpose)
    fill(out, base, law.guide, law.first, law.last, np.float32(1), stream.key, word, number)


def blocks(rows: int, elements: int, size: int = 2**15) -> Iterator[slice]:
    """Yield slices of the rows with about `size` elements each: what stays within a cache is several times faster."""
    step = max(1, size // elements)
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def subsets(rows: int, elements: int, keep: int, *, stream: Stream, first: int) -> npt.NDArray[np.bool_]:
    """Return masks (rows, elements) with `keep` true places each, all subsets alike up to elements^2 2^-65.

    Kept are the elements with the smallest of `elements` independent 64-bit keys, element e's being the pieces 4 e ...
    4 e + 3 of the copy, least significant first. Without a tie every subset has the same probability; two of the keys
    are equal with probability below elements^2 2^-65; then the element that comes first wins.
    """
    masks = np.empty((rows, elements), np.bool_)
    for part in blocks(rows, elements, _KEYS):
        pieces = draw(evenly(2**16), part.stop - part.start, 4 * elements, stream=stream, first=first + part.start)
        keys = pieces.astype("<u2").view("<u8").astype(np.uint64, copy=False)
        largest = np.partition(keys, keep - 1, axis=1)[:, keep - 1 : keep]
        kept = keys <= largest
        for row in np.flatnonzero(kept.sum(axis=1) != keep):
            kept[row] = False
            kept[row, np.argsort(keys[row], kind="stable")[:keep]] = True
        masks[part] = kept
    return masks


def check(point: GridPoint, out: npt.NDArray[np.float32], first: int) -> None:
    """Raise UsageError unless `out` is contiguous float32 (rows, *point.shape) and `first` an integer >= 0."""
    if out.dtype != np.float32 or out.shape[1:] != point.shape or not out.flags.c_contiguous:
        raise UsageError("out", f"{out.dtype} {out.shape}", f"contiguous float32 (rows, *{point.shape})")
    if not 0 <= first <= 2**63:
        raise UsageError("first", first, "an integer >= 0")


def place(x: npt.NDArray[np.float32], grid: int, reach: int, norm: str) -> GridPoint:
    """Return the grid point nearest to `x` and what a radius in `norm` ("1", "2", "inf", "0") loses by the move.

    As `smooth.draws.grid.place`, whose sqrt(d)/q off the grid becomes d/q in L1, 1/q in L_inf, and nothing in L0
    (elements that are equal stay equal when both are rounded).
    """
    point = place_l2(x, grid, reach)
    if norm == "2":
        return point
    if norm == "0":
        return GridPoint(point.integers, point.shape, point.on_grid, 0.0)
    gap = np.abs(x.astype(np.float64).ravel() * grid - point.integers)
    if norm == "1":
        lost = float(gap.sum()) if point.on_grid else float(x.size)
    else:
        lost = float(gap.max()) if point.on_grid else 1.0
    # (d + 8) 2^-52 exceeds the relative rounding errors of the sum and the quotient
    return GridPoint(point.integers, point.shape, point.on_grid, lost / grid * (1 + (x.size + 8) * 2.0**-52))


def place_bits(x: npt.NDArray[np.float32], shape: tuple[int, ...]) -> GridPoint:
    """Return the point whose integers are the bits of `x` itself (0.0 for -0.0): no grid, and nothing is lost.

    For noises that hide elements and never change one: what f sees are the float32 numbers of x. `shape`: the copies'.
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.size == 0:
        shown = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise UsageError("x", shown, "a non-empty float32 array (the shape of one input)")
    if not np.isfinite(x).all():
        raise UsageError("x", "NaN or infinity", "finite numbers")
    bits = (x + np.float32(0)).ravel().view(np.int32)
    return GridPoint(bits, shape, True, 0.0)
