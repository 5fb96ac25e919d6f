"""Products followed by a scaling of their outputs, as one product: batch norm folded into what stands before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace

from torch import Tensor

from unmoved.ops.affine import MatrixProduct, Weighted
from unmoved.ops.convolution import Convolution
from unmoved.ops.op import Op


def folded(ops: Sequence[Op], keep: Container[str]) -> tuple[Op, ...]:
    """Return operators with the same values at every tensor that is left; those in `keep` are.

    A convolution, or a product with a matrix on the right, whose only reader scales its channels and shifts them takes
    that into its weights, differentiably. Up to rounding nothing changes.
    """
    uses = Counter(name for op in ops for name in op.inputs)
    made: dict[str, Op] = {}
    for op in ops:
        before = made.get(op.inputs[0]) if isinstance(op, Weighted) and len(op.inputs) == 1 else None
        merged = None
        if before is not None and uses[before.output] == 1 and before.output not in keep:
            assert isinstance(op, Weighted)
            merged = _merged(before, op)
        if merged is not None:
            del made[op.inputs[0]]
        made[op.output] = merged or op
    return tuple(made.values())


def _merged(first: Op, then: Weighted) -> Op | None:
    """Return both as one operator, or None where the scale is not one number a channel or column."""
    if not isinstance(first, Convolution | MatrixProduct) or first.out_shape != then.out_shape:
        return None
    scale = then.scales[0]
    if isinstance(first, Convolution):
        if first.scale is not None or not _by_channel(scale, first.out_shape):
            return None
        wide = scale.reshape(-1, *(1,) * (first.weight.ndim - 1)) if isinstance(scale, Tensor) else scale
    else:
        if first.left or len(first.out_shape) < 2 or not _by_column(scale, first.out_shape[-1]):
            return None
        wide = scale.reshape(-1) if isinstance(scale, Tensor) else scale
    offset = then.offset
    if first.offset is not None:
        moved = first.offset * scale
        offset = moved if offset is None else moved + offset
    return replace(first, weight=first.weight * wide, offset=offset, name=then.name, output=then.output)


def _by_channel(scale: Tensor | float, shape: tuple[int, ...]) -> bool:
    """Say whether a scale is a number, or one a channel: (channels, 1, ...) against a shape (1, channels, ...)."""
    if not isinstance(scale, Tensor) or scale.numel() == 1:
        return True
    column = (shape[1], *(1,) * (len(shape) - 2))
    return tuple(scale.shape) in (column, (1, *column))


def _by_column(scale: Tensor | float, width: int) -> bool:
    """Say whether a scale is a number, or one for each element of the last axis."""
    return not isinstance(scale, Tensor) or scale.numel() == 1 or (scale.numel() == width == scale.shape[-1])
