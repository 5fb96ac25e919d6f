"""Operators that are several others one after the other: softmax, quotients, the larger of two variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmoved.ir.network import Node
from unmoved.ops.activations import Clip, Relu, Slanted
from unmoved.ops.affine import Reduced, multiply
from unmoved.ops.chain import Chain
from unmoved.ops.curves import Exp, Log, Power
from unmoved.ops.op import Affine, Op
from unmoved.ops.product import Times
from unmoved.ops.reshape import Reshaped, Transposed
from unmoved.ops.scope import Scope


@dataclass(frozen=True, eq=False)
class Differences(Affine):
    """y[..., i, j] = x[..., j] - x[..., i], exactly 0 on the diagonal."""

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return all differences."""
        return value.unsqueeze(-2) - value.unsqueeze(-1)

    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return sums of two radii, 0 on the diagonal."""
        off = 1 - torch.eye(radius.shape[-1], dtype=radius.dtype, device=radius.device)
        return (radius.unsqueeze(-2) + radius.unsqueeze(-1)) * off

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return what falls to j less what falls to i."""
        return rows.sum(-2) - rows.sum(-1)

    def bias(self) -> Tensor | None:
        """Return None: there is none."""
        return None


def softmax(node: Node, scope: Scope) -> Op:
    """Softmax and LogSoftmax: y_i = 1 / s_i or -log(s_i), s_i = sum over j of exp(x_j - x_i)."""
    shape, chain = scope.variable(node), Chain(scope.base(node))
    axis, last = int(node.attributes.get("axis", -1)) % len(shape), len(shape) - 1
    logarithm = node.op == "LogSoftmax"
    function = torch.log_softmax if logarithm else torch.softmax
    (name,) = chain.base["inputs"]
    fields: dict[str, Any]
    # Before operator set 13 all axes from `axis` on count as one (the loader marks it).
    flat = bool(node.attributes.get("coerced", 0)) and axis != last
    order = (*(a for a in range(len(shape)) if a != axis), axis)
    moved = shape
    if flat:
        moved = (int(torch.Size(shape[:axis]).numel()), int(torch.Size(shape[axis:]).numel()))
        name = chain.reshaped(name, shape, moved, "flat")
    elif axis != last:
        moved = tuple(shape[a] for a in order)
        fields = {"in_shapes": (shape,), "out_shape": moved, "filling": None, "order": order}
        name = chain.put(Transposed, "Transpose", (name,), moved, "moved", **fields)
    direct = moved == shape
    wide = (*moved, moved[-1])
    name = chain.put(Differences, "Sub", (name,), wide, "differences")
    name = chain.put(Exp, "Exp", (name,), wide, "exp")
    fields = {"axes": (len(moved),), "factor": 1.0, "in_shape": wide, "out_shape": moved}
    name = chain.put(Reduced, "ReduceSum", (name,), moved, "sum", **fields)
    if logarithm:
        name = chain.put(Log, "Log", (name,), moved, "log")
        name = chain.weighted({name: -1.0}, (moved,), moved, "" if direct else "value")
    else:
        name = chain.put(Power, "Reciprocal", (name,), moved, "" if direct else "value", exponent=-1.0)
    if flat:
        chain.reshaped(name, moved, shape)
        return chain.made(lambda x: function(x.flatten(axis + 1), -1).view_as(x))
    if not direct:
        back = tuple(order.index(a) for a in range(len(shape)))
        fields = {"in_shapes": (moved,), "out_shape": shape, "filling": None, "order": back}
        chain.put(Transposed, "Transpose", (name,), shape, **fields)
    return chain.made(lambda x: function(x, axis + 1))


def divided(node: Node, scope: Scope) -> Op:
    """Div: by a constant, or by a variable (the product with its reciprocal)."""
    variables = scope.variables(node)
    if 1 not in variables:
        return multiply(node, scope)
    chain, below = Chain(scope.base(node)), scope.shape(node.inputs[1])
    inverse = chain.put(Power, "Reciprocal", (node.inputs[1],), below, "reciprocal", exponent=-1.0)
    shape = chain.base["shape"]
    if variables == (0, 1):
        shapes = (scope.shape(node.inputs[0]), below)
        chain.put(Times, "Mul", (node.inputs[0], inverse), shape, in_shapes=shapes)
        if node.inputs[0] == node.inputs[1]:
            chain.base["inputs"] = (node.inputs[0],)
            return chain.made(lambda x: x / x)
        return chain.made(lambda a, b: _aligned(a, b) / _aligned(b, a))
    above = scope.required(node, 0)
    chain.weighted({inverse: above}, (below,), shape)
    return chain.made(lambda x: above / x)


