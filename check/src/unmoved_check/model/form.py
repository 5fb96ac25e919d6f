"""Functions of one variable as exporters spell them out, recognised while the graph is lowered.

A product of factors that depend on the same x is hopelessly loose as a product: x * sigmoid(x) and its like are seen
to be one function of x, exactly, with the constants that the file stores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from unmoved_check.model import curve
from unmoved_check.model.curve import Curve, exactly

Numbers = tuple[Fraction, ...]


@dataclass(frozen=True)
class Form:
    """factor * G(x) + shift, x the value `base`, element by element; G by its kind and numbers.

    power (n): x^n; cubic (a, b): a x + b x^3; sigmoid (c): sigmoid(c x); erf (c): erf(c x);
    tanh (a, b): tanh(a x + b x^3); softplus: log(1 + e^x); gate: tanh(log(1 + e^x)).
    """

    base: int
    kind: str
    numbers: Numbers = ()
    factor: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)

    def stretched(self, factor: Fraction, shift: Fraction) -> Form:
        """Return factor * this + shift."""
        return replace(self, factor=factor * self.factor, shift=factor * self.shift + shift)

    @property
    def line(self) -> Fraction | None:
        """Return k where this is k x, k > 0."""
        plain = self.kind == "power" and self.numbers[0] == 1 and self.shift == 0 and self.factor > 0
        return self.factor if plain else None

    @property
    def odd(self) -> Numbers | None:
        """Return (a, b) where this is a x + b x^3, a > 0."""
        if self.shift:
            return None
        if self.kind == "power" and self.numbers[0] == 1:
            found = (self.factor, Fraction(0))
        elif self.kind == "cubic":
            found = (self.factor * self.numbers[0], self.factor * self.numbers[1])
        else:
            return None
        return found if found[0] > 0 else None


def applied(op: str, form: Form) -> Form | None:
    """What Sigmoid, Erf, Tanh or Softplus of a form is; None when it is of no use."""
    if op in ("Sigmoid", "Erf") and form.line is not None:
        return Form(form.base, op.lower(), (form.line,))
    if op == "Softplus" and form.line == 1:
        return Form(form.base, "softplus")
    if op == "Tanh" and form.kind == "softplus" and form.factor == 1 and not form.shift:
        return Form(form.base, "gate")
    if op == "Tanh" and form.odd is not None:
        return Form(form.base, "tanh", form.odd)
    return None


def summed(left: Form, right: Form, sign: int) -> Form | None:
    """Recognise a x + b x^3."""
    if left.base != right.base or left.shift or right.shift:
        return None
    numbers = {form.numbers[0]: form.factor for form in (left, right) if form.kind == "power"}
    if set(numbers) != {1, 3}:
        return None
    if sign < 0 and right.kind == "power":
        numbers[right.numbers[0]] *= -1
    return Form(left.base, "cubic", (numbers[Fraction(1)], numbers[Fraction(3)]))


def multiplied(left: Form, right: Form) -> Form | None:
    """Products of powers, and x (1 + b x^2)."""
    if left.base != right.base or "power" not in (left.kind, right.kind):
        return None
    if left.kind == right.kind and not left.shift and not right.shift:
        return Form(left.base, "power", (left.numbers[0] + right.numbers[0],), left.factor * right.factor)
    for a, b in ((left, right), (right, left)):
        straight = a.kind == "power" and a.numbers[0] == 1 and not a.shift
        if straight and b.kind == "power" and b.numbers[0] == 2:
            return Form(left.base, "cubic", (a.factor * b.shift, a.factor * b.factor))
    return None


def gated(left: Form, right: Form) -> Curve | None:
    """The curve of a product of two forms of one x: a power of x, or x times a gate; None when it is neither."""
    if left.base != right.base:
        return None
    for line, gate in ((left, right), (right, left)):
        if line.kind != "power" or line.numbers[0] != 1 or line.shift or not line.factor:
            continue
        found = _gate(gate)
        if found is not None:
            bend, factor, rate = found
            return curve.scaled(bend, exactly(factor * line.factor), exactly(rate))
    power = multiplied(left, right)
    if power is None or power.kind != "power" or not power.factor or power.numbers[0] < 2:
        return None
    return curve.scaled(curve.power(power.numbers[0]), exactly(power.factor), exactly(1))


def _gate(gate: Form) -> tuple[Curve, Fraction, Fraction] | None:
    """Return (f, factor, rate) with x * gate(x) = factor f(rate x)."""
    if not gate.factor:
        return None
    if gate.kind == "sigmoid" and not gate.shift:
        return curve.SILU, gate.factor / gate.numbers[0], gate.numbers[0]
    if gate.kind == "gate" and not gate.shift:
        return curve.MISH, gate.factor, Fraction(1)
    if gate.factor != gate.shift:
        return None
    if gate.kind == "erf":
        return curve.GELU, 2 * gate.factor / gate.numbers[0], gate.numbers[0]
    if gate.kind == "tanh":
        a, b = gate.numbers
        if b == 0:
            return curve.SILU, gate.factor / a, 2 * a
        if b > 0:
            return curve.gelu_tanh(exactly(a), exactly(b)), 2 * gate.factor, Fraction(1)
    return None
