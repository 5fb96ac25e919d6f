"""Annealed descent: gradients at noisy points of sets that are larger at first; noise and excess shrink to nothing.

Where units are dead at the input and all around it (nets trained to be robust in L_inf, attacked in L2 or L1), the
gradient at a point says nothing of what lies behind a threshold; the gradient of the loss averaged over noise does
(Duchi, Bartlett & Wainwright 2012, section 2: f smoothed by mu), and one noisy copy a step is an unbiased sample of it.
Larger sets at first are the idea of Croce & Hein 2021 (section 3.3) for L1, here for every norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unmoved.attack.ball import Ball, stream
from unmoved.attack.gradient import PropertyAim
from unmoved.attack.losses import LOSSES
from unmoved.attack.search import Goal, Search
from unmoved.core.budget import Budget
from unmoved.core.errors import UsageError

MOMENTUM = 0.25
SHRUNK = 0.6
"""Share of the steps after which the sets have their own size."""
LOOK = 5
"""Until then the points are outside, and their projections are looked at every so many steps."""
CALM = 0.3
RUN = 1 << 22
"""Streams of the noise start here: apart from those of other attacks."""


@dataclass(frozen=True)
class Annealed(Search):
    """`restarts` runs on the loss, then `targets` runs at one way to break the property each; the best points are kept.

    Noise begins with `noise` times the typical move of an element (`Ball.typical`), in every other run with CALM of
    that, as nets differ in what they need, and falls linearly to zero with the last step. The sets' size falls from
    `wide` times to once; step k of K has the size (1 + cos(pi k / K)) / 2 of eps.
    An input is left alone once its margin in S(x) is at most -slack.
    """

    loss: str = "margin"
    steps: int = 100
    restarts: int = 1
    targets: int = 0
    noise: float = 1.0
    wide: float = 3.0
    slack: float = 1e-4

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.loss not in LOSSES:
            raise UsageError("loss", self.loss, "one of " + ", ".join(LOSSES))
        counts = (self.steps, self.restarts, self.targets)
        if self.steps < 1 or min(counts) < 0 or self.restarts + self.targets < 1:
            raise UsageError("steps, restarts, targets", counts, "steps >= 1, and one restart or target")
        if not (self.noise >= 0 and self.wide >= 1 and self.slack >= 0):
            raise UsageError("noise, wide, slack", (self.noise, self.wide, self.slack), ">= 0, >= 1, >= 0")

    def find(self, goal: Goal, ball: Ball, names: Sequence[bytes], budget: Budget) -> Tensor:
        """Return the points of the sets with the least margins over all runs."""
        aim = PropertyAim(goal, LOSSES[self.loss], self.restarts)
        best = ball.nearest(ball.center)
        lowest = torch.full((len(names),), torch.inf, device=best.device)
        for run in range(self.restarts + min(self.targets, goal.targets)):
            rows = torch.nonzero(lowest > -self.slack).flatten()
            if budget.spent or not len(rows):
                break
            points = ball[rows].start([names[i] for i in rows.tolist()], run)
            self._descend(aim, ball, points, _Run(run, rows, names, best, lowest), budget)
        return best

    def _descend(self, aim: PropertyAim, ball: Ball, points: Tensor, run: _Run, budget: Budget) -> None:
        """Take the steps of one run from points (k, *shape); its best points are put into `run`."""
        before, level = points, self.noise * (CALM if run.number % 2 else 1)
        for k in range(self.steps + 1):
            share = k / self.steps
            factor = max(1.0, self.wide + (1 - self.wide) * share / SHRUNK)
            here = ball[run.rows]
            if factor == 1 or k % LOOK == 0:
                standing = run.take(here.nearest(points), aim.goal) > -self.slack
                if k == self.steps or budget.spent or not bool(standing.any()):
                    return
                if not bool(standing.all()):
                    run.rows, here, points, before = (
                        run.rows[standing],
                        here[standing],
                        points[standing],
                        before[standing],
                    )
            larger = here.scaled(factor)
            noise = run.noise(points) * _wide(level * (1 - share) * here.typical, points)
            noisy = torch.clamp(points + noise, larger.low, larger.high).requires_grad_(True)
            (gradient,) = torch.autograd.grad(aim(noisy, run.rows, run.number)[0].sum(), noisy)
            rate = max((1 + math.cos(math.pi * share)) / 2, 0.01)
            moved = larger.nearest(points + rate * larger.direction(gradient, points))
            if k > 0:
                moved = larger.nearest(points + (1 - MOMENTUM) * (moved - points) + MOMENTUM * (points - before))
            points, before = moved, points


class _Run:
    """One run: its number, the inputs that still stand (k,), their random numbers, and the best points of all runs."""

    def __init__(self, number: int, rows: Tensor, names: Sequence[bytes], best: Tensor, lowest: Tensor) -> None:
        self.number, self.rows, self.best, self.lowest = number, rows, best, lowest
        self.chances = {i: stream(names[i], RUN + number) for i in rows.tolist()}

    def noise(self, like: Tensor) -> Tensor:
        """Return standard normal numbers (k, *shape), an input's from its own stream."""
        size = like[0].numel()
        drawn = np.stack([self.chances[i].standard_normal(size, np.float32) for i in self.rows.tolist()])
        return torch.as_tensor(drawn, device=like.device).view_as(like)

    @torch.no_grad()
    def take(self, points: Tensor, goal: Goal) -> Tensor:
        """Keep points that are better than what there is, and return the least margins so far (k,)."""
        margins = torch.nan_to_num(goal.least(points, self.rows), nan=-torch.inf).to(self.lowest.dtype)
        better = margins < self.lowest[self.rows]
        self.best[self.rows[better]], self.lowest[self.rows[better]] = points[better], margins[better]
        return self.lowest[self.rows]


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
