"""Rules for products and quotients of two variables."""

from __future__ import annotations

from array import array
from fractions import Fraction
from math import prod

from unmoved_check.model import affine, curve, form
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant
from unmoved_check.model.movement import broadcast, expanded, pick, reshaped, strides
from unmoved_check.model.reader import Node


def multiply(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Mul: by a constant, of two functions of one variable, or of two variables."""
    left, right = inputs
    if not isinstance(left, Variable) or not isinstance(right, Variable):
        return affine.multiply(build, node, inputs)
    if left.shape == right.shape:
        forms = build.form(left), build.form(right)
        known = form.gated(*forms)
        made = form.multiplied(*forms)
        if known is not None or made is not None:
            if known is not None:
                y = build.curved(Variable(forms[0].base, left.shape), known)
            else:
                y = build.product(left, right)
            if made is not None:
                build.forms[y.value] = made
            return y
    return build.product(left, right)


def divide(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Div: by a constant, or by a variable: the product with its reciprocal."""
    left, right = inputs
    if not isinstance(right, Variable):
        return affine.multiply(build, node, inputs)
    inverse = build.curved(right, curve.power(Fraction(-1)), "reciprocal")
    if isinstance(left, Constant):
        return affine.factored(build, inverse, left)
    if left is None:
        raise node.refuse("with a missing input")
    return build.product(left, inverse)


def matmul(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """MatMul by a constant, or of two variables: pairs (..., rows, inner, columns), then sums over inner."""
    left, right = inputs
    if not isinstance(left, Variable) or not isinstance(right, Variable):
        return affine.matmul(build, node, inputs)
    first = (1, *left.shape) if len(left.shape) == 1 else left.shape
    second = (*right.shape, 1) if len(right.shape) == 1 else right.shape
    if len(first) < 2 or len(second) < 2 or first[-1] != second[-2]:
        raise node.refuse("of tensors that don't fit")
    batch = broadcast(first[:-2], second[:-2])
    rows, inner, columns = first[-2], first[-1], second[-1]
    pairs = (*batch, rows, inner, columns)
    a = expanded(reshaped(left.places(), (*first, 1)), pairs)
    b = expanded(reshaped(right.places(), (*second[:-2], 1, inner, columns)), pairs)
    products = build.product(build.moved([left], a), build.moved([right], b), "product")
    steps = strides(pairs)
    order = [[i * s for i in range(d)] for d, s in zip((*pairs[:-2], columns), (*steps[:-2], steps[-1]), strict=True)]
    order.append([i * steps[-2] for i in range(inner)])
    last = build.moved([products], pick(products.places(), order))
    y = affine.dense(build, last, array("d", [1.0]) * inner, 1)
    shape = [*batch, rows, columns]
    if len(right.shape) == 1:
        shape.pop()
    if len(left.shape) == 1:
        shape.pop(-1 if len(right.shape) == 1 else -2)
    assert prod(shape) == y.size
    return Variable(y.value, tuple(shape))
