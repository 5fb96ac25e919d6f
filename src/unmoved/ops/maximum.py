"""Maxima over windows: pooling with any kernel, stride, padding and dilation, and over whole axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Node
from unmoved.ops.affine import axes_of
from unmoved.ops.chain import Chain
from unmoved.ops.convolution import Window, window
from unmoved.ops.op import Maximum, Op
from unmoved.ops.scope import Scope, Shape

_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


@dataclass(frozen=True, eq=False)
class MaxPool(Maximum):
    """The maximum over each window and channel; padding never wins."""

    window: Window
    in_shape: Shape
    out_shape: Shape
    device: torch.device

    def _pool(self, value: Tensor) -> Tensor:
        at = self.window
        folded = functional.pad(value.reshape(-1, *value.shape[2:]), at.padded, value=-torch.inf)
        pool = _POOL[len(at.size)]
        return pool(folded, at.kernel, at.stride, 0, at.dilation).reshape(len(value), *self.out_shape)

    def apply(self, *values: Tensor) -> Tensor:
        """Return the maxima."""
        return self._pool(values[0])

    @cached_property
    def windows(self) -> Tensor:
        """Return int64 (outputs, window): flat input indices at batch size 1, -1 for padding."""
        at = self.window
        flat = torch.arange(prod(self.in_shape), device=self.device).reshape(self.in_shape)
        flat = functional.pad(flat, at.padded, value=-1)
        for axis, (k, s, d, o) in enumerate(zip(at.kernel, at.stride, at.dilation, self.out_shape[2:], strict=True)):
            places = torch.arange(o, device=self.device)[:, None] * s + torch.arange(k, device=self.device) * d
            chosen = flat.index_select(axis + 2, places.reshape(-1))
            split = (*chosen.shape[: axis + 2], o, k, *chosen.shape[axis + 3 :])
            flat = chosen.reshape(split).movedim(axis + 3, -1)
        return flat.reshape(prod(self.out_shape), -1)


@dataclass(frozen=True, eq=False)
class Largest(Maximum):
    """The maximum over some axes (of the ONNX shape)."""

    axes: Shape
    in_shape: Shape
    device: torch.device

    def apply(self, *values: Tensor) -> Tensor:
        """Return the maxima."""
        return values[0].amax([a + 1 for a in self.axes]).reshape(len(values[0]), *self.shape)

    @cached_property
    def windows(self) -> Tensor:
        """Return int64 (outputs, window): flat input indices at batch size 1."""
        flat = torch.arange(prod(self.in_shape), device=self.device).reshape(self.in_shape)
        kept = [a for a in range(len(self.in_shape)) if a not in self.axes]
        return flat.permute(*kept, *self.axes).reshape(prod(self.shape), -1)


def reduce_max(node: Node, scope: Scope) -> Op:
    """ReduceMax, GlobalMaxPool, and ReduceMin as minus the maximum of -x."""
    shape, base = scope.variable(node), scope.base(node)
    fields: dict[str, Any] = {"axes": axes_of(node, scope, shape), "in_shape": shape, "device": scope.device}
    if node.op != "ReduceMin":
        return Largest(**base, **fields)
    chain = Chain(base)
    name = chain.weighted({base["inputs"][0]: -1.0}, (shape,), shape, "minus")
    name = chain.put(Largest, "ReduceMax", (name,), base["shape"], "largest", **fields)
    chain.weighted({name: -1.0}, (base["shape"],), base["shape"])
    return chain.made(lambda x: -chain.parts[1].apply(-x))


def max_pool(node: Node, scope: Scope) -> Maximum:
    """MaxPool."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise UnsupportedError("MaxPool (with indices)", "ops")
    in_shape, out_shape = scope.variable(node), scope.shape(node.outputs[0])
    at = window(node, tuple(node.attributes["kernel_shape"]), in_shape, out_shape)
    return MaxPool(**scope.base(node), window=at, in_shape=in_shape, out_shape=out_shape, device=scope.device)
