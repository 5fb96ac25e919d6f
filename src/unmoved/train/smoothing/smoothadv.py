"""Adversarial training of g: noisy copies of the point of an L2 ball where g's average softmax is worst."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from unmoved.core.errors import UsageError
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.smoothing.noise import check, noise, repeated, share
from unmoved.train.statistics import steady


@dataclass(frozen=True)
class SmoothAdv(Objective):
    """Cross-entropy at noisy copies of x', where x' in the L2 ball of `eps` has the least mean softmax of its label.

    Salman et al. 2019, "Provably robust deep learning via adversarially trained smoothed classifiers", SmoothAdv_PGD
    (equation 6 with the noise of the loss itself), steps of 2 eps / `steps`; eps grows linearly over the share `warmup`
    of training. eps 0: noise training with so many copies. The attack sees batch norm fixed at the noisy batch.
    """

    sigma: float
    eps: float = 0.5
    copies: int = 2
    steps: int = 4
    warmup: float = 0.2

    def __post_init__(self) -> None:
        """Check the settings."""
        check(self.sigma, self.copies, eps=self.eps)
        if self.steps < 1 or not 0 <= self.warmup <= 1:
            raise UsageError("steps, warmup", (self.steps, self.warmup), "at least 1 step, a share from 0 to 1")

    @property
    def name(self) -> str:
        """`smoothadv`."""
        return "smoothadv"

    @property
    def settled(self) -> float:
        """When eps has its full size."""
        return self.warmup

    def settings(self) -> dict[str, str]:
        """Return the fields."""
        return {name: str(value) for name, value in asdict(self).items()}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Return the loss; `shape` plays no part."""

        def loss(x: Tensor, y: Tensor, moment: Moment) -> Measured:
            eps = self.eps * (min(1.0, moment.progress / self.warmup) if self.warmup else 1.0)
            drawn, labels = noise(x, self.copies, self.sigma, moment), y.repeat(self.copies)
            points = x
            if eps > 0:
                points = self._worst(steady(module, repeated(x, self.copies) + drawn), x, y, drawn, eps)
            outputs = module(repeated(points, self.copies) + drawn).flatten(1)
            return Measured(functional.cross_entropy(outputs, labels), {"eps": eps, "attacked": share(outputs, labels)})

        return loss

    def _worst(self, scores: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, drawn: Tensor, eps: float) -> Tensor:
        move = torch.zeros_like(x)
        for _ in range(self.steps):
            move.requires_grad_(True)
            logs = scores(repeated(x + move, self.copies) + drawn).log_softmax(1).view(self.copies, len(x), -1)
            own = logs.gather(2, y.expand(self.copies, -1)[..., None])[..., 0]
            lead = own.logsumexp(0) - math.log(self.copies)
            (gradient,) = torch.autograd.grad(-lead.sum(), move)
            with torch.no_grad():
                move = move.detach() + 2 * eps / self.steps * _unit(gradient)
                move = move * (eps / _length(move).clamp(min=1e-12)).clamp(max=1)
        return x + move


def _length(move: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(move.flatten(1), dim=1)
    return length.view(-1, *[1] * (move.dim() - 1))


def _unit(move: Tensor) -> Tensor:
    return move / _length(move).clamp(min=1e-12)
