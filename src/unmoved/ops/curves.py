"""Smooth elementwise operators whose derivative can be inverted in closed form, and where they are convex."""

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

INF = math.inf


def picked(condition: Tensor, x: Tensor) -> Tensor:
    """Return x where the condition holds, NaN elsewhere."""
    return torch.where(condition, x, torch.nan)


@dataclass(frozen=True, eq=False)
class Smooth(Elementwise):
    """An Elementwise that rises everywhere and has no kinks, unless it says otherwise."""

    @property
    def monotone(self) -> int:
        """+1."""
        return 1

    @property
    def kinks(self) -> tuple[float, ...]:
        """None."""
        return ()


@dataclass(frozen=True, eq=False)
class Bell(Smooth):
    """A smooth function that rises everywhere, steepest (`steepest`) at 0, with an even derivative: an S."""

    steepest: float

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """Convex below 0, concave above."""
        return ((-INF, 0.0, 1), (0.0, INF, -1))

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Return x and -x where f'(x) = slope, for 0 < slope <= steepest; NaN elsewhere.

        No gradient flows to the slope: the least of f(x) - k x over x has the derivative -x in k (envelope theorem),
        and that one a caller gets from its own k x.
        """
        k = slope.detach()
        there = (k > 0) & (k <= self.steepest)
        x = picked(there, self.positive(k.clamp(torch.finfo(k.dtype).tiny, self.steepest)))
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


@dataclass(frozen=True, eq=False)
class Erf(Bell):
    """The error function."""

    def apply(self, *values: Tensor) -> Tensor:
        """Return erf."""
        return torch.erf(values[0])

    def positive(self, slope: Tensor) -> Tensor:
        """Solve 2 / sqrt(pi) exp(-x^2) = slope."""
        return torch.sqrt(torch.log(self.steepest / slope).clamp_min(0))


@dataclass(frozen=True, eq=False)
class Softsign(Bell):
    """x / (1 + |x|)."""

    def apply(self, *values: Tensor) -> Tensor:
        """Return softsign."""
        return torch.nn.functional.softsign(values[0])

    def positive(self, slope: Tensor) -> Tensor:
        """Solve (1 + x)^-2 = slope."""
        return (1 / torch.sqrt(slope) - 1).clamp_min(0)


@dataclass(frozen=True, eq=False)
class Atan(Bell):
    """The arc tangent."""

    def apply(self, *values: Tensor) -> Tensor:
        """Return arctan."""
        return torch.atan(values[0])

    def positive(self, slope: Tensor) -> Tensor:
        """Solve 1 / (1 + x^2) = slope."""
        return torch.sqrt((1 / slope - 1).clamp_min(0))


@dataclass(frozen=True, eq=False)
class Exp(Smooth):
    """exp(x)."""

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """Convex."""
        return ((-INF, INF, 1),)

    def apply(self, *values: Tensor) -> Tensor:
        """Return exp."""
        return torch.exp(values[0])

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Return log(slope)."""
        return (picked(slope > 0, torch.log(slope.detach().clamp_min(torch.finfo(slope.dtype).tiny))),)


@dataclass(frozen=True, eq=False)
class Softplus(Smooth):
    """log(1 + exp(x))."""

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """Convex."""
        return ((-INF, INF, 1),)

    def apply(self, *values: Tensor) -> Tensor:
        """Return softplus, without a threshold."""
        return torch.logaddexp(values[0], torch.zeros_like(values[0]))

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Solve sigmoid(x) = slope."""
        k = slope.detach()
        return (picked((k > 0) & (k < 1), torch.logit(k.clamp(torch.finfo(k.dtype).tiny, 1))),)


@dataclass(frozen=True, eq=False)
class Log(Smooth):
    """log(x), for x > 0."""

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """Concave."""
        return ((0.0, INF, -1),)

    def defined(self, low: Tensor, high: Tensor) -> Tensor | None:
        """Above 0."""
        return low > 0

    def apply(self, *values: Tensor) -> Tensor:
        """Return the natural logarithm."""
        return torch.log(values[0])

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Solve 1 / x = slope."""
        return (picked(slope > 0, 1 / slope.detach().clamp_min(torch.finfo(slope.dtype).tiny)),)


