"""Random scopes: no rows, slopes or multipliers make bounds that a point of the scope's own part contradicts.

Points are corners of the pieces on which a net is affine, and points between them, in rationals; splits are put where
one of them lies, so that a bound is wrong as soon as it is off by one rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from nets import Piece, Point, at, random_net
from test_certify import region
from test_trees import _region

from unmoved_check.claim import Conjunct
from unmoved_check.dual_tree import Aim, Forest, choices_of
from unmoved_check.exact import ExactEngine
from unmoved_check.exact_numbers import times_power
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Leaf, Scope
from unmoved_check.model.deployed import deployed
from unmoved_check.model.lowering import lower
from unmoved_check.model.profile import PROFILES
from unmoved_check.model.reader import read_model
from unmoved_check.model.steps import Graph
from unmoved_check.outcome import Rejection
from unmoved_check.scopes import Place
from unmoved_check.tensor import Tensor

F = Fraction
NETS = int(os.environ.get("FUZZ", 120))
BLOCKS = 4
MOST = 60
Values = dict[str, list[Fraction]]
Test = Callable[[Values], bool]


def points(rng: np.random.Generator, pieces: Sequence[Piece]) -> list[Values]:
    """Every tensor's value at corners of pieces and between two of them, at most `MOST` of each."""
    found = []
    for k in rng.permutation(len(pieces))[:MOST]:
        piece = pieces[k]
        a, b = (piece.corners[int(rng.integers(len(piece.corners)))] for _ in range(2))
        middle: Point = tuple((2 * p + q) / 3 for p, q in zip(a, b, strict=True))
        found += [{name: [at(m, p) for m in maps] for name, maps in piece.tensors.items()} for p in (a, middle)]
    return found


@dataclass
class Evidence:
    """Trees and payload as a bundle has them, with what each leaf's and each scope's part is, found on the way."""

    rng: np.random.Generator
    graph: Graph
    samples: list[Values]
    payload: dict[str, Tensor] = field(default_factory=dict)
    leaves: dict[int, list[Test]] = field(default_factory=dict)
    scopes: list[list[Test]] = field(default_factory=list)

    def tree(self, depth: int, tests: list[Test], splits: int = 0, inside: bool = False) -> Any:
        """A random tree under the path `tests`, `splits` of which have multipliers."""
        rng = self.rng
        kind = rng.choice(["within", "relu", "split", "split", "input"]) if depth else "leaf"
        if kind == "within":
            self.scope(splits)
            self.scopes.append(tests)
            number = len(self.scopes) - 1
            return ["within", number, self.tree(depth - 1, tests, splits, True)]
        known = {"relu": self.graph.relu_inputs, "input": ["x"]}.get(kind, self.graph.names)
        names = [n for n in known if n in self.samples[0]]
        if kind == "leaf" or (kind == "input" and inside) or not names:
            number = len(self.leaves)
            self.leaves[number] = tests
            self.payload[f"multipliers/{number}"] = self.multipliers((splits,))
            return ["leaf", number]
        name = str(rng.choice(names))
        index = int(rng.integers(len(self.samples[0][name])))
        point = F(0)
        if kind != "relu":
            point = self.samples[int(rng.integers(len(self.samples)))][name][index]
            if rng.random() < 0.2:
                point += abs(point) * F(int(rng.integers(-3, 4)), 7 << int(rng.integers(1, 60)))
        below: Test = lambda v: v[name][index] <= point  # noqa: E731
        above: Test = lambda v: v[name][index] >= point  # noqa: E731
        more = splits + (kind != "input")
        low = self.tree(depth - 1, [*tests, below], more, inside)
        high = self.tree(depth - 1, [*tests, above], more, inside)
        if kind == "relu":
            return ["relu", name, index, high, low]
        return (
            ["input", index, str(point), low, high]
            if kind == "input"
            else ["split", name, index, str(point), low, high]
        )

    def again(self, tree: Any) -> Any:
        """The same tree with leaves of its own: another disjunct's, in the same scopes."""
        if tree[0] == "leaf":
            number = len(self.leaves)
            self.leaves[number] = self.leaves[tree[1]]
            count = self.payload[f"multipliers/{tree[1]}"].shape
            self.payload[f"multipliers/{number}"] = self.multipliers(count)
            return ["leaf", number]
        return [self.again(part) if isinstance(part, list) else part for part in tree]

    def scope(self, splits: int) -> None:
        """A payload for the next scope."""
        rng, prefix = self.rng, f"scope/{len(self.scopes)}/"
        values = {v: n for n, v in self.graph.relu_inputs.items()}
        units = {v: rng.integers(0, 2, self.graph.sizes[v], dtype=np.uint8) for v in values if rng.random() < 0.7}
        for v, mask in units.items():
            self.payload[f"{prefix}units/{values[v]}"] = Tensor("U8", mask.shape, mask.tobytes())
        wide = int(sum(mask.sum() for mask in units.values()))
        for v, name in values.items():
            ends = rng.integers(0, 4, self.graph.sizes[v], dtype=np.uint8)
            rows = int((ends & 1).sum() + (ends >> 1).sum())
            slopes = rng.choice([0, 255, 100], (rows, wide)).astype(np.uint8)
            self.payload[f"{prefix}ends/{name}"] = Tensor("U8", ends.shape, ends.tobytes())
            self.payload[f"{prefix}hidden/{name}"] = Tensor("U8", slopes.shape, slopes.tobytes())
            self.payload[f"{prefix}multipliers/{name}"] = self.multipliers((rows, splits))

    def multipliers(self, shape: tuple[int, ...]) -> Tensor:
        """Numbers >= 0, often 0 or 1."""
        rng = self.rng
        wild = np.abs(rng.normal(size=shape)) * 2.0 ** rng.choice([0, 0, -30, 20, 60], shape)
        kind = rng.integers(0, 4, shape)
        made = np.where(kind == 0, 1.0, np.where(kind == 1, wild, 0.0)).astype("<f4")
        return Tensor("F32", shape, made.tobytes())


