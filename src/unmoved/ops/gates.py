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

REACH, POINTS, STEPS = 40.0, 2048, 9
"""Beyond +-REACH the gates are 0 or x to the last bit of a double; points of a piece's table; Newton steps."""

Function = Callable[[Tensor], Tensor]


def _gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def _gelu_tanh(x: Tensor) -> Tensor:
    return x * torch.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _mish(x: Tensor) -> Tensor:
    return x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x)))


GATES: dict[str, Function] = {
    "Gelu": _gelu,
    "Gelu(tanh)": _gelu_tanh,
    "Silu": _silu,
    "Gelu(sigmoid)": _quick_gelu,
    "Mish": _mish,
}
"""The gates by name."""


def slopes_of(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return f'(x) and f''(x)."""
    with torch.enable_grad():
        at = x.detach().requires_grad_(True)
        (first,) = torch.autograd.grad(function(at).sum(), at, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), at)
    return first.detach(), second


@lru_cache(maxsize=len(GATES))
def inflections(gate: str) -> tuple[float, ...]:
    """Return where f'' = 0 and f' is extreme: two points, by halving."""
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    second = slopes_of(GATES[gate], x)[1]
    found = []
    for i in ((second[:-1] < 0) != (second[1:] < 0)).nonzero()[:, 0].tolist():
        left, right = float(x[i]), float(x[i + 1])
        rising = bool(second[i] < 0)
        if max(abs(second[i].item()), abs(second[i + 1].item())) < 1e-9:
            continue
        for _ in range(60):
            middle = (left + right) / 2
            above = float(slopes_of(GATES[gate], torch.tensor([middle], dtype=torch.float64))[1]) > 0
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
        first = slopes_of(GATES[gate], x)[0]
        up = bool(first[-1] > first[0])
        made.append((x, torch.cummax(first, 0).values if up else torch.cummin(first, 0).values))
    return tuple(made)


@dataclass(frozen=True, eq=False)
class Gate(Smooth):
    """x g(x) for a g that rises from 0 to 1; `gate` is one of GATES."""

    gate: str

    @property
    def monotone(self) -> int:
        """0: they dip below 0 and rise again."""
        return 0

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """Concave in the tails, convex between the inflections."""
        left, right = inflections(self.gate)
        return ((-INF, left, -1), (left, right, 1), (right, INF, -1))

    def apply(self, *values: Tensor) -> Tensor:
        """Return the gate's value."""
        return GATES[self.gate](values[0])

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Return the solution on each of the three pieces."""
        k = slope.detach()
        return tuple(self._solved(k, x.to(k), first.to(k)) for x, first in _tables(self.gate))

    def _solved(self, slope: Tensor, points: Tensor, first: Tensor) -> Tensor:
        """Solve f'(x) = slope on one piece."""
        up = bool(first[-1] > first[0])
        sign = 1.0 if up else -1.0
        there = (slope >= first.min()) & (slope <= first.max())
        place = torch.searchsorted(first * sign, (slope * sign).contiguous()).clamp(1, len(points) - 1)
        left, right = points[place - 1], points[place]
        x = (left + right) / 2
        for _ in range(STEPS):
            value, bend = slopes_of(GATES[self.gate], x)
            below = value * sign < slope * sign
            left, right = torch.where(below, x, left), torch.where(below, right, x)
            newton = x - (value - slope) / bend
            x = torch.where((newton >= left) & (newton <= right), newton, (left + right) / 2)
        return picked(there, x)


def gate(node: Node, scope: Scope) -> Elementwise:
    """Gelu (exact or tanh), Mish, Swish (with alpha 1 or 1.702), and Silu as an exporter writes it."""
    name = {"Gelu": "Gelu", "Mish": "Mish", "Swish": "Silu"}[node.op]
    if node.op == "Gelu" and node.attributes.get("approximate", "none") == "tanh":
        name = "Gelu(tanh)"
    if node.op == "Swish" and float(node.attributes.get("alpha", 1.0)) != 1.0:
        raise UnsupportedError("Swish (with alpha other than 1)", "ops")
    return Gate(**scope.base(node), gate=name)
