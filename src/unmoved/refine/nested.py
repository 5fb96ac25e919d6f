"""Branch and bound whose parts have bounds of their own: few parts, each dear, all disjuncts together.

Where bounds grow from layer to layer, the root's leave nearly everything undecided whatever is split. A split of an
early unit decides many later ones, once these are bounded again (`scope`); that costs hundreds of rows a part instead
of one, and all disjuncts share it. A part is first tried with the bounds of the scope it lies in, which is cheap.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from unmoved.core.budget import Budget
from unmoved.core.certificate import DualTree, Tree
from unmoved.refine.ascent import Ascent
from unmoved.refine.domains import leaf
from unmoved.refine.dual import Choices, Face, Goals, bound
from unmoved.refine.influence import chosen
from unmoved.refine.reduced import Reduced
from unmoved.refine.root import Leaf, Payload, Root
from unmoved.refine.scope import Path, Scope, narrowed
from unmoved.refine.tree import Grove

HIDDEN = Ascent(steps=4, rate=0.4, decay=0.85)
FINAL = Ascent(steps=20, rate=0.3, decay=0.9)
UNITS = 2000
"""Undecided units up to which every part can be bounded anew."""


def nestable(reduced: Reduced) -> bool:
    """Say whether parts can have bounds of their own: all units are ReLUs, and there are not too many."""
    return 0 < len(reduced) <= UNITS and bool(all(group.free for group in reduced.groups))


@dataclass(frozen=True, eq=False)
class Part:
    """A node with open disjuncts: its scope, their rows and choices, and the unit to split."""

    node: int
    low: float
    scope: Scope
    goals: Goals
    choices: Choices
    unit: int


@dataclass(eq=False)
class NestedSearch:
    """One search, as `branch.Search`; `stuck` are parts that can't be split any more."""

    root: Root
    budget: Budget
    memory: int
    hidden: Ascent = HIDDEN
    final: Ascent = FINAL
    grove: Grove = field(default_factory=Grove)
    leaves: list[Leaf] = field(default_factory=list)
    payload: Payload = field(default_factory=dict)
    heap: list[tuple[float, int, Part]] = field(default_factory=list)
    stuck: list[Part] = field(default_factory=list)
    points: Tensor | None = None
    nodes: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, root: Root, budget: Budget, low: Tensor, choices: Choices, *, memory: int) -> NestedSearch:
        """Start from the bounds (D,) and choices of the disjuncts at the root."""
        search = cls(root, budget, memory)
        search._settle(0, Scope.whole(root.reduced), Path.root(), root.goals, choices, low)
        return search

    @property
    def finished(self) -> bool:
        """Whether all is proved."""
        return not self.heap and not self.stuck

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to split, or no memory to do it."""
        return not self.heap or self.full

    @property
    def full(self) -> bool:
        """Whether the evidence and the open parts take more than `memory` bytes."""
        return self.bytes > self.memory

    @property
    def progress(self) -> dict[str, int]:
        """How many leaves are proved, and how many rows of parts are open."""
        return {"leaves": len(self.leaves), "open": sum(len(part.goals) for part in self._open)}

    @property
    def low(self) -> float:
        """The worst bound of what is left."""
        return min((part.low for part in self._open), default=np.inf)

    @property
    def _open(self) -> list[Part]:
        return [*(part for _, _, part in self.heap), *self.stuck]

    def step(self) -> None:
        """Split the part with the worst bound; `points` are then candidates (R, inputs)."""
        part = heapq.heappop(self.heap)[2]
        self.bytes -= part.scope.bytes
        nodes = self.grove.split(part.node, "relu", part.unit)
        found = [self._child(part, node, sign) for node, sign in zip(nodes, (1, -1), strict=True)]
        points = [point for point in found if point is not None]
        self.points = torch.cat(points) if points else None

    def _child(self, part: Part, node: int, sign: int) -> Tensor | None:
        """Prove what can be proved of one child, first with the bounds outside, then with its own; queue the rest."""
        path = part.scope.path.then(part.unit, sign)
        units = torch.full_like(part.goals.which, part.unit)
        goals = part.goals.split(units, torch.full_like(part.goals.signs[:, 0], sign))
        low, choices = self.final.run(part.scope.reduced, goals, part.choices, budget=self.budget)
        self.nodes += len(goals)
        return self._settle(node, part.scope, path, goals, choices, low)

    def _settle(
        self, node: int, outer: Scope, path: Path, goals: Goals, choices: Choices, low: Tensor
    ) -> Tensor | None:
        """Prove rows by their bounds outside, else inside a scope of the node's own; queue what is left."""
        open_ = self._prove(node, goals, choices, low, path, inside=False)
        if not len(open_):
            return None
        goals, choices, low = goals.take(open_), choices.take(open_), low[open_]
        scope = narrowed(outer, path, self.hidden, self.budget)
        number = len(self.grove.scopes)
        self.grove.scopes[node] = number
        evidence = scope.payload(number, self.root.sizes)
        self.payload |= evidence
        self.bytes += sum(tensor.nbytes for tensor in evidence.values())
        if scope.empty:
            self._prove(node, goals, choices, torch.ones_like(low), path, inside=True)
            return None
        low, choices = self.final.run(scope.reduced, goals, choices, budget=self.budget)
        open_ = self._prove(node, goals, choices, low, path, inside=True)
        if not len(open_):
            return None
        return self._push(Part(node, float(low.min()), scope, goals.take(open_), choices.take(open_), -1))

    def _prove(self, node: int, goals: Goals, choices: Choices, low: Tensor, path: Path, *, inside: bool) -> Tensor:
        """File the rows that are proved as leaves, inside the node's scope or not; return the others' places."""
        counts = self.root.goals.real.sum(1).tolist()
        for r in (low > 0).nonzero()[:, 0].tolist():
            place = (node, int(goals.which[r]))
            self.grove.leaves[place] = len(self.leaves)
            if inside:
                self.grove.inside.add(place)
            self.leaves.append(leaf(goals, choices, r, path.units, counts[place[1]]))
        return (~(low > 0)).nonzero()[:, 0]

    def _push(self, part: Part) -> Tensor:
        """Choose a part's unit and queue it; return the minimisers of its rows."""
        reduced, goals = part.scope.reduced, part.goals
        found = bound(reduced, goals, part.choices, Face.of(reduced, goals.signs))
        part = replace(part, unit=chosen(part.scope, goals, part.choices, found, self.budget))
        if part.unit < 0:
            self.stuck.append(part)
        else:
            self.bytes += part.scope.bytes
            heapq.heappush(self.heap, (part.low, part.node, part))
        return found.point

    def proof(self) -> DualTree:
        """Return the evidence of a finished search."""
        written = self.root.written
        trees: list[Tree] = [self.grove.tree(d, written) for d in range(len(self.root.goals))]
        found = self.root.proof(tuple(trees), self.leaves)
        return replace(found, choices={**found.choices, **self.payload})
