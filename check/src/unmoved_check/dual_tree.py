"""Dual-tree evidence: trees parsed into leaves, leaves handed to an engine, every lower bound > 0.

A tree proves its disjunct impossible when every leaf does: the two children of a split cover its parent's region
(z >= 0 or z <= 0; x <= p or x >= p), so the leaves cover the threat's set. A leaf shows w . (A y - b) > 0 for some
w >= 0 that is not zero, which no y with A y <= b can satisfy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf, isfinite

from unmoved_check.canonical import Json
from unmoved_check.claim import Claim, Conjunct, fields, integer, one_of, rational
from unmoved_check.leaf import Choices, Engine, Given, Leaf, Origin, Split, passed_on
from unmoved_check.model.steps import Graph, Product
from unmoved_check.outcome import Rejection
from unmoved_check.region import Cut, Part, Region
from unmoved_check.scopes import Place, Scopes
from unmoved_check.tensor import Tensor

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Aim:
    """What the leaves of disjunct `number`'s tree must prove impossible: all of its conjuncts at once."""

    number: int
    conjuncts: Sequence[Conjunct]


@dataclass
class Forest:
    """The leaves of all trees so far; parts of the region that have the same cuts in several trees are one part."""

    graph: Graph
    tensors: Tensors
    leaves: list[Leaf] = field(default_factory=list)
    parts: dict[tuple[int, int, Json, bool], Part] = field(default_factory=dict)
    scopes: Scopes = field(init=False)
    objectives: dict[tuple[int, Tensor | None], Leaf] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Start without scopes."""
        self.scopes = Scopes(self.graph, self.tensors, self.used)

    def grow(self, tree: Json, aim: Aim, at: Place) -> None:
        """Add the leaves of `tree`, which prove `aim` at its place."""
        if not isinstance(tree, list) or not tree:
            raise Rejection("evidence: a tree is no list")
        if tree[0] == "leaf" and len(tree) == 2:
            self._leaf(tree[1], aim, at)
        elif tree[0] == "within" and len(tree) == 3:
            self.grow(tree[2], aim, self.scopes.within(integer(tree[1], "a scope's number"), at))
        elif tree[0] == "relu" and len(tree) == 5:
            value, index = self._element(self.graph.relu_inputs, tree[1], tree[2])
            self.grow(tree[3], aim, at.split(Split(value, index, True, 0.0)))
            self.grow(tree[4], aim, at.split(Split(value, index, False, 0.0)))
        elif tree[0] == "split" and len(tree) == 6:
            value, index = self._element(self.graph.names, tree[1], tree[2])
            point = rational(tree[3], "a split's point")
            self.grow(tree[4], aim, at.split(Split(value, index, False, 0.0, point)))
            self.grow(tree[5], aim, at.split(Split(value, index, True, 0.0, point)))
        elif tree[0] == "input" and len(tree) == 5:
            index = integer(tree[1], "an input split's index")
            point = rational(tree[2], "an input split's point")
            if not 0 <= index < self.graph.sizes[0]:
                raise Rejection("evidence: an input split's index is out of range")
            for child, below in ((tree[3], True), (tree[4], False)):
                key = id(at.part), index, tree[2], below
                if key not in self.parts:
                    self.parts[key] = Part(at.part, Cut(index, point, below))
                self.grow(child, aim, at.cut(self.parts[key]))
        else:
            raise Rejection("evidence: a tree is neither a leaf nor a split with both its children")

    def _element(self, names: Mapping[str, int], name: Json, index: Json) -> tuple[int, int]:
        if not isinstance(name, str) or name not in names:
            raise Rejection(
                "evidence: a split of a tensor that is no ReLU's input, or that the checker doesn't compute"
            )
        value, at = names[name], integer(index, "a split's index")
        if not 0 <= at < self.graph.sizes[value]:
            raise Rejection("evidence: a split's index is out of range")
        return value, at

    def _leaf(self, number: Json, aim: Aim, at: Place) -> None:
        k = integer(number, "a leaf's number")
        if k < 0 or k in self.numbers:
            raise Rejection(f"evidence: leaf number {k} is negative or used twice")
        self.numbers.add(k)
        multipliers = self._multipliers(k, len(at.splits))
        splits = tuple(replace(split, multiplier=m) for split, m in zip(at.splits, multipliers, strict=True))
        leaf = self._objective(aim, k)
        self.leaves.append(replace(leaf, number=k, splits=splits, part=at.part, scope=at.scope))

    def _objective(self, aim: Aim, k: int) -> Leaf:
        """What leaf k bounds, by its own weights of the conjuncts, else its tree's, else 1 each; worked out once."""
        named = (f"weights/{aim.number}/{k}", f"weights/{aim.number}")
        name = next((n for n in named if n in self.tensors), None)
        given = None if name is None else self.tensors[name]
        if name is not None:
            self.used.add(name)
        if (aim.number, given) not in self.objectives:
            count = len(aim.conjuncts)
            weights = [Fraction(1)] * count
            if given is not None:
                weights = given.fractions() if given.dtype == "F64" and given.shape == (count,) else []
                if not weights or min(weights) < 0 or not any(weights):
                    raise Rejection(f"payload: {name} is not one float64 >= 0 for each conjunct, not all zero")
            self.objectives[aim.number, given] = _objective(aim.conjuncts, weights)
        return self.objectives[aim.number, given]

    def _multipliers(self, k: int, count: int) -> Sequence[float]:
        name = f"multipliers/{k}"
        if name not in self.tensors:
            return [0.0] * count
        found = self.tensors[name]
        self.used.add(name)
        if found.dtype != "F32" or found.shape != (count,) or not all(0 <= v < inf for v in found.numbers):
            raise Rejection(f"payload: {name} is not one float32 >= 0 for each split on the leaf's path")
        return [float(v) for v in found.numbers]

    def slopes(self) -> dict[int, dict[int, bytes]]:
        """The lower-line slopes that the payload gives, by leaf number and value."""
        found: dict[int, dict[int, bytes]] = {}
        for name, tensor in self.tensors.items():
            first, _, rest = name.partition("/")
            number, _, relu = rest.partition("/")
            if first != "slopes":
                continue
            value = self.graph.relu_inputs.get(relu)
            k = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else -1
            if str(k) != number or k not in self.numbers or value is None:
                raise Rejection(f"payload: {name} belongs to no leaf, or to no ReLU")
            if tensor.dtype != "U8" or tensor.size != self.graph.sizes[value] or value in found.get(k, {}):
                raise Rejection(f"payload: {name} is not one uint8 for each element of the ReLU's input")
            self.used.add(name)
            found.setdefault(k, {})[value] = tensor.data
        return found


