"""Rules for maxima and minima: of tensors (ReLU chains), over axes and over all of an image (windows)."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from unmoved_check.model import curve, folding
from unmoved_check.model.affine import shifted
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant
from unmoved_check.model.functions import variable
from unmoved_check.model.movement import broadcast, transposed
from unmoved_check.model.pooling import axes_of
from unmoved_check.model.reader import Node
from unmoved_check.model.shaping import present
from unmoved_check.model.steps import Maximum
from unmoved_check.outcome import Rejection


def larger(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Max and Min: max(a, b) = a + relu(b - a), min(a, b) = a - relu(a - b), one by one, variables first.

    A variable and one number are a Clip. An input that is there twice counts once.
    """
    given = [present(node, value) for value in inputs]
    terms = dict(zip(node.inputs, given, strict=True))
    variables = [v for v in terms.values() if isinstance(v, Variable)]
    constants = [c for c in terms.values() if isinstance(c, Constant)]
    if not variables:
        return _folded(node, constants)
    if any(c.kind != "float" for c in constants):
        raise node.refuse("of floats and other numbers")
    if len(variables) == 1 and len(given) == 2 and len(constants) == 1 and len(constants[0].values) == 1:
        (x,), (end,) = variables, constants[0].rationals()
        if len(constants[0].shape) <= len(x.shape):
            return build.curved(x, curve.clip(end, None) if node.op == "Max" else curve.clip(None, end))
    sign = 1 if node.op == "Max" else -1
    best = variables[0]
    others: list[Variable | Constant] = [*variables[1:], *constants]
    for number, other in enumerate(others, start=1):
        if isinstance(other, Variable):
            ahead = build.added(other, best, -1) if sign > 0 else build.added(best, other, -1)
        else:
            ahead = shifted(build, build.offset(best, -sign, Fraction(0)), other, Fraction(sign))
        wide = build.expanded(best, broadcast(best.shape, other.shape))
        best = build.named(build.added(wide, build.relu(ahead, f"ahead{number}"), sign), f"best{number}")
    return best


def _folded(node: Node, constants: list[Constant]) -> Constant:
    """Of constants, exactly."""
    best = constants[0]
    for other in constants[1:]:
        best = folding.larger(node, best, other)
    return best


def global_max_pool(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX GlobalMaxPool: over all axes behind batch and channels."""
    x = variable(node, inputs[0])
    if len(x.shape) < 3:
        raise Rejection("model: GlobalMaxPool of a tensor without space")
    return _over(build, x, list(range(2, len(x.shape))), keep=True)


def reduce_max(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ReduceMax over constant axes, and ReduceMin as minus the greatest -x."""
    x = variable(node, inputs[0])
    axes, keep = axes_of(build, node, inputs, since=18), node.flag("keepdims", True)
    if not axes:
        return x
    if node.op == "ReduceMax":
        return _over(build, x, axes, keep=keep)
    minus = build.named(build.offset(x, -1, Fraction(0)), "minus")
    largest = build.named(_over(build, minus, axes, keep=keep), "largest")
    return build.offset(largest, -1, Fraction(0))


def _over(build: Builder, x: Variable, gone: list[int], *, keep: bool) -> Variable:
    kept = [a for a in range(len(x.shape)) if a not in gone]
    places = transposed(x.places(), kept + gone).integers()
    count = prod(x.shape[a] for a in gone)
    windows = tuple(tuple(places[at : at + count]) for at in range(0, len(places), count))
    shape = tuple(1 if a in gone else d for a, d in enumerate(x.shape) if keep or a not in gone)
    return build.emit(Maximum(x.value, windows), shape)
