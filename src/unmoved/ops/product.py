"""Products of two variables: elementwise with broadcasting, and of matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from unmoved.ir.network import Node
from unmoved.ops.affine import gather_back, multiply, product, spread
from unmoved.ops.curves import Power
from unmoved.ops.op import Op, Product
from unmoved.ops.scope import Scope, Shape


@dataclass(frozen=True, eq=False)
class Times(Product):
    """y = x * z, elementwise with broadcasting."""

    in_shapes: tuple[Shape, Shape]

    @property
    def pairs(self) -> Shape:
        """The output's shape."""
        return self.shape

    def apply(self, *values: Tensor) -> Tensor:
        """Return the product."""
        return spread(values[0], self.shape) * spread(values[1], self.shape)

    def spread(self, index: int, value: Tensor) -> Tensor:
        """Broadcast."""
        return spread(value, self.shape)

    def gather(self, index: int, rows: Tensor) -> Tensor:
        """Sum over the axes along which the variable was broadcast."""
        return gather_back(rows, self.in_shapes[index])

    def total(self, products: Tensor) -> Tensor:
        """Return the products: there are no sums."""
        return products

    def each(self, rows: Tensor) -> Tensor:
        """Return the rows."""
        return rows


@dataclass(frozen=True, eq=False)
class Matrices(Product):
    """y = x @ z of matrices (the last two axes): pairs are (..., rows, inner, columns), summed over the inner axis.

    `matrices` are the shapes of x and z as numpy.matmul sees them, with as many axes as the pairs less one.
    """

    in_shapes: tuple[Shape, Shape]
    matrices: tuple[Shape, Shape]
    product_shape: Shape

    @property
    def planes(self) -> str:
        """Name of the tensor of products, before the sums."""
        return f"{self.output}#product"

    @property
    def pairs(self) -> Shape:
        """(..., rows, inner, columns)."""
        *batch, rows, columns = self.product_shape
        return (*batch, rows, self.matrices[0][-1], columns)

    def apply(self, *values: Tensor) -> Tensor:
        """Return the product of matrices."""
        left, right = (v.reshape(len(v), *s) for v, s in zip(values, self.matrices, strict=True))
        return (left @ right).reshape(len(left), *self.shape)

    def _column(self, index: int) -> Shape:
        """Return the shape of a variable with an axis of size 1 where the other one has its own."""
        *batch, rows, columns = self.matrices[index]
        return (*batch, 1, rows, columns) if index else (*batch, rows, columns, 1)

    def spread(self, index: int, value: Tensor) -> Tensor:
        """Repeat along the axes of the other variable."""
        return spread(value.reshape(len(value), *self._column(index)), self.pairs)

    def gather(self, index: int, rows: Tensor) -> Tensor:
        """Sum over the axes of the other variable."""
        return gather_back(rows, self._column(index)).reshape(len(rows), *self.in_shapes[index])

    def total(self, products: Tensor) -> Tensor:
        """Sum over the inner axis."""
        return products.sum(-2).reshape(len(products), *self.shape)

    def each(self, rows: Tensor) -> Tensor:
        """Repeat along the inner axis."""
        return rows.reshape(len(rows), *self.product_shape).unsqueeze(-2).expand(len(rows), *self.pairs)


def multiplied(node: Node, scope: Scope) -> Op:
    """Mul: of a variable and a constant, of two variables, of a variable with itself (a square)."""
    if len(scope.variables(node)) < 2:
        return multiply(node, scope)
    base = scope.base(node)
    if node.inputs[0] == node.inputs[1]:
        return Power(**{**base, "inputs": base["inputs"][:1]}, exponent=2.0)
    shapes = (scope.shape(node.inputs[0]), scope.shape(node.inputs[1]))
    return Times(**base, in_shapes=shapes)


def matrices(node: Node, scope: Scope) -> Op:
    """MatMul: with a constant on either side, or of two variables by numpy.matmul's rules."""
    variables = scope.variables(node)
    if len(variables) == 1:
        return product(node, scope, scope.required(node, 1 - variables[0]), None)
    left, right = (scope.shape(n) for n in node.inputs[:2])
    first = (1, *left) if len(left) == 1 else left
    second = (*right, 1) if len(right) == 1 else right
    axes = max(len(first), len(second))
    first, second = ((1,) * (axes - len(s)) + s for s in (first, second))
    batch = np.broadcast_shapes(first[:-2], second[:-2])
    return Matrices(
        **scope.base(node),
        in_shapes=(left, right),
        matrices=(first, second),
        product_shape=(*batch, first[-2], second[-1]),
    )
