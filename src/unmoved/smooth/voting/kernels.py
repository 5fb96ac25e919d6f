"""A network's operators as fast torch calls: bias inside the convolution, ReLU in place, channels last.

The same operators as `unmoved.ops` has them, for evaluation alone; where there is nothing faster, Ops apply themselves.
Sums may be taken in another order than there, so the last bits of the outputs may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from unmoved.ir import Network
from unmoved.ops import Affine, Maximum, Op
from unmoved.ops.affine import MatrixProduct, Weighted
from unmoved.ops.convolution import Convolution

Kernel = Callable[..., Tensor]

_LANES = 16


@dataclass(frozen=True, eq=False)
class Step:
    """One operator: where its values are read and written, and which of them nobody needs afterwards."""

    kernel: Kernel
    inputs: tuple[str, ...]
    output: str
    done: tuple[str, ...]


def steps(ops: Sequence[Op], network: Network, *, tame: bool = False, packed: int = 0) -> tuple[Step, ...]:
    """Return the operators as steps from the network's input to its output, in order.

    `tame`: no value is a NaN or an infinity (see `largest`): in bfloat16 ReLU may then look at the sign bit alone, or
    be part of the convolution before it. `packed`: the size of a batch for which the weights of convolutions are laid
    out beforehand (0: not); only where `packs` says that this can be done.
    """
    last = {name: place for place, op in enumerate(ops) for name in op.inputs}
    uses = Counter(name for op in ops for name in op.inputs)
    uses[network.output] += 1
    readers = {name: op for op in ops for name in op.inputs}
    fresh: set[str] = set()
    clipped: set[str] = set()
    images: dict[str, tuple[int, ...]] = {}
    made: list[Step] = []
    for place, op in enumerate(ops):
        done = tuple(name for name in dict.fromkeys(op.inputs) if last[name] == place and name != network.output)
        image = _flattened(op, network)
        kernel: Kernel
        if image is not None and uses[op.output] == 1 and _takes_rows(readers.get(op.output)):
            images[op.output] = image
            kernel, new = _channels_behind, False
        elif packed and isinstance(op, Convolution) and (layout := _layout(op)) is not None:
            reader = readers.get(op.output)
            merged = tame and uses[op.output] == 1 and reader is not None and reader.kind == "Relu"
            kernel, new = _packed_convolution(op, layout, packed, relu=merged), True
            clipped |= {op.output} if merged else set()
        else:
            kernel, new = _kernel(op, images.get(op.inputs[0]))
        if op.kind == "Relu" and op.inputs[0] in clipped:
            kernel, new = _as_it_is, True
        elif op.kind == "Relu" and op.inputs[0] in fresh and uses[op.inputs[0]] == 1:
            kernel, new = (_relu_by_sign if tame else torch.relu_), True
        if new:
            fresh.add(op.output)
        made.append(Step(kernel, op.inputs, op.output, done))
    return tuple(made)


def largest(ops: Sequence[Op], network: Network, size: float) -> float:
    """Return a bound, up to rounding, of all sums of sizes in the network for inputs of size <= `size`; inf: unknown.

    |L x + b| <= |L| |x| + |b|, layer by layer; ReLU and MaxPool make nothing larger.
    """
    bounds = {network.input: torch.full((1, *network.input_shape), size, dtype=torch.float64)}
    most = size
    for op in ops:
        values = [bounds[name] for name in op.inputs]
        if isinstance(op, Affine):
            bound = torch.stack([op.absolute(place, value) for place, value in enumerate(values)]).sum(0)
            offset = op.bias()
            bound = bound if offset is None else bound + offset.abs()
        elif op.kind == "Relu" or isinstance(op, Maximum):
            bound = op.apply(*values)
        else:
            return float("inf")
        bounds[op.output] = bound
        most = max(most, float(bound.max()))
    return most if most == most else float("inf")


def walk(plan: Sequence[Step], network: Network, x: Tensor) -> Tensor:
    """Return the network's output for its input `x`; other values are freed after their last use."""
    values = {network.input: x}
    for step in plan:
        values[step.output] = step.kernel(*(values[name] for name in step.inputs))
        for name in step.done:
            del values[name]
    return values[network.output]


def packs(dtype: torch.dtype, device: str) -> bool:
    """Return whether convolutions may be `packed`: in bfloat16 on a CPU whose torch comes with oneDNN and its kernels.

    They are those that torch.compile calls: an MNIST CNN takes two thirds of the time, the numbers stay the same. In
    float32 they gain nothing.
    """
    known = all(hasattr(torch.ops.mkldnn, name) for name in ("_convolution_pointwise", "_reorder_convolution_weight"))
    built = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return known and built and dtype == torch.bfloat16 and device == "cpu"


def _as_it_is(value: Tensor) -> Tensor:
    return value


def _relu_by_sign(value: Tensor) -> Tensor:
    """ReLU in place of finite numbers: as an integer, a bfloat16 is negative where its sign bit is set.

    Five times as fast as torch.relu_ on the CPU (0.09 and 0.51 ns an element on a Zen 4).
    """
    if value.dtype == torch.bfloat16:
        value.view(torch.int16).clamp_min_(0)
        return value
    return torch.relu_(value)


