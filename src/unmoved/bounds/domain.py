"""The one walk over a network's operators, and what a bound domain must answer on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from unmoved.core.errors import UnsupportedError
from unmoved.ops.op import Affine, Elementwise, Maximum, Op, Product, primitives

Value = TypeVar("Value")


class Domain(ABC, Generic[Value]):
    """Encloses what each family of operators can give, from enclosures of what it takes."""

    @abstractmethod
    def affine(self, op: Affine, values: tuple[Value, ...]) -> Value:
        """Enclose an Affine's output, given enclosures of its variable inputs, in order."""

    @abstractmethod
    def elementwise(self, op: Elementwise, value: Value) -> Value:
        """Enclose an Elementwise's output."""

    @abstractmethod
    def maximum(self, op: Maximum, value: Value) -> Value:
        """Enclose a Maximum's output."""

    @abstractmethod
    def product(self, op: Product, first: Value, second: Value) -> Value:
        """Enclose a Product's output, given enclosures of both variables."""


def step(op: Op, domain: Domain[Value], values: Mapping[str, Value]) -> Value:
    """Return the domain's enclosure of one operator's output; UnsupportedError for a family without a rule."""
    taken = tuple(values[name] for name in op.inputs)
    if isinstance(op, Affine):
        return domain.affine(op, taken)
    if isinstance(op, Elementwise):
        return domain.elementwise(op, taken[0])
    if isinstance(op, Maximum):
        return domain.maximum(op, taken[0])
    if isinstance(op, Product):
        return domain.product(op, *taken)
    raise UnsupportedError(op.kind, "bounds")


def forward(ops: Sequence[Op], domain: Domain[Value], start: Mapping[str, Value]) -> dict[str, Value]:
    """Return the enclosure of every tensor, by tensor name, from those in `start` (usually the input's alone)."""
    values = dict(start)
    for op in primitives(ops):
        values[op.output] = step(op, domain, values)
    return values
