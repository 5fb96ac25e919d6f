"""Affine operators that slide a window: Conv and AveragePool in one, two or three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Node
from unmoved.ops.op import Affine
from unmoved.ops.scope import Scope, Shape

_FORWARD = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_BACKWARD = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


@dataclass(frozen=True)
class Window:
    """Where a window stands: one number a spatial axis each.

    `begin` and `end` are the paddings that the node asks for; `reach` is the padding at the end that the last window
    really touches, given the output's size (more than `end` under ceil_mode, less where the stride leaves a rest).
    """

    size: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    begin: Shape
    end: Shape
    reach: Shape

    def padding(self, begin: Shape, end: Shape) -> list[int]:
        """Return paddings in the order of torch.nn.functional.pad: the last axis first."""
        return [p for pair in zip(reversed(begin), reversed(end), strict=True) for p in pair]

    @property
    def padded(self) -> list[int]:
        """The padding that makes every window fit, never negative, in torch's order."""
        return self.padding(self.begin, tuple(max(r, 0) for r in self.reach))


def window(node: Node, kernel: Shape, in_shape: Shape, out_shape: Shape) -> Window:
    """Read strides, dilations, pads and auto_pad of a node; shapes are (1, channels, *spatial)."""
    size, out = in_shape[2:], out_shape[2:]
    ones = (1,) * len(size)
    if len(size) not in _FORWARD:
        raise UnsupportedError(f"{node.op} (with {len(size)} spatial axes)", "ops")
    stride = tuple(node.attributes.get("strides", ones))
    dilation = tuple(node.attributes.get("dilations", ones))
    extent = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        axes = zip(size, stride, extent, strict=True)
        total = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in axes]
        begin = tuple(t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total)
        end = tuple(t - b for t, b in zip(total, begin, strict=True))
    else:
        pads = tuple(node.attributes.get("pads", ())) if auto == "NOTSET" else ()
        pads = pads or (0,) * (2 * len(size))
        begin, end = pads[: len(size)], pads[len(size) :]
    axes5 = zip(out, stride, extent, size, begin, strict=True)
    reach = tuple((o - 1) * s + e - n - b for o, s, e, n, b in axes5)
    return Window(size, kernel, stride, dilation, begin, end, reach)