def _flattened(op: Op, network: Network) -> tuple[int, ...] | None:
    """Return (channels, height, width) where an op makes an image a row."""
    if op.kind not in ("Reshape", "Flatten") or len(op.inputs) != 1:
        return None
    shape = network.shapes[op.inputs[0]]
    fits = len(shape) == 4 and shape[0] == 1 and network.shapes[op.output] == (1, prod(shape))
    return shape[1:] if fits else None


def _channels_behind(value: Tensor) -> Tensor:
    """Make images rows, channels last: no copy where they lie so."""
    return value.squeeze(1).permute(0, 2, 3, 1).reshape(len(value), 1, -1)


def _takes_rows(op: Op | None) -> bool:
    return isinstance(op, MatrixProduct) and _is_row(op)


def _kernel(op: Op, image: tuple[int, ...] | None = None) -> tuple[Kernel, bool]:
    """Return a function of the op's inputs, and whether its result is memory of its own (not a view of an input).

    `image`: the shape of the images that the op's rows were made from by `_channels_behind`.
    """
    if isinstance(op, Convolution):
        fast = _convolution(op)
        return (fast, True) if fast is not None else (op.apply, False)
    if isinstance(op, MatrixProduct):
        fast = _product(op, image)
        return (fast, True) if fast is not None else (op.apply, False)
    if isinstance(op, Weighted) and op.kind in ("Add", "Sum") and len(op.inputs) == 2 and _plain(op):
        return torch.add, True
    return op.apply, False


def _plain(op: Weighted) -> bool:
    """Say whether an op is the sum of two values of one shape, and nothing else."""
    ones = all(isinstance(scale, float) and scale == 1.0 for scale in op.scales)
    return ones and op.offset is None and all(shape == op.out_shape for shape in op.in_shapes)


Layout = tuple[Sequence[int], Sequence[int], Sequence[int], int]
"""Of a convolution: padding, stride, dilation, groups."""


def _layout(op: Convolution) -> Layout | None:
    """Return the layout of a convolution of images with at most a bias and with even padding; None for other ones."""
    at = op.window
    fits = all(reach <= begin for reach, begin in zip(at.reach, at.begin, strict=True)) and at.begin == at.end
    if len(at.size) != 2 or op.in_shape[0] != 1 or op.scale is not None or not fits:
        return None
    return at.begin, at.stride, at.dilation, op.groups


def _bias(op: Convolution) -> Tensor | None:
    return None if op.offset is None else op.offset.reshape(-1).contiguous()


def _packed_convolution(op: Convolution, layout: Layout, batch: int, *, relu: bool) -> Kernel:
    """Return a convolution, with ReLU behind it if `relu`, whose weights lie as the kernel for such a batch wants."""
    begin, stride, dilation, groups = (list(part) if not isinstance(part, int) else part for part in layout)
    size = [batch, *op.in_shape[1:]]
    weight = torch.ops.mkldnn._reorder_convolution_weight(op.weight, begin, stride, dilation, groups, size)
    bias, after = _bias(op), "relu" if relu else "none"

    def convolved(value: Tensor) -> Tensor:
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(
            value.squeeze(1), weight, bias, begin, stride, dilation, groups, after, [], ""
        )
        return made.unsqueeze(1)

    return convolved


def _convolution(op: Convolution) -> Kernel | None:
    """Return a convolution in two dimensions with its bias; None for other ones."""
    layout = _layout(op)
    if layout is None:
        return None
    weight, bias = op.weight.contiguous(memory_format=torch.channels_last), _bias(op)
    begin, stride, dilation, groups = layout

    def convolved(value: Tensor) -> Tensor:
        return functional.conv2d(value.squeeze(1), weight, bias, stride, begin, dilation, groups).unsqueeze(1)

    return convolved


def _is_row(op: MatrixProduct) -> bool:
    """Say whether an op is the product of one row with a matrix, plus at most a number each output."""
    row = op.weight.ndim == 2 and not op.left and not op.transposed and op.in_matrix == (1, op.weight.shape[0])
    return row and (op.offset is None or op.offset.numel() == op.weight.shape[1])


def _product(op: MatrixProduct, image: tuple[int, ...] | None) -> Kernel | None:
    """Return a product of one row with a matrix, plus its bias; None for other ones."""
    if not _is_row(op):
        return None
    inputs, outputs = op.weight.shape
    # outputs filled up to a multiple of 16: MKL's products of 9 by 5 gave a row other bits at every fourth place
    spare = -outputs % _LANES
    weight = functional.pad(op.weight.mT, (0, 0, 0, spare))
    if image is not None:
        weight = weight.reshape(-1, *image).permute(0, 2, 3, 1).reshape(-1, inputs)
    weight = weight.contiguous()
    bias = None if op.offset is None else functional.pad(op.offset.reshape(-1), (0, spare)).contiguous()
    shape = op.out_shape

    def multiplied(value: Tensor) -> Tensor:
        product = functional.linear(value.reshape(len(value), inputs), weight, bias)
        return product[:, :outputs].reshape(len(value), *shape)

    return multiplied
