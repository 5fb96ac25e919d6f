"""Gates that an exporter wrote as several operators: x * Sigmoid(x), 0.5 x (1 + Erf(x / sqrt(2))), and the like.

A product of two functions of one tensor bounds badly as a product and exactly as one function. What is read is not how
it is written but what it computes: the subgraph is evaluated, and compared with the gates f(x) = factor g(rate x).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unmoved.ir.network import Network, Node
from unmoved.ops.gates import GATES, Gate
from unmoved.ops.scope import Scope

SPAN, POINTS, CLOSE = 8.0, 65, 1e-6
"""The gates are compared on this many points of [-SPAN, SPAN]; stored constants are float32 numbers."""

LIMIT = 16
"""Operators that one gate is made of at most."""

_UNARY: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Erf": torch.erf,
    "Identity": lambda x: x,
    "Sigmoid": torch.sigmoid,
    "Softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "Tanh": torch.tanh,
    "Neg": lambda x: -x,
}
_BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Div": torch.div,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "Sub": torch.sub,
}


@dataclass(frozen=True)
class Match:
    """The gate at the end of a subgraph and the tensor where it starts."""

    source: str
    gate: str
    factor: float
    rate: float


@dataclass(eq=False)
class Idioms:
    """Finds gates in one network."""

    scope: Scope
    makers: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note which node makes which tensor."""
        self.makers.update({name: node for node in self.scope.network.nodes for name in node.outputs})

    def match(self, node: Node) -> Match | None:
        """Return the gate that ends in this node, None for anything else."""
        if node.op not in ("Mul", "Div"):
            return None
        inside = self._inside(node)
        for source in inside:
            function = self._function(node.outputs[0], source)
            if function is not None:
                found = _gate(function, source)
                if found is not None:
                    return found
        return None

    def _inside(self, node: Node) -> list[str]:
        """Return the tensors that a product of two variables may be a function of, nearest first; () without one."""
        seen: dict[str, None] = {}
        front, product = [node], False
        while front and len(seen) < LIMIT:
            at = front.pop(0)
            variables = [at.inputs[i] for i in self.scope.variables(at)]
            product |= at.op == "Mul" and len(variables) == 2
            for name in variables:
                if name not in seen and self._same_shape(name, node):
                    seen[name] = None
                    maker = self.makers.get(name)
                    if maker is not None and (maker.op in _UNARY or maker.op in _BINARY):
                        front.append(maker)
        return list(seen) if product else []

    def _same_shape(self, name: str, node: Node) -> bool:
        return self.scope.shape(name) == self.scope.shape(node.outputs[0])

    def _function(self, name: str, source: str) -> Callable[[Tensor], Tensor] | None:
        """Return tensor `name` as a function of an element of `source`, None where it depends on anything else."""
        order: list[Node] = []
        if not self._collect(name, source, order, set()):
            return None

        def function(x: Tensor) -> Tensor:
            values = {source: x}
            for node in order:
                taken = [values[n] if n in values else self._number(n).to(x) for n in node.inputs]
                values[node.outputs[0]] = (_UNARY.get(node.op) or _BINARY[node.op])(*taken)
            return values[name]

        return function

    def _collect(self, name: str, source: str, order: list[Node], done: set[str]) -> bool:
        if name == source or name in done:
            return True
        node = self.makers.get(name)
        if node is None or not (node.op in _UNARY or node.op in _BINARY) or len(order) >= LIMIT:
            return False
        for i, other in enumerate(node.inputs):
            if i in self.scope.variables(node):
                if not self._same_shape(other, node) or not self._collect(other, source, order, done):
                    return False
            elif self.scope.network.constants[other].size != 1 or other in self.scope.params:
                return False
        done.add(name)
        order.append(node)
        return True

    def _number(self, name: str) -> Tensor:
        return torch.tensor(float(self.scope.network.constants[name].reshape(())), dtype=torch.float64)


def _gate(function: Callable[[Tensor], Tensor], source: str) -> Match | None:
    """Compare a function with the gates: value, slope and curvature at 0 give factor and rate."""
    zero = torch.zeros(1, dtype=torch.float64)
    first, second = _derivatives(function, zero)
    if not (math.isfinite(first) and math.isfinite(second)) or first == 0 or second == 0:
        return None
    x = torch.linspace(-SPAN, SPAN, POINTS, dtype=torch.float64)
    with torch.no_grad():
        y = function(x)
        for name, gate in GATES.items():
            own = _derivatives(gate, zero)
            rate = second / first * own[0] / own[1]
            factor = first / (rate * own[0])
            if bool(((y - factor * gate(rate * x)).abs() <= CLOSE * (1 + y.abs())).all()):
                return Match(source, name, _tidy(factor), _tidy(rate))
    return None


def _tidy(number: float) -> float:
    """Return the whole number that rounding hides, if there is one."""
    near = round(number)
    return float(near) if near and abs(number - near) < 1e-9 else number


def _derivatives(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[float, float]:
    with torch.enable_grad():
        at = x.clone().requires_grad_(True)
        (first,) = torch.autograd.grad(function(at).sum(), at, create_graph=True)
        second = torch.autograd.grad(first.sum(), at)[0] if first.requires_grad else torch.zeros_like(first)
    return float(first.detach()), float(second.detach())


def fused(network: Network, scope: Scope) -> tuple[tuple[Node, ...], dict[str, Gate]]:
    """Return the nodes that are left, and the gates by the name of the tensor in which they end."""
    idioms = Idioms(scope)
    gates: dict[str, Gate] = {}
    needed, kept = {network.output}, []
    for node in reversed(network.nodes):
        if not needed & set(node.outputs):
            continue
        found = idioms.match(node)
        kept.append(node)
        if found is None:
            needed.update(node.inputs)
            continue
        out = node.outputs[0]
        needed.add(found.source)
        gates[out] = Gate(
            node.name, found.gate, (found.source,), out, shape=scope.shape(out), gate=found.gate, factor=found.factor,
            rate=found.rate,
        )  # fmt: skip
    return tuple(reversed(kept)), gates
