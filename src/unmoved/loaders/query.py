"""A satisfiability query about a network, in exact rationals, and the problems whose proofs answer it.

A query asserts the UNSAFE set: it is satisfiable when some input meets it together with the network's outputs. It is
brought into disjunctive normal form; each conjunction bounds every input, so each is a box and a polyhedron of outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import LoadError
from unmoved.core.property import Disjunct, LinearProperty
from unmoved.core.rounding import float_down, float_up
from unmoved.core.threat import AnyFloats
from unmoved.loaders.formula import Atom, Both, Either, Formula, Loose
from unmoved.threats import Box

MOST_CLAUSES = 100_000
"""Conjunctions of a normal form beyond which a query is refused: writing them out would take the memory."""


@dataclass(frozen=True)
class Declared:
    """A variable as the query declares it: name, element type ("real", "float32", ...) and shape."""

    name: str
    type: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Bounds:
    """The exact ends of every input; an input in `above` (`below`) is strictly greater (less) than its end."""

    low: tuple[Fraction, ...]
    high: tuple[Fraction, ...]
    above: frozenset[int] = frozenset()
    below: frozenset[int] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether no input lies between the ends."""
        open_ = self.above | self.below
        return any(a > b or (a == b and i in open_) for i, (a, b) in enumerate(zip(self.low, self.high, strict=True)))

    def contains(self, point: Sequence[Fraction]) -> bool:
        """Say exactly whether a point lies between the ends."""
        triples = zip(self.low, point, self.high, strict=True)
        if not all(low <= value <= high for low, value, high in triples):
            return False
        return all(point[i] > self.low[i] for i in self.above) and all(point[i] < self.high[i] for i in self.below)

    def outer(self, shape: tuple[int, ...]) -> Box:
        """Return the least box of float64 ends that holds every real point between the ends."""
        low, high = [float_down(v) for v in self.low], [float_up(v) for v in self.high]
        return Box(np.reshape(low, shape), np.reshape(high, shape))

    def inner(self, shape: tuple[int, ...]) -> Box | None:
        """Return the box that holds the same float64 points as the exact ends do; None where there is none."""
        low, high = [float_up(v) for v in self.low], [float_down(v) for v in self.high]
        for i in self.above:
            low[i] = math.nextafter(low[i], math.inf) if low[i] == self.low[i] else low[i]
        for i in self.below:
            high[i] = math.nextafter(high[i], -math.inf) if high[i] == self.high[i] else high[i]
        if any(a > b for a, b in zip(low, high, strict=True)):
            return None
        return Box(np.reshape(low, shape), np.reshape(high, shape))


@dataclass(frozen=True, eq=False)
class Clause:
    """One conjunction: bounds of all inputs, atoms of outputs only, atoms of several inputs, and what is not read.

    `loose` atoms are left out of proofs, which are then of more than was asked; they keep a witness from counting.
    """

    bounds: Bounds
    outputs: tuple[Atom, ...]
    sides: tuple[Atom, ...] = ()
    loose: tuple[Loose, ...] = ()

    @property
    def impossible(self) -> bool:
        """Whether the inputs' conditions alone, each by itself, rule it out, in exact arithmetic."""
        if self.bounds.empty:
            return True
        for atom in self.sides:
            least = sum(c * (self.bounds.low if c > 0 else self.bounds.high)[i] for (_, i), c in atom.terms)
            if least > atom.bound or (least == atom.bound and atom.strict):
                return True
        return False

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Say exactly whether inputs and outputs meet it; never when something of it was not read."""
        if self.loose or not self.bounds.contains(x):
            return False
        values = {"x": x, "y": y}
        return all(atom.holds(values) for atom in (*self.sides, *self.outputs))


@dataclass(frozen=True, eq=False)
class Case:
    """Clauses with common inputs, as a problem's parts, twice: rounded outward for proofs, inward for witnesses.

    A proof that `prop` holds on `box` rules the clauses out. A float64 point of `inner_box` whose exact outputs break
    `inner_prop`, and that `admits` lets pass, satisfies one of them. `inner_box` is None where no witness can count:
    no float64 lies between the ends, or something of the clauses is `loose`. `start` is a float32 point in or near the
    box, where the conditions on several inputs are met most easily.
    """

    box: Box
    prop: LinearProperty
    inner_box: Box | None
    inner_prop: LinearProperty
    start: npt.NDArray[np.float32]
    sides: tuple[Atom, ...]
    loose: tuple[Loose, ...] = ()

    def admits(self, point: AnyFloats) -> bool:
        """Say exactly whether a point meets the conditions that link several inputs."""
        if not self.sides:
            return True
        values = {"x": [Fraction(float(v)) for v in point.reshape(-1)]}
        return all(atom.holds(values) for atom in self.sides)


@dataclass(frozen=True, eq=False)
class Query:
    """A query about one network with one input: satisfiable when one of `clauses` is.

    `name` is the network's ("" where it has none), `version` that of the language.
    """

    version: str
    name: str
    input: Declared
    outputs: tuple[Declared, ...]
    clauses: tuple[Clause, ...]

    @cached_property
    def possible(self) -> tuple[Clause, ...]:
        """The clauses that the inputs' conditions alone do not rule out."""
        return tuple(clause for clause in self.clauses if not clause.impossible)

    def cases(self, shape: tuple[int, ...], outputs: int) -> list[Case]:
        """Return the cases that together make up the query, for a model with this input shape and outputs.

        Raises LoadError where the query's inputs or outputs are not the model's.
        """
        first = self.outputs[0]
        for what, said, has in (("inputs", self.input.size, math.prod(shape)), ("outputs", first.size, outputs)):
            if said != has:
                raise LoadError(f"the query speaks of {said} {what}, and the model has {has}")
        groups: dict[object, list[Clause]] = {}
        for clause in self.possible:
            alone = clause.sides or clause.loose
            groups.setdefault(id(clause) if alone else id(clause.bounds), []).append(clause)
        return [_case(group, shape, outputs) for group in groups.values()]

    def satisfied(self, x: AnyFloats, y: AnyFloats) -> bool:
        """Say exactly whether these inputs and first outputs satisfy the query as it was written."""
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return False
        inputs, values = ([Fraction(float(v)) for v in a.reshape(-1)] for a in (x, y))
        return any(clause.holds(inputs, values) for clause in self.possible)


