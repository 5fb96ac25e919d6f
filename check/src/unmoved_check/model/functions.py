"""Rules for the elementwise functions."""

from __future__ import annotations

from fractions import Fraction
from math import inf, isqrt

from unmoved_check.model import curve
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant, Number, float32
from unmoved_check.model.curve import Curve
from unmoved_check.model.folding import function
from unmoved_check.model.form import Form, applied
from unmoved_check.model.reader import Node
from unmoved_check.outcome import Rejection

CURVES: dict[str, Curve] = {
    "Atan": curve.ATAN,
    "Cos": curve.COS,
    "Erf": curve.ERF,
    "Exp": curve.EXP,
    "HardSwish": curve.HARD_SWISH,
    "Log": curve.LOG,
    "Mish": curve.MISH,
    "Sigmoid": curve.SIGMOID,
    "Sign": curve.SIGN,
    "Sin": curve.SIN,
    "Softplus": curve.SOFTPLUS,
    "Softsign": curve.SOFTSIGN,
    "Tanh": curve.TANH,
}
"""Functions without parameters, by their ONNX names."""


def variable(node: Node, value: Value | None) -> Variable:
    """The input, which must depend on the model's."""
    if not isinstance(value, Variable):
        raise node.refuse("of a constant")
    return value


def plain(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """A function without parameters."""
    x = variable(node, inputs[0])
    y = build.curved(x, CURVES[node.op])
    form = applied(node.op, build.form(x))
    if form is not None:
        build.forms[y.value] = form
    return y


def clip(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Clip with numbers as ends."""
    x = variable(node, inputs[0])
    low, high = _ends(build, node, inputs)
    if low is not None and high is not None and low > high:
        raise node.refuse("with min > max")
    return x if low is None and high is None else build.curved(x, curve.clip(low, high))


def _ends(build: Builder, node: Node, inputs: list[Value | None]) -> tuple[Fraction | None, Fraction | None]:
    largest = (2.0 - 2.0**-23) * 2.0**127
    ends: list[Number] = [-inf, inf]
    if node.attributes if build.opset >= 11 else len(inputs) > 1:
        raise node.refuse(f"with bounds in the wrong place for opset {build.opset}")
    if build.opset < 11:
        ends = [node.real("min", -largest), node.real("max", largest)]
    else:
        for place, value in enumerate(inputs[1:3]):
            if isinstance(value, Variable):
                raise node.refuse("with a variable bound")
            if value is not None:
                ends[place] = value.single()
    if any(e != e for e in ends) or ends[0] == inf or ends[1] == -inf:
        raise node.refuse("with a broken bound")
    low = None if ends[0] == -inf else Fraction(ends[0])
    high = None if ends[1] == inf else Fraction(ends[1])
    return low, high


def hard_sigmoid(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """max(0, min(1, alpha x + beta))."""
    x = variable(node, inputs[0])
    alpha, beta = Fraction(node.real("alpha", float32(0.2))), Fraction(node.real("beta", 0.5))
    if not alpha:
        raise node.refuse("with alpha 0")
    return build.curved(x, curve.ramp(alpha, beta))


def elu(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Elu: alpha (e^x - 1) below 0; Celu: alpha (e^(x / alpha) - 1); Selu: gamma times Elu."""
    x = variable(node, inputs[0])
    alpha = Fraction(node.real("alpha", float32(1.67326319217681884765625) if node.op == "Selu" else 1.0))
    gain = Fraction(node.real("gamma", float32(1.05070102214813232421875))) if node.op == "Selu" else Fraction(1)
    if alpha <= 0 or gain <= 0:
        raise node.refuse("with alpha or gamma <= 0")
    return build.curved(x, curve.elu(gain, gain * alpha, 1 / alpha if node.op == "Celu" else Fraction(1)))


def gelu(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """X (1 + erf(x / sqrt 2)) / 2, or x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    x = variable(node, inputs[0])
    kind = node.text("approximate", "none")
    if kind == "none":
        low = Fraction(isqrt(1 << 399), 1 << 200)
        rate = (low, low + Fraction(1, 1 << 200))
        return build.curved(x, curve.scaled(curve.GELU, (1 / rate[1], 1 / rate[0]), rate))
    if kind != "tanh":
        raise node.refuse(f"with approximate {kind}")
    a = curve.root_of_two_over_pi()
    cube = Fraction("0.044715")
    return build.curved(x, curve.gelu_tanh(a, (a[0] * cube, a[1] * cube)))


def swish(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """X sigmoid(alpha x), alpha > 0."""
    x, alpha = variable(node, inputs[0]), Fraction(node.real("alpha", 1.0))
    if alpha <= 0:
        raise node.refuse("with alpha <= 0")
    return build.curved(x, curve.scaled(curve.SILU, curve.exactly(1 / alpha), curve.exactly(alpha)))


def power(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Pow with one constant exponent, Sqrt, Reciprocal."""
    given = inputs[1] if len(inputs) > 1 else None
    if isinstance(inputs[0], Constant) and node.op != "Pow":
        return function(node, inputs[0])
    if isinstance(inputs[0], Constant) and isinstance(given, Constant):
        return function(node, inputs[0], given)
    x = variable(node, inputs[0])
    fixed = {"Sqrt": Fraction(1, 2), "Reciprocal": Fraction(-1)}
    if isinstance(given, Variable):
        raise node.refuse("with a variable exponent")
    if given is not None and len({Fraction(v) for v in given.rationals()}) != 1:
        raise node.refuse("with several exponents")
    if given is not None and len(given.shape) > len(x.shape):
        raise node.refuse("with an exponent of more dimensions")
    exponent = fixed[node.op] if given is None else given.rationals()[0]
    if exponent == 1:
        return x
    if exponent == 0 or abs(exponent) > 64:
        raise Rejection(f"unchecked operator Pow with the exponent {float(exponent):g}")
    y = build.curved(x, curve.power(exponent))
    form = build.form(x)
    if exponent.denominator == 1 and exponent > 0 and form.kind == "power" and not form.shift:
        numbers = (form.numbers[0] * exponent,)
        build.forms[y.value] = Form(form.base, "power", numbers, form.factor ** int(exponent))
    return y
