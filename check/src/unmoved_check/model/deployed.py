"""The model as it is deployed: what every float32 execution makes of it, in whatever order it sums.

Between two operators that are not affine a graph is a *segment*: affine steps from its starts (the input, what a Relu
or MaxPool makes) to what the next such operator, or the output, reads. A number v that is read there is computed from
the starts by sums and products with constants. Claim: |v' - v| <= F m with v' what the execution has, v the exact value
of the segment on what the execution has at its starts, and
    m = the same steps with |coefficients| on |starts|: the sum of the absolute values of all paths,
    F = (1 + u)^K ... - 1, K the most roundings that a path meets (`Profile.factor`).
Every path is a product of constants and one start. The execution multiplies and adds those of all paths in some order:
each operation multiplies the paths through it by 1 + d. Hence the claim, for any order of summation, with FMA (a
rounding less) or without, whether constants were merged at load (batch norm into Conv, Add into Gemm: the operation
is done then, not left out) or not. Winograd, FFT and Strassen form other sums, and are excluded.

Underflow, gradual or to zero, of results and of operands: an operation is off by 2^-126 besides. `FLOOR` is added to m
at every start and behind every step, and F >= u for each, so the claim pays 2^-120 there. What is lost when constants
are merged is multiplied by the path's other factors: constants but 0 count as at least 2^-q in m, q = 100 / (factors on
the path), so a path is at least 2^-100 of its start there, 2^-124 after F: K has one more for each product.

Overflow: m bounds every partial sum, and must stay below `MOST`; with starts of 1, which bounds
all merged constants, too.

Comparisons, Relu, Abs, maxima, Clip and all movement are exact. A product of two variables is rounded once, and is a
start; so is the value of a smooth function, whose accuracy the profile assumes. Max(a, b) is exact too, and among what
is allowed here: it is a + relu(b - a) for the real number b - a, which no runtime has to compute.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from unmoved_check.model.builder import ZERO, Value, Variable, exact
from unmoved_check.model.constant import Constant, float32
from unmoved_check.model.curve import Bracket
from unmoved_check.model.lowering import lowered
from unmoved_check.model.profile import Profile
from unmoved_check.model.reader import Node, Source
from unmoved_check.model.steps import (
    Conv,
    Dense,
    Elementwise,
    Graph,
    Maximum,
    Product,
    Relu,
    Rounded,
    Scale,
    Select,
    Step,
    Sum,
    moved,
    sources,
)
from unmoved_check.outcome import Rejection

COVERED = frozenset(
    (
        *("Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "ConvTranspose"),
        *(
            "Div",
            "Dropout",
            "Einsum",
            "Expand",
            "Flatten",
            "Gather",
            "Gemm",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "Identity",
        ),
        *("LeakyRelu", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Sub", "Sum"),
        *("Tile", "Transpose", "Unsqueeze", "Upsample", "Where", "Sigmoid", "Tanh", "Erf", "Exp"),
    )
)
"""Operators on variables whose every float32 evaluation the claim covers; on constants only exact results pass."""

EXACT = frozenset({"abs", "clip"})
"""Functions that a runtime evaluates without rounding, by the names of their curves."""

STEEPEST = 64
"""An operand flushed to zero costs at most this much times 2^-126, which a unit of `FLOOR` pays for."""

FLOOR = Fraction(1, 1 << 96)
FLUSHED = Fraction(1, 1 << 126)
PATH_BITS = 100
MOST = Fraction(1 << 126)
LEAST_VARIANCE = Fraction(1, 1 << 60)
MOST_NORM = Fraction(1 << 60)


@dataclass(frozen=True)
class Chain:
    """How a value is made within its segment: roundings, matrix products and factors of its worst path."""

    roundings: int = 0
    products: int = 0
    factors: int = 0


def deployed(source: Source, profile: Profile) -> Graph:
    """The model with a `Rounded` before everything that reads what was rounded; Rejection where no bound is known."""
    graph, known = lowered(source)
    _check(source, known)
    return Deployment(graph, profile).graph()


def _check(source: Source, known: Mapping[str, Value]) -> None:
    """Only covered operators, float32 numbers, and batch norms without surprises."""
    if not source.single:
        raise Rejection("a model whose input is not float32, under float32-any-order")
    for node in source.nodes:
        if not any(isinstance(known.get(name), Variable) for name in node.outputs):
            continue
        if node.op not in COVERED:
            raise Rejection(f"unchecked operator {node.op} under float32-any-order")
        if node.op == "Cast" and node.integer("to", 0) != 1:
            raise node.refuse("to another type than float32, under float32-any-order")
        if node.op == "Sum" and len(node.inputs) > 2:
            # its terms may be added in any order, where a chain of steps knows one
            raise node.refuse("of more than two terms under float32-any-order")
        if node.op == "BatchNormalization":
            _check_norm(node, [c for c in map(known.get, node.inputs) if isinstance(c, Constant)])
    for name, value in known.items():
        if isinstance(value, Constant) and value.kind == "float" and not _single(value):
            raise Rejection(f"unchecked constant {name!r} under float32-any-order: not all of it is float32")


def _check_norm(node: Node, constants: Sequence[Constant]) -> None:
    numbers = [v for constant in constants for v in constant.rationals()]
    least = min(constants[-1].rationals())
    wide = max(map(abs, numbers)) > MOST_NORM
    if least < 0 or least + Fraction(node.real("epsilon", float32(1e-5))) < LEAST_VARIANCE or wide:
        raise node.refuse("under float32-any-order with statistics out of range")


def _single(constant: Constant) -> bool:
    """Whether float32 holds every number: then one operation on stored constants that made it has not rounded."""
    near = array("d", array("f", map(float, constant.values)))
    return near == constant.values if isinstance(constant.values, array) else list(near) == list(constant.values)


class Deployment:
    """The pass: values of the given graph become values of the new one, some of them rounded first."""

    def __init__(self, graph: Graph, profile: Profile):
        self.old, self.profile = graph, profile
        self.steps: list[Step] = []
        self.sizes = [graph.sizes[0]]
        self.chains = [Chain()]
        self.starts: list[frozenset[int]] = [frozenset({0})]
        self.places = [0]
        self.read: dict[int, int] = {}
        self.made: dict[tuple[int, float], Step] = {}

    def graph(self) -> Graph:
        """The new graph."""
        made = [0]
        for number, step in enumerate(self.old.steps):
            affine = not isinstance(step, Relu | Maximum | Elementwise | Product)
            origin = sources(step)
            here = [self.places[v] if affine else self._rounded(v) for v in origin]
            size = self.old.sizes[number + 1]
            made.append(self._emit(moved(step, dict(zip(origin, here, strict=True))), size))
            if isinstance(step, Elementwise | Product):
                self._result(step, here, size)
            self.places.append(len(self.steps))
            if affine:
                self.chains.append(chain(step, [self.chains[v] for v in origin]))
                self.starts.append(frozenset().union(*(self.starts[v] for v in origin)))
            else:
                self.chains.append(Chain())
                self.starts.append(frozenset({number + 1}))
        output = self._rounded(self.old.output)
        if not self.chains[self.old.output].roundings:
            # an output that was never rounded may still have been flushed to zero
            flush = Rounded(output, (output,), (), (self.old.outputs,), FLOOR, FLUSHED / FLOOR, MOST)
            output = self._emit(flush, self.old.outputs)
        inputs = {name: self.read.get(v, self.places[v]) for name, v in self.old.relu_inputs.items()}
        names = {name: self.read.get(v, self.places[v]) for name, v in self.old.names.items()}
        return replace(
            self.old,
            output=output,
            steps=tuple(self.steps),
            sizes=tuple(self.sizes),
            relu_inputs=inputs,
            bent={name: made[v] for name, v in self.old.bent.items()},
            names=names,
        )

    def _result(self, step: Elementwise | Product, here: Sequence[int], size: int) -> None:
        """Round what was just made: a product once, its factors flushed to zero or not; a function as assumed."""
        value, unit = len(self.steps), self.profile.unit
        if isinstance(step, Product):
            starts: tuple[int, ...] = (*here, value)
            tiny = ((exact(Fraction(1, 1 << 100)), ZERO),)
            program: tuple[Step, ...] = (
                Scale(0, tiny, [0] * size),
                Scale(1, tiny, [0] * size),
                Sum(3, 4, 1),
                Sum(5, 2, 1),
            )
            self._emit(Rounded(value, starts, program, (size,) * 7, 2 * unit, FLOOR, MOST), size)
        elif step.curve.name not in EXACT:
            if step.curve.name == "slanted" and abs(step.curve.pieces[0].parameters[0][0]) > STEEPEST:
                raise Rejection("unchecked slope beyond 64 under float32-any-order")
            if step.curve.name not in self.profile.functions:
                raise Rejection(f"unchecked function {step.curve.name} under float32-any-order")
            apart, along = self.profile.functions[step.curve.name]
            shift = Scale(0, ((exact(Fraction(bool(along))), exact(Fraction(apart, apart + along))),), [0] * size)
            self._emit(Rounded(value, (value,), (shift,), (size,) * 2, (apart + along) * unit, FLOOR, MOST), size)

    def _emit(self, step: Step, size: int) -> int:
        self.steps.append(step)
        self.sizes.append(size)
        return len(self.steps)

    def _rounded(self, value: int) -> int:
        """The number of the value as the execution has it: one for all that read it."""
        if value not in self.read:
            made = self.chains[value]
            if made.roundings:
                self.read[value] = self._emit(self._rounding(value, made), self.old.sizes[value])
            else:
                self.read[value] = self.places[value]
        return self.read[value]

    def _rounding(self, value: int, made: Chain) -> Rounded:
        starts = tuple(sorted(self.starts[value]))
        wanted, needed = {value}, []
        for number in range(value, 0, -1):
            if number in wanted and number not in self.starts[value]:
                needed.append(number)
                wanted.update(sources(self.old.steps[number - 1]))
        numbers = {v: i for i, v in enumerate((*starts, *needed[::-1]))}
        if made.factors > PATH_BITS:
            raise Rejection("unchecked chain of more than 100 products under float32-any-order")
        least = 2.0 ** -(PATH_BITS // max(made.factors, 5))
        program = tuple(moved(self._absolute(n, least), numbers) for n in needed[::-1])
        return Rounded(
            self.places[value],
            tuple(self.places[v] for v in starts),
            program,
            tuple(self.old.sizes[v] for v in numbers),
            self.profile.factor(made.roundings, made.products),
            FLOOR,
            MOST,
        )

    def _absolute(self, number: int, least: float) -> Step:
        """The step that makes a value, in absolute numbers; made once."""
        if (number, least) not in self.made:
            self.made[number, least] = absolute(self.old.steps[number - 1], least)
        return self.made[number, least]


def chain(step: Step, before: Iterable[Chain]) -> Chain:
    """The worst path through a step: one more rounding for each product, for what merging constants may lose."""
    known = list(before)
    worst = Chain(*(max(getattr(c, name) for c in known) for name in ("roundings", "products", "factors")))
    match step:
        case Dense():
            return Chain(worst.roundings + step.inner + 1, worst.products + 1, worst.factors + 1)
        case Conv():
            terms = len(step.weights) // step.channels_out
            return Chain(worst.roundings + terms + 1, worst.products + 1, worst.factors + 1)
        case Scale():
            roundings, factors = _scale(step)
            return Chain(worst.roundings + roundings, worst.products, worst.factors + factors)
        case Sum():
            return replace(worst, roundings=worst.roundings + 1)
        case Select():
            return worst
    raise Rejection(f"unchecked step {type(step).__name__} under float32-any-order")


def _scale(step: Scale) -> tuple[int, int]:
    """Roundings and factors of s x + t: making the constants, the product and one more, the sum."""
    if not step.roundings:
        return 0, 0
    used = [step.pairs[k] for k in sorted(set(step.which))]
    plain = step.roundings == 1 and all(abs(s[0]) == 1 == abs(s[1]) for s, _ in used)
    stored = step.roundings == 1 and all(a == b and _is_single(a) for pair in used for a, b in pair)
    shifts = any(t != ZERO for _, t in used)
    return max((0 if plain else 2) + shifts + (0 if stored else step.roundings), 1), 0 if plain else 1


def _is_single(number: Fraction) -> bool:
    try:
        near = array("f", [float(number)])[0]
    except OverflowError:
        return False
    return abs(near) < 2.0**128 and Fraction(near) == number


def absolute(step: Step, least: float) -> Step:
    """The step with the absolute values of its coefficients, those that are not 0 at least `least`."""
    match step:
        case Dense() | Conv():
            return replace(step, weights=array("d", (max(abs(w), least) if w else 0.0 for w in step.weights)))
        case Scale():
            bound = Fraction(least)
            pairs = tuple((_size(s, bound), _size(t, Fraction(0))) for s, t in step.pairs)
            return replace(step, pairs=pairs)
        case Select():
            return replace(step, fill=tuple(map(abs, step.fill)))
        case Sum():
            return replace(step, sign=1)
    raise Rejection(f"unchecked step {type(step).__name__} under float32-any-order")


def _size(bracket: Bracket, least: Fraction) -> Bracket:
    size = max(abs(end) for end in bracket)
    size = max(size, least) if size else size
    return size, size
