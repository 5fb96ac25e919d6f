"""Training for randomised smoothing: the inputs get the noise that g will add (Cohen et al. 2019, section 3.3)."""

from __future__ import annotations

import math
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
        check(self.sigma)

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
            outputs = module(x + noise(x, 1, self.sigma, moment)).flatten(1)
            return Measured(functional.cross_entropy(outputs, y), {"noisy": share(outputs, y)})

        return loss


def noise(x: Tensor, copies: int, sigma: float, moment: Moment) -> Tensor:
    """Return Gaussian noise for `copies` copies of a batch x (n, *shape), one copy of all after the other.

    The draws are float32 on the CPU, whatever the device: the same everywhere.
    """
    drawn = torch.randn((copies * len(x), *x.shape[1:]), generator=moment.generator)
    return sigma * drawn.to(x.device)


def repeated(x: Tensor, copies: int) -> Tensor:
    """Return (copies * n, *shape): the whole batch, again and again."""
    return x.repeat(copies, *[1] * (x.dim() - 1))


def share(outputs: Tensor, y: Tensor) -> float:
    """Return the share of outputs (n, classes) that answer their label."""
    return float((outputs.detach().argmax(1) == y).float().mean())


def check(sigma: float, copies: int = 1, **weights: float) -> None:
    """Raise UsageError unless sigma and the weights are finite and >= 0, and copies >= 1."""
    for name, value in {"sigma": sigma, **weights}.items():
        if not 0 <= value < math.inf:
            raise UsageError(name, value, "a number >= 0")
    if copies < 1:
        raise UsageError("copies", copies, "at least 1")
