"""The one training loop: any module, any objective.

Batches and random numbers of a step depend on the seed and the step's number alone, so that a run can be taken up
again in the middle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from unmoved.core.errors import UsageError
from unmoved.core.threat import AnyFloats
from unmoved.train.objective import Moment, Objective
from unmoved.train.schedule import ConstantThenCosine


@dataclass(frozen=True)
class Plan:
    """Settings of a run. `lr` is constant until the objective is settled, then falls to 0 as a cosine (Adam).

    Gradients are clipped to the norm `clip`; `l1` weighs the sum of the absolute weights (of two or more axes).
    """

    epochs: int = 30
    batch: int = 100
    lr: float = 2e-3
    seed: int = 0
    clip: float = 10.0
    l1: float = 1e-5

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.epochs < 1 or self.batch < 2:
            raise UsageError("epochs, batch", (self.epochs, self.batch), "at least 1 epoch and batches of at least 2")
        if not (self.lr > 0 and self.clip > 0 and self.l1 >= 0):
            raise UsageError("lr, clip, l1", (self.lr, self.clip, self.l1), "> 0, > 0, >= 0")


@dataclass(frozen=True)
class Epoch:
    """One pass over the data: its number, from 1 to `epochs`; mean loss and figures of its batches; wall seconds."""

    number: int
    epochs: int
    loss: float
    figures: Mapping[str, float]
    seconds: float


History = tuple[Epoch, ...]
Progress = Callable[[Epoch], None]


def fit(
    module: nn.Module,
    x: AnyFloats,
    y: np.ndarray,
    objective: Objective,
    plan: Plan,
    progress: Progress | None = None,
) -> History:
    """Train `module` in place on x (n, *shape) and labels y (n,), and return what happened; it is left in eval mode.

    The same arguments and starting weights give the same result on the same machine with one thread. `progress` is
    called after every epoch. Raises UsageError for data that do not fit, FloatingPointError when the loss diverges.
    """
    inputs, labels = _tensors(x, y, plan)
    loss = objective.start(module, tuple(inputs.shape[1:]))
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=plan.lr, foreach=True)
    fall = ConstantThenCosine(objective.settled)
    per_epoch = len(inputs) // plan.batch
    history: list[Epoch] = []
    module.train()
    for epoch in range(plan.epochs):
        started, sums, total = time.monotonic(), dict[str, float](), 0.0
        for k, rows in enumerate(batches(len(inputs), plan, epoch)):
            step = epoch * per_epoch + k
            at = step / (plan.epochs * per_epoch)
            moment = Moment(at, torch.Generator().manual_seed(_mixed(plan.seed, step)))
            optimiser.param_groups[0]["lr"] = plan.lr * fall(at)
            measured = loss(inputs[rows], labels[rows], moment)
            optimiser.zero_grad()
            (measured.loss + plan.l1 * _weights(parameters)).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
            optimiser.step()
            total += measured.loss.item()
            for name, figure in measured.figures.items():
                sums[name] = sums.get(name, 0.0) + figure
        if not np.isfinite(total):
            raise FloatingPointError(f"the loss diverged in epoch {epoch + 1}: try a smaller learning rate")
        means = {name: figure / per_epoch for name, figure in sums.items()}
        history.append(Epoch(epoch + 1, plan.epochs, total / per_epoch, means, time.monotonic() - started))
        if progress is not None:
            progress(history[-1])
    module.eval()
    return tuple(history)


def batches(count: int, plan: Plan, epoch: int) -> Iterator[Tensor]:
    """Yield the row numbers of one epoch's batches, shuffled by seed and epoch; a rest that fills no batch waits."""
    generator = torch.Generator().manual_seed(_mixed(plan.seed, -1 - epoch))
    order = torch.randperm(count, generator=generator)
    for k in range(count // plan.batch):
        yield order[k * plan.batch : (k + 1) * plan.batch]


def _tensors(x: AnyFloats, y: np.ndarray, plan: Plan) -> tuple[Tensor, Tensor]:
    values, labels = np.asarray(x, np.float32), np.asarray(y)
    if not np.isfinite(values).all():
        raise UsageError("x", "NaN or infinity inside", "finite numbers")
    if labels.shape != (len(values),) or labels.dtype.kind not in "iu":
        raise UsageError("y", (labels.shape, str(labels.dtype)), f"{len(values)} integer labels")
    if len(values) < plan.batch:
        raise UsageError("batch", plan.batch, f"at most the number of inputs, {len(values)}")
    return torch.as_tensor(values), torch.as_tensor(labels.astype(np.int64))


def _weights(parameters: list[nn.Parameter]) -> Tensor:
    return torch.stack([p.abs().sum() for p in parameters if p.dim() >= 2]).sum()


def _mixed(seed: int, number: int) -> int:
    """Return one 63-bit seed of two numbers (SplitMix64's finaliser: streams of neighbours share nothing)."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + 0x2545F4914F6CDD1D) % (1 << 64)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % (1 << 64)
    return (z ^ (z >> 31)) >> 1