def normal_form(formulas: Iterable[Formula], inputs: int, name: str = "X_{}") -> tuple[Clause, ...]:
    """Return the conjunction of the formulas as clauses, each of which bounds every input.

    Raises LoadError where an input has no lower or no upper bound (`name` says what input i is called), and where the
    normal form has too many clauses.
    """
    common, choices = _split(formulas)
    count = math.prod(len(choice) for choice in choices)
    if count > MOST_CLAUSES:
        raise LoadError(f"the query has {count} cases in disjunctive normal form, expected at most {MOST_CLAUSES}")
    base = _Ends(inputs)
    rest = [atom for atom in common if not base.take(atom)]
    shared = None if base.missing else base.bounds()
    clauses = []
    # clauses with equal ends share one object, by which cases are grouped
    kept: dict[tuple[object, ...], Bounds] = {}
    for choice in product(*choices):
        ends, own = base, list(rest)
        for atom in (atom for part in choice for atom in part):
            if isinstance(atom, Atom) and atom.bounds_one_input:
                ends = base.copy() if ends is base else ends
                ends.take(atom)
            else:
                own.append(atom)
        if ends.missing:
            raise LoadError(ends.missing.format(name.format(ends.first_open)))
        if ends is base and shared is not None:
            bounds = shared
        else:
            bounds = ends.bounds()
            bounds = kept.setdefault((bounds.low, bounds.high, bounds.above, bounds.below), bounds)
        clauses.append(_clause(bounds, own))
    return tuple(clauses)


def _split(formulas: Iterable[Formula]) -> tuple[list[Atom | Loose], list[list[tuple[Atom | Loose, ...]]]]:
    """Return the atoms of a conjunction, and for each disjunction in it the conjunctions that it chooses from."""
    atoms: list[Atom | Loose] = []
    choices: list[list[tuple[Atom | Loose, ...]]] = []
    for formula in formulas:
        if isinstance(formula, Both):
            inner, more = _split(formula.parts)
            atoms += inner
            choices += more
        elif isinstance(formula, Either):
            ways: list[tuple[Atom | Loose, ...]] = []
            for part in formula.parts:
                inner, more = _split([part])
                if len(ways) + math.prod(len(choice) for choice in more) > MOST_CLAUSES:
                    raise LoadError(f"the query has more than {MOST_CLAUSES} cases in disjunctive normal form")
                ways += [(*inner, *(atom for way in rest for atom in way)) for rest in product(*more)]
            choices.append(ways)
        else:
            atoms.append(formula)
    return atoms, choices