class Watched:
    """An engine that writes down the bounds it finds in every scope."""

    def __init__(self, graph: Graph):
        super().__init__(graph)  # type: ignore[call-arg]
        self.seen: list[tuple[Scope, Any]] = []

    def _narrowed(self, region: Any, choices: Any, bounds: Any, scope: Scope) -> Any:
        found = super()._narrowed(region, choices, bounds, scope)  # type: ignore[misc]
        self.seen.append((scope, found))
        return found


class WatchedExact(Watched, ExactEngine):
    def ends(self, box: Any) -> tuple[list[Fraction], list[Fraction]]:
        return [times_power(v, box.exp) for v in box.low], [times_power(v, box.exp) for v in box.high]


class WatchedFloat(Watched, FloatEngine):
    def ends(self, box: Any) -> tuple[list[Fraction], list[Fraction]]:
        return [F(float(v)) for v in np.ravel(box.low)], [F(float(v)) for v in np.ravel(box.high)]


def examined(seed: int) -> int:
    """How many scopes an engine bounded; AssertionError where a point contradicts one, or a leaf."""
    rng = np.random.default_rng([seed, 7])
    wild = bool(rng.random() < 0.4)
    net = random_net(rng, int(rng.integers(1, 3)), wild=wild)
    x, threat, corners = region(rng, net.inputs, wild)
    samples = points(rng, net.pieces(corners))
    source, count = read_model(net.bytes()), 0
    for graph in (lower(source), deployed(source, PROFILES["float32"])):
        made = Evidence(rng, graph, samples)
        first = made.tree(int(rng.integers(2, 5)), [])
        row = {j: F(float(a)) for j, a in enumerate(rng.normal(size=net.widths[net.at]))}
        forest = Forest(graph, made.payload)
        for d, tree in enumerate((first, made.again(first))):
            forest.grow(tree, Aim(d, [Conjunct(row, F(0))]), Place())
        for kind in (WatchedExact, WatchedFloat):
            engine = kind(graph)
            choices, _ = choices_of(forest, engine.origins)
            try:
                margins = engine.margins(_region(threat, x), forest.leaves, "linear", choices)
            except Rejection:
                continue
            where = f"seed {seed}, {kind.__name__}"
            _leaves_hold(made, forest.leaves, margins, (row, net.at), where)
            count += _scopes_hold(made, engine, forest, where)
    return count


def _leaves_hold(
    made: Evidence, leaves: Sequence[Leaf], margins: Sequence[Any], target: tuple[dict[int, Fraction], str], where: str
) -> None:
    row, output = target
    for leaf, margin in zip(leaves, margins, strict=True):
        for values in made.samples:
            if all(test(values) for test in made.leaves[leaf.number]):
                true = sum((a * values[output][j] for j, a in row.items()), F(0))
                assert margin is not None, f"{where}: leaf {leaf.number} is not empty"
                assert not np.isfinite(float(margin)) or F(margin) <= true, f"{where}: leaf {leaf.number}"


def _scopes_hold(made: Evidence, engine: Any, forest: Forest, where: str) -> int:
    number = {id(scope): k for k, (_, scope) in forest.scopes.known.items()}
    for scope, bounds in engine.seen:
        k = number[id(scope)]
        ends = bounds and [engine.ends(box) for box in bounds]
        for values in made.samples:
            if all(test(values) for test in made.scopes[k]):
                assert ends is not None, f"{where}: scope {k} is not empty"
                for name, value in engine.graph.names.items():
                    if name in values:
                        triples = zip(ends[value][0], values[name], ends[value][1], strict=True)
                        assert all(a <= v <= b for a, v, b in triples), f"{where}: {name} in scope {k}"
    return len(engine.seen)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_scope_bounds_more_than_its_part(block: int) -> None:
    assert sum(examined(seed) for seed in range(block, NETS, BLOCKS))
