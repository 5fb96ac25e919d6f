"""Boxes around a region and around its parts, every end rounded outward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_boxes import Box
from unmoved_check.floating_rounding import down, float_down, float_up, up
from unmoved_check.region import Part, Region


def input_hull(region: Region) -> Box | None:
    """A box around the region, every end rounded outward; None when the region is empty."""
    if region.ball is not None:
        center, eps = np.array(region.ball.center), float_up(region.ball.eps)
        low, high = down(center - eps), up(center + eps)
    else:
        if region.box is None:
            raise ValueError("a region without a ball or a box")
        low, high = np.array(region.box[0]), np.array(region.box[1])
    if region.clip is not None:
        low = np.maximum(low, float_down(region.clip[0]))
        high = np.minimum(high, float_up(region.clip[1]))
    for limit in region.cuts:
        if limit.below:
            high[limit.index] = min(high[limit.index], float_up(limit.point))
        else:
            low[limit.index] = max(low[limit.index], float_down(limit.point))
    return None if bool((low > high).any()) else Box(low, high)


def part_hulls(hull: Box, parts: Sequence[Part | None]) -> tuple[Box, NDArray[np.bool_]]:
    """Boxes around parts of a region, a row each, and which parts are empty: their rows are the whole region's."""
    low, high = (np.tile(end, (len(parts), 1)) for end in (hull.low, hull.high))
    # parts have outer parts in common: every point is rounded once
    rounded: dict[Part, float] = {}
    for r, part in enumerate(parts):
        around = part
        while around is not None:
            cut_ = around.limit
            if around not in rounded:
                rounded[around] = float_up(cut_.point) if cut_.below else float_down(cut_.point)
            if cut_.below:
                high[r, cut_.index] = min(high[r, cut_.index], rounded[around])
            else:
                low[r, cut_.index] = max(low[r, cut_.index], rounded[around])
            around = around.outer
    empty = np.asarray((low > high).any(axis=1))
    low[empty], high[empty] = hull.low, hull.high
    return Box(low, high), empty


def wider(parts: Sequence[Part | None], most: int) -> list[Part | None]:
    """For every part the widest around it that holds at most `most` of the parts, or itself."""
    chains, inside = [], Counter[Part]()
    for part in parts:
        chain: list[Part] = []
        while part is not None:
            chain.append(part)
            part = part.outer
        chains.append(chain)
        inside.update(chain)
    found: list[Part | None] = []
    for chain in chains:
        around = [part for part in chain if inside[part] <= most]
        found.append(around[-1] if around else chain[0] if chain else None)
    return found
