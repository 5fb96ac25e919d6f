"""Branch and bound on the input, for the few dimensions where halving it beats splitting units.

Every box gets linear bounds of its own. The boxes of all disjuncts are shared: a disjunct that is proved on a box is a
leaf of its tree there, and the box goes on with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.bounds import Enclosure, LinearBounds, Query, deployed, interval, linear
from unmoved.bounds.enclosure import Bounds
from unmoved.core.certificate import DualTree, Tree
from unmoved.core.problem import Problem
from unmoved.ir.network import Network
from unmoved.ops import Op
from unmoved.refine.axes import gains
from unmoved.refine.final import FinalAscent
from unmoved.refine.questions import Questions
from unmoved.refine.tree import Growth

Bytes = npt.NDArray[np.uint8]
Chosen = dict[tuple[int, int], dict[str, Bytes]]
"""By box and disjunct: the final row's slopes of every ReLU input, in 255ths."""

ROOM = 1e-10
"""Of the absolute terms of a bound, what the checker's rounding may take."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Open boxes: ends (n, inputs), and the node of each disjunct's tree, (n, disjuncts) int64, -1 where proved."""

    low: Tensor
    high: Tensor
    nodes: Tensor

    def __len__(self) -> int:
        return len(self.low)

    def take(self, which: Tensor | slice) -> Boxes:
        """Return some of the boxes."""
        return Boxes(self.low[which], self.high[which], self.nodes[which])

    @staticmethod
    def join(parts: Sequence[Boxes]) -> Boxes:
        """Return all boxes of the parts."""
        return Boxes(*(torch.cat([getattr(p, n) for p in parts]) for n in ("low", "high", "nodes")))

    @property
    def bytes(self) -> int:
        """What they take in memory."""
        return self.low.nbytes + self.high.nbytes + self.nodes.nbytes


