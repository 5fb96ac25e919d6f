"""A square patch at any one place of an image, whose content is free."""

from __future__ import annotations

import numpy as np

from unmoved.core.errors import UsageError
from unmoved.core.rounding import Floats
from unmoved.threats.changes import Changed, Changes


class Patch(Changes):
    """All differing elements lie within one square of `number` x `number` places of the last two axes, all channels.

    The square lies within the image and does not wrap around. Inputs are images: (..., H, W), three axes or more (the
    first may be a batch of one). UsageError for others.
    """

    word = "patch"
    norm = "patch"

    def allows(self, changed: Changed) -> bool:
        """Say whether one square holds them all."""
        _require(changed.shape)
        places = np.asarray(changed.reshape(-1, *changed.shape[-2:]).any(axis=0))
        return all(_extent(np.asarray(places.any(axis=axis))) <= self.number for axis in (0, 1))

    def choose(self, move: Floats) -> Changed:
        """Return the square with the largest sum of moves."""
        _require(move.shape)
        height, width = move.shape[-2:]
        rows, columns = min(self.number, height), min(self.number, width)
        chosen = np.zeros(move.shape, np.bool_)
        if not self.number:
            return chosen
        capped = np.minimum(move, 1e30).reshape(-1, height, width).sum(axis=0)
        sums = np.lib.stride_tricks.sliding_window_view(capped, (rows, columns)).sum(axis=(2, 3))
        top, left = np.unravel_index(int(sums.argmax()), sums.shape)
        chosen[..., top : top + rows, left : left + columns] = True
        return chosen


def _extent(line: Changed) -> int:
    """Return how long the shortest run is that holds all true places of a line."""
    found = np.flatnonzero(line)
    return 0 if not found.size else int(found[-1] - found[0]) + 1


def _require(shape: tuple[int, ...]) -> None:
    if len(shape) < 3:
        raise UsageError("x", shape, "an image (..., H, W) with three axes or more: a patch is a part of one")
