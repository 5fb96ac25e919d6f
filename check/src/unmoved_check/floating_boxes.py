"""Bounds of one value over a batch of regions, in float64, and tables of what rows about them need."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_rounding import TINY, Array, U


@dataclass
class Box:
    """low <= v <= high for every element of one value, float64 of shape (n,), or (regions, n) for regions of a batch.

    `size` >= |v|; `most`, of shape (n,), is the greatest of all regions, and `floor` at least TINY (1 + its sum).
    """

    low: Array
    high: Array
    size: Array = field(init=False)

    def __post_init__(self) -> None:
        self.size = np.maximum(np.abs(self.low), np.abs(self.high))

    @cached_property
    def most(self) -> Array:
        """The greatest sizes, (n,)."""
        return greatest(self.size)

    @cached_property
    def floor(self) -> float:
        """What underflow may cost a row, in any region."""
        return TINY * (2.0 + 2.0 * float(self.most.sum()))

    def ball(self) -> tuple[Array, Array]:
        """A centre and a radius with |v - centre| <= radius: (high - centre)(1 + u) etc., any centre."""
        centre = (self.low + self.high) * 0.5
        radius = np.maximum(self.high - centre, centre - self.low)
        return centre, radius * (1.0 + 4.0 * U)


def greatest(numbers: Array) -> Array:
    """The greatest of all regions: of shape (n,) from (n,) or (regions, n)."""
    return numbers if numbers.ndim == 1 else np.asarray(numbers.max(axis=0))


Boxes = list[Box]
Parts = list[tuple[int, Array]]
Owner = NDArray[np.intp] | None
"""For every row of a batch the region that it is about; None when there is one region only."""

Elements = NDArray[np.intp]
"""Flat places of a value."""

T = TypeVar("T", bound=np.generic)


def taken(table: NDArray[T], owner: Owner) -> NDArray[T]:
    """For every row what a table (regions, n) says of its region; a table of one row is left as it is."""
    return table if owner is None or len(table) == 1 else np.take(table, owner, axis=0)


def scattered(rows: Array, places: Elements | None, size: int) -> Array:
    """Rows (m, k) as (m, size): their columns at `places` (None: they are all there), zeros elsewhere."""
    if places is None:
        return rows
    found = np.zeros((len(rows), size))
    found[:, places] = rows
    return found
