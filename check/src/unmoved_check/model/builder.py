"""The graph under construction: what every rule of the lowering is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

from unmoved_check.model.constant import Constant
from unmoved_check.model.curve import Bracket, Curve
from unmoved_check.model.form import Form
from unmoved_check.model.movement import broadcast, expanded
from unmoved_check.model.steps import Elementwise, Product, Relu, Scale, Select, Step, Sum

ONE: Bracket = (Fraction(1), Fraction(1))
ZERO: Bracket = (Fraction(0), Fraction(0))


@dataclass(frozen=True)
class Variable:
    """A tensor that depends on the input: the value that holds its numbers, row-major, and its shape."""

    value: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def places(self) -> Constant:
        """0, 1, 2, ... in this shape: apply a movement to it and read where each element came from."""
        return Constant("int", self.shape, range(self.size))


Value = Variable | Constant


@dataclass
class Builder:
    """Steps so far; `output` is the name of the output of the node that is being lowered.

    `truths` are the values that hold truth values (0 or 1): only Where may read them.
    """

    opset: int
    steps: list[Step] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    output: str = ""
    bent: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    relu_inputs: dict[str, int] = field(default_factory=dict)
    forms: dict[int, Form] = field(default_factory=dict)
    truths: set[int] = field(default_factory=set)

    def emit(self, step: Step, shape: Sequence[int]) -> Variable:
        """The new value that `step` makes."""
        self.steps.append(step)
        self.sizes.append(prod(shape))
        return Variable(len(self.steps), tuple(shape))

    def moved(self, variables: Sequence[Variable], where: Constant, fill: tuple[Fraction, ...] = ()) -> Variable:
        """The elements of the variables, laid end to end, at the places `where` (negative: from `fill`)."""
        which = where.integers()
        if len(variables) == 1 and not fill and which == list(range(variables[0].size)):
            return Variable(variables[0].value, where.shape)
        return self.emit(Select(tuple(v.value for v in variables), which, fill), where.shape)

    def scaled(
        self, x: Variable, pairs: Sequence[tuple[Bracket, Bracket]], which: Constant, *, roundings: int = 1
    ) -> Variable:
        """pairs[k][0] * x + pairs[k][1] with k = `which` broadcast against x; `roundings` as in `Scale`."""
        shape = broadcast(x.shape, which.shape)
        x = self.expanded(x, shape)
        if roundings <= 1 and all(pair == (ONE, ZERO) for pair in pairs):
            return x
        y = self.emit(Scale(x.value, tuple(pairs), expanded(which, shape).integers(), roundings), shape)
        if len(pairs) == 1 and all(low == high for low, high in pairs[0]):
            self.forms[y.value] = self.form(x).stretched(pairs[0][0][0], pairs[0][1][0])
        return y

    def stretched(self, x: Variable, factor: Fraction, shift: Fraction = Fraction(0)) -> Variable:
        """Factor * x + shift for two numbers."""
        return self.scaled(x, [((factor, factor), (shift, shift))], Constant("int", (), [0]))

    def offset(self, x: Variable, sign: int, shift: Fraction) -> Variable:
        """Sign * x + shift inside an operator that a runtime evaluates without any rounding, such as Clip."""
        pair = exact(Fraction(sign)), exact(shift)
        return self.scaled(x, [pair], Constant("int", (), [0]), roundings=0)

    def expanded(self, x: Variable, shape: tuple[int, ...]) -> Variable:
        """X broadcast to `shape`."""
        return x if x.shape == shape else self.moved([x], expanded(x.places(), shape))

    def added(self, left: Variable, right: Variable, sign: int = 1) -> Variable:
        """Left + sign * right, with broadcasting."""
        shape = broadcast(left.shape, right.shape)
        left, right = self.expanded(left, shape), self.expanded(right, shape)
        return self.emit(Sum(left.value, right.value, sign), shape)

    def form(self, x: Variable) -> Form:
        """What is known of x as a function of one variable before it: x itself, if nothing else."""
        return self.forms.get(x.value, Form(x.value, "power", (Fraction(1),)))

    def named(self, x: Variable, role: str) -> Variable:
        """The same, known as `<output>#<role>`, or as the output."""
        self.names[f"{self.output}#{role}" if role else self.output] = x.value
        return x

    def applied(self, x: Variable, curve: Curve) -> Variable:
        """f(x), a part of an operator: its lines can't be chosen."""
        return self.emit(Elementwise(x.value, curve), x.shape)

    def curved(self, x: Variable, curve: Curve, role: str = "") -> Variable:
        """f(x); its lines are chosen under the name of the output, or of the role."""
        y = self.applied(x, curve)
        self.bent[f"{self.output}#{role}" if role else self.output] = y.value
        return self.named(y, role)

    def product(self, left: Variable, right: Variable, role: str = "") -> Variable:
        """Left * right, with broadcasting."""
        shape = broadcast(left.shape, right.shape)
        left, right = self.expanded(left, shape), self.expanded(right, shape)
        y = self.emit(Product(left.value, right.value), shape)
        self.bent[f"{self.output}#{role}" if role else self.output] = y.value
        return self.named(y, role)

    def relu(self, x: Variable, role: str = "") -> Variable:
        """max(x, 0); slopes are chosen, and splits made, under the name of its input, for inner ones the role."""
        if role:
            self.named(x, role)
            self.relu_inputs[f"{self.output}#{role}"] = x.value
        return self.emit(Relu(x.value), x.shape)


def exact(number: Fraction) -> Bracket:
    """A rational as a bracket."""
    return (number, number)
