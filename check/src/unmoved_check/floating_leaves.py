"""What a leaf adds to its part of the region, in float64: cuts, multipliers, slopes, lines and planes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nextafter

import numpy as np

from unmoved_check.floating_bounds import default_slopes
from unmoved_check.floating_boxes import Box, Boxes
from unmoved_check.floating_rounding import TINY, Array, U, float_down, float_up
from unmoved_check.floating_walk import Overrides, Shared, Walk, table
from unmoved_check.leaf import Leaf, Split


def cut(low: Array, high: Array, split: Split) -> None:
    """Cut the bounds (n,) of one row by z_i >= p or z_i <= p, p rounded outward."""
    if split.positive:
        low[split.index] = max(low[split.index], float_down(split.point))
    else:
        high[split.index] = min(high[split.index], float_up(split.point))


def multiplied(row: Array, split: Split) -> float:
    """Add what a split's multiplier makes of a row, and return a lower bound of the constant that comes with it.

    Weak duality: on z >= p, row >= row - m (z - p). The coefficient fl(a - m) is a less some m' >= 0, because rounding
    is monotone, with |m' - m| <= u |fl(a - m)|: m' p is what the constant gains.
    """
    signed = split.multiplier if split.positive else -split.multiplier
    row[split.index] -= signed
    if not split.point:
        return 0.0
    low, high = float_down(split.point), float_up(split.point)
    gain = min(nextafter(signed * low, -inf), nextafter(signed * high, -inf))
    loss = 2.0 * U * abs(float(row[split.index])) * max(abs(low), abs(high)) + TINY
    return nextafter(gain - loss, -inf)


def cut_boxes(walk: Walk, cuts: Overrides, origin: Sequence[int]) -> Boxes:
    """The boxes with one row a leaf where the sources of a step are cut."""
    found = list(walk.shared.boxes)
    for v in origin:
        found[v] = Box(*(cuts[v] if v in cuts else walk.ends(v)))
    return found


def chosen_slopes(walk: Walk, leaves: Sequence[Leaf]) -> dict[int, Array]:
    """The lower lines' slopes of leaves that choose them, (leaves, n); the others' default."""
    found: dict[int, Array] = {}
    for value in sorted({v for leaf in leaves for v in leaf.slopes}):
        low, high = walk.cuts.get(value, walk.ends(value))
        found[value] = np.array(np.broadcast_to(default_slopes(low, high), (len(leaves), low.shape[1])))
        own = [r for r, leaf in enumerate(leaves) if value in leaf.slopes]
        given = np.frombuffer(b"".join(leaves[r].slopes[value] for r in own), dtype=np.uint8)
        found[value][own] = given.reshape(len(own), -1) / 255.0
    return found


def chosen_tables(shared: Shared, leaves: Sequence[Leaf]) -> dict[int, Array]:
    """Choices of a leaf's own, (leaves, 2, n); those of all leaves, or NaN, where there are none."""
    found: dict[int, Array] = {}
    for r, leaf in enumerate(leaves):
        for value, numbers in leaf.given.items():
            if value not in found:
                common = table(shared.given.get(value))
                one = np.full((1, 2, len(numbers) // 2), np.nan) if common is None else common
                found[value] = np.repeat(one, len(leaves), axis=0)
            found[value][r] = np.array(numbers, dtype=np.float64).reshape(2, -1)
    return found
