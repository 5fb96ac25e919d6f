"""The attack inside a training step: projected gradient over boxes, short and without restarts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.core.errors import UsageError

FLOOR = 0.05
"""The last steps are this small, as a share of the box."""


@dataclass(frozen=True)
class Descent:
    """`steps` signed steps, from a random point; step k of K has `rate` (1 + cos(pi k / K)) / 2 of the half width."""

    steps: int = 8
    rate: float = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.steps < 1 or not 0 < self.rate <= 2:
            raise UsageError("steps, rate", (self.steps, self.rate), "at least 1 step, a rate in (0, 2]")

    def worst(self, loss: Callable[[Tensor], Tensor], box: Bounds, generator: torch.Generator) -> Tensor:
        """Return points of the boxes, (n, *shape), where `loss` (n, *shape) -> (n,) is large; no parameter gets .grad.

        The start is uniform in the box, drawn on the CPU: the same on every device.
        """
        low, high = box.low.detach(), box.high.detach()
        half = (high - low) / 2
        unit = torch.rand(low.shape, generator=generator).to(low)
        points = torch.clamp(low + (high - low) * unit, low, high)
        for k in range(self.steps):
            points.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(points).sum(), points)
            rate = max(FLOOR, self.rate * (1 + math.cos(math.pi * k / self.steps)) / 2)
            points = torch.clamp(points.detach() + rate * half * gradient.sign(), low, high)
        return points
