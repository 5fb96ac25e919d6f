"""Max pooling: any kernel, stride, padding and dilation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from unmoved.ir.network import Node
from unmoved.ops.convolution import Window, window
from unmoved.ops.op import Maximum
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


def max_pool(node: Node, scope: Scope) -> Maximum:
    """MaxPool."""
    in_shape, out_shape = scope.variable(node), scope.shape(node.outputs[0])
    at = window(node, tuple(node.attributes["kernel_shape"]), in_shape, out_shape)
    return MaxPool(**scope.base(node), window=at, in_shape=in_shape, out_shape=out_shape, device=scope.device)
