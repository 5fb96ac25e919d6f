"""What all attacks on a property share: the door, the goal, and points that lie in S(x) exactly at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.attack.ball import Ball, keys
from unmoved.attack.margins import Margins, margins
from unmoved.core.budget import Budget
from unmoved.core.errors import UsageError
from unmoved.core.property import Property
from unmoved.core.threat import AnyFloats, Threat

Scores = Callable[[Tensor], Tensor]
"""A model as an attack sees it: (n, *input_shape) float32 -> (n, ...) outputs, differentiable, row by row."""

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Attacked:
    """The worst points found: points (n, *shape) float32, each in S(x) exactly, and their margins (n,), <= 0: broken.

    Where S(x) has no float32 point at hand the point is NaN and the margin inf.
    """

    points: Singles
    margins: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Goal:
    """What is to be broken: a model, one property an input, and its scores at the inputs themselves (n, outputs)."""

    scores: Scores
    margins: Margins
    clean: Tensor

    def ways(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return the margin of each way to break the property (k, D), for points of the inputs `rows` (k,)."""
        return self.margins.of(self.scores(points).flatten(1), rows)

    def least(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return the least margin (k,); <= 0: broken."""
        return self.ways(points, rows).amin(1)

    def near(self, rows: Tensor, rank: int) -> Tensor:
        """Return the way (k,) that is `rank`-th nearest to being unsafe at the input itself, from 0."""
        order = self.margins.of(self.clean[rows], rows).argsort(1)
        return order[:, rank % order.shape[1]]

    @property
    def targets(self) -> int:
        """How many ways there are to aim at, at most."""
        ways = self.margins.of(self.clean, torch.arange(len(self.clean), device=self.clean.device))
        return int(ways.isfinite().sum(1).max())


class Search(ABC):
    """One attack: it looks for points of S(x) with the least margins. What it finds is for others to confirm.

    `norms` are those of the sets (`Ball.norm`) in which it has moves; for others `search` raises UsageError.
    """

    norms: ClassVar[frozenset[str | None]] = frozenset((None, "0", "1", "2"))

    def search(
        self,
        scores: Scores,
        x: AnyFloats,
        threats: Sequence[Threat],
        properties: Sequence[Property],
        *,
        seed: int = 0,
        budget: Budget | None = None,
        device: str = "cpu",
    ) -> Attacked:
        """Return the worst point found for each input of x (n, *shape): one threat, one property each.

        The same inputs, settings and seed give the same points, alone or in a batch (up to the model's own arithmetic).
        """
        if not len(x):
            return Attacked(np.zeros(x.shape, np.float32), np.zeros(0))
        ball = Ball.of(threats, x, device)
        if ball.norm not in self.norms:
            raise UsageError(
                "threat", threats[0].name, f"another kind: {type(self).__name__.lower()} has no moves for it"
            )
        with torch.no_grad():
            clean = scores(ball.nearest(ball.center)).flatten(1)
        goal = Goal(scores, margins(properties, clean.shape[1], device), clean)
        best = self.find(goal, ball, keys(seed, x), budget or Budget())
        return finish(best, x, threats, goal.least)

    @abstractmethod
    def find(self, goal: Goal, ball: Ball, names: Sequence[bytes], budget: Budget) -> Tensor:
        """Return the points (n, *shape) with the least margins seen; float32, inside up to rounding.

        `names` (n) key the inputs' random numbers. An input may be left alone once it is broken.
        """


def finish(
    best: Tensor, x: AnyFloats, threats: Sequence[Threat], margin: Callable[[Tensor, Tensor], Tensor]
) -> Attacked:
    """Project points on S(x) exactly, check each with `contains`, and measure margins again where they then are."""
    points = best.detach().cpu().numpy().astype(np.float32)
    inside = np.zeros(len(points), bool)
    for i, threat in enumerate(threats):
        points[i] = threat.project(x[i : i + 1], points[i : i + 1])[0]
        inside[i] = threat.contains(x[i], points[i])
    with torch.no_grad():
        rows = torch.arange(len(points), device=best.device)
        values = margin(torch.as_tensor(points, device=best.device), rows).cpu().numpy().astype(np.float64)
    points[~inside] = np.nan
    return Attacked(points, np.where(inside, np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf), np.inf))
