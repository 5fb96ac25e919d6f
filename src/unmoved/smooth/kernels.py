"""A network's operators as fast torch calls: bias inside the convolution, ReLU in place, channels last.

The same operators as `unmoved.ops` has them, for evaluation alone; where there is nothing faster, Ops apply themselves.
Sums may be taken in another order than there, so the last bits of the outputs may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from unmoved.ops import Op
from unmoved.ops.affine import Product, Weighted
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


def steps(ops: Sequence[Op], source: str, result: str) -> tuple[Step, ...]:
    """Return the operators as steps from the value `source` to the value `result`, in order."""
    last = {name: place for place, op in enumerate(ops) for name in op.inputs}
    uses = Counter(name for op in ops for name in op.inputs)
    fresh: set[str] = set()
    made = []
    for place, op in enumerate(ops):
        done = tuple(name for name in dict.fromkeys(op.inputs) if last[name] == place and name != result)
        kernel, new = _kernel(op)
        if op.kind == "Relu" and op.inputs[0] in fresh and uses[op.inputs[0]] == 1 and op.inputs[0] != result:
            kernel, new = torch.relu_, True
        if new:
            fresh.add(op.output)
        made.append(Step(kernel, op.inputs, op.output, done))
    return tuple(made)


def walk(plan: Sequence[Step], source: str, x: Tensor) -> Tensor:
    """Return what the last step writes, for the network's input `x`; other values are freed after their last use."""
    values = {source: x}
    for step in plan:
        values[step.output] = step.kernel(*(values[name] for name in step.inputs))
        for name in step.done:
            del values[name]
    return values[plan[-1].output]


def _kernel(op: Op) -> tuple[Kernel, bool]:
    """Return a function of the op's inputs, and whether its result is memory of its own (not a view of an input)."""
    if isinstance(op, Convolution):
        fast = _convolution(op)
        return (fast, True) if fast is not None else (op.apply, False)
    if isinstance(op, Product):
        fast = _product(op)
        return (fast, True) if fast is not None else (op.apply, False)
    if isinstance(op, Weighted) and op.kind in ("Add", "Sum") and len(op.inputs) == 2 and _plain(op):
        return torch.add, True
    return op.apply, False


def _plain(op: Weighted) -> bool:
    """Say whether an op is the sum of two values of one shape, and nothing else."""
    ones = all(isinstance(scale, float) and scale == 1.0 for scale in op.scales)
    return ones and op.offset is None and all(shape == op.out_shape for shape in op.in_shapes)


def _convolution(op: Convolution) -> Kernel | None:
    """Return a convolution in two dimensions with its bias; None for other ones."""
    at = op.window
    fits = all(reach <= begin for reach, begin in zip(at.reach, at.begin, strict=True)) and at.begin == at.end
    if len(at.size) != 2 or op.in_shape[0] != 1 or op.scale is not None or not fits:
        return None
    weight = op.weight.contiguous(memory_format=torch.channels_last)
    bias = None if op.offset is None else op.offset.reshape(-1).contiguous()
    stride, begin, dilation, groups = at.stride, at.begin, at.dilation, op.groups

    def convolved(value: Tensor) -> Tensor:
        return functional.conv2d(value.squeeze(1), weight, bias, stride, begin, dilation, groups).unsqueeze(1)

    return convolved


def _product(op: Product) -> Kernel | None:
    """Return a product of one row with a matrix, plus its bias; None for other ones."""
    inputs, outputs = op.weight.shape[-2:]
    row = op.weight.ndim == 2 and not op.left and not op.transposed and op.in_matrix == (1, inputs)
    if not row or (op.offset is not None and op.offset.numel() != outputs):
        return None
    # outputs filled up to a multiple of 16: MKL's products of 9 by 5 gave a row other bits at every fourth place
    spare = -outputs % _LANES
    weight = functional.pad(op.weight.mT, (0, 0, 0, spare)).contiguous()
    bias = None if op.offset is None else functional.pad(op.offset.reshape(-1), (0, spare)).contiguous()
    shape = op.out_shape

    def multiplied(value: Tensor) -> Tensor:
        product = functional.linear(value.reshape(len(value), inputs), weight, bias)
        return product[:, :outputs].reshape(len(value), *shape)

    return multiplied
