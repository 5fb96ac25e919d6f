"""Comparisons, whose truth values are the numbers 0 and 1, and Where with a condition that depends on the input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Node
from unmoved.ops.activations import NEAR, Piecewise
from unmoved.ops.affine import chosen
from unmoved.ops.chain import Chain
from unmoved.ops.op import Op
from unmoved.ops.product import Times
from unmoved.ops.scope import Scope


@dataclass(frozen=True, eq=False)
class Step(Piecewise):
    """1 above 0, 0 below; at 0 itself `at`. The jump is two kinks, nearer to 0 than any rounding, and 0."""

    at: bool

    @property
    def monotone(self) -> int:
        """+1."""
        return 1

    @property
    def kinks(self) -> tuple[float, ...]:
        """0 and both sides of it."""
        return (-NEAR, 0.0, NEAR)

    def apply(self, *values: Tensor) -> Tensor:
        """Return the step; its gradient is 0."""
        sign = values[0].sign()
        return 1 + sign.clamp(max=0) if self.at else sign.clamp(min=0)


def compared(node: Node, scope: Scope) -> Op:
    """Greater, GreaterOrEqual, Less, LessOrEqual of a variable and a constant, or of two variables."""
    sign = 1.0 if node.op.startswith("Greater") else -1.0
    if node.inputs[0] == node.inputs[1]:
        raise UnsupportedError(f"{node.op} (of a tensor with itself)", "ops")
    chain, shape, variables = Chain(scope.base(node)), scope.shape(node.outputs[0]), scope.variables(node)
    scales: dict[str, float | Tensor] = {}
    shapes, offset = [], None
    for place, factor in ((0, sign), (1, -sign)):
        if place in variables:
            scales[node.inputs[place]] = factor
            shapes.append(scope.shape(node.inputs[place]))
        else:
            offset = factor * scope.required(node, place)
    ahead = chain.weighted(scales, shapes, shape, "ahead", offset)
    chain.put(Step, node.op, (ahead,), shape, at=node.op.endswith("OrEqual"))
    behind, step = chain.parts

    def function(*values: Tensor) -> Tensor:
        return step.apply(behind.apply(*values))

    return chain.made(function)


def where(node: Node, scope: Scope) -> Op:
    """Where: c ? a : b = b + c (a - b), c being 0 or 1; a constant condition picks elements."""
    variables = scope.variables(node)
    if 0 not in variables:
        return chosen(node, scope)
    condition, first, second = node.inputs
    if first == second or condition in (first, second):
        raise UnsupportedError("Where (with one tensor in two places)", "ops")
    chain, shape = Chain(scope.base(node)), scope.shape(node.outputs[0])
    sizes = {name: scope.shape(name) for name in node.inputs}
    fixed = {name: scope.required(node, i) for i, name in enumerate(node.inputs) if i not in variables}
    wide = np.broadcast_shapes(sizes[first], sizes[second])
    scales: dict[str, float | Tensor] = {
        name: factor for name, factor in ((first, 1.0), (second, -1.0)) if name not in fixed
    }
    offset = _sum((1.0, fixed.get(first)), (-1.0, fixed.get(second)))
    if not scales:
        # both sides are numbers: an affine function of the condition
        assert offset is not None
        chain.weighted({condition: offset}, (sizes[condition],), shape, "", fixed[second])
        return chain.made(chain.parts[0].apply)
    ahead = chain.weighted(scales, [sizes[name] for name in scales], wide, "difference", offset)
    moved = chain.put(Times, "Mul", (condition, ahead), shape, "chosen", in_shapes=(sizes[condition], wide))
    if second in fixed:
        chain.weighted({moved: 1.0}, (shape,), shape, "", fixed[second])
    else:
        chain.weighted({second: 1.0, moved: 1.0}, (sizes[second], shape), shape)

    def function(*values: Tensor) -> Tensor:
        given = dict(zip((n for n in node.inputs if n not in fixed), values, strict=True))
        taken = [given[n] if n in given else fixed[n][None] for n in node.inputs]
        most = max(t.ndim for t in taken)
        c, a, b = (t.reshape(len(t), *(1,) * (most - t.ndim), *t.shape[1:]) for t in taken)
        return torch.where(c != 0, a, b)

    return chain.made(function)


def _sum(*terms: tuple[float, Tensor | None]) -> Tensor | None:
    made = [factor * constant for factor, constant in terms if constant is not None]
    return sum(made[1:], made[0]) if made else None
