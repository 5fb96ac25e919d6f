"""Affine operators that compute: products with a constant matrix, arithmetic with broadcasting, averages over axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Node
from unmoved.ops.op import Affine
from unmoved.ops.scope import Scope, Shape

Scale = Tensor | float


def spread(value: Tensor, out_shape: Shape) -> Tensor:
    """Broadcast (batch, *in_shape) to (batch, *out_shape) by the rules of ONNX, without our first axis."""
    missing = len(out_shape) - (value.ndim - 1)
    return value.reshape(len(value), *(1,) * missing, *value.shape[1:]).expand(len(value), *out_shape)


def gather_back(rows: Tensor, in_shape: Shape) -> Tensor:
    """Sum (batch, *out_shape) to (batch, *in_shape): the transpose of `spread`."""
    missing = rows.ndim - 1 - len(in_shape)
    full = (1,) * missing + in_shape
    axes = [i + 1 for i, size in enumerate(full) if size == 1 and rows.shape[i + 1] != 1]
    return (rows.sum(axes, keepdim=True) if axes else rows).reshape(len(rows), *in_shape)


@dataclass(frozen=True, eq=False)
class MatrixProduct(Affine):
    """y = x W + b, or W x + b when `left`, of matrices (the last two axes), x transposed first when `transposed`.

    `weight` is (..., K, N), or (..., M, K) when `left`; `in_matrix` and `out_matrix` are the shapes of x and y with at
    least two axes, with as many axes each, as numpy.matmul sees them.
    """

    weight: Tensor
    left: bool
    transposed: bool
    in_shape: Shape
    out_shape: Shape
    in_matrix: Shape
    out_matrix: Shape
    offset: Tensor | None

    def _map(self, weight: Tensor, value: Tensor) -> Tensor:
        matrix = value.reshape(len(value), *self.in_matrix)
        matrix = matrix.mT if self.transposed else matrix
        product = weight @ matrix if self.left else matrix @ weight
        return product.reshape(len(value), *self.out_shape)

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return x W."""
        return self._map(self.weight, value)

    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return x |W|."""
        return self._map(self.weight.abs(), radius)

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return rows W^T."""
        matrix = rows.reshape(len(rows), *self.out_matrix)
        product = self.weight.mT @ matrix if self.left else matrix @ self.weight.mT
        shape = (*self.in_matrix[:-2], self.in_matrix[-1], self.in_matrix[-2]) if self.transposed else self.in_matrix
        product = gather_back(product, shape)
        return (product.mT if self.transposed else product).reshape(len(rows), *self.in_shape)

    def bias(self) -> Tensor | None:
        """Return b."""
        return self.offset


@dataclass(frozen=True, eq=False)
class Weighted(Affine):
    """y = sum_i s_i * x_i + b, elementwise with broadcasting; s_i is a number or a tensor broadcastable to y."""

    scales: tuple[Scale, ...]
    in_shapes: tuple[Shape, ...]
    out_shape: Shape
    offset: Tensor | None

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return s_i * x_i."""
        scale, wide = self.scales[index], spread(value, self.out_shape)
        if isinstance(scale, float) and scale == 1.0:
            return wide
        return wide * scale

    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return |s_i| * x_i."""
        scale = self.scales[index]
        return spread(radius, self.out_shape) * (scale.abs() if isinstance(scale, Tensor) else abs(scale))

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return s_i * rows, summed over the axes along which x_i was broadcast."""
        return gather_back(rows * self.scales[index], self.in_shapes[index])

    def bias(self) -> Tensor | None:
        """Return b."""
        return self.offset


@dataclass(frozen=True, eq=False)
class Reduced(Affine):
    """y = factor * the sum of x over some axes (of the ONNX shape); the sum or the mean."""

    axes: Shape
    factor: float
    in_shape: Shape
    out_shape: Shape

    @property
    def positive(self) -> bool:
        """True."""
        return True

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the scaled sum."""
        summed = value.sum([a + 1 for a in self.axes]) if self.axes else value
        return summed.reshape(len(value), *self.out_shape) * self.factor

    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return the same: factor is positive."""
        return self.linear(index, radius)

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return every row's number, scaled, at each place that was summed."""
        kept = tuple(1 if a in self.axes else n for a, n in enumerate(self.in_shape))
        return (rows * self.factor).reshape(len(rows), *kept).expand(len(rows), *self.in_shape)

    def bias(self) -> Tensor | None:
        """Return None: there is none."""
        return None


def product(
    node: Node, scope: Scope, weight: Tensor, offset: Tensor | None, *, transposed: bool = False
) -> MatrixProduct:
    """Bind a product of the node's one variable (input 0 or 1) with `weight`, by numpy.matmul's rules for axes."""
    (place,) = scope.variables(node)
    left = place == 1
    in_shape, out_shape = scope.shape(node.inputs[place]), scope.shape(node.outputs[0])
    if weight.ndim == 1:
        weight = weight[None, :] if left else weight[:, None]
    matrix = in_shape
    if len(in_shape) == 1:
        matrix = (*in_shape, 1) if left else (1, *in_shape)
    matrix = (1,) * (weight.ndim - len(matrix)) + matrix
    rows, columns = (matrix[-1], matrix[-2]) if transposed else matrix[-2:]
    last = (weight.shape[-2], columns) if left else (rows, weight.shape[-1])
    batch = np.broadcast_shapes(matrix[:-2], tuple(weight.shape[:-2]))
    return MatrixProduct(
        **scope.base(node),
        weight=weight,
        left=left,
        transposed=transposed,
        in_shape=in_shape,
        out_shape=out_shape,
        in_matrix=matrix,
        out_matrix=(*batch, *last),
        offset=offset,
    )


