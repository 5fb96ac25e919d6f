"""Einsum of two operands as Transpose, Reshape and MatMul, for whoever reads those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Array, Network, Node

Shape = tuple[int, ...]


@dataclass
class _Writer:
    """The nodes that stand for one Einsum; inner tensors are named `<output>#<role>`."""

    out: str
    fixed: Mapping[str, Array]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def add(self, op: str, inputs: tuple[str, ...], shape: Shape, role: str, **attributes: object) -> str:
        name = f"{self.out}#{role}" if role else self.out
        self.nodes.append(Node(op, name, inputs, (name,), attributes))
        self.shapes[name] = shape
        return name

    def transposed(self, name: str, letters: str, order: str, sizes: Mapping[str, int], role: str) -> str:
        if letters == order and role:
            return name
        perm = tuple(letters.index(c) for c in order)
        if name in self.fixed:
            return self._constant(self.fixed[name].transpose(perm), role)
        return self.add("Transpose", (name,), tuple(sizes[c] for c in order), role, perm=perm)

    def reshaped(self, name: str, shape: Shape, role: str) -> str:
        value = self.constants.get(name, self.fixed.get(name))
        if value is not None:
            return self._constant(value.reshape(shape), role)
        target = f"{self.out}#{role}.shape"
        self.constants[target] = np.array(shape, dtype=np.int64)
        return self.add("Reshape", (name, target), shape, role)

    def _constant(self, value: Array, role: str) -> str:
        name = f"{self.out}#{role}"
        self.constants[name] = value
        return name


def einsum(
    node: Node, shapes: Mapping[str, Shape], fixed: Mapping[str, Array]
) -> tuple[list[Node], dict[str, Array], dict[str, Shape]]:
    """Return nodes for an Einsum of two operands, the constants they need and the shapes of their outputs.

    `fixed` are the constants among the operands (and others): they are moved at once.
    UnsupportedError for one operand or three, an ellipsis, a letter twice in an operand, or one summed within one.
    """
    text = str(node.attributes["equation"]).replace(" ", "")
    given, _, result = text.partition("->")
    sides = given.split(",")
    if "->" not in text or len(sides) != 2 or "." in text or any(len(set(s)) < len(s) for s in (*sides, result)):
        raise UnsupportedError(f"Einsum ({text})", "ops")
    first, second = sides
    if (set(first) ^ set(second)) - set(result) or set(result) - set(first + second):
        raise UnsupportedError(f"Einsum ({text})", "ops")
    sizes = {c: n for s, name in zip(sides, node.inputs, strict=True) for c, n in zip(s, shapes[name], strict=True)}
    batch = "".join(c for c in result if c in first and c in second)
    summed = "".join(c for c in first if c in second and c not in result)
    left, right = ("".join(c for c in result if c in s and c not in batch) for s in (first, second))
    writer = _Writer(node.outputs[0], fixed)

    def size(letters: str) -> int:
        return prod(sizes[c] for c in letters)

    lead = tuple(sizes[c] for c in batch)
    a = writer.transposed(node.inputs[0], first, batch + left + summed, sizes, "left")
    a = writer.reshaped(a, (*lead, size(left), size(summed)), "rows")
    b = writer.transposed(node.inputs[1], second, batch + summed + right, sizes, "right")
    b = writer.reshaped(b, (*lead, size(summed), size(right)), "columns")
    y = writer.add("MatMul", (a, b), (*lead, size(left), size(right)), "matrix")
    y = writer.reshaped(y, tuple(sizes[c] for c in batch + left + right), "apart")
    writer.transposed(y, batch + left + right, result, sizes, "")
    return writer.nodes, writer.constants, writer.shapes


def written_out(network: Network) -> Network:
    """Return the network with every Einsum of two operands as the nodes that it stands for."""
    if all(node.op != "Einsum" for node in network.nodes):
        return network
    constants, shapes, nodes = dict(network.constants), dict(network.shapes), []
    known = {**shapes, **{name: value.shape for name, value in constants.items()}}
    for node in network.nodes:
        if node.op != "Einsum":
            nodes.append(node)
            continue
        made, more, inner = einsum(node, known, constants)
        nodes += made
        constants |= more
        shapes |= inner
    return replace(network, nodes=tuple(nodes), constants=constants, shapes=shapes)
