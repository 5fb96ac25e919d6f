"""Attacking a smoothed classifier g(x) = argmax_c P(f(x + noise) = c), Gaussian noise.

The descent follows the average softmax over a few noisy copies (SmoothAdv: Salman et al. 2019, section 2.2); what
counts in the end is what g itself predicts at the point found. Broken inputs give an upper bound of certified accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.attack.ball import Ball, keys, stream
from unmoved.attack.gradient import Pgd
from unmoved.attack.search import Scores, Singles, finish
from unmoved.core.budget import Budget
from unmoved.core.errors import UsageError
from unmoved.core.threat import AnyFloats, Threat

Labels = npt.NDArray[np.int64]
ABSTAINED = -1
DESCENT = Pgd(steps=20, restarts=2, targets=0)
NOISE_RUN = 1 << 20

Predict = Callable[[Singles], Labels]
"""A prediction of g: points (n, *shape) -> classes (n,), ABSTAINED where g gives none."""


@dataclass(frozen=True)
class SmoothedAttacked:
    """The points found (n, *shape), each in S(x) exactly, and g's predictions there (n,).

    `broken` (n,): g predicts another class than the label. An abstention is not a break: it says nothing of g.
    """

    points: Singles
    predictions: Labels
    broken: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SmoothedPgd:
    """Settings: `samples` noisy copies of standard deviation `sigma` a gradient, and the descent.

    The copies of one input are fixed for a whole run and new in the next. A run goes on until the average softmax of
    the label is `lead` below another class: votes decide, and they are not the softmax.
    """

    sigma: float
    samples: int = 16
    descent: Pgd = DESCENT
    lead: float = 0.4

    def __post_init__(self) -> None:
        """Check the settings."""
        if not self.sigma > 0 or self.samples < 1:
            raise UsageError("sigma, samples", (self.sigma, self.samples), "sigma > 0, samples >= 1")

    def search(
        self,
        scores: Scores,
        x: AnyFloats,
        labels: Labels,
        threats: Sequence[Threat],
        *,
        predict: Predict,
        seed: int = 0,
        budget: Budget | None = None,
    ) -> SmoothedAttacked:
        """Return the worst point found for each input of x (n, *shape) and what `predict`, called once, says there."""
        if not len(x):
            return SmoothedAttacked(np.zeros(x.shape, np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
        ball, names = Ball.of(threats, x), keys(seed, x)
        aim = SmoothedAim(scores, torch.as_tensor(labels, dtype=torch.int64), names, self)
        best = self.descent.descend(aim, ball, names, budget=budget)
        found = finish(best, x, threats, lambda points, rows: aim(points, rows, 0)[1])
        inside = np.isfinite(found.points).reshape(len(x), -1).all(1)
        predictions = np.full(len(x), ABSTAINED, np.int64)
        if inside.any():
            predictions[inside] = predict(found.points[inside])
        return SmoothedAttacked(
            found.points, predictions, inside & (predictions != ABSTAINED) & (predictions != labels)
        )


@dataclass(frozen=True)
class SmoothedAim:
    """Lowers log(p / (1 - p)), p the label's average softmax; the margin is p less the next class, plus the lead."""

    scores: Scores
    labels: Tensor
    names: Sequence[bytes]
    settings: SmoothedPgd

    def __call__(self, points: Tensor, rows: Tensor, run: int) -> tuple[Tensor, Tensor]:
        """Return (loss, margin) of points, with the noise of this run."""
        copies, size = self.settings.samples, points[0].numel()
        noise = np.stack(
            [stream(self.names[i], NOISE_RUN + run).standard_normal((copies, size), np.float32) for i in rows]
        )
        noisy = points.flatten(1)[:, None, :] + self.settings.sigma * torch.as_tensor(noise)
        outputs = self.scores(noisy.reshape(-1, *points.shape[1:])).flatten(1)
        mean = outputs.softmax(1).view(len(points), copies, -1).mean(1)
        own = self.labels[rows][:, None]
        p = mean.gather(1, own)[:, 0]
        other = mean.scatter(1, own, -1.0).amax(1)
        loss = p.clamp(min=1e-12).log() - (1 - p).clamp(min=1e-12).log()
        return loss, p - other + self.settings.lead