class _Ends:
    """The tightest ends of the inputs so far."""

    def __init__(self, inputs: int) -> None:
        self.low: list[Fraction | None] = [None] * inputs
        self.high: list[Fraction | None] = [None] * inputs
        self.above: set[int] = set()
        self.below: set[int] = set()

    def copy(self) -> _Ends:
        """Return ends of their own."""
        other = _Ends(0)
        other.low, other.high = list(self.low), list(self.high)
        other.above, other.below = set(self.above), set(self.below)
        return other

    def take(self, atom: Atom | Loose) -> bool:
        """Tighten by an atom of one input and say so; False for any other atom."""
        if isinstance(atom, Loose) or not atom.bounds_one_input:
            return False
        (((_, i), factor),) = atom.terms
        end = atom.bound / factor if factor != 1 else atom.bound
        ends, strict = (self.high, self.below) if factor > 0 else (self.low, self.above)
        old = ends[i]
        tighter = old is None or (end < old if factor > 0 else end > old)
        if tighter:
            ends[i] = end
            strict.discard(i)
        if atom.strict and ends[i] == end:
            strict.add(i)
        return True

    @property
    def missing(self) -> str:
        """What is missing of the first input that has not both ends, as a text with room for its name; else empty."""
        i = self.first_open
        if i is None:
            return ""
        side = "a lower" if self.low[i] is None else "an upper"
        return f"{{}} has not {side} bound in every case: each input needs both"

    @property
    def first_open(self) -> int | None:
        """The first input without both ends."""
        pairs = enumerate(zip(self.low, self.high, strict=True))
        return next((i for i, (low, high) in pairs if low is None or high is None), None)

    def bounds(self) -> Bounds:
        """Return the ends, all of which are there."""
        low, high = ([v for v in ends if v is not None] for ends in (self.low, self.high))
        return Bounds(tuple(low), tuple(high), frozenset(self.above), frozenset(self.below))


def _clause(bounds: Bounds, atoms: Iterable[Atom | Loose]) -> Clause:
    outputs: list[Atom] = []
    sides: list[Atom] = []
    loose: list[Loose] = []
    for atom in atoms:
        if isinstance(atom, Loose):
            loose.append(atom)
            continue
        kinds = {kind for (kind, _), _ in atom.terms}
        if kinds == {"x"}:
            sides.append(atom)
        elif "x" not in kinds:
            outputs.append(atom)
        else:
            loose.append(Loose("a comparison of inputs with outputs"))
    return Clause(bounds, tuple(outputs), tuple(sides), tuple(loose))


def _case(group: Sequence[Clause], shape: tuple[int, ...], outputs: int) -> Case:
    bounds, sides = group[0].bounds, group[0].sides
    wide = tuple(_disjunct(clause.outputs, outputs, inward=False) for clause in group)
    narrow = tuple(_disjunct(clause.outputs, outputs, inward=True) for clause in group)
    box = bounds.outer(shape)
    loose = group[0].loose
    inner = None if loose else bounds.inner(shape)
    pull = np.zeros(len(bounds.low))
    for atom in sides:
        for (_, i), factor in atom.terms:
            pull[i] += float(factor)
    pull = pull.reshape(shape)
    middle = box.low / 2 + box.high / 2
    start = np.where(pull > 0, box.low, np.where(pull < 0, box.high, middle)).astype(np.float32)
    start = (inner or box).project(start[None], start[None])[0].astype(np.float32)
    return Case(box, LinearProperty(wide), inner, LinearProperty(narrow), start, sides, loose)


def _disjunct(atoms: Sequence[Atom], outputs: int, *, inward: bool) -> Disjunct:
    """Return atoms of outputs as rows; the bounds are rounded up, or inward so that what meets them meets the atoms."""
    if not atoms:
        # nothing is asked of the outputs: 0 @ y <= 0
        return Disjunct(np.zeros((1, outputs)), np.zeros(1))
    rows, bounds = np.zeros((len(atoms), outputs)), np.zeros(len(atoms))
    for k, atom in enumerate(atoms):
        scale = _scale([factor for _, factor in atom.terms])
        for (_, j), factor in atom.terms:
            rows[k, j] = float(factor * scale)
        end = atom.bound * scale
        bounds[k] = float_down(end) if inward else float_up(end)
        if inward and atom.strict and bounds[k] == end:
            bounds[k] = math.nextafter(bounds[k], -math.inf)
    if not np.isfinite(bounds).all():
        raise LoadError("a bound of the outputs is past the range of float64")
    return Disjunct(rows, bounds)


def _scale(factors: Sequence[Fraction]) -> Fraction:
    """Return a positive number that makes every factor a float64, exactly; LoadError where none is at hand."""
    scale = Fraction(1)
    if any(Fraction(float(factor)) != factor for factor in factors):
        common = math.lcm(*(factor.denominator for factor in factors))
        # back to about the same size, by a power of two, which changes no digit
        scale = Fraction(common, 2 ** (common.bit_length() - 1))
        if any(Fraction(float(factor * scale)) != factor * scale for factor in factors):
            raise LoadError("the factors of an output condition have too many digits for float64")
    return scale
