"""ConvTranspose as a convolution: zeros between the input's places, the kernel turned around."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import prod

from unmoved_check.model import movement
from unmoved_check.model.affine import shifted
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant
from unmoved_check.model.movement import reshaped
from unmoved_check.model.reader import Node
from unmoved_check.model.steps import Conv
from unmoved_check.outcome import Rejection


@dataclass(frozen=True)
class Side:
    """One spatial axis: input, kernel, stride, dilation, places cut off in front, output."""

    space: int
    kernel: int
    stride: int
    dilation: int
    front: int
    out: int

    @property
    def whole(self) -> int:
        """Places that some tap reaches when nothing is cut off."""
        return (self.space - 1) * self.stride + (self.kernel - 1) * self.dilation + 1

    @property
    def pad(self) -> int:
        """Zeros in front of the spread input (negative: places of it that no output reaches)."""
        return (self.kernel - 1) * self.dilation - self.front

    def spread(self) -> list[int]:
        """Which place of the input stands where, -1 for a zero."""
        found = [-1] * ((self.space - 1) * self.stride + 1)
        found[:: self.stride] = range(self.space)
        return found[max(-self.pad, 0) :]


def conv_transpose(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX ConvTranspose with a constant kernel: y[o] = sum of W[t] x[i] over i stride + t dilation = o + front.

    That is a convolution of stride 1 by W from its last tap to its first, of x with stride - 1 zeros between places.
    """
    x, weight = inputs[:2]
    bias = inputs[2] if len(inputs) > 2 else None
    if not isinstance(x, Variable) or not isinstance(weight, Constant) or isinstance(bias, Variable):
        raise node.refuse("with a variable kernel or bias")
    rank, groups = len(x.shape), node.integer("group", 1)
    if rank < 3 or len(weight.shape) != rank or x.shape[0] != 1 or groups < 1 or x.shape[1] % groups:
        raise Rejection("model: ConvTranspose of tensors that don't fit")
    channels, per_group, *kernel = weight.shape
    if channels != x.shape[1] or not per_group or (node.integers("kernel_shape") or kernel) != kernel:
        raise Rejection("model: ConvTranspose of tensors that don't fit")
    sides = _sides(node, x.shape[2:], kernel, build.opset)
    spread = _spread(build, x, sides)
    step = Conv(
        spread.value,
        channels,
        spread.shape[2:],
        per_group * groups,
        tuple(s.out for s in sides),
        tuple(kernel),
        (1,) * len(sides),
        tuple(s.dilation for s in sides),
        tuple(max(s.pad, 0) for s in sides),
        groups,
        _turned(weight, groups),
    )
    y = build.emit(step, (1, per_group * groups, *step.space_out))
    if bias is None:
        return y
    if bias.shape != (y.shape[1],):
        raise Rejection("model: ConvTranspose bias of a wrong shape")
    return shifted(build, y, reshaped(bias, (y.shape[1], *(1,) * len(sides))))


def _sides(node: Node, space: tuple[int, ...], kernel: list[int], opset: int) -> list[Side]:
    rank = len(space)
    strides, dilations = (node.integers(name) or [1] * rank for name in ("strides", "dilations"))
    extra, pads = node.integers("output_padding") or [0] * rank, node.integers("pads") or [0] * (2 * rank)
    wanted, auto = node.integers("output_shape"), node.text("auto_pad", "NOTSET")
    fits = len(strides) == len(dilations) == len(extra) == rank and len(pads) == 2 * rank
    if not fits or min((*kernel, *strides, *dilations)) < 1 or min((*extra, *pads)) < 0:
        raise Rejection("model: ConvTranspose with a broken window")
    if wanted is not None and len(wanted) != rank:
        raise node.refuse("with an output_shape of more than space")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.refuse(f"with auto_pad {auto}")
    if any(pads) and (auto != "NOTSET" or wanted is not None):
        raise node.refuse("with pads beside auto_pad or output_shape")
    found = []
    for i in range(rank):
        side = Side(space[i], kernel[i], strides[i], dilations[i], 0, 0)
        size = side.space * side.stride if auto.startswith("SAME") else None
        size = size if wanted is None else wanted[i]
        cut = pads[i] + pads[i + rank] if size is None else side.whole + extra[i] - size
        if cut % 2 and size is not None and opset < 11:
            raise node.refuse("with an odd number of places to cut off, which opset 11 shared out otherwise")
        front = pads[i] if size is None else (cut // 2 if auto == "SAME_UPPER" else cut - cut // 2)
        out = side.whole + extra[i] - cut
        if cut < 0 or out < 1 or front >= side.whole:
            raise node.refuse("whose output is larger than its windows reach, or of nothing else")
        found.append(Side(side.space, side.kernel, side.stride, side.dilation, front, out))
    movement.limited([s.out * s.kernel for s in found])
    return found


def _spread(build: Builder, x: Variable, sides: list[Side]) -> Variable:
    """The input with zeros between its places, without what no output reaches."""
    axes = [side.spread() for side in sides]
    movement.limited([x.shape[1], *map(len, axes)])
    if not all(axes):
        raise Rejection("model: ConvTranspose that cuts everything off")
    steps = movement.strides(x.shape)
    block = prod(x.shape[2:])
    image = [-1 if min(at) < 0 else sum(a * s for a, s in zip(at, steps[2:], strict=True)) for at in product(*axes)]
    which = [p if p < 0 else c * block + p for c in range(x.shape[1]) for p in image]
    return build.moved([x], Constant("int", (1, x.shape[1], *map(len, axes)), which), (Fraction(0),))


def _turned(weight: Constant, groups: int) -> array[float]:
    """(in, out / groups, taps) as (out, in / groups, taps), the taps from the last to the first."""
    numbers = weight.weights()
    channels, per_group = weight.shape[:2]
    taps, own = prod(weight.shape[2:]), channels // groups
    found = array("d")
    for g in range(groups):
        for o in range(per_group):
            for i in range(g * own, (g + 1) * own):
                at = (i * per_group + o) * taps
                found.extend(numbers[at : at + taps][::-1])
    return found
