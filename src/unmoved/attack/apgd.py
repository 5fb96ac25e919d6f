"""Auto-PGD (Croce & Hein 2020; for L1 Croce & Hein 2021): descent whose step size follows from what it achieves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from unmoved.attack.ball import Ball
from unmoved.attack.gradient import Aim, PropertyAim
from unmoved.attack.losses import LOSSES
from unmoved.attack.search import Goal, Search
from unmoved.core.budget import Budget
from unmoved.core.errors import UsageError

MOMENTUM = 0.25
ENOUGH = 0.75
"""Share of steps since the last look that must have lowered the loss (rho)."""
WIDE = 3.0
"""L1: how much larger the balls of the first steps are."""
SPARSE_LOOK, SPARSE_FALL, SPARSE_LEAST = 0.04, 1.5, 0.1
"""L1: looks every 4 % of the steps; fewer elements and smaller steps by 1.5 at a time; a tenth of eps at least."""


@dataclass(frozen=True)
class Apgd(Search):
    """`restarts` runs on a loss ("ce", "dlr" or "margin"), then `targets` runs at one way to break the property each.

    The best points of all runs are kept by their margins. `together` makes the restarts one batch: for few inputs, that
    is several starts for little more than the time of one. Looks at the step size are where the paper puts them: 22 %
    of the steps, then after intervals that shrink by 3 to no less than 6 %.
    """

    loss: str = "ce"
    steps: int = 100
    restarts: int = 1
    targets: int = 0
    slack: float = 1e-4
    together: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.loss not in LOSSES:
            raise UsageError("loss", self.loss, "one of " + ", ".join(LOSSES))
        counts = (self.steps, self.restarts, self.targets)
        if self.steps < 1 or min(counts) < 0 or self.restarts + self.targets < 1 or not self.slack >= 0:
            raise UsageError("steps, restarts, targets", counts, "steps >= 1, and one restart or target")

    def find(self, goal: Goal, ball: Ball, names: Sequence[bytes], budget: Budget) -> Tensor:
        """Return the points with the least margins over all runs."""
        aim = PropertyAim(goal, LOSSES[self.loss], self.restarts)
        found = _Best(ball.nearest(ball.center), torch.full((len(names),), torch.inf, device=ball.center.device))
        once = max(1, self.restarts if self.together else 1)
        first = [tuple(range(self.restarts))[k : k + once] for k in range(0, self.restarts, once)]
        targeted = [(self.restarts + target,) for target in range(min(self.targets, goal.targets))]
        for runs in (*first, *targeted):
            rows = torch.nonzero(found.margins > -self.slack).flatten()
            if budget.spent or not len(rows):
                break
            here = ball[rows]
            points = torch.cat([here.start([names[i] for i in rows.tolist()], run) for run in runs])
            rows = rows.repeat(len(runs))
            for factor, steps in _phases(ball.norm, self.steps):
                walk = _Walk.at(rows, ball[rows].scaled(factor), points)
                points = self._descend(walk, aim, runs[0], steps, found if factor == 1 else None, budget)
                rows = walk.rows
        return found.points

    def _descend(self, walk: _Walk, aim: Aim, run: int, steps: int, found: _Best | None, budget: Budget) -> Tensor:
        """Take the steps of one phase; return its best points. `found` None: the sets are larger than S(x)."""
        rule = _Sparse(steps) if walk.ball.norm == "1" else _Halving(steps)
        for k in range(steps + 1):
            points = walk.points.detach().requires_grad_(True)
            loss, margin = aim(points, walk.rows, run)
            (gradient,) = torch.autograd.grad(loss.sum(), points)
            walk.see(k, loss.detach(), gradient)
            if found is not None:
                found.take(walk.rows, walk.points, torch.nan_to_num(margin.detach(), nan=-torch.inf))
                standing = found.margins[walk.rows] > -self.slack
                if not bool(standing.all()):
                    walk.keep(standing)
            if k == steps or budget.spent or not len(walk.rows):
                break
            rule.adapt(k, walk)
            rule.step(k, walk)
        return walk.best


def _phases(norm: str | None, steps: int) -> tuple[tuple[float, int], ...]:
    """Return (factor of eps, steps) in order: L1 begins in larger balls, for 30 and 30 % of the steps."""
    early = math.ceil(0.3 * steps)
    if norm != "1" or steps - 2 * early < 1:
        return ((1.0, steps),)
    return ((WIDE, early), (2.0, early), (1.0, steps - 2 * early))


@dataclass
class _Best:
    """The best points of all runs (n, *shape) and their margins (n,)."""

    points: Tensor
    margins: Tensor

    def take(self, rows: Tensor, points: Tensor, margins: Tensor) -> None:
        """Keep what is better than what there is; an input may stand in several rows."""
        margins = margins.to(self.margins.dtype)
        lowest = self.margins.scatter_reduce(0, rows, margins, "amin")
        better = (margins < self.margins[rows]) & (margins == lowest[rows])
        self.points[rows[better]] = points[better]
        self.margins = lowest


@dataclass
class _Walk:
    """Where one run stands, a row an input that still stands: points, the last step, and the best so far by its loss.

    `rate` is the step size in eps; `gains` counts the steps since the last look that lowered the loss; `mark` and
    `halved` are the best loss at the last look and whether the rate fell there; `count` the elements that an L1 step
    moves, and `spread` those that the best point had moved at the last look.
    """

    rows: Tensor
    ball: Ball
    points: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    rate: Tensor
    gains: Tensor
    mark: Tensor
    halved: Tensor
    count: Tensor
    spread: Tensor

    @staticmethod
    def at(rows: Tensor, ball: Ball, points: Tensor) -> _Walk:
        points = ball.nearest(points)
        none = torch.full((len(rows),), torch.inf, device=points.device)
        zero, size = torch.zeros_like(none), points[0].numel()
        flags = torch.ones_like(rows, dtype=torch.bool)
        moved = (points != ball.center).flatten(1).sum(1).to(none.dtype)
        # a start that moved few elements says how many are enough; from the centre a fifth, as in the paper
        count = torch.where((moved > 0) & (moved < size), moved / SPARSE_FALL, torch.full_like(none, 0.2 * size))
        return _Walk(
            rows, ball, points, points, zero, none, points, zero, none, zero, zero, none, flags, count, zero + size
        )

    def see(self, k: int, loss: Tensor, gradient: Tensor) -> None:
        """Take note of loss and gradient at the points."""
        self.gains = self.gains + (loss < self.loss) * (k > 0)
        better = ~(loss >= self.best_loss)
        self.best = _where(better, self.points, self.best)
        self.best_gradient = gradient if k == 0 else _where(better, gradient, self.best_gradient)
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.loss, self.gradient = loss, gradient
        if k == 0:
            self.mark = loss

    def back(self, which: Tensor) -> None:
        """Return to the best points in the rows `which`."""
        self.points = _where(which, self.best, self.points)
        self.gradient = _where(which, self.best_gradient, self.gradient)

    def keep(self, which: Tensor) -> None:
        """Go on with some of the inputs only."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[which])


