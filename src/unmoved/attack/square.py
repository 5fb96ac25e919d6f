"""Square attack (Andriushchenko et al. 2020): random search by windows, without gradients; L_inf, boxes and L2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from unmoved.attack.ball import Ball, stream
from unmoved.attack.search import Goal, Search
from unmoved.core.budget import Budget
from unmoved.core.errors import UsageError

FALLS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which the share of changed elements is halved (section 3.1)."""
BLOCK = 100
"""Queries whose random numbers are drawn at once."""
RUN = 1 << 21
"""Streams of this attack start here: apart from those of starting points."""


@dataclass(frozen=True)
class Square(Search):
    """`queries` points an input and restart; a candidate is kept when its margin falls.

    An input is seen as an image: (channels, height, width), of a matrix one channel, of a vector one row. `share` is
    the share of it that a window covers at first. For balls of L1 and L0 it has no moves.
    """

    norms: ClassVar[frozenset[str | None]] = frozenset((None, "2"))

    queries: int = 5000
    restarts: int = 1
    share: float = 0.8
    slack: float = 1e-4

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.queries < 1 or self.restarts < 1 or not 0 < self.share <= 1:
            value = (self.queries, self.restarts, self.share)
            raise UsageError("queries, restarts, share", value, "at least 1, 1, and in (0, 1]")

    def find(self, goal: Goal, ball: Ball, names: Sequence[bytes], budget: Budget) -> Tensor:
        """Return the points with the least margins over all restarts."""
        best = ball.nearest(ball.center)
        lowest = torch.full((len(names),), torch.inf, device=best.device)
        for run in range(self.restarts):
            rows = torch.nonzero(lowest > -self.slack).flatten()
            if budget.spent or not len(rows):
                break
            points, margins = self._run(goal, ball, names, rows, run, budget)
            better = margins < lowest[rows]
            best[rows[better]], lowest[rows[better]] = points[better], margins[better]
        return best

    @torch.no_grad()
    def _run(
        self, goal: Goal, ball: Ball, names: Sequence[bytes], rows: Tensor, run: int, budget: Budget
    ) -> tuple[Tensor, Tensor]:
        """Return the last points of one run and their margins, both for all of `rows`."""
        moves = _Corners if ball.norm is None else _Transport
        chances = {int(i): stream(names[int(i)], RUN + run) for i in rows}
        size = _image(ball.center)
        points = moves.start(ball[rows], _draw(chances, rows, size))
        lowest = self._margins(goal, points, rows)
        standing = lowest > -self.slack
        for query in range(self.queries):
            here = torch.nonzero(standing).flatten()
            if budget.spent or not len(here):
                break
            if query % BLOCK == 0:
                block = _draw(chances, rows[here], size)
                drawn = here
            if len(drawn) != len(here):
                still = torch.isin(drawn, here)
                block, drawn = block.rows(still), here
            share = self.share / 2 ** sum(query * 10_000 > fall * self.queries for fall in FALLS)
            trial = moves.move(ball[rows[here]], points[here], share, block.at(query % BLOCK))
            margins = self._margins(goal, trial, rows[here])
            better = margins < lowest[here]
            points[here[better]], lowest[here[better]] = trial[better], margins[better]
            standing[here] = lowest[here] > -self.slack
        return points, lowest

    @staticmethod
    def _margins(goal: Goal, points: Tensor, rows: Tensor) -> Tensor:
        return torch.nan_to_num(goal.least(points, rows), nan=-torch.inf).float()


@dataclass(frozen=True)
class _Chances:
    """Random numbers of BLOCK queries: places (n, BLOCK, 4) in [0, 1), signs (n, BLOCK, channels, width) +-1."""

    places: Tensor
    signs: Tensor

    def rows(self, which: Tensor) -> _Chances:
        return _Chances(self.places[which], self.signs[which])

    def at(self, query: int) -> _Chances:
        return _Chances(self.places[:, query], self.signs[:, query])


def _draw(chances: dict[int, np.random.Generator], rows: Tensor, size: tuple[int, int, int]) -> _Chances:
    places, signs = [], []
    for i in rows.tolist():
        places.append(chances[i].random((BLOCK, 4), np.float32))
        signs.append(chances[i].integers(0, 2, (BLOCK, size[0], size[2]), np.int8))
    return _Chances(
        torch.as_tensor(np.stack(places), device=rows.device),
        torch.as_tensor(np.stack(signs) * np.int8(2) - np.int8(1), device=rows.device),
    )


def _image(points: Tensor) -> tuple[int, int, int]:
    """Return (channels, height, width) of one input."""
    shape = [n for n in points.shape[1:] if n != 1] or [1]
    if len(shape) == 1:
        return 1, 1, shape[0]
    return (1, *shape) if len(shape) == 2 else (math.prod(shape[:-2]), shape[-2], shape[-1])  # type: ignore[return-value]


def _window(size: tuple[int, int, int], share: float, least: int) -> tuple[int, int]:
    """Return height and width of a window that covers about this share: square, or as long as a row has to be."""
    _, height, width = size
    tall = min(height, max(least, round(math.sqrt(share * height * width))))
    return tall, min(width, max(least, round(share * height * width / tall)) if tall == height else tall)


