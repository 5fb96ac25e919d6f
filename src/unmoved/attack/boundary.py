"""FAB, the fast adaptive boundary attack (Croce & Hein 2020, arXiv 1907.02044): the nearest point that is broken.

It searches beside the sets, not only in them: each step goes to the linearised boundary, from the point and from the
input at once, and what is beyond it is drawn back towards the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unmoved.attack.ball import Ball
from unmoved.attack.search import Goal, Search
from unmoved.core.budget import Budget
from unmoved.core.errors import UsageError

OVERSHOOT, BACK, BIAS = 1.05, 0.9, 0.1
"""eta, beta and alpha_max of the paper (section 4.1)."""


@dataclass(frozen=True)
class Fab(Search):
    """`restarts` runs of `steps` steps at each of the `targets` ways to break the property nearest at the input.

    The first run starts at the input, the others at half the distance of the best point so far (of eps, before there
    is one). An input is left alone once a broken point lies in S(x).
    """

    norms: ClassVar[frozenset[str | None]] = frozenset((None, "1", "2"))

    steps: int = 100
    restarts: int = 1
    targets: int = 9

    def __post_init__(self) -> None:
        """Check the settings."""
        counts = (self.steps, self.restarts, self.targets)
        if min(counts) < 1:
            raise UsageError("steps, restarts, targets", counts, "at least 1 each")

    def find(self, goal: Goal, ball: Ball, names: Sequence[bytes], budget: Budget) -> Tensor:
        """Return the nearest broken points that were found, the inputs where none was."""
        metric = _Metric.of(ball)
        nearest = _Nearest(ball.center.clone(), torch.full((len(names),), torch.inf, device=ball.center.device))
        targets = min(self.targets, goal.targets)
        for run in range(self.restarts * targets):
            rows = torch.nonzero(nearest.distance > metric.eps).flatten()
            if budget.spent or not len(rows):
                break
            here, points = metric[rows], ball.center[rows]
            if run >= targets:
                drawn = ball[rows].start([names[i] for i in rows.tolist()], 2 * run) - points
                length = torch.minimum(nearest.distance[rows], here.eps) / 2
                points = here.clamped(points + drawn * here.spread(length / here.length(drawn).clamp(min=1e-12)))
            self._run(goal, here, _Walk(rows, points, goal.near(rows, run % targets)), nearest, budget)
        return nearest.points

    def _run(self, goal: Goal, metric: _Metric, walk: _Walk, nearest: _Nearest, budget: Budget) -> None:
        """Take the steps of one run; what it finds is kept in `nearest`."""
        for _ in range(self.steps):
            if budget.spent:
                return
            points = walk.points.detach().requires_grad_(True)
            margin = goal.ways(points, walk.rows).gather(1, walk.aim[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(margin.sum(), points)
            walk.points = self._stepped(metric, walk.points, margin.detach(), torch.nan_to_num(gradient))
            with torch.no_grad():
                broken = goal.least(walk.points, walk.rows) <= 0
            move = walk.points - metric.center
            nearest.take(walk.rows[broken], walk.points[broken], metric.length(move)[broken])
            walk.points = torch.where(metric.spread(broken), metric.center + BACK * move, walk.points)
            standing = nearest.distance[walk.rows] > metric.eps
            if not bool(standing.any()):
                return
            if not bool(standing.all()):
                metric, walk = metric[standing], walk[standing]

    @staticmethod
    def _stepped(metric: _Metric, points: Tensor, margin: Tensor, gradient: Tensor) -> Tensor:
        """Return the next points: equation (9) of the paper, with the step sizes of equation (8)."""
        gap = torch.nan_to_num(margin, posinf=1e30)
        apart = (gradient * (metric.center - points)).flatten(1).sum(1)
        here, start = metric.onto(points, gradient, gap), metric.onto(metric.center, gradient, gap + apart)
        near, far = metric.length(here), metric.length(start)
        share = metric.spread((near / (near + far).clamp(min=1e-30)).clamp(max=BIAS))
        ends = points + OVERSHOOT * here, metric.center + OVERSHOOT * start
        return metric.clamped((1 - share) * ends[0] + share * ends[1])


@dataclass
class _Walk:
    """One run: inputs that still stand (k,), where they are (k, *shape), and the way each aims at (k,)."""

    rows: Tensor
    points: Tensor
    aim: Tensor

    def __getitem__(self, which: Tensor) -> _Walk:
        return _Walk(self.rows[which], self.points[which], self.aim[which])


@dataclass
class _Nearest:
    """The nearest broken points so far (n, *shape) and their distances (n,), infinite where there is none."""

    points: Tensor
    distance: Tensor

    def take(self, rows: Tensor, points: Tensor, distance: Tensor) -> None:
        """Keep the points that are nearer."""
        nearer = distance < self.distance[rows]
        self.points[rows[nearer]], self.distance[rows[nearer]] = points[nearer], distance[nearer]


@dataclass(frozen=True)
class _Metric:
    """Lengths of moves from the centres, in the norm of the sets, and the clip range.

    Without a ball (L_inf, boxes) an element's move counts in its `reach` (n, size), so that the set has the size 1.
    """

    center: Tensor
    floor: Tensor
    ceiling: Tensor
    eps: Tensor
    reach: Tensor
    norm: str | None

    @staticmethod
    def of(ball: Ball) -> _Metric:
        reach = torch.maximum(ball.high - ball.center, ball.center - ball.low).flatten(1)
        eps = torch.ones_like(ball.eps) if ball.norm is None else ball.eps
        return _Metric(ball.center, ball.floor, ball.ceiling, eps, reach, ball.norm)

    def __getitem__(self, which: Tensor) -> _Metric:
        center, floor, ceiling = self.center[which], self.floor[which], self.ceiling[which]
        return _Metric(center, floor, ceiling, self.eps[which], self.reach[which], self.norm)

    def spread(self, values: Tensor) -> Tensor:
        """Return values (n,) as (n, 1, ...)."""
        return values.view(-1, *[1] * (self.center.dim() - 1))

    def clamped(self, points: Tensor) -> Tensor:
        """Return the points in the clip range."""
        return torch.clamp(points, self.floor, self.ceiling)

    def length(self, move: Tensor) -> Tensor:
        """Return the lengths (n,) of moves (n, *shape)."""
        flat = move.flatten(1)
        if self.norm is None:
            return (flat.abs() / self.reach.clamp(min=1e-30)).amax(1)
        length: Tensor = torch.linalg.vector_norm(flat, ord=int(self.norm), dim=1)
        return length

    def onto(self, points: Tensor, gradient: Tensor, gap: Tensor) -> Tensor:
        """Return the shortest moves in the clip range with gradient @ move = -gap, or as near to that as it allows.

        All elements move at a rate (1, times reach, without a ball; |gradient| in L2) until each meets its end; in L1
        one after another, the steepest first (section 3.1 and appendix A of the paper).
        """
        slope = gradient.flatten(1) * gap.sign()[:, None]
        up = slope < 0
        room = torch.where(up, self.ceiling.flatten(1) - points.flatten(1), (points - self.floor).flatten(1))
        size, room, need = slope.abs(), room.clamp(0, 1e30), gap.abs()[:, None]
        room = torch.where(size > 0, room, 0.0)
        move = _steepest(size, room, need) if self.norm == "1" else _together(size, self._rate(size), room, need)
        return torch.where(up, move, -move).view_as(points)

    def _rate(self, size: Tensor) -> Tensor:
        return self.reach if self.norm is None else size


def _steepest(size: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Return moves (n, size) <= room with size @ move = need, as far as there is room, on the fewest elements."""
    order = size.argsort(1, descending=True)
    gain = (size * room).gather(1, order)
    before = gain.cumsum(1) - gain
    share = ((need - before) / gain.clamp(min=1e-30)).clamp(0, 1)
    return torch.zeros_like(room).scatter(1, order, share) * room


def _together(size: Tensor, rate: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Return min(level * rate, room) (n, size) with size @ move = need, as far as there is room: the level is exact.

    What is gained at a level is piecewise linear in it: sorted by where elements meet their ends, its pieces are sums.
    """
    stop, order = (room / rate.clamp(min=1e-30)).clamp(max=1e30).sort(1)
    full = (size * room).gather(1, order)
    slope = (size * rate).gather(1, order)
    ended = full.cumsum(1) - full
    going = slope.flip(1).cumsum(1).flip(1)
    piece = (ended + stop * going < need).sum(1, keepdim=True).clamp(max=size.shape[1] - 1)
    level = (need - ended.gather(1, piece)) / going.gather(1, piece).clamp(min=1e-30)
    return torch.minimum(level.clamp(min=0) * rate, room)