@dataclass(eq=False)
class InputSearch:
    """One search, depth first in batches: `open` boxes are a stack of batches, so that memory stays small."""

    network: Network
    ops: Sequence[Op]
    region: Enclosure
    batch: int
    questions: Questions
    memory: int = 2**30
    thin: bool = False
    open: list[Boxes] = field(default_factory=list)
    growth: Growth = field(default_factory=Growth)
    places: dict[int, Fraction] = field(default_factory=dict)
    weights: list[tuple[int, np.ndarray]] = field(default_factory=list)
    slopes: dict[int, dict[str, Bytes]] = field(default_factory=dict)
    final: FinalAscent = field(default=FinalAscent())
    points: Tensor | None = None
    nodes: int = 0
    low: float = -np.inf
    """The least bound of the last batch: what is left is depth first, so the least of all is not known."""

    @classmethod
    def of(cls, problem: Problem, ops: Sequence[Op], *, dtype: torch.dtype, device: str, batch: int) -> InputSearch:
        """Start from the whole region: node d is the root of disjunct d."""
        network = problem.model
        assert isinstance(network, Network)
        region = Enclosure.of_regions([problem.threat.region(problem.x[None])], dtype, device)
        disjuncts = problem.prop.disjuncts(network.outputs)
        if problem.semantics.deployed:
            ops, network = deployed(ops, network, interval(ops, network, region.box), problem.semantics)
        search = cls(network, ops, region, batch, Questions.of([disjuncts], network.outputs))
        nodes = torch.tensor([[search.growth.node() for _ in disjuncts]], dtype=torch.int64, device=device)
        search.open.append(Boxes(region.box.low.flatten(1), region.box.high.flatten(1), nodes))
        return search

    @property
    def finished(self) -> bool:
        """Whether all is proved."""
        return not self.open

    @property
    def full(self) -> bool:
        """Whether the memory is used up."""
        return sum(boxes.bytes for boxes in self.open) > self.memory

    @property
    def progress(self) -> dict[str, int]:
        """How many leaves are proved, and how many boxes of disjuncts are open."""
        return {"leaves": len(self.weights), "open": sum(int((boxes.nodes >= 0).sum()) for boxes in self.open)}

    @property
    def exhausted(self) -> bool:
        """Whether no memory is left, or a box is too thin to be cut."""
        return self.full or self.thin

    def step(self) -> None:
        """Bound a batch of boxes, keep what is proved as leaves, and halve the rest."""
        boxes = self._taken()
        self.nodes += len(boxes)
        network = self.network
        count, shape = len(boxes), network.input_shape
        ends = Bounds(*(end.view(count, *shape) for end in (boxes.low, boxes.high)))
        whole = self.region
        center = whole.center.expand(count, *shape) if whole.norm else ends.center
        known = linear(self.ops, network, Enclosure(ends, center, whole.norm, whole.eps.expand(count)))
        query, best, chosen, slopes = self._bounds(known, boxes)
        proved = best > 0
        self.low = float(torch.where(boxes.nodes >= 0, best, torch.inf).min())
        for i, d in (proved & (boxes.nodes >= 0)).nonzero().tolist():
            if (i, d) in slopes:
                self.slopes[len(self.weights)] = slopes[i, d]
            self.growth.leaves[int(boxes.nodes[i, d])] = len(self.weights)
            self.weights.append((d, self.questions.candidates[int(chosen[i, d])].weights))
        left = ((boxes.nodes >= 0) & ~proved).any(1).nonzero()[:, 0]
        self.points = None
        if len(left):
            nodes = torch.where(proved, -1, boxes.nodes)
            rest = replace(boxes, nodes=nodes).take(left)
            # The worst disjunct that is still open says where to cut.
            worst = torch.where(rest.nodes >= 0, best[left], torch.inf).argmin(1)
            rows = chosen[left, worst]
            taken = Query(left, query.rows[rows], query.offsets[rows])
            lines = known.at_input(taken).flatten(1)
            self.points = torch.where(lines > 0, rest.low, rest.high)
            self.open.append(self._halved(rest, gains(known, taken)))

    def _taken(self) -> Boxes:
        """Take up to `batch` boxes from the top of the stack."""
        parts, count = [], 0
        while self.open and count < self.batch:
            top = self.open.pop()
            room = self.batch - count
            if len(top) > room:
                self.open.append(top.take(slice(room, None)))
                top = top.take(slice(0, room))
            parts.append(top)
            count += len(top)
        return Boxes.join(parts)

    def _bounds(self, known: LinearBounds, boxes: Boxes) -> tuple[Query, Tensor, Tensor, Chosen]:
        """Return the candidates' rows, and each disjunct's best bound, (n, D), with the candidate that gives it.

        Where default slopes prove nothing, others are looked for: those of what they prove come last.
        """
        query = self.questions.query(known.enclosure.center)
        disjunct = torch.tensor([c.disjunct for c in self.questions.candidates], device=boxes.nodes.device)
        asked = (boxes.nodes >= 0)[:, disjunct]
        owner, which = asked.nonzero(as_tuple=True)
        low = torch.full(asked.shape, -torch.inf, dtype=query.rows.dtype, device=query.rows.device)
        output = known.bounds[known.network.output]
        reach = torch.maximum(output.low.abs(), output.high.abs()).flatten(1)
        size = (reach[owner] * query.rows[which].abs()).sum(1) + query.offsets[which].abs()
        low[owner, which] = known.low(Query(owner, query.rows[which], query.offsets[which])) - ROOM * size
        best = torch.full(boxes.nodes.shape, -torch.inf, dtype=low.dtype, device=low.device)
        chosen = torch.zeros_like(boxes.nodes)
        for d in range(best.shape[1]):
            numbers = (disjunct == d).nonzero()[:, 0]
            value, place = low[:, numbers].max(1)
            best[:, d], chosen[:, d] = value, numbers[place]
        owner, open_ = ((best <= 0) & (boxes.nodes >= 0)).nonzero(as_tuple=True)
        rows = chosen[owner, open_]
        asked_again = Query(owner, query.rows[rows], query.offsets[rows])
        room = ROOM * ((reach[owner] * asked_again.rows.abs()).sum(1) + asked_again.offsets.abs())
        low, slopes = self.final.run(known, asked_again, room)
        best[owner, open_] = torch.maximum(best[owner, open_], low)
        made: Chosen = {}
        for r in (low > 0).nonzero()[:, 0].tolist():
            bytes_ = {
                name: (s[r] * 255.0).round().to(torch.uint8).flatten().cpu().numpy() for name, s in slopes.items()
            }
            made[int(owner[r]), int(open_[r])] = bytes_
        return query, best, chosen, made

    def _halved(self, boxes: Boxes, gain: Tensor) -> Boxes:
        """Cut every box in two where its worst row can gain most."""
        axis = gain.argmax(1, keepdim=True)
        ends = boxes.low.gather(1, axis), boxes.high.gather(1, axis)
        point = (ends[0] + ends[1]) / 2
        self.thin |= bool(((point <= ends[0]) | (point >= ends[1])).any())
        below, above = boxes.nodes.clone(), boxes.nodes.clone()
        for i, d in (boxes.nodes >= 0).nonzero().tolist():
            node = int(boxes.nodes[i, d])
            self.places[node] = Fraction(float(point[i, 0]))
            below[i, d], above[i, d] = self.growth.split(node, "input", int(axis[i, 0]))
        first = Boxes(boxes.low, boxes.high.scatter(1, axis, point), below)
        second = Boxes(boxes.low.scatter(1, axis, point), boxes.high, above)
        return Boxes.join([first, second])

    def proof(self) -> DualTree:
        """Return the evidence of a finished search."""
        trees: list[Tree] = [self.growth.tree(d, self._written) for d in range(self.questions.disjuncts[0])]
        payload: dict[str, np.ndarray] = {
            f"weights/{d}/{k}": w for k, (d, w) in enumerate(self.weights) if not (w == 1).all()
        }
        payload |= {f"slopes/{k}/{t}": s for k, chosen in self.slopes.items() for t, s in chosen.items()}
        return DualTree("linear", tuple(trees), payload)

    def _written(self, node: int, kind: str, what: int) -> tuple[object, ...]:
        return kind, what, str(self.places[node])
