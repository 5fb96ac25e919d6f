"""Which unit to split: the widest gap at the relaxation's own optimum, then a look at both children.

At the dual optimum x* the relaxation errs at unit i by |coefficient| times the distance of its line from the ReLU; a
split closes that gap. The best few, and the best few by the distance at the kink (the BaBSR score of Bunel et al.
2020), are tried: bounds of both children with the parent's choices (filtered smart branching, De Palma et al. 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from unmoved.refine.dual import Bound, Choices, Face, Goals, bound
from unmoved.refine.reduced import Reduced

LOOKED = 4096
"""Rows of children that are bounded together."""


def gaps(reduced: Reduced, goals: Goals, choices: Choices, found: Bound) -> tuple[Tensor, Tensor]:
    """Return the gap at x* and the one at the kink of every unit, (R, units); -1 where a unit cannot be split."""
    assert found.units is not None
    low, high = reduced.bounds.low, reduced.bounds.high
    z = torch.minimum(torch.maximum(found.units, low), high)
    width = (high - low).clamp(min=1e-30)
    above = high * (z - low) / width - z.clamp(min=0)
    below = z.clamp(min=0) - choices.slopes * z
    weight = found.outer.abs()
    at_point = weight * torch.where(found.outer < 0, above, below)
    at_kink = weight * torch.where(found.outer < 0, high * -low / width, torch.minimum(high, -low))
    splittable = reduced.free & (goals.signs == 0)
    return torch.where(splittable, at_point, -1.0), torch.where(splittable, at_kink, -1.0)


def choose(reduced: Reduced, goals: Goals, choices: Choices, found: Bound, *, candidates: int) -> Tensor:
    """Return the unit to split for every row, (R,) int64; -1 where none can be."""
    at_point, at_kink = gaps(reduced, goals, choices, found)
    count = min(candidates, at_point.shape[1])
    if count == 0:
        return torch.full((len(goals),), -1, device=found.low.device)
    places = torch.cat([at_point.topk(count, 1).indices, at_kink.topk(count, 1).indices], 1)
    places = places.sort(1).values
    again = torch.zeros_like(places, dtype=torch.bool)
    again[:, 1:] = places[:, 1:] == places[:, :-1]
    valid = (at_point.gather(1, places) >= 0) & ~again
    rows, which = valid.nonzero(as_tuple=True)
    units = places[rows, which]
    gains = torch.cat([_look(reduced, goals, choices, r, u) for r, u in _parts(rows, units)] or [found.low[:0]])
    value = torch.full(places.shape, -torch.inf, dtype=found.low.dtype, device=found.low.device)
    value[rows, which] = gains
    best = value.argmax(1, keepdim=True)
    chosen = places.gather(1, best)[:, 0]
    return torch.where(valid.any(1), chosen, -1)


def _parts(rows: Tensor, units: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(torch.split(rows, LOOKED // 2), torch.split(units, LOOKED // 2), strict=True))


def _look(reduced: Reduced, goals: Goals, choices: Choices, rows: Tensor, units: Tensor) -> Tensor:
    """Return how good splits are, (len(rows),): the worse child's bound, and a little of the better one's."""
    lows = []
    for sign in (1.0, -1.0):
        cut = goals.take(rows).split(units, torch.full_like(goals.signs[rows, 0], sign))
        lows.append(bound(reduced, cut, choices.take(rows), Face.of(reduced, cut.signs), gradient=False).low)
    # What is proved anyway counts for nothing more.
    one, other = (low.clamp(max=0) for low in lows)
    return torch.minimum(one, other) + 0.2 * torch.maximum(one, other)
