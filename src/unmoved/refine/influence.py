"""Which unit to split where hidden bounds are found anew in both children: what decides most of what lies behind.

A unit errs by up to h = high * -low / (high - low), and its error reaches the rows in question in two ways: by its
coefficient, and through the width of the units behind it, whose errors it enlarges. The best few by each of some
scores are tried: both children, their hidden units bounded by the part's own rows, cut.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unmoved.core.budget import Budget
from unmoved.refine.ascent import Ascent
from unmoved.refine.dual import Bound, Choices, Face, Goals, bound
from unmoved.refine.reduced import Reduced
from unmoved.refine.scope import Scope, narrowed
from unmoved.refine.score import gaps

LOOK = Ascent(steps=0)


def shares(reduced: Reduced, found: Bound) -> Tensor:
    """Return the influence of every unit (units,), 0 where it is decided: its share in the width of all behind it."""
    error, width = _errors(reduced)
    between = reduced.functions.units.abs()
    reach = found.outer.abs().sum(0) * error
    for group in reversed(reduced.groups):
        span = slice(group.start, group.stop)
        reach[: group.start] += error[: group.start] * ((reach / width)[span] @ between[span, : group.start])
    return reach


def paths(reduced: Reduced, goals: Goals) -> Tensor:
    """Return error times the absolute coefficients of all paths to the rows, by the upper slopes on the way."""
    error, _ = _errors(reduced)
    between, slopes = reduced.functions.units.abs(), reduced.lines.upper
    reach = goals.functions.units[goals.which].abs().sum((0, 1))
    for group in reversed(reduced.groups):
        span = slice(group.start, group.stop)
        reach[: group.start] += (reach[span] * slopes[span]) @ between[span, : group.start]
    return error * reach


def _errors(reduced: Reduced) -> tuple[Tensor, Tensor]:
    low, high = reduced.bounds.low, reduced.bounds.high
    width = (high - low).clamp(min=1e-30)
    return torch.where(reduced.free, high * -low / width, 0.0), width


def chosen(scope: Scope, goals: Goals, choices: Choices, found: Bound, budget: Budget) -> int:
    """Return the unit to split for the open rows of one part, whose bounds are `found`; -1 where none is left."""
    reduced = scope.reduced
    left = int(reduced.free.sum())
    if not left:
        return -1
    at_point, at_kink = (gap.clamp(min=0).sum(0) for gap in gaps(reduced, goals, choices, found))
    scores = ((paths(reduced, goals), 2), (shares(reduced, found), 2), (at_point, 1), (at_kink, 1))
    best = [torch.where(reduced.free, score, -1.0).topk(min(n, left)).indices for score, n in scores]
    units = sorted(set(torch.cat(best).tolist()))
    values = [_look(scope, goals, choices, unit, budget) for unit in units]
    return int(units[max(range(len(values)), key=values.__getitem__)])


def _look(scope: Scope, goals: Goals, choices: Choices, unit: int, budget: Budget) -> float:
    """Return how good a split is: the worse child's bounds, summed over the rows, and a little of the better one's."""
    ends = []
    for sign in (1, -1):
        there = scope.path.then(unit, sign)
        inside = narrowed(scope, there, LOOK, budget)
        if inside.empty:
            ends.append(0.0)
            continue
        cut = Goals(goals.functions, goals.real, goals.which, there.dense(goals.signs[0]).expand_as(goals.signs))
        low = bound(inside.reduced, cut, choices, Face.of(inside.reduced, cut.signs), gradient=False).low
        # What is proved anyway counts for nothing more.
        ends.append(float(low.clamp(max=0).sum()))
    return min(ends) + 0.2 * max(ends)
