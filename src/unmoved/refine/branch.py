"""Branch and bound on ReLU units over one reduced network (beta-CROWN): worst bounds first, in batches.

Children start from their parent's slopes and multipliers; hidden bounds are the root's, cut by the splits, which is
what the checker does. The minimisers of the bounds are tried as counterexamples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.core.budget import Budget
from unmoved.core.certificate import DualTree, Tree
from unmoved.refine.ascent import Ascent
from unmoved.refine.domains import Domain, Queue, leaf, restored
from unmoved.refine.dual import Choices, Face, Goals, bound
from unmoved.refine.program import solved
from unmoved.refine.root import Leaf, Root
from unmoved.refine.score import choose
from unmoved.refine.tree import Growth

Path = npt.NDArray[np.int32]

CHILD = Ascent(steps=12, rate=0.25, decay=0.85)


@dataclass(frozen=True)
class Settings:
    """`batch` domains are split at once, at most `nodes` in all; `memory` bytes of open domains (twice at worst).

    `candidates` units by each score are looked at before a split.
    """

    batch: int = 64
    nodes: int = 2**20
    memory: int = 2**30
    candidates: int = 6
    child: Ascent = field(default=CHILD)


@dataclass(eq=False)
class Search:
    """One search: `finished` when every disjunct is proved; `stuck` domains can't be proved or split any more."""

    root: Root
    settings: Settings
    budget: Budget
    queue: Queue
    growth: Growth = field(default_factory=Growth)
    leaves: list[Leaf] = field(default_factory=list)
    stuck: list[Domain] = field(default_factory=list)
    points: Tensor | None = None
    nodes: int = 0

    @classmethod
    def of(cls, root: Root, settings: Settings, budget: Budget, low: Tensor, choices: Choices) -> Search:
        """Start from the bounds (D,) and choices of the disjuncts at the root: node d is the root of disjunct d."""
        search = cls(root, settings, budget, Queue(settings.memory))
        none = [np.zeros(0, np.int32)] * len(root.goals)
        nodes = [search.growth.node() for _ in none]
        search._sort_out(root.goals, choices, low, nodes, none)
        return search

    @property
    def finished(self) -> bool:
        """Whether all is proved."""
        return not self.queue and not self.stuck

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to split, or no memory to do it."""
        return not self.queue or self.full

    @property
    def full(self) -> bool:
        """Whether the memory is used up, although the domains nearest to a proof went first."""
        return self.queue.full

    @property
    def progress(self) -> dict[str, int]:
        """How many leaves are proved and how many domains are open."""
        return {"leaves": len(self.leaves), "open": len(self.queue) + len(self.stuck)}

    @property
    def low(self) -> float:
        """The worst bound of what is left."""
        return min(self.queue.low, min((domain.low for domain in self.stuck), default=np.inf))

    def step(self) -> None:
        """Split the most urgent domains and bound their children; `points` are then candidates (R, inputs)."""
        parents = self.queue.pop(self.settings.batch)
        goals, choices = restored(parents, self.root.goals, self.root.reduced.bounds.low)
        pairs = torch.arange(len(parents), device=goals.signs.device).repeat_interleave(2)
        units = torch.tensor([domain.unit for domain in parents], device=pairs.device)[pairs]
        signs = torch.tensor([1.0, -1.0], device=pairs.device, dtype=goals.signs.dtype).repeat(len(parents))
        cut, start = goals.take(pairs).split(units, signs), choices.take(pairs)
        low, made = self.settings.child.run(self.root.reduced, cut, start, budget=self.budget)
        self.nodes += len(cut)
        nodes: list[int] = []
        paths: list[Path] = []
        for domain in parents:
            nodes += self.growth.split(domain.node, "relu", domain.unit)
            paths += [np.append(domain.units, np.int32(domain.unit))] * 2
        self._sort_out(cut, made, low, nodes, paths)

    def _sort_out(
        self, goals: Goals, choices: Choices, low: Tensor, nodes: list[int], paths: list[npt.NDArray[np.int32]]
    ) -> None:
        """File proved rows as leaves; choose the next split of the others, and queue them."""
        counts = self.root.goals.real.sum(1).tolist()
        for r in (low > 0).nonzero()[:, 0].tolist():
            self.growth.leaves[nodes[r]] = len(self.leaves)
            self.leaves.append(leaf(goals, choices, r, paths[r], counts[int(goals.which[r])]))
        open_ = (low <= 0).nonzero()[:, 0]
        self.points = None
        if not len(open_):
            return
        left, held = goals.take(open_), choices.take(open_)
        found = bound(self.root.reduced, left, held, Face.of(self.root.reduced, left.signs))
        self.points = found.point
        chosen = choose(self.root.reduced, left, held, found, candidates=self.settings.candidates).tolist()
        signs = left.signs.to(torch.int8).cpu().numpy()
        for i, r in enumerate(open_.tolist()):
            made = leaf(left, held, i, paths[r], counts[int(left.which[i])])
            domain = Domain(nodes[r], float(low[r]), paths[r], signs[i][paths[r]], made, chosen[i])
            if chosen[i] >= 0:
                self.queue.push(domain)
            else:
                self._settle(domain)

    def _settle(self, domain: Domain) -> None:
        """Solve a domain without units to split as a linear program: its duals prove it, or its minimiser is tried."""
        reduced = self.root.reduced
        goals, _ = restored([domain], self.root.goals, reduced.bounds.low)
        answer = solved(reduced, goals, 0)
        if answer is not None:
            face, choices = Face.of(reduced, goals.signs), answer[0].rounded()
            found = bound(reduced, goals, choices, face, gradient=False)
            self.points = answer[1] if self.points is None else torch.cat([self.points, answer[1]])
            if float(found.low - reduced.room * found.size) > 0:
                self.growth.leaves[domain.node] = len(self.leaves)
                self.leaves.append(leaf(goals, choices, 0, domain.units, len(domain.leaf.weights)))
                return
        self.stuck.append(domain)

    def proof(self) -> DualTree:
        """Return the evidence of a finished search."""
        trees: list[Tree] = [self.growth.tree(d, self.root.written) for d in range(len(self.root.goals))]
        return self.root.proof(tuple(trees), self.leaves)
