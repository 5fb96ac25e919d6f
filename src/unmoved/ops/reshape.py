"""Affine operators that only move numbers, and fill places with constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Array, Node
from unmoved.ops.op import Affine
from unmoved.ops.scope import Scope, Shape

_NUMPY_PADS: dict[str, Literal["reflect", "edge", "wrap"]] = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
_FLOATS = (1, 10, 11, 16)  # float, float16, double, bfloat16 in onnx.TensorProto
_SLICE_INPUTS = (("starts", 1), ("ends", 2), ("axes", 3), ("steps", 4))

_COORDINATES: dict[str, Callable[..., Array]] = {
    "asymmetric": lambda x, scale, before, after: x / scale,
    "half_pixel": lambda x, scale, before, after: (x + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda x, scale, before, after: (x + 0.5) / scale - 0.5 if after > 1 else 0 * x,
    "align_corners": lambda x, scale, before, after: x * (before - 1) / max(after - 1, 1),
}
"""Places in the input for places x in the output, by coordinate_transformation_mode."""

_NEAREST: dict[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


@dataclass(frozen=True, eq=False)
class Movement(Affine):
    """An Affine whose every output is one input or a constant, so that |L| = L; `filling` holds the constants."""

    in_shapes: tuple[Shape, ...]
    out_shape: Shape
    filling: Tensor | None

    @property
    def positive(self) -> bool:
        """True."""
        return True

    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return L radius: every entry of L is 0 or 1."""
        return self.linear(index, radius)

    def bias(self) -> Tensor | None:
        """Return the constants at their places, zeros elsewhere; None where there are none."""
        return self.filling


@dataclass(frozen=True, eq=False)
class Reshaped(Movement):
    """The same numbers in the same order under another shape."""

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the values in the new shape."""
        return value.reshape(len(value), *self.out_shape)

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return the rows in the old shape."""
        return rows.reshape(len(rows), *self.in_shapes[0])


@dataclass(frozen=True, eq=False)
class Transposed(Movement):
    """The axes in another order: axis i of y is axis order[i] of x."""

    order: Shape

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the values with their axes permuted."""
        return value.permute(0, *(i + 1 for i in self.order))

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return the rows with their axes put back."""
        return rows.permute(0, *(self.order.index(i) + 1 for i in range(len(self.order))))


@dataclass(frozen=True, eq=False)
class Selected(Movement):
    """Some places along some axes: `picks` are pairs of an axis and int64 indices, applied one after the other."""

    picks: tuple[tuple[int, Tensor], ...]

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the chosen values."""
        for axis, places in self.picks:
            value = value.index_select(axis + 1, places)
        return value.reshape(len(value), *self.out_shape)

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return the rows at their places, added up where a place was chosen more than once, zeros elsewhere."""
        shapes = [list(self.in_shapes[0])]
        for axis, places in self.picks:
            shapes.append([len(places) if i == axis else n for i, n in enumerate(shapes[-1])])
        rows = rows.reshape(len(rows), *shapes[-1])
        for (axis, places), shape in zip(reversed(self.picks), reversed(shapes[:-1]), strict=True):
            rows = rows.new_zeros(len(rows), *shape).index_add(axis + 1, places, rows)
        return rows


@dataclass(frozen=True, eq=False)
class Padded(Movement):
    """Constants around x, or x cut where a number is negative; `pads` are in the order of torch's pad."""

    pads: tuple[int, ...]

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the values with zeros around."""
        return functional.pad(value, self.pads)

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return the rows without the padding, and zeros for what was cut."""
        return functional.pad(rows, [-p for p in self.pads])


@dataclass(frozen=True, eq=False)
class Joined(Movement):
    """Tensors one after the other along an axis; input i starts at starts[i]."""

    axis: int
    starts: Shape

    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return the values at their place, zeros elsewhere."""
        before = self.starts[index]
        after = self.out_shape[self.axis] - before - value.shape[self.axis + 1]
        return functional.pad(value, [0, 0] * (len(self.out_shape) - self.axis - 1) + [before, after])

    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return the rows at the input's place."""
        return rows.narrow(self.axis + 1, self.starts[index], self.in_shapes[index][self.axis])


