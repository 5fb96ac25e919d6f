"""Operators on constants, evaluated exactly: what exporters leave of shape computations and of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import isqrt, prod

from unmoved_check.model.constant import RANGES, Constant, Kind, Number, float32
from unmoved_check.model.movement import axis, broadcast, expanded
from unmoved_check.model.reader import Attribute, Node
from unmoved_check.outcome import Rejection


def constant_node(node: Node) -> Constant:
    """ONNX Constant."""
    if len(node.attributes) != 1:
        raise node.refuse("without exactly one value")
    ((name, value),) = node.attributes.items()
    if name == "value" and isinstance(value, Constant):
        return value
    kinds: dict[str, tuple[Kind, bool]] = {
        "value_int": ("int", True),
        "value_float": ("float", True),
        "value_ints": ("int", False),
        "value_floats": ("float", False),
    }
    if name not in kinds:
        raise node.refuse(f"with {name}")
    kind, single = kinds[name]
    numbers = _numbers(node, value, single)
    if any(type(v) is not (int if kind == "int" else float) for v in numbers):
        raise node.refuse(f"with a broken {name}")
    return Constant(kind, () if single else (len(numbers),), numbers)


def _numbers(node: Node, value: Attribute, single: bool) -> list[Number]:
    if isinstance(value, int | float) and single:
        return [value]
    if isinstance(value, list) and not single:
        return list(value)
    raise node.refuse("with a broken value")


def constant_of_shape(node: Node, shape: Sequence[int]) -> Constant:
    """ONNX ConstantOfShape."""
    value = node.attributes.get("value", Constant("float", (1,), [0.0]))
    if not isinstance(value, Constant) or any(d < 0 for d in shape) or prod(shape) > 1 << 26:
        raise node.refuse("with a broken value or shape")
    return Constant(value.kind, tuple(shape), [value.single()] * prod(shape))


def range_node(kind: Kind, start: int, limit: int, step: int) -> Constant:
    """ONNX Range on integers of one kind."""
    if step == 0 or abs(limit - start) > 1 << 20:
        raise Rejection("model: Range with step 0 or too long")
    numbers = list(range(start, limit, step))
    return Constant(kind, (len(numbers),), numbers)


def cast(node: Node, constant: Constant) -> Constant:
    """ONNX Cast where it changes no number: to float32/64 from what they hold exactly, to integers from integers."""
    target = node.integer("to", 0)
    if target in (6, 7) and constant.kind != "float":
        kind: Kind = "int" if target == 7 else "int32"
        return Constant(kind, constant.shape, [_in_range(node, int(v), kind) for v in constant.values])
    if target == 9 and constant.kind != "float":
        return Constant("bool", constant.shape, [int(v != 0) for v in constant.values])
    if target in (1, 11):
        if constant.kind != "float" and any(abs(int(v)) > 1 << 24 for v in constant.values):
            raise node.refuse("that rounds")
        if constant.kind == "float":
            return _as_float32(node, constant) if target == 1 else constant
        return Constant("float", constant.shape, [float(v) for v in constant.values])
    raise node.refuse(f"of {constant.kind} to type {target}")


def _as_float32(node: Node, constant: Constant) -> Constant:
    try:
        rounds = any(Fraction(float32(float(v))) != Fraction(v) for v in constant.values)
    except (OverflowError, ValueError):
        raise node.refuse("of NaN or infinity") from None
    if rounds:
        raise node.refuse("that rounds")
    return constant


def arithmetic(node: Node, left: Constant, right: Constant) -> Constant:
    """Add, Sub, Mul, Div on two constants with broadcasting; floats as exact rationals, integers truncating."""
    if left.kind != right.kind or left.kind == "bool":
        raise node.refuse("on mixed types")
    shape = broadcast(left.shape, right.shape)
    if prod(shape) > 1 << 20:
        raise node.refuse("on too large constants")
    left, right = expanded(left, shape), expanded(right, shape)
    if left.kind != "float":
        table = _INTEGER
        pairs = zip(left.integers(), right.integers(), strict=True)
        values: list[Number] = [_in_range(node, table[node.op](a, b), left.kind) for a, b in pairs]
    else:
        exact = zip(left.rationals(), right.rationals(), strict=True)
        values = [_RATIONAL[node.op](a, b) for a, b in exact]
    return Constant(left.kind, shape, values)


def _in_range(node: Node, value: int, kind: Kind) -> int:
    if value not in RANGES[kind]:
        raise node.refuse("that overflows")
    return value


def _truncating(a: int, b: int) -> int:
    if b == 0:
        raise Rejection("model: division by zero")
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _exact_quotient(a: Fraction, b: Fraction) -> Fraction:
    if b == 0:
        raise Rejection("model: division by zero")
    return a / b


def negated(node: Node, constant: Constant) -> Constant:
    """ONNX Neg."""
    if constant.kind == "float":
        return Constant("float", constant.shape, [-v for v in constant.values])
    values = [_in_range(node, -v, constant.kind) for v in constant.integers()]
    return Constant(constant.kind, constant.shape, values)


_INTEGER: dict[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _truncating,
}
_RATIONAL: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _exact_quotient,
}


def larger(node: Node, left: Constant, right: Constant) -> Constant:
    """Max and Min of two constants, with broadcasting."""
    if left.kind != right.kind or left.kind == "bool":
        raise node.refuse("on mixed types")
    shape, choose = broadcast(left.shape, right.shape), max if node.op == "Max" else min
    pairs = zip(expanded(left, shape).rationals(), expanded(right, shape).rationals(), strict=True)
    best = [choose(a, b) for a, b in pairs]
    return Constant(left.kind, shape, best if left.kind == "float" else [int(v) for v in best])


_COMPARED: dict[str, Callable[[Number, Number], bool]] = {
    "Equal": lambda a, b: a == b,
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
}


def compare(node: Node, left: Constant, right: Constant) -> Constant:
    """Equal and its kin on constants of one type, exactly, with broadcasting."""
    if left.kind != right.kind or (left.kind == "bool" and node.op != "Equal"):
        raise node.refuse("on mixed types, or of truth values")
    shape, holds = broadcast(left.shape, right.shape), _COMPARED[node.op]
    pairs = zip(expanded(left, shape).rationals(), expanded(right, shape).rationals(), strict=True)
    return Constant("bool", shape, [int(holds(a, b)) for a, b in pairs])


def logic(node: Node, constants: Sequence[Constant]) -> Constant:
    """And, Or, Not on truth values, with broadcasting."""
    if any(c.kind != "bool" for c in constants):
        raise node.refuse("of what are no truth values")
    if node.op == "Not":
        return Constant("bool", constants[0].shape, [int(not v) for v in constants[0].values])
    left, right = constants
    shape, choose = broadcast(left.shape, right.shape), all if node.op == "And" else any
    pairs = zip(expanded(left, shape).values, expanded(right, shape).values, strict=True)
    return Constant("bool", shape, [int(choose(pair)) for pair in pairs])


def where(condition: Constant, left: Constant, right: Constant) -> Constant:
    """Where on three constants, with broadcasting."""
    if condition.kind != "bool" or left.kind != right.kind:
        raise Rejection("model: Where on wrong types")
    shape = broadcast(condition.shape, broadcast(left.shape, right.shape))
    parts = [expanded(c, shape).values for c in (condition, left, right)]
    return Constant(left.kind, shape, [a if c else b for c, a, b in zip(*parts, strict=True)])


def product(node: Node, constant: Constant) -> Constant:
    """ReduceProd of a one-dimensional integer constant, as exporters use it on shapes."""
    if len(constant.shape) != 1 or node.integers("axes") not in (None, [0]):
        raise node.refuse("of more than one dimension")
    shape = (1,) if node.flag("keepdims", True) else ()
    return Constant(constant.kind, shape, [_in_range(node, prod(constant.integers()), constant.kind)])


def dims(node: Node, shape: tuple[int, ...]) -> Constant:
    """ONNX Shape, with start and end (opset 15)."""
    rank = len(shape)
    start, end = node.integer("start", 0), node.integer("end", rank)
    start, end = (min(max(v + rank if v < 0 else v, 0), rank) for v in (start, end))
    return Constant("int", (max(end - start, 0),), list(shape[start:end]))


def squeezed(shape: tuple[int, ...], axes: Sequence[int] | None) -> tuple[int, ...]:
    """The shape after Squeeze."""
    if axes is None:
        return tuple(d for d in shape if d != 1)
    gone = {axis(a, len(shape)) for a in axes}
    if any(shape[a] != 1 for a in gone) or len(gone) != len(axes):
        raise Rejection(f"model: Squeeze of axes {list(axes)} from {list(shape)}")
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def unsqueezed(shape: tuple[int, ...], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape after Unsqueeze."""
    rank = len(shape) + len(axes)
    new = {axis(a, rank) for a in axes}
    if len(new) != len(axes):
        raise Rejection("model: Unsqueeze names an axis twice")
    left = iter(shape)
    return tuple(1 if i in new else next(left) for i in range(rank))


def function(node: Node, constant: Constant, exponent: Constant | None = None) -> Constant:
    """Reciprocal, Sqrt and Pow of constants where the result is rational."""
    numbers = constant.rationals()
    if node.op == "Reciprocal":
        return Constant("float", constant.shape, [_exact_quotient(Fraction(1), n) for n in numbers])
    if node.op == "Sqrt":
        return Constant("float", constant.shape, [_exact_root(node, n) for n in numbers])
    if exponent is None or len(exponent.values) != 1 or exponent.rationals()[0].denominator != 1:
        raise node.refuse("of a constant by an exponent that is no whole number")
    power = int(exponent.rationals()[0])
    if abs(power) > 64 or (power < 0 and 0 in numbers):
        raise node.refuse("of a constant by too large an exponent")
    return Constant("float", constant.shape, [n**power for n in numbers])


def _exact_root(node: Node, number: Fraction) -> Fraction:
    """The root, when it is rational."""
    if number >= 0:
        root = Fraction(isqrt(number.numerator), isqrt(number.denominator))
        if root * root == number:
            return root
    raise node.refuse("of a constant whose root is irrational")
