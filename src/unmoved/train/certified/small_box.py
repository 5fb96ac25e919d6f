"""SABR: interval bounds over a small box about an adversarial point, instead of the whole ball (Müller et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

from unmoved.bounds.enclosure import Bounds
from unmoved.core.errors import UsageError
from unmoved.train.certified.box import Batch, BoxObjective, Terms, worst_loss
from unmoved.train.descent import Descent


@dataclass(frozen=True)
class Sabr(BoxObjective):
    """Cross-entropy of the interval bounds over boxes of `size` eps, each about the worst point that keeps it inside.

    "Certified training: small boxes are all you need", equation 4. size 1: interval training. What the loss calls
    certified holds over the small box only.
    """

    size: float = 0.4
    attack: Descent = field(default_factory=Descent)

    def check(self) -> None:
        """Check the size."""
        if not 0 < self.size <= 1:
            raise UsageError("size", self.size, "a share of eps, above 0 and at most 1")

    @property
    def name(self) -> str:
        """`sabr`."""
        return "sabr"

    def terms(self, batch: Batch) -> Terms:
        """Return the loss."""
        box = small_box(batch, self.size, self.attack)
        bounds = batch.interval(box)
        lower = batch.margins(bounds)
        return Terms(worst_loss(lower, batch.y), lower, bounds, box)


def small_box(batch: Batch, size: float, attack: Descent) -> Bounds:
    """Return boxes of `size` * eps about points of largest cross-entropy, within the balls of eps and the range."""
    if size == 1 or batch.eps == 0:
        return batch.box(batch.eps)
    points = attack.worst(lambda z: cross_entropies(batch, z), batch.box((1 - size) * batch.eps), batch.generator)
    return batch.box(size * batch.eps, points)


def cross_entropies(batch: Batch, points: Tensor) -> Tensor:
    """Return the cross-entropy (n,) at a point for every input."""
    return functional.cross_entropy(batch.scores(points), batch.y, reduction="none")
