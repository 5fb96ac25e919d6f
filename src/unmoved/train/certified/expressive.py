"""Expressive losses: between the loss of an attack and that of a bound (De Palma et al. 2024).

"Expressive losses for verified robustness via convex combinations". Weight 1 is interval training, weight 0
adversarial training; in between lies the trade-off between accuracy and certificates.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from unmoved.core.errors import UsageError
from unmoved.train.certified.box import Batch, BoxObjective, Terms, worst_loss
from unmoved.train.certified.small_box import cross_entropies
from unmoved.train.descent import Descent


@dataclass(frozen=True)
class Expressive(BoxObjective):
    """A mixture, by `weight`, of interval bounds over the ball and of the outputs at a point that an attack found.

    The attack sees batch norm as the bounds do: with its own statistics MTL-IBP collapses.
    """

    weight: float = 0.1
    attack: Descent = field(default_factory=Descent)

    def check(self) -> None:
        """Check the weight."""
        if not 0 <= self.weight <= 1:
            raise UsageError("weight", self.weight, "a share from 0 to 1")

    @abstractmethod
    def mixture(self, lower: Tensor, attacked: Tensor, y: Tensor) -> Tensor:
        """Return the loss of margins' lower bounds (n, classes) and of outputs (n, classes) under attack."""

    def terms(self, batch: Batch) -> Terms:
        """Return the loss; figures: `attacked`, the accuracy at the points found."""
        box = batch.box(batch.eps)
        bounds = batch.interval(box)
        lower = batch.margins(bounds)
        if self.weight == 1:
            return Terms(worst_loss(lower, batch.y), lower, bounds, box)
        points = batch.x
        if batch.eps > 0:
            points = self.attack.worst(lambda z: cross_entropies(batch, z), box, batch.generator)
        outputs = batch.scores(points)
        figures = {"attacked": float((outputs.argmax(1) == batch.y).float().mean())}
        return Terms(self.mixture(lower, outputs, batch.y), lower, bounds, box, figures)


@dataclass(frozen=True)
class MtlIbp(Expressive):
    """weight * L(bounds) + (1 - weight) * L(attack): equation 8."""

    @property
    def name(self) -> str:
        """`mtl-ibp`."""
        return "mtl-ibp"

    def mixture(self, lower: Tensor, attacked: Tensor, y: Tensor) -> Tensor:
        """Return the weighted sum."""
        return self.weight * worst_loss(lower, y) + (1 - self.weight) * functional.cross_entropy(attacked, y)


@dataclass(frozen=True)
class CcIbp(Expressive):
    """L(weight * bounds + (1 - weight) * margins under attack): equation 6."""

    @property
    def name(self) -> str:
        """`cc-ibp`."""
        return "cc-ibp"

    def mixture(self, lower: Tensor, attacked: Tensor, y: Tensor) -> Tensor:
        """Return the loss of the weighted sum."""
        margins = attacked.gather(1, y[:, None]) - attacked
        return worst_loss(self.weight * lower + (1 - self.weight) * margins, y)


@dataclass(frozen=True)
class ExpIbp(Expressive):
    """L(bounds)^weight * L(attack)^(1 - weight), of the batch's means: equation 10."""

    @property
    def name(self) -> str:
        """`exp-ibp`."""
        return "exp-ibp"

    def mixture(self, lower: Tensor, attacked: Tensor, y: Tensor) -> Tensor:
        """Return the weighted geometric mean."""
        parts = worst_loss(lower, y), functional.cross_entropy(attacked, y)
        logs = [part.clamp(min=1e-12).log() for part in parts]
        return torch.exp(self.weight * logs[0] + (1 - self.weight) * logs[1])
