"""Normalisation by statistics of the input itself: c = x - mean(x) over a group, y = c (mean(c^2) + epsilon)^(-1/2)."""

from __future__ import annotations

from array import array
from fractions import Fraction
from math import prod

from unmoved_check.model import affine, curve
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant, float32
from unmoved_check.model.functions import variable
from unmoved_check.model.movement import axis, reshaped
from unmoved_check.model.reader import Node
from unmoved_check.outcome import Rejection

WHOLE = 1024
"""Groups of so many elements are centred by one matrix, whose intervals are exact; larger ones by a difference."""


def layer(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """LayerNormalization and RMSNormalization, output 0: a group is all axes from `axis` on."""
    x = variable(node, inputs[0])
    at = axis(node.integer("axis", -1), len(x.shape))
    if node.integer("stash_type", 1) != 1:
        raise node.refuse(f"with stash_type {node.integer('stash_type', 1)}")
    scale, bias = _parameters(node, inputs, x.shape[at:])
    return _normalised(build, node, x, prod(x.shape[:at]), (scale, bias))


def channels(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """InstanceNormalization and GroupNormalization: a group is an image's channel, or several; scales by channel."""
    x = variable(node, inputs[0])
    if len(x.shape) < 3:
        raise Rejection(f"model: {node.op} of a tensor without space")
    groups = x.shape[1] if node.op == "InstanceNormalization" else node.integer("num_groups", 0)
    if groups < 1 or x.shape[1] % groups:
        raise Rejection(f"model: {node.op} of {x.shape[1]} channels in {groups} groups")
    if node.op == "GroupNormalization" and build.opset < 21 and groups != x.shape[1]:
        raise node.refuse("with a scale for each group")
    scale, bias = (
        None if p is None else reshaped(p, (x.shape[1], *(1,) * (len(x.shape) - 2)))
        for p in _parameters(node, inputs, (x.shape[1],))
    )
    return _normalised(build, node, x, x.shape[0] * groups, (scale, bias))


def _parameters(
    node: Node, inputs: list[Value | None], shape: tuple[int, ...]
) -> tuple[Constant | None, Constant | None]:
    """Scale and bias, constants of that very shape."""
    found: list[Constant | None] = []
    for value in (*inputs[1:], None)[:2]:
        if value is not None and (not isinstance(value, Constant) or value.shape != shape):
            raise node.refuse(f"with a scale or bias that is no constant of shape {list(shape)}")
        found.append(value)
    if found[0] is None or (found[1] is None and node.op.startswith(("Instance", "Group"))):
        raise Rejection(f"model: {node.op} without scale or bias")
    return found[0], found[1]


def _normalised(
    build: Builder, node: Node, x: Variable, groups: int, parameters: tuple[Constant | None, Constant | None]
) -> Variable:
    n = x.size // groups
    flat = build.named(Variable(x.value, (groups, n)), "groups")
    if node.op != "RMSNormalization":
        flat = build.named(_centred(build, flat), "centred")
    square = build.curved(flat, curve.power(Fraction(2)), "square")
    variance = build.named(_mean(build, square), "variance")
    epsilon = Constant("float", (), [node.real("epsilon", float32(1e-5))])
    positive = build.named(affine.shifted(build, variance, epsilon), "positive")
    inverse = build.curved(positive, curve.power(Fraction(-1, 2)), "inverse")
    normal = build.product(flat, inverse, "normal")
    scale, bias = parameters
    y = Variable(normal.value, x.shape)
    y = y if scale is None else affine.factored(build, y, scale)
    return y if bias is None else affine.shifted(build, y, bias)


def _mean(build: Builder, x: Variable) -> Variable:
    """The mean over the last axis, of shape (groups, 1)."""
    total = affine.dense(build, x, array("d", [1.0]) * x.shape[-1], 1)
    return build.stretched(total, Fraction(1, x.shape[-1]))


def _centred(build: Builder, x: Variable) -> Variable:
    """X minus its mean: (n I - J) x / n."""
    n = x.shape[-1]
    if n > WHOLE:
        return build.added(x, _mean(build, x), -1)
    matrix = array("d", [-1.0]) * (n * n)
    for i in range(n):
        matrix[i * n + i] = n - 1.0
    return build.stretched(affine.dense(build, x, matrix, n), Fraction(1, n))
