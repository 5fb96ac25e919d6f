"""Branch and bound on whatever bends: smooth units, factors of products, kinks.

A split halves the interval of one element, at a kink inside it or in the middle: both children have closer lines there
(Shi et al. 2024, GenBaB, "Neural network verification with branch-and-bound for general nonlinearities"). Hidden bounds
are the root's, cut by the splits and by what follows from them element by element, which is what a checker derives.
What is split is where the last row loses most between the two lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.bounds import Bounds, Enclosure, LinearBounds, Query, linear
from unmoved.bounds.intersection import meet
from unmoved.bounds.interval import IntervalDomain
from unmoved.bounds.lazy import always, kinked
from unmoved.bounds.relaxation import Lines, relaxed, through
from unmoved.bounds.rows import Rows, pull
from unmoved.core.budget import Budget
from unmoved.core.certificate import DualTree, Tree
from unmoved.core.problem import Problem
from unmoved.ir.network import Network
from unmoved.ops.op import Affine, Elementwise, Maximum, Op, Product, primitives
from unmoved.refine.methods import spared
from unmoved.refine.questions import Questions
from unmoved.refine.tree import Grove

MOST = 1 << 17
"""Open domains at most."""

BATCH = 16
"""Domains that are split at once."""


@dataclass(frozen=True)
class Unit:
    """Where an interval is cut in two: tensor, flat element, point (a float32 number)."""

    tensor: str
    element: int
    point: float


Cut = tuple[Unit, bool]
"""A unit, and whether the part is above its point."""


@dataclass(frozen=True, order=True)
class Domain:
    """A part of the region: its worst bound, node, cuts, disjuncts that are open there, and where to split it next."""

    low: float
    node: int
    cuts: tuple[Cut, ...] = field(compare=False)
    open: tuple[int, ...] = field(compare=False)
    unit: Unit = field(compare=False)


@dataclass(eq=False)
class BentSearch:
    """One search over all disjuncts of a problem about real arithmetic; `points` are candidates of the last step."""

    network: Network
    ops: tuple[Op, ...]
    enclosure: Enclosure
    questions: Questions
    budget: Budget
    batch: int = BATCH
    grove: Grove = field(default_factory=Grove)
    units: list[Unit] = field(default_factory=list)
    weights: dict[int, tuple[int, npt.NDArray[np.float64]]] = field(default_factory=dict)
    queue: list[Domain] = field(default_factory=list)
    stuck: list[Domain] = field(default_factory=list)
    points: Tensor | None = None
    nodes: int = 0

    @classmethod
    def of(
        cls, problem: Problem, ops: Sequence[Op], budget: Budget, *, dtype: torch.dtype, device: str, batch: int = BATCH
    ) -> BentSearch:
        """Start with the whole region. ValueError for a claim that is not about real arithmetic."""
        if problem.semantics.deployed:
            raise ValueError("splits of what bends are about real arithmetic")
        network = problem.model
        assert isinstance(network, Network)
        enclosure = Enclosure.of_regions([problem.threat.region(problem.x[None])], dtype, device)
        questions = Questions.of([problem.prop.disjuncts(network.outputs)], network.outputs)
        made = cls(network, tuple(primitives(ops)), enclosure, questions, budget, batch)
        made._sort_out([()], [0], [tuple(range(questions.disjuncts[0]))])
        return made

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
        """Whether there are too many open domains."""
        return len(self.queue) > MOST

    @property
    def low(self) -> float:
        """The worst bound of what is left."""
        return min((domain.low for domain in (*self.queue[:1], *self.stuck)), default=np.inf)

    @property
    def progress(self) -> dict[str, int]:
        """How many leaves are proved and how many domains are open."""
        return {"leaves": len(self.grove.leaves), "open": len(self.queue) + len(self.stuck)}

    def step(self) -> None:
        """Split the domains with the worst bounds, and bound their children."""
        parents = [heappop(self.queue) for _ in range(min(self.batch, len(self.queue)))]
        cuts: list[tuple[Cut, ...]] = []
        nodes: list[int] = []
        open_: list[tuple[int, ...]] = []
        for parent in parents:
            self.units.append(parent.unit)
            nodes += self.grove.split(parent.node, "split", len(self.units) - 1)
            cuts += [(*parent.cuts, (parent.unit, above)) for above in (False, True)]
            open_ += [parent.open] * 2
        self._sort_out(cuts, nodes, open_)

    def _sort_out(self, cuts: list[tuple[Cut, ...]], nodes: list[int], open_: list[tuple[int, ...]]) -> None:
        """Bound domains; note the disjuncts that are proved there, and queue what is left."""
        self.nodes += len(cuts)
        known, query = self._bounded(cuts)
        low = known.low(query).view(len(cuts), -1).cpu().numpy()
        left: list[tuple[int, tuple[int, ...], int]] = []
        for k, wanted in enumerate(open_):
            best = self._best(low[k], wanted)
            for d in wanted:
                if low[k, best[d]] > 0:
                    self.weights[len(self.weights)] = (d, self.questions.candidates[best[d]].weights)
                    self.grove.leaves[nodes[k], d] = len(self.weights) - 1
            rest = tuple(d for d in wanted if not low[k, best[d]] > 0)
            if rest:
                left.append((k, rest, min((best[d] for d in rest), key=low[k].__getitem__)))
        self.points = None
        if not left:
            return
        numbers = torch.tensor([k for k, _, _ in left], device=query.rows.device)
        chosen = torch.tensor([k * low.shape[1] + row for k, _, row in left], device=query.rows.device)
        units = self._units(known, query.rows[chosen], numbers)
        for (k, rest, row), unit in zip(left, units, strict=True):
            if unit is None:
                self.stuck.append(Domain(float(low[k, row]), nodes[k], cuts[k], rest, Unit("", 0, 0.0)))
            else:
                heappush(self.queue, Domain(float(low[k, row]), nodes[k], cuts[k], rest, unit))

    def _best(self, low: npt.NDArray[np.floating], wanted: Sequence[int]) -> dict[int, int]:
        """Return the row that bounds each disjunct best."""
        rows = {d: [r for r, c in enumerate(self.questions.candidates) if c.disjunct == d] for d in wanted}
        return {d: max(found, key=lambda r: float(np.nan_to_num(low[r], nan=-np.inf))) for d, found in rows.items()}

    def _bounded(self, cuts: list[tuple[Cut, ...]]) -> tuple[LinearBounds, Query]:
        """Return linear bounds over the domains, and all rows of every domain as a query."""
        count, one, root = len(cuts), self.enclosure, self.root
        box = Bounds(*(end.expand(count, *end.shape[1:]) for end in (one.box.low, one.box.high)))
        wide = Enclosure(box, one.center.expand(count, *one.center.shape[1:]), one.norm, one.eps.expand(count))
        at: dict[str, list[tuple[int, Cut]]] = {}
        for k, path in enumerate(cuts):
            for cut in path:
                at.setdefault(cut[0].tensor, []).append((k, cut))
        bounds = {n: Bounds(*(e.expand(count, *e.shape[1:]) for e in (b.low, b.high))) for n, b in root.bounds.items()}
        matters = {name: mask.expand(count, *mask.shape[1:]) for name, mask in root.matters.items()}
        known = LinearBounds(self.ops, self.network, wide, bounds, root.matrices, matters)
        changed, domain = set(at), IntervalDomain()
        for op in self.ops:
            if isinstance(op, Elementwise | Maximum | Product):
                known.relaxations[op.output] = relaxed(op, [bounds[name] for name in op.inputs])
            if isinstance(op, Elementwise) and op.inputs[0] in changed:
                bounds[op.output] = meet(domain.elementwise(op, bounds[op.inputs[0]]), bounds[op.output])
                changed.add(op.output)
            if op.output in at:
                bounds[op.output] = _cut(bounds[op.output], at[op.output])
        single = self.questions.query(one.center)
        rows, offsets = single.rows.repeat(count, 1), single.offsets.repeat(count)
        return known, Query(torch.arange(count).repeat_interleave(len(single.owner)), rows, offsets)

    @cached_property
    def root(self) -> LinearBounds:
        """Bounds over the whole region."""
        policy = kinked if self._sparing else always
        return linear(self.ops, self.network, self.enclosure, budget=self.budget, policy=policy)

    @property
    def _sparing(self) -> bool:
        """Whether only inputs of piecewise linear operators get rows: products have too many."""
        return any(isinstance(op, Product) for op in self.ops)

    def _units(self, known: LinearBounds, rows: Tensor, owner: Tensor) -> list[Unit | None]:
        """Return where each row (about domain owner[r]) loses most; note the minimisers of the rows."""
        shape = known.shapes[self.network.output]
        at = Rows({self.network.output: rows.view(-1, *shape)}, rows.new_zeros(len(rows)))
        scores: dict[str, Tensor] = {}
        for op in reversed(known.ops):
            if op.output not in at.coefficients:
                continue
            if isinstance(op, Affine):
                at = pull(op, at)
                continue
            assert isinstance(op, Elementwise | Maximum | Product)
            for name, score in self._losses(known, op, at.coefficients[op.output].abs(), owner):
                if name != self.network.input:
                    scores[name] = scores[name] + score if name in scores else score
            at = through(op, known.relaxations[op.output], at, owner)
        slopes = at.coefficients.get(self.network.input)
        box = known.enclosure.box
        if slopes is not None:
            self.points = torch.where(slopes > 0, box.low[owner], box.high[owner]).flatten(1)
        names = list(scores)
        best = [scores[name].nan_to_num(0.0, 0.0, 0.0).max(1) for name in names]
        found: list[Unit | None] = []
        for r, k in enumerate(owner.tolist()):
            losses = [float(values[r]) for values, _ in best]
            place = int(np.argmax(losses)) if losses else -1
            if place < 0 or not losses[place] > 0:
                found.append(None)
                continue
            found.append(self._halved(known, names[place], int(best[place][1][r]), k))
        return found

    def _losses(
        self, known: LinearBounds, op: Elementwise | Maximum | Product, size: Tensor, owner: Tensor
    ) -> list[tuple[str, Tensor]]:
        """Return for the inputs of an operator what the rows lose at it, (R, elements)."""
        if isinstance(op, Product):
            first, second = (op.spread(i, known.bounds[n].radius[owner]) for i, n in enumerate(op.inputs))
            lost = op.each(size) * first * second
            return [(name, op.gather(i, lost).flatten(1)) for i, name in enumerate(op.inputs)]
        lines = known.relaxations[op.output]
        if isinstance(op, Maximum) or not isinstance(lines, Lines):
            return []
        middle = known.bounds[op.inputs[0]].center
        gap = (lines.upper - lines.lower) * middle
        if lines.upper_offset is not None:
            gap = gap + lines.upper_offset
        if lines.lower_offset is not None:
            gap = gap - lines.lower_offset
        return [(op.inputs[0], (size * gap.clamp(min=0)[owner]).flatten(1))]

    def _halved(self, known: LinearBounds, name: str, element: int, domain: int) -> Unit | None:
        """Cut an interval at the kink nearest to its middle, or there; None where that is no float32 inside it."""
        bounds = known.bounds[name]
        low, high = (float(end.flatten(1)[domain, element]) for end in (bounds.low, bounds.high))
        kinks = [
            k for op in self.ops if isinstance(op, Elementwise) and op.inputs[0] == name and op.linear_pieces
            for k in op.kinks if low < k < high
        ]  # fmt: skip
        middle = (low + high) / 2
        point = float(np.float32(min(kinks, key=lambda k: abs(k - middle)) if kinks else middle))
        return Unit(name, element, point) if low < point < high else None

    def proof(self) -> DualTree:
        """Return the evidence of a finished search."""

        def written(number: int, kind: str, what: int) -> tuple[object, ...]:
            unit = self.units[what]
            return (kind, unit.tensor, unit.element, str(Fraction(unit.point)))

        trees: list[Tree] = [self.grove.tree(d, written) for d in range(self.questions.disjuncts[0])]
        choices: dict[str, npt.NDArray[np.generic]] = {}
        for k, (d, weights) in self.weights.items():
            if not (weights == 1).all():
                choices[f"weights/{d}/{k}"] = weights
        if self._sparing:
            choices.update(spared(self.ops))
        return DualTree("linear", tuple(trees), choices)


def _cut(bounds: Bounds, cuts: Sequence[tuple[int, Cut]]) -> Bounds:
    """Return the bounds of a tensor under cuts, a domain and a cut each; where nothing is left all is true."""
    low, high = (end.flatten(1).clone() for end in (bounds.low, bounds.high))
    for k, (unit, above) in cuts:
        end, better = (low, max) if above else (high, min)
        end[k, unit.element] = better(float(end[k, unit.element]), unit.point)
    shape = bounds.low.shape
    return Bounds(torch.minimum(low, high).view(shape), torch.maximum(low, high).view(shape))
