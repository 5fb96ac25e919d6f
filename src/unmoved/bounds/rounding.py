"""Bounds of what is deployed: float32 rounds, and may do so before everything that is not affine.

The formula of docs/certificate-format.md (`float32-any-order`): what affine operators made of the results of others is
off by at most F m, with F from the roundings on the way and m from absolute values. Here it serves the search, which
aims at what the checker will subtract; the checker has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.core.semantics import Semantics
from unmoved.ir.network import Network
from unmoved.ops.affine import MatrixProduct, Reduced, Weighted
from unmoved.ops.convolution import Convolution
from unmoved.ops.op import Affine, Elementwise, Op, Product, primitives


@dataclass(frozen=True, eq=False)
class Rounding(Elementwise):
    """y = x + e for any e with |e| <= `error`, which has x's shape, (batch, *shape) or (1, *shape)."""

    error: Tensor

    @property
    def monotone(self) -> int:
        """The values themselves keep their order."""
        return 1

    @property
    def kinks(self) -> tuple[float, ...]:
        """None."""
        return ()

    @property
    def linear_pieces(self) -> bool:
        """Yes."""
        return True

    def apply(self, *values: Tensor) -> Tensor:
        """Return x: the error is for bounds."""
        return values[0]

    def interval(self, value: Bounds) -> Bounds:
        """Return both ends moved outward."""
        return Bounds(value.low - self.error, value.high + self.error)


def deployed(
    ops: Sequence[Op], network: Network, bounds: Mapping[str, Bounds], semantics: Semantics
) -> tuple[tuple[Op, ...], Network]:
    """Return the operators with a Rounding before whatever reads a rounded tensor and is not affine, and at the end.

    `bounds` are intervals of every tensor. The network has the new tensors' shapes, and its output rounded.
    """
    size: dict[str, Tensor] = {}
    steps: dict[str, tuple[int, int]] = {}
    read: dict[str, str] = {}
    made: list[Op] = []

    def rounded(name: str) -> str:
        """Return the name of the tensor as it is deployed, rounding it where nothing has read it yet."""
        roundings, products = steps.get(name, (0, 0))
        if not roundings:
            return name
        if name not in read:
            read[name] = f"{name} (rounded)"
            lost = roundings * semantics.unit
            factor = (1 + lost / (1 - lost)) * (1 + semantics.operand) ** (2 * products) - 1
            shape = tuple(size[name].shape[1:])
            made.append(Rounding(read[name], "Rounding", (name,), read[name], factor * size[name], shape=shape))
        return read[name]

    for op in primitives(ops):
        if isinstance(op, Affine):
            size[op.output] = _magnitude(op, [size[n] if n in size else _largest(bounds[n]) for n in op.inputs])
            counts = [steps.get(name, (0, 0)) for name in op.inputs]
            terms, product = _terms(op)
            steps[op.output] = (max(c[0] for c in counts) + terms, max(c[1] for c in counts) + product)
            made.append(op)
        else:
            made.append(replace(op, inputs=tuple(rounded(name) for name in op.inputs)))
            if isinstance(op, Product):
                size[op.output], steps[op.output] = _largest(bounds[op.output]), (2, 0)
            elif isinstance(op, Elementwise) and not op.linear_pieces:
                # the profile's assumption on smooth functions, all of them alike
                size[op.output], steps[op.output] = 1 + _largest(bounds[op.output]), (16, 0)
    output = rounded(network.output)
    shapes = {**network.shapes, **{new: tuple(size[old].shape[1:]) for old, new in read.items()}}
    return tuple(made), replace(network, shapes=shapes, output=output)


def _largest(bounds: Bounds) -> Tensor:
    return bounds.low.abs().maximum(bounds.high.abs())


def _magnitude(op: Affine, values: Sequence[Tensor]) -> Tensor:
    """Return sum_i |L_i| values_i + |b|."""
    total, bias = op.absolute(0, values[0]), op.bias()
    for index, value in enumerate(values[1:], start=1):
        total = total + op.absolute(index, value)
    return total if bias is None else total + bias.abs()


def _terms(op: Affine) -> tuple[int, int]:
    """Return an operator's roundings on one path, and whether it is a product of matrices (1 or 0)."""
    match op:
        case MatrixProduct():
            return op.weight.shape[-1 if op.left else -2] + 2, 1
        case Convolution():
            return op.weight[0].numel() + (2 if op.scale is None else 5), 1
        case Reduced():
            return prod(op.in_shape[a] for a in op.axes) + 4, 1
        case Weighted():
            return 9, 0
    return 0, 0
