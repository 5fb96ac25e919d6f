"""Early stopping: what is watched, and how long without a gain is long enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.interval import interval
from unmoved.core.errors import UsageError
from unmoved.core.threat import AnyFloats
from unmoved.ir.network import Network
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind
from unmoved.train.certified.box import margins_low
from unmoved.train.statistics import evaluating, named_tensors

Measure = Callable[[nn.Module], float]
"""What is to grow: a figure of a module in eval mode."""


@dataclass(frozen=True)
class Stopping:
    """Stop after `patience` epochs without a new best of `measure`, and keep the best epoch's weights.

    Epochs before the objective is settled do not count: while eps still grows, certified accuracy is high for the wrong
    reason.
    """

    measure: Measure
    patience: int = 10

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.patience < 1:
            raise UsageError("patience", self.patience, "at least 1 epoch")


@dataclass(eq=False)
class CertifiedShare:
    """The share of inputs x (n, *shape), labels y (n,), that interval bounds certify in L_inf balls of `eps`.

    A figure to steer by, in float32 without a margin for rounding: what counts is certified afterwards.
    """

    x: AnyFloats
    y: np.ndarray
    eps: float
    clip: tuple[float, float] | None = (0.0, 1.0)
    batch: int = 500
    read: tuple[nn.Module, Network] | None = field(default=None, init=False, repr=False)

    def __call__(self, module: nn.Module) -> float:
        """Return the share, in [0, 1]."""
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        if self.read is None or self.read[0] is not module:
            self.read = module, load_torch(module, (1, *self.x.shape[1:]), trainable=True)
        network = self.read[1]
        with torch.no_grad(), evaluating(module):
            ops = bind(network, named_tensors(module), device=device)
            good = 0
            for k in range(0, len(self.x), self.batch):
                x = torch.as_tensor(np.asarray(self.x[k : k + self.batch], np.float32), device=device)
                y = torch.as_tensor(np.asarray(self.y[k : k + self.batch], np.int64), device=device)
                low, high = self._box(x.reshape(len(x), *network.input_shape))
                lower = margins_low(ops, network, interval(ops, network, Bounds(low, high)), y)
                good += int((lower.scatter(1, y[:, None], torch.inf) > 0).all(1).sum())
        return good / len(self.x)

    def _box(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = x - self.eps, x + self.eps
        return (low, high) if self.clip is None else (low.clamp(*self.clip), high.clamp(*self.clip))
