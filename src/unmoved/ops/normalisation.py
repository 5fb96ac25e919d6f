"""Normalisation by statistics of the input itself: LayerNormalization, InstanceNormalization, GroupNormalization, RMS.

c = x - mean(x) over a group, y = c (mean(c^2) + epsilon)^(-1/2) scale + bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Node
from unmoved.ops.affine import Reduced
from unmoved.ops.chain import Chain
from unmoved.ops.curves import Power
from unmoved.ops.op import Affine, Op
from unmoved.ops.product import Times
from unmoved.ops.scope import Scope


@dataclass(frozen=True, eq=False)
class Centred(Affine):
    """y = x - mean(x) over the last axis of (groups, n)."""

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the values without their means."""
        return value - value.mean(-1, keepdim=True)

    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return |I - 1/n| radius: 1 - 1/n on the diagonal, 1/n elsewhere."""
        return radius * (1 - 2 / radius.shape[-1]) + radius.mean(-1, keepdim=True)

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return the same: the matrix is symmetric."""
        return self.linear(0, rows)

    def bias(self) -> Tensor | None:
        """Return None: there is none."""
        return None


def normalised(node: Node, scope: Scope) -> Op:
    """LayerNormalization, RMSNormalization, InstanceNormalization and GroupNormalization, output 0."""
    shape = scope.variable(node)
    scale, bias = scope.required(node, 1), scope.tensor(node, 2)
    column = (-1, *(1,) * (len(shape) - 2))
    if node.op in ("LayerNormalization", "RMSNormalization"):
        axis = int(node.attributes.get("axis", -1)) % len(shape)
        groups = (prod(shape[:axis]), prod(shape[axis:]))
    elif node.op == "InstanceNormalization":
        groups = (prod(shape[:2]), prod(shape[2:]))
        scale, bias = scale.reshape(column), None if bias is None else bias.reshape(column)
    else:
        count = int(node.attributes["num_groups"])
        groups = (shape[0] * count, prod(shape[1:]) // count)
        if scale.numel() != shape[1]:
            raise UnsupportedError("GroupNormalization (with a scale a group)", "ops")
        scale, bias = scale.reshape(column), None if bias is None else bias.reshape(column)
    return _normalised(scope, node, groups, scale, bias, centred=node.op != "RMSNormalization")


def _normalised(
    scope: Scope, node: Node, groups: tuple[int, int], scale: Tensor, bias: Tensor | None, *, centred: bool
) -> Op:
    shape, chain = scope.variable(node), Chain(scope.base(node))
    epsilon, narrow = float(node.attributes.get("epsilon", 1e-5)), (groups[0], 1)
    name = chain.reshaped(chain.base["inputs"][0], shape, groups, "groups")
    if centred:
        name = chain.put(Centred, "Sub", (name,), groups, "centred")
    square = chain.put(Power, "Pow", (name,), groups, "square", exponent=2.0)
    fields = {"axes": (1,), "factor": 1 / groups[1], "in_shape": groups, "out_shape": narrow}
    spread = chain.put(Reduced, "ReduceMean", (square,), narrow, "variance", **fields)
    more = torch.tensor(epsilon, dtype=scope.dtype, device=scope.device)
    spread = chain.weighted({spread: 1.0}, (narrow,), narrow, "positive", more)
    inverse = chain.put(Power, "Pow", (spread,), narrow, "inverse", exponent=-0.5)
    name = chain.put(Times, "Mul", (name, inverse), groups, "normal", in_shapes=(groups, narrow))
    name = chain.reshaped(name, groups, shape, "shaped")
    chain.weighted({name: scale}, (shape,), shape, "", bias)

    def function(x: Tensor) -> Tensor:
        flat = x.reshape(len(x), *groups)
        flat = flat - flat.mean(-1, keepdim=True) if centred else flat
        flat = flat * torch.rsqrt(flat.square().mean(-1, keepdim=True) + epsilon)
        value = flat.reshape(x.shape) * scale
        return value if bias is None else value + bias

    return chain.made(function)