def matmul(node: Node, scope: Scope) -> Affine:
    """MatMul with a constant on either side."""
    variables = scope.variables(node)
    if len(variables) != 1:
        raise UnsupportedError("MatMul (of two variables)", "ops")
    return product(node, scope, scope.required(node, 1 - variables[0]), None)


def gemm(node: Node, scope: Scope) -> Affine:
    """Gemm: alpha A' B' + beta C, with A or B variable and the rest constant."""
    variables = scope.variables(node)
    if variables not in ((0,), (1,)):
        raise UnsupportedError(f"Gemm (with variable inputs {variables})", "ops")
    place, flags = variables[0], (node.attributes.get("transA", 0), node.attributes.get("transB", 0))
    weight, offset = scope.required(node, 1 - place), scope.tensor(node, 2)
    alpha, beta = (float(node.attributes.get(key, 1.0)) for key in ("alpha", "beta"))
    weight = weight.mT if flags[1 - place] else weight
    weight = weight if alpha == 1.0 else weight * alpha
    if offset is not None and beta != 1.0:
        offset = offset * beta
    return product(node, scope, weight, offset, transposed=bool(flags[place]))


def weighted(node: Node, scope: Scope, scales: dict[int, Scale], offset: Tensor | None) -> Weighted:
    """Bind a weighted sum of the node's variables; a tensor that occurs twice becomes one input."""
    merged: dict[str, Scale] = {}
    for place, scale in scales.items():
        name = node.inputs[place]
        merged[name] = merged[name] + scale if name in merged else scale
    return Weighted(
        **{**scope.base(node), "inputs": tuple(merged)},
        scales=tuple(merged.values()),
        in_shapes=tuple(scope.shape(name) for name in merged),
        out_shape=scope.shape(node.outputs[0]),
        offset=offset,
    )


def add(node: Node, scope: Scope) -> Affine:
    """Add, Sub, Sum and Neg, of variables and constants."""
    offset: Tensor | None = None
    scales: dict[int, Scale] = {}
    for place in range(len(node.inputs)):
        sign = -1.0 if node.op == "Neg" or (node.op == "Sub" and place == 1) else 1.0
        if place in scope.variables(node):
            scales[place] = sign
        else:
            constant = scope.required(node, place) * sign
            offset = constant if offset is None else offset + constant
    return weighted(node, scope, scales, offset)


def multiply(node: Node, scope: Scope) -> Affine:
    """Mul by a constant, Div by a constant."""
    variables = scope.variables(node)
    if len(variables) != 1 or (node.op == "Div" and variables != (0,)):
        raise UnsupportedError(f"{node.op} ({'by a variable' if node.op == 'Div' else 'of two variables'})", "ops")
    constant = scope.required(node, 1 - variables[0])
    return weighted(node, scope, {variables[0]: 1.0 / constant if node.op == "Div" else constant}, None)


def batch_normalization(node: Node, scope: Scope) -> Affine:
    """BatchNormalization with fixed statistics: s = scale / sqrt(var + epsilon), y = s x + (bias - s mean)."""
    if node.attributes.get("training_mode", 0):
        raise UnsupportedError("BatchNormalization (in training mode)", "ops")
    shape = scope.variable(node)
    gain, shift, mean, variance = (scope.required(node, i) for i in (1, 2, 3, 4))
    scale = gain / torch.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    column = (-1, *(1,) * (len(shape) - 2))
    return weighted(node, scope, {0: scale.reshape(column)}, (shift - scale * mean).reshape(column))


def expand(node: Node, scope: Scope) -> Affine:
    """Expand: broadcasting alone."""
    scope.variable(node)
    return weighted(node, scope, {0: 1.0}, None)


def axes_of(node: Node, scope: Scope, shape: Shape) -> Shape:
    """Return the axes that a reduction takes away; the spatial ones for global pooling."""
    if node.op.startswith("Global"):
        return tuple(range(2, len(shape)))
    everything = () if node.attributes.get("noop_with_empty_axes", 0) else tuple(range(len(shape)))
    axes = scope.integers(node, 1, "axes") or everything
    return tuple(sorted(a % len(shape) for a in axes))


def reduce(node: Node, scope: Scope) -> Affine:
    """GlobalAveragePool, ReduceMean, ReduceSum."""
    shape = scope.variable(node)
    axes = axes_of(node, scope, shape)
    factor = 1.0 if node.op == "ReduceSum" else 1.0 / prod(shape[a] for a in axes)
    out_shape = scope.shape(node.outputs[0])
    return Reduced(**scope.base(node), axes=axes, factor=factor, in_shape=shape, out_shape=out_shape)


def chosen(node: Node, scope: Scope) -> Affine:
    """Where with a constant condition: each element of one of both inputs."""
    condition = scope.array(node, 0)
    assert condition is not None
    mask = torch.as_tensor(np.array(condition, dtype=bool), device=scope.device)
    offset: Tensor | None = None
    scales: dict[int, Scale] = {}
    for place, side in ((1, mask), (2, ~mask)):
        if place in scope.variables(node):
            scales[place] = side.to(scope.dtype)
        else:
            constant = torch.where(side, scope.required(node, place), 0.0)
            offset = constant if offset is None else offset + constant
    return weighted(node, scope, scales, offset)
