"""One problem on its whole region, reduced: where optimisation and branch and bound start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.bounds import Enclosure, Query, deployed, linear
from unmoved.core.budget import Budget
from unmoved.core.certificate import DualTree, Tree
from unmoved.core.problem import Problem
from unmoved.core.property import Disjunct
from unmoved.ir.network import Network
from unmoved.ops.op import Op, Product, primitives
from unmoved.refine.ascent import Ascent
from unmoved.refine.dual import Choices, Face, Goals, bound
from unmoved.refine.reduced import ROOM, Functions, Reduced, Reducer
from unmoved.refine.tighten import HiddenRows, Tightening, hidden_choices

Payload = dict[str, npt.NDArray[np.generic]]


def reducible(ops: Sequence[Op]) -> bool:
    """Say whether every operator is one that a reduced network can hold: no products of variables."""
    return not any(isinstance(op, Product) for op in primitives(ops))


@dataclass(frozen=True, eq=False)
class Root:
    """A reduced network, one goal a disjunct (row d is disjunct d), and the hidden rows that its bounds rest on."""

    problem: Problem
    reduced: Reduced
    goals: Goals
    rows: dict[str, HiddenRows]
    sizes: dict[str, int]

    @classmethod
    def of(
        cls, ops: Sequence[Op], problem: Problem, budget: Budget, *, ascent: Ascent, dtype: torch.dtype, device: str
    ) -> Root:
        """Bound the network on the problem's region, with optimised hidden rows, and fold what that decides."""
        network = problem.model
        assert isinstance(network, Network)
        enclosure = Enclosure.of_regions([problem.threat.region(problem.x[None])], dtype, device)
        tightening = Tightening(ascent, budget)
        known = linear(ops, network, enclosure, budget=budget, tighten=tightening)
        reducer = tightening.reducer or Reducer(known, 0)
        goals = _goals(reducer, problem.prop.disjuncts(network.outputs))
        reduced = reducer.reduced()
        if problem.semantics.deployed:
            reduced = replace(reduced, room=_room(ops, problem, enclosure, reduced, goals))
        return cls(problem, reduced, goals, tightening.rows, {n: prod(s) for n, s in known.shapes.items()})

    def proof(self, trees: tuple[Tree, ...], leaves: Sequence[Leaf]) -> DualTree:
        """Return the evidence; leaf k of the trees is leaves[k]."""
        sizes = self.sizes
        payload: Payload = dict(hidden_choices(self.reduced, sizes, self.rows))
        free = [group for group in self.reduced.groups if group.free]
        for k, leaf in enumerate(leaves):
            for group in free:
                slopes = np.zeros(sizes[group.tensor], np.uint8)
                slopes[group.sources.cpu().numpy()] = leaf.slopes[group.start : group.stop]
                payload[f"slopes/{k}/{group.tensor}"] = slopes
            if len(leaf.multipliers):
                payload[f"multipliers/{k}"] = leaf.multipliers
            if len(leaf.weights) > 1:
                payload[f"weights/{leaf.disjunct}/{k}"] = leaf.weights
        return DualTree("linear", trees, payload)

    def written(self, node: int, kind: str, unit: int) -> tuple[object, ...]:
        """Return a split of a unit in the words of a certificate."""
        group = next(g for g in self.reduced.groups if g.start <= unit < g.stop)
        return kind, group.tensor, int(group.sources[unit - group.start])

    @property
    def network(self) -> Network:
        """The problem's model."""
        assert isinstance(self.problem.model, Network)
        return self.problem.model


@dataclass(frozen=True, eq=False)
class Leaf:
    """The choices of one leaf as evidence: slopes uint8 (units,), multipliers float32 along the path, weights."""

    disjunct: int
    slopes: npt.NDArray[np.uint8]
    multipliers: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]


def leaves(goals: Goals, choices: Choices, counts: Sequence[int]) -> list[Leaf]:
    """Return leaves without splits for the rows of `goals`; counts[d] is the number of disjunct d's conjuncts."""
    slopes = (choices.slopes * 255.0).round().to(torch.uint8).cpu().numpy()
    weights = choices.weights.to(torch.float64).cpu().numpy()
    which = goals.which.tolist()
    none = np.zeros(0, np.float32)
    return [Leaf(d, slopes[r], none, weights[r, : counts[d]].copy()) for r, d in enumerate(which)]


def _goals(reducer: Reducer, disjuncts: Sequence[Disjunct]) -> Goals:
    like = reducer.known.enclosure.center
    most = max((len(d.bounds) for d in disjuncts), default=1)
    parts = [
        reducer.outputs(torch.as_tensor(np.array(d.rows)).to(like), torch.as_tensor(np.array(d.bounds)).to(like))
        for d in disjuncts
    ]
    functions = Functions(*(_stacked(parts, name, most, like) for name in ("units", "inputs", "offset")))
    counts = torch.tensor([len(d.bounds) for d in disjuncts], device=like.device)
    real = torch.arange(most, device=like.device) < counts[:, None]
    which = torch.arange(len(disjuncts), device=like.device)
    return Goals(functions, real, which, like.new_zeros(len(disjuncts), reducer.count))


def _room(ops: Sequence[Op], problem: Problem, enclosure: Enclosure, reduced: Reduced, goals: Goals) -> float:
    """Return how much of a bound's absolute terms a proof must leave for the rounding of what is deployed.

    One and a half times the largest share that linear bounds lose, of any disjunct, when they count it.
    """
    network = problem.model
    assert isinstance(network, Network)
    if not len(goals):
        return ROOM
    first = Choices.first(reduced, goals)
    size = bound(reduced, goals, first, Face.of(reduced, goals.signs), gradient=False).size
    disjuncts = problem.prop.disjuncts(network.outputs)
    rows = torch.as_tensor(np.stack([d.rows.mean(0) for d in disjuncts])).to(size)
    query = Query(torch.zeros(len(rows), dtype=torch.int64, device=size.device), rows, torch.zeros_like(rows[:, 0]))
    known = linear(ops, network, enclosure)
    rounded = linear(*deployed(ops, network, known.bounds, problem.semantics), enclosure)
    share = (known.low(query) - rounded.low(query)) / size.clamp(min=torch.finfo(size.dtype).tiny)
    return max(ROOM, 1.5 * float(share.nan_to_num(0.0).max()))


def _stacked(parts: Sequence[Functions], name: str, most: int, like: Tensor) -> Tensor:
    """Return (disjuncts, most, ...), shorter ones padded with zeros."""
    padded = []
    for part in parts:
        value = getattr(part, name)
        padded.append(torch.cat([value, value.new_zeros(most - len(value), *value.shape[1:])]))
    return torch.stack(padded)
