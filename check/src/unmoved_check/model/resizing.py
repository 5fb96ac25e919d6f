"""Rules for Resize and Upsample to the nearest place: a choice of elements along every axis.

Places are computed exactly, a runtime computes them in float32: where rounding could decide, the node is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

from unmoved_check.model import movement
from unmoved_check.model.builder import Builder, Value
from unmoved_check.model.constant import Constant, float32
from unmoved_check.model.reader import Node
from unmoved_check.model.shaping import Inputs, known, placed, places, present
from unmoved_check.outcome import Rejection

HALF = Fraction(1, 2)
NEAR = Fraction(1, 1 << 20)
"""A float32 place is off by a few units of 2^-24 of its size (plus 1): this is more."""

COORDINATES: dict[str, Callable[[int, Fraction, int, int], Fraction]] = {
    "asymmetric": lambda x, scale, before, after: x / scale,
    "half_pixel": lambda x, scale, before, after: (x + HALF) / scale - HALF,
    "pytorch_half_pixel": lambda x, scale, before, after: (x + HALF) / scale - HALF if after > 1 else Fraction(0),
    "align_corners": lambda x, scale, before, after: Fraction(x * (before - 1), max(after - 1, 1)),
}
"""Places in the input for place x in the output: coordinate_transformation_mode."""

NEAREST: dict[str, tuple[Callable[[Fraction], int], Fraction]] = {
    "floor": (floor, Fraction(0)),
    "ceil": (ceil, Fraction(0)),
    "round_prefer_floor": (lambda c: ceil(c - HALF), HALF),
    "round_prefer_ceil": (lambda c: floor(c + HALF), HALF),
}
"""How a place is rounded, and where behind a whole number that changes: nearest_mode."""


def resize(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Resize and Upsample of mode nearest, stretching."""
    x = present(node, inputs[0])
    modern = node.op == "Resize" and build.opset >= 11
    if node.text("mode", "nearest") != "nearest" or node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.refuse("of a mode other than nearest, or that does not stretch")
    if not modern and set(node.attributes) - {"mode", "scales"}:
        raise node.refuse(f"with attributes that opset {build.opset} does not know")
    mode = node.text("coordinate_transformation_mode", "half_pixel" if modern else "asymmetric")
    rounding = node.text("nearest_mode", "round_prefer_floor" if modern else "floor")
    if mode not in COORDINATES or rounding not in NEAREST or node.flag("antialias", False):
        raise node.refuse(f"by {mode}, {rounding}")
    where = places(x)
    for axis, (scale, after) in enumerate(_targets(build, node, inputs, x.shape)):
        before = x.shape[axis]
        if scale == 1 and before == after:
            continue
        if before == after:
            raise node.refuse("to the same size by a scale that is not 1, where runtimes copy")
        if not modern and scale < 1:
            raise node.refuse("that makes smaller, where runtimes differ")
        if mode == "align_corners" and before * scale != after:
            raise node.refuse("by align_corners to a size that is no whole number")
        # align_corners divides whole numbers, the others by the scale as float32 holds it
        held = mode == "align_corners" or Fraction(float32(float(scale))) == scale
        found = [_place(node, rounding, COORDINATES[mode](i, scale, before, after), held) for i in range(after)]
        where = movement.along(where, axis, [min(max(i, 0), before - 1) for i in found])
    return placed(build, x, where)


def _targets(build: Builder, node: Node, inputs: Inputs, shape: tuple[int, ...]) -> list[tuple[Fraction, int]]:
    """(scale, size) of every axis."""
    given: list[Constant | None] = [None if v is None else known(node, v) for v in inputs[1:]]
    given = [c if c is not None and c.values else None for c in given]
    scales, sizes = _scales(build, node, given), given[2] if len(given) > 2 else None
    if (scales is None) == (sizes is None):
        raise node.refuse("without scales or sizes, or with both")
    listed = node.integers("axes")
    axes = [movement.axis(a, len(shape)) for a in (range(len(shape)) if listed is None else listed)]
    count = len(sizes.values if sizes is not None else scales or [])
    if len(set(axes)) != len(axes) or count != len(axes) or ("axes" in node.attributes and build.opset < 18):
        raise node.refuse("with a wrong number of axes")
    found = [(Fraction(1), d) for d in shape]
    for i, a in enumerate(axes):
        if sizes is not None:
            after = sizes.integers()[i]
            scale = Fraction(after, shape[a])
        else:
            assert scales is not None
            scale = scales[i]
            product = shape[a] * scale
            after = floor(product)
            # rounding to nearest never takes a product below a whole number, but may lift it to one
            if product != after and after + 1 - product < NEAR * product:
                raise node.refuse("to a size that rounding decides")
        if scale <= 0 or after < 1:
            raise node.refuse("to nothing")
        found[a] = (scale, after)
    movement.limited([after for _, after in found])
    return found


def _scales(build: Builder, node: Node, given: list[Constant | None]) -> list[Fraction] | None:
    """The scales: an attribute of Upsample before opset 9, else an input."""
    if node.op == "Upsample" and build.opset > 9:
        raise node.refuse("which opset 10 took away")
    if node.op == "Upsample" and build.opset < 9:
        value = node.attributes.get("scales")
        if given or not isinstance(value, list):
            raise node.refuse("without scales")
        return Constant("float", (len(value),), [float(v) for v in value]).rationals()
    if "scales" in node.attributes or len(given) > (3 if node.op == "Resize" and build.opset >= 11 else 1):
        raise node.refuse(f"with scales in the wrong place for opset {build.opset}")
    place = 1 if node.op == "Resize" and build.opset >= 11 else 0
    found = given[place] if len(given) > place else None
    if found is not None and found.kind != "float":
        raise Rejection(f"model: {node.op} by scales that are no floats")
    return None if found is None else found.rationals()


def _place(node: Node, rounding: str, exact: Fraction, held: bool) -> int:
    """The place rounded; refused where float32 might round it otherwise.

    Where float32 can hold a quotient it divides exactly: 0 by anything, and by a number that it holds (`held`).
    """
    choose, change = NEAREST[rounding]
    off = abs(exact - change - round(exact - change))
    if off < NEAR * (abs(exact) + 1) and exact != 0 and not (off == 0 and held):
        raise node.refuse("at a place that rounding decides")
    return choose(exact)