def _offsets(places: Tensor, size: tuple[int, int, int], window: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's and each column's distance from the window's corner, and the mask (n, 1, height, width)."""
    down, right = ((places[:, i] * (size[1 + i] - window[i] + 1)).long()[:, None] for i in (0, 1))
    i = torch.arange(size[1], device=places.device)[None] - down
    j = torch.arange(size[2], device=places.device)[None] - right
    inside = ((i >= 0) & (i < window[0]))[:, :, None] & ((j >= 0) & (j < window[1]))[:, None, :]
    return i, j, inside[:, None]


class _Corners:
    """L_inf and boxes (algorithms 1 and 2): every element at one of its ends, a window's at the same end a channel."""

    @staticmethod
    def start(ball: Ball, chances: _Chances) -> Tensor:
        size = _image(ball.center)
        up = (chances.signs[:, 0] > 0)[:, :, None, :].expand(-1, -1, size[1], -1)
        return torch.where(up.reshape_as(ball.low), ball.high, ball.low)

    @staticmethod
    def move(ball: Ball, points: Tensor, share: float, chances: _Chances) -> Tensor:
        size = _image(points)
        _, _, inside = _offsets(chances.places, size, _window(size, share, 1))
        up = (chances.signs[:, :, :1, None] > 0).expand(-1, -1, *size[1:]).reshape_as(points)
        inside = inside.expand(-1, size[0], -1, -1).reshape_as(points)
        return torch.where(inside, torch.where(up, ball.high, ball.low), points)


class _Transport:
    """L2 (algorithm 3): the mass of one window goes to another, as a bump of two signs on what was there."""

    @staticmethod
    def start(ball: Ball, chances: _Chances) -> Tensor:
        size = _image(ball.center)
        tall, wide = max(1, size[1] // 5), max(1, size[2] // 5)
        bump = _bump(tall, wide, ball.center)
        tiles = bump.repeat(-(-size[1] // tall), -(-size[2] // wide))[: size[1], : size[2]]
        # a tile's sign is its first column's, of the query that its row numbers
        i, j = (torch.arange(n, device=bump.device) // step for n, step in ((size[1], tall), (size[2], wide)))
        signs = chances.signs[:, i % BLOCK][:, :, :, (j * wide) % size[2]].permute(0, 2, 1, 3)
        return _longest(ball, (signs * tiles).reshape_as(ball.center))

    @staticmethod
    def move(ball: Ball, points: Tensor, share: float, chances: _Chances) -> Tensor:
        size = _image(points)
        tall, wide = _window(size, share, 3)
        delta = (points - ball.center).reshape(-1, *size)
        i, j, here = _offsets(chances.places[:, :2], size, (tall, wide))
        _, _, there = _offsets(chances.places[:, 2:], size, (tall, wide))
        square = delta**2
        kept = ball.eps[:, None, None, None] ** 2 - square.sum((1, 2, 3), keepdim=True)
        mass = (square * (here | there)).sum((2, 3), keepdim=True) + kept.clamp(min=0) / size[0]
        bump = _bump(tall, wide, points)[i.clamp(0, tall - 1)[:, :, None], j.clamp(0, wide - 1)[:, None, :]][:, None]
        old = delta * here
        old = old / torch.sqrt((old**2).sum((2, 3), keepdim=True)).clamp(min=1e-12)
        new = (bump * chances.signs[:, :, :1, None] + old) * here
        new = new / torch.sqrt((new**2).sum((2, 3), keepdim=True)).clamp(min=1e-12) * torch.sqrt(mass)
        return _longest(ball, (torch.where(here | there, 0.0, delta) + new).reshape_as(points))


def _bump(tall: int, wide: int, like: Tensor) -> Tensor:
    """Return two heaps of opposite signs side by side, of L2 norm 1 (equation 2: sums of nested rectangles / k^2)."""
    long = max(tall, wide)
    down = (torch.arange(tall, device=like.device) + 0.5) / tall * 2 - 1
    half = max(1, wide // 2)
    right = (torch.arange(wide, device=like.device) % half + 0.5) / half * 2 - 1
    ring = torch.maximum(down.abs()[:, None], right.abs()[None, :]) * long / 2
    heights = torch.cumsum(1.0 / torch.arange(long + 1, 0, -1, device=like.device) ** 2, 0).flip(0)
    heap: Tensor = heights[ring.long().clamp(max=long)]
    heap = torch.where(torch.arange(wide, device=like.device)[None, :] < half, heap, -heap)
    length: Tensor = torch.linalg.vector_norm(heap)
    return heap / length


def _longest(ball: Ball, delta: Tensor) -> Tensor:
    """Return the centre moved by delta, made as long as the ball allows, then clamped to the box."""
    length = torch.linalg.vector_norm(delta.flatten(1), dim=1).clamp(min=1e-12)
    move = delta * (ball.eps / length).view(-1, *[1] * (delta.dim() - 1))
    return torch.clamp(ball.center + move, ball.low, ball.high)
