"""Training for randomised smoothing: the inputs get the noise that g will add (Cohen et al. 2019, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from unmoved.core.errors import UsageError
from unmoved.train.objective import Loss, Measured, Moment, Objective


@dataclass(frozen=True)
class GaussianNoise(Objective):
    """Cross-entropy at x + noise, noise normal with standard deviation `sigma`, not clipped to the data range."""

    sigma: float

    def __post_init__(self) -> None:
        """Check the setting."""
        if not 0 <= self.sigma < float("inf"):
            raise UsageError("sigma", self.sigma, "a number >= 0")

    @property
    def name(self) -> str:
        """`noise`."""
        return "noise"

    @property
    def settled(self) -> float:
        """From the start."""
        return 0.0

    def settings(self) -> dict[str, str]:
        """Return sigma."""
        return {"sigma": repr(self.sigma)}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Return the loss; `shape` plays no part."""

        def loss(x: Tensor, y: Tensor, moment: Moment) -> Measured:
            noise = torch.randn(x.shape, generator=moment.generator).to(x.device)
            outputs = module(x + self.sigma * noise).flatten(1)
            accuracy = float((outputs.argmax(1) == y).float().mean())
            return Measured(functional.cross_entropy(outputs, y), {"noisy": accuracy})

        return loss