@dataclass(frozen=True, eq=False)
class Power(Smooth):
    """x ** exponent, with square root and reciprocal.

    Defined for all x where the exponent is 2, 3, ..., on either side of 0 where it is -1, -2, ..., else for x > 0 (at 0
    too where a fractional exponent is positive).
    """

    exponent: float

    @property
    def _whole(self) -> bool:
        return self.exponent == round(self.exponent)

    @property
    def _even(self) -> bool:
        return self._whole and self.exponent % 2 == 0

    @property
    def monotone(self) -> int:
        """The sign of the exponent, but 0 for an even one: there the two sides differ."""
        if self._even:
            return 0
        return 1 if self.exponent > 0 else -1

    @property
    def kinks(self) -> tuple[float, ...]:
        """None: where a negative power has a pole it is not defined."""
        return ()

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """By the sign of p (p - 1) above 0; the same below for even powers, the other one for odd powers."""
        above = 1 if self.exponent * (self.exponent - 1) > 0 else -1
        if not self._whole:
            return ((0.0, INF, above),)
        if self._even and self.exponent > 0:
            return ((-INF, INF, 1),)
        return ((-INF, 0.0, above if self._even else -above), (0.0, INF, above))

    def defined(self, low: Tensor, high: Tensor) -> Tensor | None:
        """As the class says."""
        if self._whole:
            return None if self.exponent > 0 else (low > 0) | (high < 0)
        return low >= 0 if self.exponent > 0 else low > 0

    def apply(self, *values: Tensor) -> Tensor:
        """Return the power."""
        if self.exponent == 0.5:
            return torch.sqrt(values[0])
        return values[0] ** self.exponent

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Solve p x^(p-1) = slope: |x| = |slope / p|^(1 / (p-1)), with the sign or the signs that fit."""
        p = self.exponent
        ratio = slope.detach() / p
        size = ratio.abs().clamp_min(torch.finfo(slope.dtype).tiny) ** (1 / (p - 1))
        if self._even:
            return (size * ratio.sign(),)
        x = picked(ratio >= 0, size)
        return (x, -x) if self._whole else (x,)


@dataclass(frozen=True, eq=False)
class Elu(Smooth):
    """gain x above 0, depth (exp(rate x) - 1) below: Elu, Selu and Celu."""

    gain: float
    depth: float
    rate: float

    @property
    def monotone(self) -> int:
        """+1 unless the part below 0 falls."""
        return 1 if self.depth >= 0 else 0

    @property
    def kinks(self) -> tuple[float, ...]:
        """Only 0."""
        return (0.0,)

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """Convex everywhere, or on both sides of 0."""
        if 0 <= self.depth * self.rate <= self.gain:
            return ((-INF, INF, 1),)
        return ((-INF, 0.0, 1 if self.depth >= 0 else -1), (0.0, INF, 1))

    def apply(self, *values: Tensor) -> Tensor:
        """Return both sides' sum: the other one is 0."""
        x = values[0]
        return self.gain * x.clamp(min=0) + self.depth * torch.expm1(self.rate * x.clamp(max=0))

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Solve depth rate exp(rate x) = slope below 0."""
        if self.depth == 0:
            return ()
        ratio = slope.detach() / (self.depth * self.rate)
        x = torch.log(ratio.clamp_min(torch.finfo(slope.dtype).tiny)) / self.rate
        return (picked((ratio > 0) & (x < 0), x),)


@dataclass(frozen=True, eq=False)
class HardSwish(Smooth):
    """x max(0, min(1, x / 6 + 1/2))."""

    @property
    def monotone(self) -> int:
        """0: it falls between -3 and -3/2."""
        return 0

    @property
    def kinks(self) -> tuple[float, ...]:
        """-3 and 3."""
        return (-3.0, 3.0)

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """A parabola between the kinks."""
        return ((-INF, -3.0, 1), (-3.0, 3.0, 1), (3.0, INF, 1))

    def apply(self, *values: Tensor) -> Tensor:
        """Return hard swish."""
        return values[0] * (values[0] / 6 + 0.5).clamp(0, 1)

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Solve x / 3 + 1/2 = slope."""
        return (picked((slope >= -0.5) & (slope <= 1.5), 3 * slope.detach() - 1.5),)


