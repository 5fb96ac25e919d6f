"""Operators that only move numbers: Reshape, Transpose, Slice, Gather, Concat, Pad, Expand and their kin.

Each is one function on a constant. A variable moves in the same way: the function is applied to the constant
0, 1, 2, ... of the variable's shape, and what comes out says where each element came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from unmoved_check.model.constant import MOST_ELEMENTS, Constant, Number
from unmoved_check.outcome import Rejection


def axis(index: int, rank: int) -> int:
    """A possibly negative axis as 0 <= axis < rank."""
    if not -rank <= index < rank:
        raise Rejection(f"model: axis {index} of a tensor with {rank} dimensions")
    return index % rank


def strides(shape: Sequence[int]) -> list[int]:
    """Distance in row-major order between neighbours along each axis."""
    found = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        found[i] = found[i + 1] * shape[i + 1]
    return found


def limited(shape: Sequence[int]) -> None:
    """Refuse a shape with too many elements."""
    if prod(shape) > MOST_ELEMENTS:
        raise Rejection("model: a tensor of too many elements")


def pick(constant: Constant, places: Sequence[Sequence[int]]) -> Constant:
    """The constant whose element (i, j, ...) is that at offset places[0][i] + places[1][j] + ..."""
    limited(list(map(len, places)))
    offsets = [0]
    for along in places:
        offsets = [start + step for start in offsets for step in along]
    values = constant.values
    return Constant(constant.kind, tuple(map(len, places)), [values[o] for o in offsets])


def reshaped(constant: Constant, shape: tuple[int, ...]) -> Constant:
    """The same numbers under another shape."""
    return Constant(constant.kind, shape, constant.values)


def reshape_target(shape: tuple[int, ...], wanted: Sequence[int], zero_is_zero: bool) -> tuple[int, ...]:
    """ONNX Reshape: 0 copies the dimension (unless `zero_is_zero`), one -1 takes what is left."""
    target = [shape[i] if d == 0 and not zero_is_zero and i < len(shape) else d for i, d in enumerate(wanted)]
    if target.count(-1) == 1:
        known = prod(d for d in target if d != -1)
        if known <= 0 or prod(shape) % known:
            raise Rejection(f"model: {list(shape)} can't be reshaped to {list(wanted)}")
        target[target.index(-1)] = prod(shape) // known
    if any(d < 0 for d in target) or prod(target) != prod(shape):
        raise Rejection(f"model: {list(shape)} can't be reshaped to {list(wanted)}")
    return tuple(target)


def transposed(constant: Constant, order: Sequence[int] | None) -> Constant:
    """The axes in another order (reversed when None)."""
    rank = len(constant.shape)
    order = list(range(rank))[::-1] if order is None else list(order)
    if sorted(order) != list(range(rank)):
        raise Rejection(f"model: {order} is no order of {rank} axes")
    steps = strides(constant.shape)
    return pick(constant, [[i * steps[a] for i in range(constant.shape[a])] for a in order])


def along(constant: Constant, which: int, indices: Sequence[int]) -> Constant:
    """The slices at `indices` of one axis."""
    steps = strides(constant.shape)
    places = [[i * s for i in range(d)] for d, s in zip(constant.shape, steps, strict=True)]
    if any(not 0 <= i < constant.shape[which] for i in indices):
        raise Rejection("model: an index out of range")
    places[which] = [i * steps[which] for i in indices]
    return pick(constant, places)


def sliced(constant: Constant, bounds: Sequence[tuple[int, int, int, int]]) -> Constant:
    """ONNX Slice with (start, end, axis, step) quadruples."""
    rank = len(constant.shape)
    if len({axis(a, rank) for _, _, a, _ in bounds}) != len(bounds):
        raise Rejection("model: Slice names an axis twice")
    for start, end, which, step in bounds:
        if step == 0:
            raise Rejection("model: Slice with step 0")
        which = axis(which, rank)
        size = constant.shape[which]
        start, end = (v + size if v < 0 else v for v in (start, end))
        if step > 0:
            span = range(min(max(start, 0), size), min(max(end, 0), size), step)
        else:
            # a start before the front is the front (ONNX; not as in Python, where nothing is left)
            span = range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)
        constant = along(constant, which, span)
    return constant


def gathered(constant: Constant, indices: Constant, which: int) -> Constant:
    """ONNX Gather with constant indices."""
    which = axis(which, len(constant.shape))
    size = constant.shape[which]
    wanted = indices.integers()
    if any(not -size <= i < size for i in wanted):
        raise Rejection("model: Gather index out of range")
    found = along(constant, which, [i % size for i in wanted])
    shape = constant.shape[:which] + indices.shape + constant.shape[which + 1 :]
    return reshaped(found, shape)


def concatenated(constants: Sequence[Constant], which: int) -> Constant:
    """ONNX Concat."""
    first = constants[0]
    which = axis(which, len(first.shape))
    rest = [c.shape[:which] + c.shape[which + 1 :] for c in constants]
    if any(r != rest[0] for r in rest) or any(len(c.shape) != len(first.shape) for c in constants):
        raise Rejection("model: Concat of shapes that don't fit")
    blocks = [prod(c.shape[which:]) for c in constants]
    values: list[Number] = []
    for outer in range(prod(first.shape[:which])):
        for constant, block in zip(constants, blocks, strict=True):
            values.extend(constant.values[outer * block : (outer + 1) * block])
    shape = list(first.shape)
    shape[which] = sum(c.shape[which] for c in constants)
    return Constant(first.kind, tuple(shape), values)


def expanded(constant: Constant, shape: tuple[int, ...]) -> Constant:
    """Numpy broadcasting to exactly `shape`."""
    old = (1,) * (len(shape) - len(constant.shape)) + constant.shape
    if len(old) != len(shape) or any(a not in (1, b) for a, b in zip(old, shape, strict=True)):
        raise Rejection(f"model: {list(constant.shape)} can't be broadcast to {list(shape)}")
    if old == shape:
        return reshaped(constant, shape)
    steps = strides(old)
    limited(shape)
    places = [[i * s if d > 1 else 0 for i in range(n)] for d, s, n in zip(old, steps, shape, strict=True)]
    return pick(constant, places)


def broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that both broadcast to."""
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
        raise Rejection(f"model: {list(a)} and {list(b)} can't be broadcast together")
    return tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))


def padded(constant: Constant, before: Sequence[int], after: Sequence[int], fill: Number) -> Constant:
    """Constant padding; negative amounts crop."""
    for which, (left, right) in enumerate(zip(before, after, strict=True)):
        size = constant.shape[which]
        if size + min(left, 0) + min(right, 0) < 0:
            raise Rejection("model: Pad crops more than there is")
        if left < 0 or right < 0:
            constant = along(constant, which, range(max(-left, 0), size - max(-right, 0)))
        for amount, in_front in ((left, True), (right, False)):
            if amount > 0:
                shape = (*constant.shape[:which], amount, *constant.shape[which + 1 :])
                limited(shape)
                block = Constant(constant.kind, shape, [fill] * prod(shape))
                parts = (block, constant) if in_front else (constant, block)
                constant = concatenated(parts, which)
    return constant
