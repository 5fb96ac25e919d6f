"""Smooth gates: x times something that rises from 0 to 1 (Gelu, Silu, Mish). Their derivative is inverted by a table.

f' is monotone between the points where f'' = 0. On each such piece a table gives a bracket of the solution of
f'(x) = k, and a few steps of Newton's method, kept inside the bracket by halving, give the solution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Node
from unmoved.ops.curves import INF, Smooth, picked
from unmoved.ops.op import Elementwise
from unmoved.ops.scope import Scope

REACH, POINTS, STEPS = 40.0, 2048, 7
"""Beyond +-REACH the gates are 0 or x to the last bit of a double; points of a piece's table; Newton steps."""

STEEP, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715
"""Of the tanh gate: (1 + tanh(z)) / 2 = sigmoid(2 z)."""

Function = Callable[[Tensor], Tensor]
Jet = tuple[Tensor, Tensor, Tensor]
"""A function's value and its first two derivatives."""


def _sigmoid_jet(x: Tensor) -> Jet:
    s = torch.sigmoid(x)
    first = s * (1 - s)
    return s, first, first * (1 - 2 * s)


def _gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def _normal(x: Tensor) -> Jet:
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return (1 + torch.erf(x / math.sqrt(2))) / 2, density, -x * density


def _gelu_tanh(x: Tensor) -> Tensor:
    return x * torch.sigmoid(STEEP * (x + CUBIC * x**3))


def _tanh_gate(x: Tensor) -> Jet:
    s, first, second = _sigmoid_jet(STEEP * (x + CUBIC * x**3))
    inner = STEEP * (1 + 3 * CUBIC * x * x)
    return s, first * inner, second * inner * inner + first * STEEP * 6 * CUBIC * x


def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _mish(x: Tensor) -> Tensor:
    return x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x)))


def _mish_gate(x: Tensor) -> Jet:
    t = torch.tanh(torch.logaddexp(x, torch.zeros_like(x)))
    s, bend, _ = _sigmoid_jet(x)
    first = (1 - t * t) * s
    return t, first, (1 - t * t) * bend - 2 * t * first * s


GATES: dict[str, Function] = {"Gelu": _gelu, "Gelu(tanh)": _gelu_tanh, "Silu": _silu, "Mish": _mish}
"""The gates by name: x times what rises from 0 to 1."""

_RISES: dict[str, Callable[[Tensor], Jet]] = {
    "Gelu": _normal,
    "Gelu(tanh)": _tanh_gate,
    "Silu": _sigmoid_jet,
    "Mish": _mish_gate,
}


def slopes_of(gate: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return f'(x) = g + x g' and f''(x) = 2 g' + x g''."""
    value, first, second = _RISES[gate](x)
    return value + x * first, 2 * first + x * second


@lru_cache(maxsize=len(GATES))
def inflections(gate: str) -> tuple[float, ...]:
    """Return where f'' = 0 and f' is extreme: two points, by halving."""
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    second = slopes_of(gate, x)[1]
    found = []
    for i in ((second[:-1] < 0) != (second[1:] < 0)).nonzero()[:, 0].tolist():
        left, right = float(x[i]), float(x[i + 1])
        rising = bool(second[i] < 0)
        if max(abs(second[i].item()), abs(second[i + 1].item())) < 1e-9:
            continue
        for _ in range(60):
            middle = (left + right) / 2
            above = float(slopes_of(gate, torch.tensor([middle], dtype=torch.float64))[1]) > 0
            left, right = (left, middle) if above == rising else (middle, right)
        found.append((left + right) / 2)
    return tuple(found)


@lru_cache(maxsize=len(GATES))
def _tables(gate: str) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return, for every piece, points in order and f' there, made monotone."""
    ends = (-REACH, *inflections(gate), REACH)
    made = []
    for left, right in pairwise(ends):
        share = torch.linspace(0, 1, POINTS, dtype=torch.float64)
        # Denser at the inflections, where f' changes least.
        share = (1 - torch.cos(math.pi * share)) / 2
        x = left + share * (right - left)
        first = slopes_of(gate, x)[0]
        up = bool(first[-1] > first[0])
        made.append((x, torch.cummax(first, 0).values if up else torch.cummin(first, 0).values))
    return tuple(made)


@dataclass(frozen=True, eq=False)
class Gate(Smooth):
    """factor g(rate x), g one of GATES: x times what rises from 0 to 1."""

    gate: str
    factor: float = 1.0
    rate: float = 1.0

    @property
    def monotone(self) -> int:
        """0: they dip below 0 and rise again."""
        return 0

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """Concave in the tails, convex between the inflections."""
        left, right = sorted(x / self.rate for x in inflections(self.gate))
        sign = 1 if self.factor > 0 else -1
        return ((-INF, left, -sign), (left, right, sign), (right, INF, -sign))

    def apply(self, *values: Tensor) -> Tensor:
        """Return the gate's value."""
        if self.factor == self.rate == 1:
            return GATES[self.gate](values[0])
        return self.factor * GATES[self.gate](self.rate * values[0])

    def derivative(self, value: Tensor) -> Tensor:
        """Return f'(x)."""
        return self.factor * self.rate * slopes_of(self.gate, self.rate * value)[0]

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Return the solution on each of the three pieces."""
        k = slope.detach() / (self.factor * self.rate)
        return tuple(self._solved(k, x.to(k), first.to(k)) / self.rate for x, first in _tables(self.gate))

    def _solved(self, slope: Tensor, points: Tensor, first: Tensor) -> Tensor:
        """Solve f'(x) = slope on one piece."""
        up = bool(first[-1] > first[0])
        sign = 1.0 if up else -1.0
        there = (slope >= first.min()) & (slope <= first.max())
        place = torch.searchsorted(first * sign, (slope * sign).contiguous()).clamp(1, len(points) - 1)
        left, right = points[place - 1], points[place]
        x = (left + right) / 2
        for _ in range(STEPS):
            value, bend = slopes_of(self.gate, x)
            below = value * sign < slope * sign
            left, right = torch.where(below, x, left), torch.where(below, right, x)
            newton = x - (value - slope) / bend
            x = torch.where((newton >= left) & (newton <= right), newton, (left + right) / 2)
        return picked(there, x)


def gate(node: Node, scope: Scope) -> Elementwise:
    """Gelu (exact or tanh), Mish and Swish."""
    name = {"Gelu": "Gelu", "Mish": "Mish", "Swish": "Silu"}[node.op]
    if node.op == "Gelu" and node.attributes.get("approximate", "none") == "tanh":
        name = "Gelu(tanh)"
    # x sigmoid(alpha x) = (alpha x) sigmoid(alpha x) / alpha
    rate = float(node.attributes.get("alpha", 1.0)) if node.op == "Swish" else 1.0
    if rate == 0:
        raise UnsupportedError("Swish (with alpha 0)", "ops")
    return Gate(**scope.base(node), gate=name, factor=1 / rate, rate=rate)