def reshaped(node: Node, scope: Scope) -> Affine:
    """Flatten, Reshape, Squeeze, Unsqueeze, Identity, Dropout (not in training), Cast between floating-point types."""
    in_shape = scope.variable(node)
    if node.op == "Cast" and int(node.attributes["to"]) not in _FLOATS:
        raise UnsupportedError("Cast (to something else than floats)", "ops")
    if node.op == "Dropout":
        mode = scope.array(node, 2)
        if mode is not None and bool(mode):
            raise UnsupportedError("Dropout (in training mode)", "ops")
    return Reshaped(**scope.base(node), in_shapes=(in_shape,), out_shape=scope.shape(node.outputs[0]), filling=None)


def transposed(node: Node, scope: Scope) -> Affine:
    """Transpose; without `perm` the axes are reversed."""
    in_shape, out_shape = scope.variable(node), scope.shape(node.outputs[0])
    order = tuple(node.attributes.get("perm", range(len(in_shape) - 1, -1, -1)))
    return Transposed(**scope.base(node), in_shapes=(in_shape,), out_shape=out_shape, filling=None, order=order)


def selected(node: Node, scope: Scope, out: str, picks: Sequence[tuple[int, range | list[int]]]) -> Selected:
    """Bind a choice of places of input 0."""
    in_shape = scope.variable(node)
    pairs = tuple((a, torch.tensor(list(places), dtype=torch.int64, device=scope.device)) for a, places in picks)
    base = {**scope.base(node), "output": out, "shape": scope.shape(out)}
    return Selected(**base, in_shapes=(in_shape,), out_shape=scope.shape(out), filling=None, picks=pairs)


def sliced(node: Node, scope: Scope) -> Affine:
    """Slice with constant starts, ends, axes and steps; ONNX clamps them just as Python does."""
    shape = scope.variable(node)
    starts, ends, axes, steps = (scope.integers(node, i, name) for name, i in _SLICE_INPUTS)
    if starts is None or ends is None:
        raise UnsupportedError("Slice (without starts and ends)", "ops")
    axes = tuple(a % len(shape) for a in axes) if axes is not None else tuple(range(len(starts)))
    steps = steps or (1,) * len(starts)
    cuts = zip(axes, starts, ends, steps, strict=True)
    picks = [(a, range(shape[a])[slice(start, end, step)]) for a, start, end, step in cuts]
    return selected(node, scope, node.outputs[0], [(a, r) for a, r in picks if r != range(shape[a])])


def gathered(node: Node, scope: Scope) -> Affine:
    """Gather with constant indices."""
    shape = scope.variable(node)
    axis = int(node.attributes.get("axis", 0)) % len(shape)
    places = scope.integers(node, 1) or ()
    return selected(node, scope, node.outputs[0], [(axis, [i % shape[axis] for i in places])])


def split(node: Node, scope: Scope) -> tuple[Affine, ...]:
    """Split: one Op an output."""
    axis = int(node.attributes.get("axis", 0)) % len(scope.variable(node))
    sizes = [scope.shape(name)[axis] for name in node.outputs]
    ends = list(accumulate(sizes))
    pieces = zip(node.outputs, ends, sizes, strict=True)
    return tuple(selected(node, scope, name, [(axis, range(e - n, e))]) for name, e, n in pieces)


def tiled(node: Node, scope: Scope) -> Affine:
    """Tile: every axis repeated a constant number of times."""
    shape = scope.variable(node)
    repeats = scope.integers(node, 1) or ()
    picks = [(a, list(range(shape[a])) * r) for a, r in enumerate(repeats) if r != 1]
    return selected(node, scope, node.outputs[0], picks)


