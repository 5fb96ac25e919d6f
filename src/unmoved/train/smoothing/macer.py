"""MACER: the certified radius itself as part of the loss, without an attack."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from unmoved.core.errors import UsageError
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.smoothing.noise import check, noise, repeated


@dataclass(frozen=True)
class Macer(Objective):
    """-log of the mean softmax of the label, plus `weight` sigma / 2 times a hinge of the soft radius at `gamma`.

    The soft radius Phi^-1(p_y) - Phi^-1(p_next) is that of the mean of softmax(`beta` * logits) over `copies`. It is
    pushed up to gamma for inputs that g answers rightly: Zhai et al. 2020, "MACER", equations 7 to 10. Inputs where it
    is beyond gamma, or not finite in float32, have nothing to gain. Weight 0: the loss of g's mean softmax.
    """

    sigma: float
    copies: int = 16
    weight: float = 4.0
    gamma: float = 8.0
    beta: float = 16.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check(self.sigma, self.copies, weight=self.weight)
        if not (0 < self.gamma < math.inf and 0 < self.beta < math.inf):
            raise UsageError("gamma, beta", (self.gamma, self.beta), "numbers > 0")

    @property
    def name(self) -> str:
        """`macer`."""
        return "macer"

    @property
    def settled(self) -> float:
        """From the start."""
        return 0.0

    def settings(self) -> dict[str, str]:
        """Return the fields."""
        return {name: str(value) for name, value in asdict(self).items()}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Return the loss; `shape` plays no part."""

        def loss(x: Tensor, y: Tensor, moment: Moment) -> Measured:
            outputs = module(repeated(x, self.copies) + noise(x, self.copies, self.sigma, moment)).flatten(1)
            outputs = outputs.view(self.copies, len(x), -1)
            logs = outputs.log_softmax(2).logsumexp(0) - math.log(self.copies)
            total = functional.nll_loss(logs, y)
            figures = {"right": float((logs.argmax(1) == y).float().mean())}
            if self.weight > 0:
                hinge, radius = self._hinge(outputs, y)
                total, figures["radius"] = total + self.weight * self.sigma / 2 * hinge, radius * self.sigma / 2
            return Measured(total, figures)

        return loss

    def _hinge(self, outputs: Tensor, y: Tensor) -> tuple[Tensor, float]:
        """Return the sum of gamma - radius over the inputs that count, over n, and their mean radius."""
        mean = (self.beta * outputs).softmax(2).mean(0)
        top, place = mean.topk(2, dim=1)
        with torch.no_grad():
            radius = torch.special.ndtri(top[:, 0]) - torch.special.ndtri(top[:, 1])
            counts = (place[:, 0] == y) & radius.isfinite() & (radius <= self.gamma)
        if not bool(counts.any()):
            return outputs.new_zeros(()), 0.0
        # only what counts is differentiated: the inverse's slope is infinite at 0 and 1
        own = torch.special.ndtri(top[counts, 0]) - torch.special.ndtri(top[counts, 1])
        return (self.gamma - own).sum() / len(y), float(radius[counts].mean())
