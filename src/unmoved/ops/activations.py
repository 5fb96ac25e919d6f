"""Elementwise operators: their kinks, and where they have a given slope."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Node
from unmoved.ops.op import Elementwise
from unmoved.ops.scope import Scope


@dataclass(frozen=True, eq=False)
class Piecewise(Elementwise):
    """An Elementwise that is linear between its kinks."""

    @property
    def linear_pieces(self) -> bool:
        """True."""
        return True

    def where_slope(self, slope: Tensor) -> tuple[Tensor, ...]:
        """Return (): on a linear piece every extremum of f(x) - k x is at an end or a kink too."""
        return ()


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
class LeakyRelu(Piecewise):
    """x above 0, slope * x below."""

    slope: float

    @property
    def monotone(self) -> int:
        """+1, unless the slope below 0 is negative."""
        return 1 if self.slope >= 0 else 0

    @property
    def kinks(self) -> tuple[float, ...]:
        """Only 0."""
        return (0.0,)

    def apply(self, *values: Tensor) -> Tensor:
        """Return x or slope * x."""
        return torch.nn.functional.leaky_relu(values[0], self.slope)

    def derivative(self, value: Tensor) -> Tensor:
        """Return 1 above 0, else the slope."""
        return torch.where(value > 0, 1.0, self.slope).to(value.dtype)


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
class Bell(Elementwise):
    """A smooth Elementwise that rises everywhere, steepest (`steepest`) at 0, with an even derivative."""

    steepest: float

    @property
    def monotone(self) -> int:
        """+1."""
        return 1

    @property
    def kinks(self) -> tuple[float, ...]:
        """None."""
        return ()

    def where_slope(self, slope: Tensor) -> tuple[Tensor, ...]:
        """Return x and -x where f'(x) = slope, for 0 < slope <= steepest; NaN elsewhere.

        No gradient flows to the slope: the least of f(x) - k x over x has the derivative -x in k (envelope theorem),
        and that one a caller gets from its own k x.
        """
        k = slope.detach()
        there = (k > 0) & (k <= self.steepest)
        x = torch.where(there, self.positive(k.clamp(torch.finfo(k.dtype).tiny, self.steepest)), torch.nan)
        return x, -x

    @abstractmethod
    def positive(self, slope: Tensor) -> Tensor:
        """Return the x >= 0 with f'(x) = slope, for 0 < slope <= steepest."""


@dataclass(frozen=True, eq=False)
class Sigmoid(Bell):
    """1 / (1 + exp(-x))."""

    def apply(self, *values: Tensor) -> Tensor:
        """Return the logistic function."""
        return torch.sigmoid(values[0])

    def positive(self, slope: Tensor) -> Tensor:
        """Solve s (1 - s) = slope for s >= 1/2; x = log(s / (1 - s)) = 2 log(s) - log(slope)."""
        s = (1 + torch.sqrt(1 - 4 * slope)) / 2
        return (2 * torch.log(s) - torch.log(slope)).clamp_min(0)


@dataclass(frozen=True, eq=False)
class Tanh(Bell):
    """The hyperbolic tangent."""

    def apply(self, *values: Tensor) -> Tensor:
        """Return tanh."""
        return torch.tanh(values[0])

    def positive(self, slope: Tensor) -> Tensor:
        """Solve 1 - t^2 = slope for t >= 0; x = artanh(t) = log(1 + t) - log(slope) / 2."""
        return (torch.log1p(torch.sqrt(1 - slope)) - torch.log(slope) / 2).clamp_min(0)


def relu(node: Node, scope: Scope) -> Elementwise:
    """Relu."""
    return Relu(**scope.base(node))


def leaky_relu(node: Node, scope: Scope) -> Elementwise:
    """LeakyRelu."""
    return LeakyRelu(**scope.base(node), slope=float(node.attributes.get("alpha", 0.01)))


def clip(node: Node, scope: Scope) -> Elementwise:
    """Clip, with its ends as attributes (before operator set 11) or optional constant inputs."""
    ends = []
    for place, (key, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        given = scope.array(node, place)
        ends.append(float(node.attributes.get(key, default)) if given is None else float(given.reshape(())))
    return Clip(**scope.base(node), low=ends[0], high=ends[1])


def one_sided(node: Node, scope: Scope) -> Elementwise:
    """Max or Min with one number: a Clip with one end."""
    variables = scope.variables(node)
    if len(variables) != 1 or len(node.inputs) != 2:
        raise UnsupportedError(f"{node.op} (of {len(variables)} variables)", "ops")
    end = scope.array(node, 1 - variables[0])
    if end is None or end.size != 1 or scope.shape(node.outputs[0]) != scope.shape(node.inputs[variables[0]]):
        raise UnsupportedError(f"{node.op} (with a tensor)", "ops")
    number = float(end.reshape(()))
    low, high = (number, math.inf) if node.op == "Max" else (-math.inf, number)
    return Clip(**scope.base(node), low=low, high=high)


def sigmoid(node: Node, scope: Scope) -> Elementwise:
    """Sigmoid."""
    return Sigmoid(**scope.base(node), steepest=0.25)


def tanh(node: Node, scope: Scope) -> Elementwise:
    """Tanh."""
    return Tanh(**scope.base(node), steepest=1.0)