def larger(node: Node, scope: Scope) -> Op:
    """Max and Min of variables and constants: max(a, b) = a + relu(b - a), min(a, b) = a - relu(a - b), one by one."""
    variables = scope.variables(node)
    out = scope.shape(node.outputs[0])
    if len(node.inputs) == 1:
        return _alone(node, scope)
    if len(variables) == 1 and len(node.inputs) == 2:
        place = variables[0]
        end = scope.array(node, 1 - place)
        if end is not None and end.size == 1 and out == scope.shape(node.inputs[place]):
            ends = (float(end.reshape(())), float("inf"))
            low, high = ends if node.op == "Max" else (-ends[1], ends[0])
            return Clip(**scope.base(node), low=low, high=high)
    chain = Chain(scope.base(node))
    sign = 1.0 if node.op == "Max" else -1.0
    once = {n: None if i in variables else scope.required(node, i) for i, n in enumerate(node.inputs)}
    # A variable first: what is added to it is a ReLU.
    terms = sorted(((n, scope.shape(n), c) for n, c in once.items()), key=lambda term: term[2] is not None)
    if len(terms) == 1:
        return _alone(node, scope)
    name, shape, _ = terms[0]
    for number, (other, size, constant) in enumerate(terms[1:], start=1):
        final = number == len(terms) - 1
        wide = np.broadcast_shapes(shape, size)
        scales, sizes, offset = {name: -sign}, [shape], None
        if constant is None:
            scales[other] = sign
            sizes.append(size)
        else:
            offset = sign * constant
        ahead = chain.weighted(scales, sizes, wide, f"ahead{number}", offset)
        ahead = chain.put(Relu, "Relu", (ahead,), wide, f"relu{number}")
        role = "" if final else f"best{number}"
        name = chain.weighted({name: 1.0, ahead: sign}, (shape, wide), wide, role)
        shape = wide
    constants = [t for _, _, t in terms if t is not None]
    chain.base["inputs"] = tuple(dict.fromkeys(chain.base["inputs"]))
    best = torch.maximum if node.op == "Max" else torch.minimum

    def function(*values: Tensor) -> Tensor:
        result = values[0]
        for value in values[1:]:
            result = best(_aligned(result, value), _aligned(value, result))
        for constant in constants:
            result = best(_aligned(result, constant[None]), constant)
        return result

    return chain.made(function)


def slanted(node: Node, scope: Scope) -> Op:
    """LeakyRelu and PRelu with constant slopes: a x + (1 - a) relu(x) where all slopes lie in [0, 1]."""
    if node.op == "LeakyRelu":
        slopes = torch.tensor(float(node.attributes.get("alpha", 0.01)), dtype=scope.dtype, device=scope.device)
    else:
        slopes = scope.required(node, 1)
    shape, base = scope.variable(node), scope.base(node)
    if not bool(((slopes >= 0) & (slopes <= 1)).all()):
        return Slanted(**base, slopes=slopes)
    chain, (name,) = Chain(base), base["inputs"]
    inner = chain.put(Relu, "Relu", (name,), shape, "relu")
    chain.weighted({name: slopes, inner: 1 - slopes}, (shape, shape), shape)
    return chain.made(lambda x: x.clamp(min=0) + slopes * x.clamp(max=0))


def _aligned(value: Tensor, other: Tensor) -> Tensor:
    """Put axes of size 1 behind our own first one, so that both broadcast as ONNX says."""
    missing = max(0, other.ndim - value.ndim)
    return value.reshape(len(value), *(1,) * missing, *value.shape[1:])


def _alone(node: Node, scope: Scope) -> Op:
    """Max or Min of one variable."""
    base, shape = scope.base(node), scope.shape(node.inputs[0])
    return Reshaped(**{**base, "inputs": base["inputs"][:1]}, in_shapes=(shape,), out_shape=shape, filling=None)
