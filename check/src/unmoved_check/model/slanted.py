"""Rules for what bends at 0 alone: Relu, LeakyRelu, PRelu and Abs."""

from __future__ import annotations

from fractions import Fraction

from unmoved_check.model import curve
from unmoved_check.model.affine import factored
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant, float32
from unmoved_check.model.functions import variable
from unmoved_check.model.movement import expanded
from unmoved_check.model.reader import Node

SPREAD = 256
"""As many slopes outside [0, 1] may one PRelu have."""


def relu(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Relu."""
    return build.relu(variable(node, inputs[0]))


def leaky_relu(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX LeakyRelu."""
    x = variable(node, inputs[0])
    return _bent(build, node, x, Constant("float", (), [node.real("alpha", float32(0.01))]))


def p_relu(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX PRelu with constant slopes, broadcast to x (never x to them)."""
    x, slopes = variable(node, inputs[0]), inputs[1]
    if not isinstance(slopes, Constant) or slopes.kind != "float":
        raise node.refuse("with slopes that are no constant floats")
    expanded(slopes, x.shape)
    if len(set(slopes.rationals())) > SPREAD and not all(0 <= s <= 1 for s in slopes.rationals()):
        raise node.refuse(f"with more than {SPREAD} slopes, some of them outside [0, 1]")
    return _bent(build, node, x, slopes)


def absolute(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Abs."""
    return build.curved(variable(node, inputs[0]), curve.slanted(Fraction(-1)))


def _bent(build: Builder, node: Node, x: Variable, slopes: Constant) -> Variable:
    """X above 0, slope * x below.

    Slopes in [0, 1]: slope * x + (1 - slope) * relu(x), with the same chord and the same lower lines, and with exact
    intervals, since both terms rise. For other slopes these two would forget each other: a function each.
    """
    numbers = slopes.rationals()
    if all(0 <= s <= 1 for s in numbers):
        build.relu_inputs[node.inputs[0]] = x.value
        rest = Constant("float", slopes.shape, [1 - s for s in numbers])
        return build.added(factored(build, x, slopes), factored(build, build.relu(x), rest))
    distinct = sorted(set(numbers))
    if len(distinct) == 1:
        return build.curved(x, curve.slanted(distinct[0]))
    places = {s: k for k, s in enumerate(distinct)}
    kinds = expanded(Constant("int", slopes.shape, [places[s] for s in numbers]), x.shape).integers()
    order = sorted(range(x.size), key=kinds.__getitem__)
    parts = []
    for k, slope in enumerate(distinct):
        here = [i for i in order if kinds[i] == k]
        part = build.moved([x], Constant("int", (len(here),), here))
        parts.append(build.applied(part, curve.slanted(slope)))
    back = [0] * x.size
    for place, i in enumerate(order):
        back[i] = place
    return build.moved(parts, Constant("int", x.shape, back))
