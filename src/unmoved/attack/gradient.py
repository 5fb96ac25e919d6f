"""Projected gradient descent on the margin of a property, from several starts: FGSM, PGD, targeted PGD.

What comes back lies in S(x), exactly; whether it breaks the property is for the caller to confirm in the arithmetic
that counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from unmoved.attack.ball import Ball
from unmoved.attack.losses import Loss, margin
from unmoved.attack.search import Goal, Search
from unmoved.core.budget import Budget
from unmoved.core.errors import UsageError


class Aim(Protocol):
    """What a descent lowers."""

    def __call__(self, points: Tensor, rows: Tensor, run: int) -> tuple[Tensor, Tensor]:
        """Return (loss, margin), both (k,), of points (k, *shape) of the inputs `rows`; margin <= 0 ends an input."""


@dataclass(frozen=True)
class Pgd(Search):
    """Settings of a descent: `restarts` runs that lower the least margin, then `targets` runs at one disjunct each.

    The first start is the input itself, the others are random: inside S(x) and on its corners or surface in turn. The
    targets are the disjuncts nearest to being unsafe at x, nearest first. Step k of K has the size
    step * (1 + cos(pi k / K)) / 2 of eps, floor one hundredth, with the momentum of APGD (Croce & Hein 2020, section
    3.1). An input is left alone once its margin is at most -slack.
    """

    steps: int = 40
    restarts: int = 3
    targets: int = 3
    step: float = 1.5
    momentum: float = 0.25
    slack: float = 1e-4

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.steps < 1 or self.restarts < 1 or self.targets < 0:
            raise UsageError("steps, restarts, targets", (self.steps, self.restarts, self.targets), "at least 1, 1, 0")
        if not (self.step > 0 and 0 <= self.momentum < 1 and self.slack >= 0):
            raise UsageError("step, momentum, slack", (self.step, self.momentum, self.slack), "> 0, in [0, 1), >= 0")

    def find(self, goal: Goal, ball: Ball, names: Sequence[bytes], budget: Budget) -> Tensor:
        """Return the points of `descend` on the margins."""
        descent = replace(self, targets=min(self.targets, goal.targets))
        return descent.descend(PropertyAim(goal, margin, self.restarts), ball, names, budget=budget)

    def descend(self, aim: Aim, ball: Ball, names: Sequence[bytes], *, budget: Budget | None = None) -> Tensor:
        """Return the points (n, *shape) with the least margins seen over all runs; float32, inside up to rounding."""
        budget = budget or Budget()
        best = ball.nearest(ball.center)
        lowest = torch.full((len(names),), torch.inf, device=best.device)
        for run in range(self.restarts + self.targets):
            rows = torch.nonzero(lowest > -self.slack).flatten()
            if budget.spent or not len(rows):
                break
            here = ball[rows]
            points = here.start([names[i] for i in rows.tolist()], run)
            before = points
            for k in range(self.steps + 1):
                points = points.detach().requires_grad_(True)
                loss, margin = aim(points, rows, run)
                margin = torch.nan_to_num(margin.detach(), nan=-torch.inf).to(lowest.dtype)
                better = margin < lowest[rows]
                best[rows[better]], lowest[rows[better]] = points.detach()[better], margin[better]
                if k == self.steps or budget.spent or bool((lowest[rows] <= -self.slack).all()):
                    break
                (gradient,) = torch.autograd.grad(loss.sum(), points)
                points = points.detach()
                after = self._step(k, here, points, before, gradient)
                keep = lowest[rows] > -self.slack
                before = points
                if not bool(keep.all()):
                    rows, here, before, after = rows[keep], here[keep], before[keep], after[keep]
                points = after
        return best

    def _step(self, k: int, ball: Ball, points: Tensor, before: Tensor, gradient: Tensor) -> Tensor:
        """One step of size rate * eps down the loss, with momentum, back into the sets."""
        rate = max(self.step * (1 + math.cos(math.pi * k / self.steps)) / 2, 0.01)
        moved = ball.nearest(points + rate * ball.direction(gradient, points))
        if k == 0 or self.momentum == 0:
            return moved
        return ball.nearest(points + (1 - self.momentum) * (moved - points) + self.momentum * (points - before))


FGSM = Pgd(steps=1, restarts=1, targets=0, step=1.0)
"""The fast gradient sign method (Goodfellow et al. 2015): one full step from the input; also for L2, L1 and boxes."""


@dataclass(frozen=True)
class PropertyAim:
    """Lowers a loss: of all ways in the first `restarts` runs, then of one way a run, nearest to unsafe at x first."""

    goal: Goal
    loss: Loss
    restarts: int

    def __call__(self, points: Tensor, rows: Tensor, run: int) -> tuple[Tensor, Tensor]:
        """Return (loss, least margin) of points."""
        ways = self.goal.ways(points, rows)
        target = None if run < self.restarts else self.goal.near(rows, run - self.restarts)
        return self.loss(ways, target), ways.amin(1)
