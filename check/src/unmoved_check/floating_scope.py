"""Multipliers of splits on many rows at once, in float64: how rows of a scope use that they need not hold beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_boxes import Boxes
from unmoved_check.floating_rounding import TINY, Array, U, float_down, float_up
from unmoved_check.leaf import Hidden, Split


@dataclass(frozen=True)
class Pulls:
    """Splits, and one multiplier >= 0 of each for every row, (rows, splits)."""

    splits: Sequence[Split]
    multipliers: Array

    @classmethod
    def of(cls, splits: Sequence[Split], rows: Hidden) -> Pulls:
        """Return the multipliers that hidden rows have of splits."""
        given = rows.multipliers if splits else [()] * len(rows.elements)
        return cls(splits, np.array(given, dtype=np.float64).reshape(len(rows.elements), len(splits)))

    def add(self, coefs: dict[int, Array], rows: NDArray[np.intp], boxes: Boxes) -> Array:
        """Take multiplier times what each split says off rows, (m, n_v) by value; return what the constants gain.

        Weak duality: on z >= p, row >= row - m (z - p); on z <= p, row >= row + m (z - p). The coefficient fl(a - m)
        is a less some m' >= 0, because rounding is monotone, with |m' - m| <= u |fl(a - m)|, and m' p, rounded down,
        is what the constant gains (`floating._multiplied`).
        """
        gain = np.zeros(len(self.multipliers[rows]))
        for k, split in enumerate(self.splits):
            if split.value not in coefs:
                coefs[split.value] = np.zeros((gain.size, boxes[split.value].low.shape[-1]))
            signed = self.multipliers[rows, k] if split.positive else -self.multipliers[rows, k]
            column = coefs[split.value][:, split.index]
            column -= signed
            if split.point:
                low, high = float_down(split.point), float_up(split.point)
                least = np.minimum(np.nextafter(signed * low, -inf), np.nextafter(signed * high, -inf))
                loss = 2.0 * U * np.abs(column) * max(abs(low), abs(high)) + TINY
                gain = np.nextafter(gain + np.nextafter(least - loss, -inf), -inf)
        return gain