@dataclass(frozen=True, eq=False)
class Wave(Smooth):
    """sin(x + phase), for whole turns of a quarter: Sin and Cos."""

    phase: float

    @property
    def monotone(self) -> int:
        """0."""
        return 0

    def apply(self, *values: Tensor) -> Tensor:
        """Return the wave."""
        return torch.cos(values[0]) if self.phase else torch.sin(values[0])

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Solve cos(x + phase) = slope: of each family of solutions the first and the last one in [low, high].

        f(x) - k x changes by the same amount from one solution of a family to the next, so that those are extreme.
        """
        there, turn = slope.detach().abs() <= 1, 2 * math.pi
        angle = torch.acos(slope.detach().clamp(-1, 1))
        found = []
        for base in (angle - self.phase, -angle - self.phase):
            found.append(picked(there, base + turn * torch.ceil((low - base) / turn)))
            found.append(picked(there, base + turn * torch.floor((high - base) / turn)))
        return tuple(found)


def sigmoid(node: Node, scope: Scope) -> Elementwise:
    """Sigmoid."""
    return Sigmoid(**scope.base(node), steepest=0.25)


def tanh(node: Node, scope: Scope) -> Elementwise:
    """Tanh."""
    return Tanh(**scope.base(node), steepest=1.0)


def erf(node: Node, scope: Scope) -> Elementwise:
    """Erf."""
    return Erf(**scope.base(node), steepest=2 / math.sqrt(math.pi))


def softsign(node: Node, scope: Scope) -> Elementwise:
    """Softsign."""
    return Softsign(**scope.base(node), steepest=1.0)


def atan(node: Node, scope: Scope) -> Elementwise:
    """Atan."""
    return Atan(**scope.base(node), steepest=1.0)


def exp(node: Node, scope: Scope) -> Elementwise:
    """Exp."""
    return Exp(**scope.base(node))


def log(node: Node, scope: Scope) -> Elementwise:
    """Log."""
    return Log(**scope.base(node))


def softplus(node: Node, scope: Scope) -> Elementwise:
    """Softplus."""
    return Softplus(**scope.base(node))


def power(node: Node, scope: Scope) -> Elementwise:
    """Pow with one constant exponent, Sqrt, Reciprocal."""
    fixed = {"Sqrt": 0.5, "Reciprocal": -1.0}
    if node.op in fixed:
        return Power(**scope.base(node), exponent=fixed[node.op])
    if scope.variables(node) != (0,):
        raise UnsupportedError("Pow (with a variable exponent)", "ops")
    given = scope.array(node, 1)
    if given is None or given.size != 1 or scope.shape(node.outputs[0]) != scope.shape(node.inputs[0]):
        raise UnsupportedError("Pow (with a tensor of exponents)", "ops")
    exponent = float(given.reshape(()))
    if exponent in (0.0, 1.0) or not math.isfinite(exponent):
        raise UnsupportedError(f"Pow (with the exponent {exponent:g})", "ops")
    return Power(**scope.base(node), exponent=exponent)


def elu(node: Node, scope: Scope) -> Elementwise:
    """Elu, Selu, Celu with ONNX's defaults."""
    defaults = {"Elu": 1.0, "Celu": 1.0, "Selu": 1.67326319217681884765625}
    alpha = float(node.attributes.get("alpha", defaults[node.op]))
    gain, depth, rate = 1.0, alpha, 1.0
    if node.op == "Selu":
        gain = float(node.attributes.get("gamma", 1.05070102214813232421875))
        depth = gain * alpha
    if node.op == "Celu":
        if alpha <= 0:
            raise UnsupportedError("Celu (with alpha <= 0)", "ops")
        rate = 1 / alpha
    return Elu(**scope.base(node), gain=gain, depth=depth, rate=rate)


def hard_swish(node: Node, scope: Scope) -> Elementwise:
    """HardSwish."""
    return HardSwish(**scope.base(node))


def wave(node: Node, scope: Scope) -> Elementwise:
    """Sin and Cos."""
    return Wave(**scope.base(node), phase=math.pi / 2 if node.op == "Cos" else 0.0)
