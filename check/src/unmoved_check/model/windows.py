"""Where the windows of convolutions and pools lie: ONNX's strides, dilations, pads, auto_pad and ceil_mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from unmoved_check.model.constant import MOST_ELEMENTS
from unmoved_check.model.movement import strides as row_major
from unmoved_check.model.reader import Node
from unmoved_check.outcome import Rejection


@dataclass(frozen=True)
class Geometry:
    """Spatial sizes of one windowed operator; `pads` are those in front, `overhang` is a window past all padding."""

    space: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    overhang: bool

    @classmethod
    def of(cls, node: Node, space: Sequence[int], kernel: tuple[int, ...]) -> Geometry:
        """The geometry that the node's attributes ask for."""
        rank = len(space)
        strides = node.integers("strides") or [1] * rank
        dilations = node.integers("dilations") or [1] * rank
        pads = node.integers("pads") or [0] * (2 * rank)
        fits = len(kernel) == len(strides) == len(dilations) == rank and len(pads) == 2 * rank
        if not fits or min((*kernel, *strides, *dilations)) < 1 or min(pads) < 0:
            raise Rejection(f"model: {node.op} with a broken window")
        ceil = node.flag("ceil_mode", False)
        auto = node.text("auto_pad", "NOTSET")
        axes = []
        for i in range(rank):
            reach = (kernel[i] - 1) * dilations[i] + 1
            if dilations[i] != 1 and auto.startswith("SAME"):
                raise node.refuse("with dilations and auto_pad, where runtimes differ")
            pair = _auto_pads(node, auto, (space[i], reach, strides[i]), (pads[i], pads[i + rank]))
            axes.append(_axis(space[i], reach, strides[i], pair, ceil and auto in ("NOTSET", "VALID")))
        if any(out < 1 for out, _, _ in axes):
            raise Rejection(f"model: {node.op} whose window is larger than its input")
        out, front, over = zip(*axes, strict=True)
        if prod(out) * prod(kernel) > MOST_ELEMENTS:
            raise Rejection(f"model: {node.op} with windows of too many elements")
        return cls(tuple(space), out, kernel, tuple(strides), tuple(dilations), front, any(over))

    def inside(self) -> list[list[int]]:
        """For every output position, the flat spatial indices of its window that are inside the input."""
        steps = row_major(self.space)
        along = [
            [
                [
                    at * steps[i]
                    for tap in range(self.kernel[i])
                    if 0 <= (at := o * self.strides[i] - self.pads[i] + tap * self.dilations[i]) < self.space[i]
                ]
                for o in range(self.out[i])
            ]
            for i in range(len(self.space))
        ]
        return [[sum(parts) for parts in product(*axes)] for axes in product(*along)]


def _auto_pads(node: Node, auto: str, sizes: tuple[int, int, int], pads: tuple[int, int]) -> tuple[int, int]:
    """Padding in front and behind along one axis."""
    space, reach, stride = sizes
    if auto == "NOTSET":
        return pads
    if any(pads):
        raise node.refuse("with auto_pad and pads")
    if auto == "VALID":
        return (0, 0)
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.refuse(f"with auto_pad {auto}")
    total = max((-(-space // stride) - 1) * stride + reach - space, 0)
    small = total // 2
    return (small, total - small) if auto == "SAME_UPPER" else (total - small, small)


def _axis(space: int, reach: int, stride: int, pads: tuple[int, int], ceil: bool) -> tuple[int, int, bool]:
    """(output size, pad in front, whether the last window ends behind the padding)."""
    room = space + sum(pads) - reach
    out = room // stride + 1 if room >= 0 else 0
    if ceil and room >= 0 and room % stride and out * stride < space + pads[0]:
        # a window that would start behind the input is left out (ONNX since opset 19, onnxruntime, torch)
        out += 1
    return out, pads[0], (out - 1) * stride > room
