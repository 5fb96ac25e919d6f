"""Operators that the checker lowers to others, with odd and even wrong attributes: more kinds for random graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from graphs import Draft, Shape
from onnx import helper


def deconvolution(d: Draft, x: str, shape: Shape) -> None:
    channels, rank = shape[1] if len(shape) > 1 else 1, max(len(shape) - 2, 1)
    group = d.some(1, 1, channels, 2)
    kernel = [d.number(1, 3) for _ in range(rank)]
    found: dict[str, Any] = {"group": group} if group > 1 else {}
    for name, low, high in (("strides", 1, 3), ("dilations", 1, 2), ("output_padding", 0, 2)):
        if d.flip(0.4):
            found[name] = [d.number(low, high) for _ in range(rank)]
    if d.flip(0.3):
        found["auto_pad"] = d.some("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    elif d.flip(0.3):
        found["output_shape"] = [d.number(1, 12) for _ in range(rank)]
    elif d.flip():
        found["pads"] = [d.number(0, 2) for _ in range(2 * rank)]
    outer = d.number(1, 2)
    inputs = [x, d.floats(channels, outer, *kernel)]
    d.put("ConvTranspose", [*inputs, d.floats(outer * group)] if d.flip() else inputs, **found)


def resized(d: Draft, x: str, shape: Shape) -> None:
    scales = [1.0 if i < 2 else d.some(1, 2, 3, 0.5, 1.5, 0.7, 2.6, 1 / 3) for i in range(len(shape))]
    given = d.constant(np.array(scales, np.float32))
    if d.opset < 11:
        d.put("Upsample" if d.opset == 9 else "Resize", [x, given])
        return
    found: dict[str, Any] = {}
    if d.flip(0.8):
        modes = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric")
        found = {
            "coordinate_transformation_mode": d.some(*modes),
            "nearest_mode": d.some("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
        }
    roi = d.constant(np.zeros(0, np.float32))
    if d.flip():
        d.put("Resize", [x, roi, given], **found)
    else:
        sizes = [n if i < 2 else d.number(1, 9) for i, n in enumerate(shape)]
        d.put("Resize", [x, roi, d.constant(np.zeros(0, np.float32)), d.ints(sizes)], **found)


def parted(d: Draft, x: str, shape: Shape) -> None:
    """Split, and one of the parts."""
    axis, count = d.number(-len(shape), len(shape) - 1), d.number(1, 3)
    found: dict[str, Any] = {"axis": axis} if d.flip(0.8) else {}
    inputs = [x]
    if d.flip():
        ends = sorted(d.number(0, shape[axis]) for _ in range(count - 1))
        sizes = [int(v) for v in np.diff([0, *ends, shape[axis]])]
        if d.opset < 13:
            found["split"] = sizes
        else:
            inputs.append(d.ints(sizes))
    elif d.opset >= 18:
        found["num_outputs"] = count
    names = [f"s{len(d.nodes)}_{k}" for k in range(count)]
    d.nodes.append(helper.make_node("Split", inputs, names, **found))
    d.put("Identity", [d.some(*names)])


def tiled(d: Draft, x: str, shape: Shape) -> None:
    d.put("Tile", [x, d.ints([d.some(1, 1, 2, 3, 0) if d.flip() else 1 for _ in shape])])


def several(d: Draft, x: str, shape: Shape) -> None:
    """Max, Min and Sum of tensors and constants."""
    others = [d.some(*d.shapes) if d.flip() else d.floats(*d.near(shape)) for _ in range(d.number(0, 3))]
    inputs = [x, *others]
    d.rng.shuffle(inputs)
    d.put(d.some("Max", "Min", "Sum"), inputs)


def extreme(d: Draft, x: str, shape: Shape) -> None:
    op, rank = d.some("ReduceMax", "ReduceMin", "GlobalMaxPool"), len(shape)
    if op == "GlobalMaxPool":
        d.put(op, [x])
        return
    found: dict[str, Any] = {"keepdims": d.number(0, 1)} if d.flip() else {}
    axes = [int(a) - (rank if d.flip() else 0) for a in d.rng.permutation(rank)[: d.number(0, rank)]]
    if d.opset >= 18 and d.flip(0.3):
        found["noop_with_empty_axes"] = d.number(0, 1)
    if d.opset >= 18 and d.flip(0.8):
        d.put(op, [x, d.ints(axes)], **found)
    else:
        d.put(op, [x], **found, **({"axes": axes} if axes and d.opset < 18 else {}))


def bent(d: Draft, x: str, shape: Shape) -> None:
    if d.flip(0.3):
        d.put("Abs", [x])
    else:
        slopes = d.rng.integers(-8, 9, d.near(shape)) / 4
        d.put("PRelu", [x, d.constant((np.abs(slopes) / 2 if d.flip() else slopes).astype(np.float32))])


def chosen(d: Draft, x: str, shape: Shape) -> None:
    """Where of a constant condition, or of one that is computed."""
    other = d.some(*d.shapes) if d.flip() else d.floats(*d.near(shape))
    masks = [d.constant(d.rng.random(d.near(shape)) > 0.5) for _ in "ab"]
    condition, op = masks[0], d.some("", "Not", "And", "Or")
    if op:
        condition = f"g{len(d.nodes)}"
        d.nodes.append(helper.make_node(op, masks[:1] if op == "Not" else masks, [condition]))
    pair = [x, other]
    d.put("Where", [condition, *(pair if d.flip() else pair[::-1])])


def normal(d: Draft, x: str, shape: Shape) -> None:
    """Of numbers in [-2, 2]: what float32 loses of large ones that are nearly equal would say nothing."""
    low, high = np.float32(-2.0), np.float32(2.0)
    if d.opset < 11:
        d.put("Clip", [x], min=-2.0, max=2.0)
    else:
        d.put("Clip", [x, d.constant(low), d.constant(high)])
    x = d.nodes[-1].output[0]
    op = d.some("LayerNormalization", "InstanceNormalization", "GroupNormalization")
    found: dict[str, Any] = {"epsilon": d.some(1e-3, 0.25)}
    channels = shape[1] if len(shape) > 1 else 1
    if op == "LayerNormalization":
        found["axis"] = d.number(-len(shape), len(shape) - 1)
        inner = shape[found["axis"] % len(shape) :]
        d.put(op, [x, d.floats(*inner), *([d.floats(*inner)] if d.flip() else [])], **found)
        return
    if op == "GroupNormalization":
        found["num_groups"] = d.some(1, 2, channels)
    d.put(op, [x, d.floats(channels), d.floats(channels)], **found)


MORE: tuple[Callable[[Draft, str, Shape], None], ...] = (
    bent,
    chosen,
    deconvolution,
    extreme,
    normal,
    parted,
    resized,
    several,
    tiled,
)
