"""What training minimises: a loss, not a model class. Any torch module can be trained by any objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Moment:
    """Where training stands: progress from 0 to 1, and random numbers, which depend on seed and step alone."""

    progress: float
    generator: torch.Generator


@dataclass(frozen=True)
class Measured:
    """A differentiable loss (scalar), and figures of the batch for people, by name."""

    loss: Tensor
    figures: Mapping[str, float] = field(default_factory=dict)


class Loss(Protocol):
    """An objective made ready for one module."""

    def __call__(self, x: Tensor, y: Tensor, moment: Moment) -> Measured:
        """Return the loss on a batch: x (n, *shape) float32, y (n,) int64."""


class Objective(ABC):
    """A training objective: settings, and how to turn them into the loss of one module."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The objective as the command line calls it."""

    @property
    @abstractmethod
    def settled(self) -> float:
        """Progress from which the loss no longer changes its meaning: the learning rate falls only from there."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Everything the loss depends on besides the module and the data, as text."""

    @abstractmethod
    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Return the loss of this module for inputs of `shape` (without the batch).

        The module's parameters are read anew at every call of the loss. UnsupportedError for a module that the
        objective cannot treat.
        """