def resized(node: Node, scope: Scope) -> Affine:
    """Resize and Upsample to the nearest place, by ONNX's formulas for coordinates."""
    shape, out = scope.variable(node), scope.shape(node.outputs[0])
    mode = node.attributes.get("mode", "nearest")
    if mode != "nearest" or node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError(f"{node.op} (of mode {mode})", "ops")
    old = node.op == "Upsample" or ("coordinate_transformation_mode" not in node.attributes and len(node.inputs) == 2)
    where = node.attributes.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    nearest = node.attributes.get("nearest_mode", "floor" if old else "round_prefer_floor")
    if where not in _COORDINATES or nearest not in _NEAREST:
        raise UnsupportedError(f"{node.op} (by {where}, {nearest})", "ops")
    given = scope.array(node, len(node.inputs) - 1) if node.op == "Upsample" or len(node.inputs) < 4 else None
    scales = node.attributes.get("scales", given if given is not None and given.dtype.kind == "f" else None)
    axes = tuple(a % len(shape) for a in node.attributes.get("axes", range(len(shape))))
    picks = []
    for axis, (before, after) in enumerate(zip(shape, out, strict=True)):
        if before == after:
            continue
        scale = after / before if scales is None else float(scales[axes.index(axis)])
        places = _NEAREST[nearest](_COORDINATES[where](np.arange(after, dtype=np.float64), scale, before, after))
        picks.append((axis, [int(p) for p in np.clip(places, 0, before - 1)]))
    return selected(node, scope, node.outputs[0], picks)


def padded(node: Node, scope: Scope) -> Affine:
    """Pad with a constant (negative pads cut), or with elements of the input."""
    in_shape, out_shape = scope.variable(node), scope.shape(node.outputs[0])
    mode = node.attributes.get("mode", "constant")
    pads, axes = scope.integers(node, 1, "pads"), scope.integers(node, 3)
    if pads is None or mode not in ("constant", *_NUMPY_PADS):
        raise UnsupportedError(f"Pad (of mode {mode})", "ops")
    value = scope.array(node, 2)
    fill = float(node.attributes.get("value", 0.0)) if value is None else float(value.reshape(()))
    axes = tuple(range(len(in_shape))) if axes is None else tuple(a % len(in_shape) for a in axes)
    both = {a: (pads[i], pads[i + len(axes)]) for i, a in enumerate(axes)}
    if mode != "constant":
        if min(p for pair in both.values() for p in pair) < 0:
            raise UnsupportedError(f"Pad (of mode {mode}, cutting)", "ops")
        picks = [(a, list(np.pad(np.arange(in_shape[a]), pair, _NUMPY_PADS[mode]))) for a, pair in both.items()]
        return selected(node, scope, node.outputs[0], picks)
    order = tuple(p for a in reversed(range(len(in_shape))) for p in both.get(a, (0, 0)))
    filling = None
    if fill != 0.0:
        empty = torch.zeros(in_shape, dtype=scope.dtype, device=scope.device)
        filling = functional.pad(empty, order, value=fill)
    return Padded(**scope.base(node), in_shapes=(in_shape,), out_shape=out_shape, filling=filling, pads=order)


def joined(node: Node, scope: Scope) -> Affine:
    """Concat of variables and constants."""
    out_shape, variables = scope.shape(node.outputs[0]), scope.variables(node)
    axis = int(node.attributes["axis"]) % len(out_shape)
    sizes = [scope.shape(name)[axis] for name in node.inputs]
    starts = [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]
    filling = None
    if len(variables) < len(sizes):
        shapes = [scope.shape(name) for name in node.inputs]
        zeros = {i: torch.zeros(shapes[i], dtype=scope.dtype, device=scope.device) for i in variables}
        parts = [zeros[i] if i in zeros else scope.required(node, i) for i in range(len(sizes))]
        filling = torch.cat(parts, dim=axis)
    return Joined(
        **scope.base(node),
        in_shapes=tuple(scope.shape(node.inputs[i]) for i in variables),
        out_shape=out_shape,
        filling=filling,
        axis=axis,
        starts=tuple(starts[i] for i in variables),
    )