def choices_of(forest: Forest, origins: Mapping[int, Origin]) -> tuple[Choices, dict[int, Given]]:
    """What the payload chooses for all leaves, and, by leaf number, for each: lines and planes by their names."""
    shared: dict[int, Sequence[float]] = {}
    own: dict[int, dict[int, Sequence[float]]] = {}
    rows: dict[int, bytes] = {}
    graph = forest.graph
    for name, tensor in forest.tensors.items():
        first, slash, rest = name.partition("/")
        if not slash or name in forest.used:
            continue
        if first == "rows":
            # the input never has rows, and several names may stand for one value
            value = 0 if rest == graph.input_name else graph.names.get(rest)
            if value is None or tensor.dtype != "U8" or tensor.size not in (1, graph.sizes[value]):
                raise Rejection(f"payload: {name} is not one uint8, or one for each element of a tensor")
            if rows.get(value, tensor.data) != tensor.data:
                raise Rejection(f"payload: {name} and another name of this tensor's elements differ")
            rows[value] = tensor.data
            forest.used.add(name)
        if first not in ("lines", "planes"):
            continue
        number, _, inner = rest.partition("/")
        common = rest in graph.bent
        value = graph.bent.get(rest if common else inner)
        k = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else -1
        if value is None or not (common or (str(k) == number and k in forest.numbers)):
            raise Rejection(f"payload: {name} belongs to no leaf, or to no operator that takes {first}")
        table = shared if common else own.setdefault(k, {})
        product = isinstance(graph.steps[value - 1], Product)
        fits = tensor.size == 2 * graph.sizes[value] and tensor.shape[:1] == (2,) and value not in table
        if product != (first == "planes") or tensor.dtype != ("U8" if product else "F32") or not fits:
            raise Rejection(f"payload: {name} is not two rows of one number for each element")
        if not all(map(isfinite, tensor.numbers)):
            raise Rejection(f"payload: {name} holds NaN or infinity")
        table[value] = tensor.numbers
        forest.used.add(name)
    return Choices(forest.scopes.hidden(""), shared, passed_on(graph, origins, rows)), dict(own)


