"""Rules for Split, Tile, comparisons and Where: pieces of a tensor, copies of it, elements of two."""

from __future__ import annotations

from fractions import Fraction

from unmoved_check.model import curve, folding, movement
from unmoved_check.model.affine import factored, shifted
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant
from unmoved_check.model.movement import broadcast, expanded
from unmoved_check.model.reader import Node
from unmoved_check.model.shaping import Fill, Inputs, known, placed, places, present


def split(build: Builder, node: Node, inputs: Inputs) -> tuple[Value, ...]:
    """ONNX Split: sizes from an attribute (before opset 13) or an input, else equal (from 18 on the last smaller)."""
    x = present(node, inputs[0])
    at = movement.axis(node.integer("axis", 0), len(x.shape))
    given = inputs[1] if len(inputs) > 1 else None
    if (given is not None) if build.opset < 13 else ("split" in node.attributes):
        raise node.refuse(f"with sizes in the wrong place for opset {build.opset}")
    sizes = node.integers("split") if given is None else known(node, given).integers()
    if sizes is not None and "num_outputs" in node.attributes:
        raise node.refuse("with sizes and their number")
    sizes = _equal(build, node, x.shape[at]) if sizes is None else sizes
    if len(sizes) != len(node.outputs) or any(s < 0 for s in sizes) or sum(sizes) != x.shape[at]:
        raise node.refuse(f"of {x.shape[at]} in parts of {sizes} for {len(node.outputs)} outputs")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    wanted = [(name, range(a, a + n)) for name, a, n in zip(node.outputs, starts, sizes, strict=True)]
    # a part that has no name is not made
    return tuple(
        placed(build, x, movement.along(places(x), at, span)) if name else Constant("int", (), [0])
        for name, span in wanted
    )


def _equal(build: Builder, node: Node, size: int) -> list[int]:
    count = node.integer("num_outputs", 0)
    if (build.opset >= 18) != ("num_outputs" in node.attributes) or count not in (0, len(node.outputs)):
        raise node.refuse("without sizes, or with num_outputs before opset 18, or with another number of outputs")
    count = len(node.outputs)
    part = -(-size // count)
    if part * (count - 1) >= size or (build.opset < 18 and size % count):
        raise node.refuse(f"of {size} in {count} parts")
    return [part] * (count - 1) + [size - part * (count - 1)]


def tile(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Tile: every axis repeated a constant number of times."""
    x, counts = present(node, inputs[0]), known(node, inputs[1])
    repeats = counts.integers()
    if len(counts.shape) != 1 or len(repeats) != len(x.shape) or any(r < 1 for r in repeats):
        raise node.refuse(f"of {list(x.shape)} by {repeats}")
    movement.limited([d * r for d, r in zip(x.shape, repeats, strict=True)])
    where = places(x)
    for a, r in enumerate(repeats):
        if r > 1:
            where = movement.along(where, a, list(range(x.shape[a])) * r)
    return placed(build, x, where)


def compare(build: Builder, node: Node, inputs: Inputs) -> Value:
    """Greater, GreaterOrEqual, Less, LessOrEqual: a step of what is ahead."""
    left, right = (present(node, value) for value in inputs)
    if isinstance(left, Constant) and isinstance(right, Constant):
        return folding.compare(node, left, right)
    if any(isinstance(side, Constant) and side.kind != "float" for side in (left, right)):
        raise node.refuse("of floats and other numbers")
    first, second = (left, right) if node.op.startswith("Greater") else (right, left)
    if isinstance(first, Constant):
        assert isinstance(second, Variable)
        ahead = shifted(build, build.stretched(second, Fraction(-1)), first)
    elif isinstance(second, Constant):
        ahead = shifted(build, first, second, Fraction(-1))
    else:
        ahead = build.added(first, second, -1)
    y = build.curved(build.named(ahead, "ahead"), curve.STEP)
    build.truths.add(y.value)
    return y


def where(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Where: a constant condition picks elements, another one c makes b + c (a - b)."""
    condition, left, right = (present(node, value) for value in inputs)
    if any(isinstance(side, Constant) and side.kind != "float" for side in (left, right)) and not all(
        isinstance(value, Constant) for value in (condition, left, right)
    ):
        raise node.refuse("of floats and other numbers")
    if isinstance(condition, Constant):
        return _picked(build, node, condition, left, right)
    if condition.value not in build.truths or any(side.value in build.truths for side in _variables(left, right)):
        raise node.refuse("with a condition that is no comparison, or of comparisons")
    if isinstance(left, Constant) and isinstance(right, Constant):
        shape = broadcast(left.shape, right.shape)
        pairs = zip(expanded(left, shape).rationals(), expanded(right, shape).rationals(), strict=True)
        gaps = Constant("float", shape, [a - b for a, b in pairs])
        return shifted(build, factored(build, condition, gaps), right)
    if isinstance(left, Constant):
        assert isinstance(right, Variable)
        difference = shifted(build, build.stretched(right, Fraction(-1)), left)
    elif isinstance(right, Constant):
        difference = shifted(build, left, right, Fraction(-1))
    else:
        difference = build.added(left, right, -1)
    moved = build.product(condition, build.named(difference, "difference"), "chosen")
    return shifted(build, moved, right) if isinstance(right, Constant) else build.added(right, moved)


def _variables(*values: Value) -> list[Variable]:
    return [value for value in values if isinstance(value, Variable)]


def _picked(build: Builder, node: Node, condition: Constant, left: Value, right: Value) -> Value:
    """Every element is that of one of both inputs."""
    if isinstance(left, Constant) and isinstance(right, Constant):
        return folding.where(condition, left, right)
    if condition.kind != "bool":
        raise node.refuse("with a condition that is not of truth values")
    shape = broadcast(condition.shape, broadcast(left.shape, right.shape))
    movement.limited(shape)
    fill, offset, variables, sides = Fill(), 0, [], []
    for side in (left, right):
        if isinstance(side, Variable):
            origin = Constant("int", side.shape, range(offset, offset + side.size))
            offset += side.size
            variables.append(side)
        else:
            origin = Constant("int", side.shape, fill.places(side.rationals()))
        sides.append(expanded(origin, shape).values)
    chosen = [a if c else b for c, a, b in zip(expanded(condition, shape).values, *sides, strict=True)]
    return build.moved(variables, Constant("int", shape, chosen), fill.values)