@dataclass(frozen=True, eq=False)
class Convolution(Affine):
    """y = scale * (x convolved with W) + b; `scale` (broadcastable to y) is the reciprocal count of an average.

    `weight` is (out channels, in channels / groups, *kernel).
    """

    weight: Tensor
    window: Window
    groups: int
    in_shape: Shape
    out_shape: Shape
    scale: Tensor | None
    offset: Tensor | None

    def _map(self, weight: Tensor, value: Tensor) -> Tensor:
        at, axes = self.window, len(self.window.size)
        folded = value.reshape(-1, *value.shape[2:])
        same = all(r <= b for r, b in zip(at.reach, at.begin, strict=True)) and at.begin == at.end
        if same:
            folded = _FORWARD[axes](folded, weight, None, at.stride, at.begin, at.dilation, self.groups)
        else:
            folded = functional.pad(folded, at.padded)
            folded = _FORWARD[axes](folded, weight, None, at.stride, 0, at.dilation, self.groups)
        result = folded.reshape(len(value), *self.out_shape)
        return result if self.scale is None else result * self.scale

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the convolution without b."""
        return self._map(self.weight, value)

    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return the convolution with |W|."""
        return self._map(self.weight.abs(), radius)

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return the transposed convolution; what no window touched gets zeros, padding is cut off."""
        at, axes = self.window, len(self.window.size)
        rows = rows if self.scale is None else rows * self.scale
        folded = rows.reshape(-1, *self.out_shape[1:])
        full = _BACKWARD[axes](folded, self.weight, None, at.stride, 0, 0, self.groups, at.dilation)
        # begin + size + reach is the extent of all windows together: pads go, and the untouched rest (reach < 0) comes.
        cut = at.padding(tuple(-b for b in at.begin), tuple(-r for r in at.reach))
        return functional.pad(full, cut).reshape(len(rows), *self.in_shape)

    def bias(self) -> Tensor | None:
        """Return b, (out channels, 1, ...)."""
        return self.offset

    def entries(self, index: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return the entries of the matrix, window by window, for two spatial axes."""
        at, weight = self.window, self.weight
        if len(at.size) != 2 or self.in_shape[0] != 1:
            return None
        places = torch.arange(1, prod(self.in_shape) + 1, device=weight.device, dtype=torch.float64)
        image = functional.pad(places.view(self.in_shape), at.padded)
        seen = functional.unfold(image, at.kernel, at.dilation, 0, at.stride).long()
        # (groups, inputs of a window, places), the same for every output channel of a group; 0 is padding.
        seen = seen.reshape(self.groups, 1, -1, seen.shape[-1]).expand(-1, len(weight) // self.groups, -1, -1)
        shape = (len(weight), *seen.shape[2:])
        outputs = torch.arange(shape[0] * shape[2], device=weight.device).view(shape[0], 1, shape[2]).expand(shape)
        values = weight.reshape(len(weight), -1, 1).expand(shape)
        if self.scale is not None:
            values = values * self.scale.expand(self.out_shape).reshape(shape[0], 1, shape[2])
        seen = seen.reshape(shape)
        inside = seen > 0
        return outputs[inside], seen[inside] - 1, values[inside]


@dataclass(frozen=True, eq=False)
class Deconvolution(Affine):
    """y = the transpose of a convolution (ConvTranspose) + b.

    `weight` is (in channels, out channels / groups, *kernel). `begin` places are cut off the full result at the
    start of every spatial axis, `end` at its end (negative: zeros are added).
    """

    weight: Tensor
    stride: Shape
    dilation: Shape
    groups: int
    begin: Shape
    end: Shape
    in_shape: Shape
    offset: Tensor | None

    def _cut(self, sign: int) -> list[int]:
        pairs = zip(reversed(self.begin), reversed(self.end), strict=True)
        return [sign * p for pair in pairs for p in pair]

    def _map(self, weight: Tensor, value: Tensor) -> Tensor:
        folded = value.reshape(-1, *value.shape[2:])
        full = _BACKWARD[len(self.stride)](folded, weight, None, self.stride, 0, 0, self.groups, self.dilation)
        return functional.pad(full, self._cut(-1)).reshape(len(value), *self.shape)

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the transposed convolution without b."""
        return self._map(self.weight, value)

    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return the transposed convolution with |W|."""
        return self._map(self.weight.abs(), radius)

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return the convolution of the rows, with what was cut off put back as zeros."""
        folded = functional.pad(rows.reshape(-1, *self.shape[1:]), self._cut(1))
        back = _FORWARD[len(self.stride)](folded, self.weight, None, self.stride, 0, self.dilation, self.groups)
        return back.reshape(len(rows), *self.in_shape)

    def bias(self) -> Tensor | None:
        """Return b, (out channels, 1, ...)."""
        return self.offset


def conv_transpose(node: Node, scope: Scope) -> Affine:
    """ConvTranspose with constant weights; what is cut off follows from the output's size."""
    in_shape, out_shape = scope.variable(node), scope.shape(node.outputs[0])
    weight, offset = scope.required(node, 1), scope.tensor(node, 2)
    axes = len(in_shape) - 2
    if axes not in _BACKWARD:
        raise UnsupportedError(f"ConvTranspose (with {axes} spatial axes)", "ops")
    stride, dilation = (tuple(node.attributes.get(k, (1,) * axes)) for k in ("strides", "dilations"))
    kernel = tuple(weight.shape[2:])
    sizes = zip(in_shape[2:], stride, kernel, dilation, strict=True)
    full = [(n - 1) * s + d * (k - 1) + 1 for n, s, k, d in sizes]
    # Output padding makes the result longer, beyond what the windows reach: less is cut off at the end.
    extra = tuple(node.attributes.get("output_padding", (0,) * axes))
    total = [f + e - o for f, e, o in zip(full, extra, out_shape[2:], strict=True)]
    auto = node.attributes.get("auto_pad", "NOTSET")
    pads = tuple(node.attributes.get("pads", (0,) * (2 * axes)))
    begin = pads[:axes]
    if auto in ("SAME_UPPER", "SAME_LOWER") or "output_shape" in node.attributes:
        begin = tuple(t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total)
    return Deconvolution(
        **scope.base(node),
        weight=weight,
        stride=stride,
        dilation=dilation,
        groups=int(node.attributes.get("group", 1)),
        begin=begin,
        end=tuple(f - o - b for f, o, b in zip(full, out_shape[2:], begin, strict=True)),
        in_shape=in_shape,
        offset=None if offset is None else offset.reshape(-1, *(1,) * axes),
    )


def conv(node: Node, scope: Scope) -> Affine:
    """Conv with constant weights."""
    in_shape, out_shape = scope.variable(node), scope.shape(node.outputs[0])
    weight, offset = scope.required(node, 1), scope.tensor(node, 2)
    at = window(node, tuple(weight.shape[2:]), in_shape, out_shape)
    return Convolution(
        **scope.base(node),
        weight=weight,
        window=at,
        groups=int(node.attributes.get("group", 1)),
        in_shape=in_shape,
        out_shape=out_shape,
        scale=None,
        offset=None if offset is None else offset.reshape(-1, *(1,) * len(at.size)),
    )


def average_pool(node: Node, scope: Scope) -> Affine:
    """AveragePool: a sum over each window and channel, divided by the number of places that count.

    Places in the node's own padding count when count_include_pad is set; places beyond it (ceil_mode) never do.
    """
    in_shape, out_shape = scope.variable(node), scope.shape(node.outputs[0])
    at = window(node, tuple(node.attributes["kernel_shape"]), in_shape, out_shape)
    channels, axes = in_shape[1], len(at.size)
    ones = torch.ones(1, 1, *at.kernel, dtype=scope.dtype, device=scope.device)
    counted = torch.ones(1, 1, *at.size, dtype=scope.dtype, device=scope.device)
    reach = tuple(max(r, 0) for r in at.reach)
    if node.attributes.get("count_include_pad", 0):
        counted = functional.pad(counted, at.padding(at.begin, at.end), value=1.0)
        beyond = tuple(max(r - e, 0) for r, e in zip(reach, at.end, strict=True))
        counted = functional.pad(counted, at.padding((0,) * axes, beyond))
    else:
        counted = functional.pad(counted, at.padded)
    count = _FORWARD[axes](counted, ones, None, at.stride, 0, at.dilation)
    for axis, length in enumerate(out_shape[2:], start=2):
        count = count.narrow(axis, 0, length)
    count = count[0, 0]
    if prod(count.shape) and count.min() <= 0:
        raise UnsupportedError("AveragePool (with a window of padding alone)", "ops")
    return Convolution(
        **scope.base(node),
        weight=ones.expand(channels, 1, *at.kernel),
        window=at,
        groups=channels,
        in_shape=in_shape,
        out_shape=out_shape,
        scale=1.0 / count,
        offset=None,
    )
