"""What the adversary may do: a set S(x) around an input, as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from unmoved.core.rounding import Floats

AnyFloats = npt.NDArray[np.floating[Any]]


def exact(values: AnyFloats) -> bool:
    """Say whether the values are finite and of a type that float64 holds exactly."""
    return values.dtype in (np.float16, np.float32, np.float64) and bool(np.isfinite(values).all())


@dataclass(frozen=True)
class Region:
    """A sound enclosure of S(x) for a batch of inputs, in the form that every bound needs.

    S(x) is contained in the box [low, high] and, when `norm` is given, in the ball {z: ||z - center||_norm <= eps}.
    `low`, `high`, `center` have shape (batch, *input_shape), float64; `eps` is rounded up. `norm` is "1", "2" or None
    (the box says everything, as for L_inf and boxes).
    """

    low: Floats
    high: Floats
    center: Floats
    norm: str | None = None
    eps: float = 0.0


class Threat(ABC):
    """A perturbation set S(x). The contract is in `unmoved.testing.threat`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The threat as the command line writes it, such as `linf:8/255`."""

    @property
    @abstractmethod
    def size(self) -> Fraction | None:
        """Its eps, exactly; None where it has no single size (a box)."""

    @abstractmethod
    def contains(self, x: AnyFloats, point: AnyFloats) -> bool:
        """Say exactly, with no tolerance, whether `point` lies in S(x); both of one input's shape."""

    @abstractmethod
    def region(self, x: AnyFloats) -> Region:
        """Return an enclosure of S(x) for a batch x of shape (batch, *input_shape)."""

    @abstractmethod
    def project(self, x: AnyFloats, points: AnyFloats) -> AnyFloats:
        """Return float32 points of S(x) near `points`, both (batch, *input_shape)."""
