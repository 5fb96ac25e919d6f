"""Elementwise operators that are linear between their kinks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Node
from unmoved.ops.op import Elementwise
from unmoved.ops.scope import Scope

NEAR = 1e-30
"""Next to a jump: a normal float32, and far below the rounding of anything that it is added to."""


@dataclass(frozen=True, eq=False)
class Piecewise(Elementwise):
    """An Elementwise that is linear between its kinks."""

    @property
    def linear_pieces(self) -> bool:
        """True."""
        return True


@dataclass(frozen=True, eq=False)
class Relu(Piecewise):
    """max(x, 0)."""

    @property
    def monotone(self) -> int:
        """+1."""
        return 1

    @property
    def kinks(self) -> tuple[float, ...]:
        """Only 0."""
        return (0.0,)

    def apply(self, *values: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return torch.relu(values[0])

    def derivative(self, value: Tensor) -> Tensor:
        """Return 1 above 0, else 0."""
        return (value > 0).to(value.dtype)


@dataclass(frozen=True, eq=False)
class Clip(Piecewise):
    """min(max(x, low), high); where low > high the answer is high, as ONNX says."""

    low: float
    high: float

    @property
    def monotone(self) -> int:
        """+1."""
        return 1

    @property
    def kinks(self) -> tuple[float, ...]:
        """The finite ends."""
        return tuple(end for end in (self.low, self.high) if math.isfinite(end))

    def apply(self, *values: Tensor) -> Tensor:
        """Return x between the ends."""
        return values[0].clamp(self.low, self.high)

    def derivative(self, value: Tensor) -> Tensor:
        """Return 1 strictly between the ends, else 0."""
        return ((value > self.low) & (value < self.high)).to(value.dtype)


@dataclass(frozen=True, eq=False)
class Slanted(Piecewise):
    """x above 0, slope * x below, with a slope of its own for every element.

    LeakyRelu and PRelu where a slope lies outside [0, 1].
    """

    slopes: Tensor

    @property
    def monotone(self) -> int:
        """+1, unless a slope below 0 is negative."""
        return 1 if bool((self.slopes >= 0).all()) else 0

    @property
    def kinks(self) -> tuple[float, ...]:
        """Only 0."""
        return (0.0,)

    def apply(self, *values: Tensor) -> Tensor:
        """Return both sides' sum: the other one is 0."""
        return values[0].clamp(min=0) + self.slopes * values[0].clamp(max=0)


@dataclass(frozen=True, eq=False)
class Absolute(Piecewise):
    """|x|."""

    @property
    def monotone(self) -> int:
        """0."""
        return 0

    @property
    def kinks(self) -> tuple[float, ...]:
        """Only 0."""
        return (0.0,)

    def apply(self, *values: Tensor) -> Tensor:
        """Return |x|."""
        return values[0].abs()


@dataclass(frozen=True, eq=False)
class Sign(Piecewise):
    """-1, 0 or 1. The jumps at 0 are kinks on either side of it, nearer than any rounding."""

    @property
    def monotone(self) -> int:
        """+1."""
        return 1

    @property
    def kinks(self) -> tuple[float, ...]:
        """0 and both sides of it."""
        return (-NEAR, 0.0, NEAR)

    def apply(self, *values: Tensor) -> Tensor:
        """Return the sign."""
        return values[0].sign()


@dataclass(frozen=True, eq=False)
class HardSigmoid(Piecewise):
    """max(0, min(1, steep x + shift)), steep != 0."""

    steep: float
    shift: float

    @property
    def monotone(self) -> int:
        """The sign of `steep`."""
        return 1 if self.steep > 0 else -1

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where it leaves 0 and reaches 1."""
        return tuple(sorted((-self.shift / self.steep, (1 - self.shift) / self.steep)))

    def apply(self, *values: Tensor) -> Tensor:
        """Return the hard sigmoid."""
        return (self.steep * values[0] + self.shift).clamp(0, 1)


def relu(node: Node, scope: Scope) -> Elementwise:
    """Relu."""
    return Relu(**scope.base(node))


def clip(node: Node, scope: Scope) -> Elementwise:
    """Clip, with its ends as attributes (before operator set 11) or optional constant inputs."""
    ends = []
    for place, (key, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        given = scope.array(node, place)
        ends.append(float(node.attributes.get(key, default)) if given is None else float(given.reshape(())))
    return Clip(**scope.base(node), low=ends[0], high=ends[1])


def absolute(node: Node, scope: Scope) -> Elementwise:
    """Abs."""
    return Absolute(**scope.base(node))


def sign(node: Node, scope: Scope) -> Elementwise:
    """Sign."""
    return Sign(**scope.base(node))


def hard_sigmoid(node: Node, scope: Scope) -> Elementwise:
    """HardSigmoid."""
    steep, shift = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    if steep == 0:
        raise UnsupportedError("HardSigmoid (with alpha 0)", "ops")
    return HardSigmoid(**scope.base(node), steep=steep, shift=shift)