class _Halving:
    """Section 3 of Croce & Hein 2020: from 2 eps the step is halved where it no longer pays, from the best point."""

    def __init__(self, steps: int) -> None:
        self.interval, self.shrink, self.shortest = (max(1, int(share * steps)) for share in (0.22, 0.03, 0.06))
        self.since = 0

    def adapt(self, k: int, walk: _Walk) -> None:
        if k == 0:
            walk.rate = torch.full_like(walk.loss, 2.0)
            return
        self.since += 1
        if self.since < self.interval:
            return
        stuck = ~walk.halved & (walk.mark <= walk.best_loss)
        walk.halved = (walk.gains <= ENOUGH * self.interval) | stuck
        walk.rate = torch.where(walk.halved, walk.rate / 2, walk.rate)
        walk.mark, walk.gains = walk.best_loss, torch.zeros_like(walk.gains)
        walk.back(walk.halved)
        self.interval, self.since = max(self.interval - self.shrink, self.shortest), 0

    def step(self, k: int, walk: _Walk) -> None:
        ball, points = walk.ball, walk.points.detach()
        moved = ball.nearest(points + _wide(walk.rate, points) * ball.direction(walk.gradient, points))
        if k > 0:
            moved = ball.nearest(points + (1 - MOMENTUM) * (moved - points) + MOMENTUM * (points - walk.before))
        walk.before, walk.points = points, moved


class _Sparse:
    """Section 3 of Croce & Hein 2021: signs of the largest elements of the gradient; how many follows the best point.

    Where the best point became sparser the full step comes back, from that point; elsewhere the step shrinks.
    """

    def __init__(self, steps: int) -> None:
        self.interval = max(1, int(SPARSE_LOOK * steps))

    def adapt(self, k: int, walk: _Walk) -> None:
        if k == 0:
            walk.rate = torch.ones_like(walk.loss)
        if k == 0 or k % self.interval:
            return
        moved = (walk.best != walk.ball.center).flatten(1).sum(1).to(walk.rate.dtype)
        sparser = moved < 0.95 * walk.spread
        walk.rate = torch.where(sparser, 1.0, (walk.rate / SPARSE_FALL).clamp(min=SPARSE_LEAST))
        walk.count, walk.spread = moved / SPARSE_FALL, moved
        walk.back(sparser)

    def step(self, k: int, walk: _Walk) -> None:
        ball, points = walk.ball, walk.points.detach()
        gradient = torch.nan_to_num(walk.gradient, nan=0.0, posinf=1.0, neginf=-1.0)
        blocked = ((points <= ball.low) & (gradient > 0)) | ((points >= ball.high) & (gradient < 0))
        ranked = replace(ball, eps=walk.count.clamp(min=1).floor(), norm="0")
        size = gradient.masked_fill(blocked, 0.0).abs().flatten(1)
        chosen = ((size >= ranked.smallest(size)) & (size > 0)).view_as(points)
        length = chosen.flatten(1).sum(1).clamp(min=1)
        step = -gradient.sign() * chosen * _wide(walk.rate * ball.eps / length, points)
        walk.before, walk.points = points, ball.nearest(points + step)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))


def _where(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(_wide(which, one), one, other)
