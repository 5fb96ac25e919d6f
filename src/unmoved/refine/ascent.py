"""Gradient ascent on the dual bound: slopes (alpha-CROWN), split multipliers (beta-CROWN), conjuncts' weights.

Xu et al. 2021 ("Fast and complete", section 3.2); Wang et al. 2021. Steps are Adam's (Kingma & Ba 2015), projected.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unmoved.core.budget import Budget
from unmoved.refine.dual import Bound, Choices, Face, Goals, bound
from unmoved.refine.reduced import Reduced

FIRST, SECOND = 0.8, 0.98
"""Decay of Adam's moments: few steps are made."""


@dataclass(frozen=True)
class Ascent:
    """Settings: at most `steps` steps of size `rate` (of the slopes' range), each `decay` times the last."""

    steps: int = 20
    rate: float = 0.3
    decay: float = 0.9

    def run(
        self, reduced: Reduced, goals: Goals, choices: Choices, *, budget: Budget | None = None
    ) -> tuple[Tensor, Choices]:
        """Return the best bound of every row, and its choices, rounded; a row is left alone once it is proved.

        The bounds are less what rounding may take in the checker: above 0 means proved.
        """
        limit = budget or Budget()
        best = torch.full((len(goals),), -torch.inf, dtype=choices.slopes.dtype, device=choices.slopes.device)
        kept = Choices(choices.slopes.clone(), choices.multipliers.clone(), choices.weights.clone())
        rows = torch.arange(len(goals), device=best.device)
        face, state, now = Face.of(reduced, goals.signs), _Adam.of(choices), choices
        for step in range(self.steps + 1):
            rounded = now.rounded()
            last = step == self.steps or limit.spent
            found = bound(reduced, goals, rounded, face, gradient=not last)
            low = found.low - reduced.room * found.size
            better = low > best[rows]
            where = rows[better]
            best[where] = low[better]
            for name in ("slopes", "multipliers", "weights"):
                getattr(kept, name)[where] = getattr(rounded, name)[better]
            open_ = low <= 0
            count = int(open_.sum())
            if last or not count:
                break
            now = state.step(self.rate * self.decay**step, now, found, goals, face)
            if count <= 0.75 * len(rows):
                left = open_.nonzero()[:, 0]
                rows, goals, face, now = rows[left], goals.take(left), face.take(left), now.take(left)
                state = state.take(left)
        return best, kept


@dataclass(eq=False)
class _Adam:
    """The moments of slopes and multipliers side by side, (R, 2 units), and of the weights' logarithms, (R, C)."""

    moments: list[Tensor]
    count: int = 0

    @classmethod
    def of(cls, choices: Choices) -> _Adam:
        wide = torch.cat([choices.slopes, choices.multipliers, choices.weights], 1)
        return cls([torch.zeros_like(wide), torch.zeros_like(wide)])

    def take(self, rows: Tensor) -> _Adam:
        return _Adam([m[rows] for m in self.moments], self.count)

    def step(self, rate: float, now: Choices, found: Bound, goals: Goals, face: Face) -> Choices:
        """Return the choices after one step up."""
        assert found.units is not None
        assert found.values is not None
        slopes = found.outer.clamp(min=0) * found.units * face.free
        multipliers = -goals.signs * found.units
        mean = torch.linalg.vecdot(now.weights, found.values)
        weights = now.weights * (found.values - mean[:, None])
        ahead = self._direction(torch.cat([slopes, multipliers, weights], 1))
        count = slopes.shape[1]
        # A multiplier is worth about as much as the coefficients of its row.
        scale = torch.linalg.vector_norm(found.outer, dim=1, keepdim=True)
        made = now.weights
        if made.shape[1] > 1:
            made = torch.softmax(made.clamp(min=1e-12).log() + 3 * rate * ahead[:, 2 * count :], 1)
            made = made * goals.real[goals.which]
        return Choices(
            (now.slopes + rate * ahead[:, :count]).clamp_(0, 1),
            (now.multipliers + rate * scale * ahead[:, count : 2 * count]).clamp_(min=0),
            made,
        )

    def _direction(self, gradient: Tensor) -> Tensor:
        self.count += 1
        first, second = self.moments
        first.mul_(FIRST).add_(gradient, alpha=1 - FIRST)
        second.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        step = first / (1 - FIRST**self.count)
        return step / ((second / (1 - SECOND**self.count)).sqrt_() + 1e-30)
