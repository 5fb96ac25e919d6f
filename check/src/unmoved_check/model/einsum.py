"""Einsum of two operands as a product of matrices: (batch, rows, inner) and (batch, inner, columns)."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from unmoved_check.model import movement, products
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant
from unmoved_check.model.reader import Node
from unmoved_check.model.shaping import Inputs, placed, places, present
from unmoved_check.outcome import Rejection


def einsum(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Einsum of two operands, every letter once in each, none summed within one; no ellipsis."""
    given, arrow, result = node.text("equation", "").replace(" ", "").partition("->")
    first, comma, second = given.partition(",")
    sides = (first, second)
    single = all(len(set(side)) == len(side) and side.isascii() and side.isalpha() for side in (*sides, result or "a"))
    alone = (set(first) ^ set(second)) - set(result) or set(result) - set(first + second)
    if not arrow or not comma or not single or alone:
        raise node.refuse("with another equation than of two operands, each letter once")
    values = [present(node, value) for value in inputs]
    if all(isinstance(value, Constant) for value in values):
        raise node.refuse("of constants")
    sizes: dict[str, int] = {}
    for side, value in zip(sides, values, strict=True):
        if len(side) != len(value.shape) or any(
            sizes.setdefault(c, d) != d for c, d in zip(side, value.shape, strict=True)
        ):
            raise Rejection("model: Einsum of tensors that don't fit its equation")
    batch = [c for c in result if c in first and c in second]
    inner = [c for c in first if c in second and c not in result]
    rows, columns = ([c for c in result if c in side and c not in batch] for side in sides)

    def shape(*groups: list[str]) -> tuple[int, ...]:
        return (*(sizes[c] for c in batch), *(prod(sizes[c] for c in group) for group in groups))

    def moved(value: Value, letters: str, order: list[str], role: str) -> Value:
        where = movement.transposed(places(value), [letters.index(c) for c in order])
        return _named(build, placed(build, value, where), role)

    def shaped(value: Value, wanted: tuple[int, ...], role: str) -> Value:
        return _named(build, placed(build, value, movement.reshaped(places(value), wanted)), role)

    left = shaped(moved(values[0], first, [*batch, *rows, *inner], "left"), shape(rows, inner), "rows")
    right = shaped(moved(values[1], second, [*batch, *inner, *columns], "right"), shape(inner, columns), "columns")
    output, build.output = build.output, f"{build.output}#matrix"
    y = products.matmul(build, replace(node, op="MatMul"), [left, right])
    build.output = output
    order = [*batch, *rows, *columns]
    flat = shaped(_named(build, y, "matrix"), tuple(sizes[c] for c in order), "apart")
    return moved(flat, "".join(order), list(result), "")


def _named(build: Builder, value: Value, role: str) -> Value:
    return build.named(value, role) if isinstance(value, Variable) else value