def check_dual_tree(claim: Claim, tensors: Tensors, engine: Engine) -> str:
    """The least margin of all leaves, as a text; Rejection unless every leaf's lower bound is > 0."""
    graph = engine.graph
    evidence = fields(claim.evidence, "evidence", "kind intermediate trees")
    intermediate = one_of(evidence["intermediate"], "evidence.intermediate", "interval linear")
    trees, disjuncts = evidence["trees"], claim.property.disjuncts
    if not isinstance(trees, list) or len(trees) != len(disjuncts):
        raise Rejection(f"evidence: expected {len(disjuncts)} trees, one for each disjunct")
    if claim.property.outputs != graph.outputs:
        raise Rejection(f"the property speaks of {claim.property.outputs} outputs, the model has {graph.outputs}")
    forest = Forest(graph, tensors)
    for d, (tree, conjuncts) in enumerate(zip(trees, disjuncts, strict=True)):
        forest.grow(tree, Aim(d, conjuncts), Place())
    if forest.scopes.known and intermediate != "linear":
        raise Rejection("evidence: bounds of a scope's own are linear ones")
    slopes, (choices, given) = forest.slopes(), choices_of(forest, engine.origins)
    strange = set(tensors) - claim.names - forest.used
    if strange:
        raise Rejection(f"payload: {sorted(strange)[0]} is not used")
    leaves = [
        replace(leaf, slopes=slopes.get(leaf.number, {}), given=given.get(leaf.number, {})) for leaf in forest.leaves
    ]
    margins = _proved(engine, claim.region, leaves, intermediate, choices)
    least = f"least margin {_short(min(margins))}" if margins else "no leaf's region has a point"
    return f"{len(forest.numbers)} leaves, {least}"


def _proved(
    engine: Engine, region: Region, leaves: Sequence[Leaf], intermediate: str, choices: Choices
) -> list[Fraction | float]:
    """The margins of the leaves whose regions are not empty; Rejection when one is not > 0."""
    found: list[Fraction | float] = []
    for leaf, margin in zip(leaves, engine.margins(region, leaves, intermediate, choices), strict=True):
        if margin is None:
            continue
        if not margin > 0:
            raise Rejection(f"leaf {leaf.number} is not proved: lower bound {_short(margin)}")
        found.append(margin)
    return found


def _short(margin: Fraction | float) -> str:
    try:
        return f"{float(margin):.6g}"
    except OverflowError:
        return "beyond float64"


def _objective(conjuncts: Sequence[Conjunct], weights: Sequence[Fraction]) -> Leaf:
    """Sum of w_i (a_i . y - b_i), exactly."""
    row: dict[int, Fraction] = {}
    constant = Fraction(0)
    for conjunct, weight in zip(conjuncts, weights, strict=True):
        if weight:
            constant -= weight * conjunct.bound
            for j, a in conjunct.row.items():
                row[j] = row.get(j, Fraction(0)) + weight * a
    return Leaf(-1, row, constant)
