"""Bounds of hidden units on a part of the region: what splits above a node say of all layers, before and behind.

Branch and bound with the root's bounds asks each part again what follows from its own splits for one row of the
outputs. Here it is asked for every undecided unit: a row up and one down, with slopes and with multipliers of all
splits of the part, those of later layers too (as INVPROP does with constraints on outputs: Kotha et al. 2023). What is
found is evidence, and holds for all that is proved inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.core.budget import Budget
from unmoved.refine.ascent import Ascent
from unmoved.refine.dual import Choices, Goals
from unmoved.refine.reduced import Functions, Group, Reduced
from unmoved.refine.tighten import ROWS, HiddenRows, marked

Payload = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Path:
    """The splits from the root to a node: units and signs (1: z >= 0, -1: z <= 0), in order."""

    units: npt.NDArray[np.int32]
    signs: npt.NDArray[np.int8]

    @classmethod
    def root(cls) -> Path:
        """Return the path of length 0."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int8))

    def then(self, unit: int, sign: int) -> Path:
        """Return the path to a child."""
        return Path(np.append(self.units, np.int32(unit)), np.append(self.signs, np.int8(sign)))

    def places(self, like: Tensor) -> Tensor:
        """Return the units as an index."""
        return torch.as_tensor(self.units.astype(np.int64), device=like.device)

    def dense(self, like: Tensor) -> Tensor:
        """Return the signs of all units (units,), 0 where there is no split."""
        found = torch.zeros_like(like)
        found[self.places(like)] = torch.as_tensor(self.signs).to(like)
        return found


@dataclass(frozen=True, eq=False)
class Begun:
    """Where rows of a part inside start: units (n,), slopes uint8 and multipliers of the splits, for 2 n rows."""

    units: Tensor
    slopes: Tensor
    multipliers: Tensor


@dataclass(frozen=True, eq=False)
class Scope:
    """The network on one part; `rows` of each tensor narrowed its bounds, `multipliers` (R, splits) go with them.

    `listed` (units,): what the splits leave undecided, whose slopes the rows choose. `begun`, of each tensor: the
    choices of all its rows, those that narrowed nothing too.
    """

    reduced: Reduced
    path: Path
    listed: Tensor
    rows: Mapping[str, HiddenRows] = field(default_factory=dict)
    multipliers: Mapping[str, Tensor] = field(default_factory=dict)
    begun: Mapping[str, Begun] = field(default_factory=dict)

    @classmethod
    def whole(cls, reduced: Reduced) -> Scope:
        """Return the region itself."""
        return cls(reduced, Path.root(), reduced.free)

    @property
    def bytes(self) -> int:
        """What it takes in memory, about."""
        taken = [t for b in self.begun.values() for t in (b.units, b.slopes, b.multipliers)]
        return 100 * len(self.reduced) + sum(t.nbytes for t in taken)

    @property
    def empty(self) -> bool:
        """Whether bounds cross, so that no point of the region meets all splits."""
        return bool((self.reduced.bounds.low > self.reduced.bounds.high).any())

    def payload(self, number: int, sizes: Mapping[str, int]) -> Payload:
        """Return the tensors `scope/<number>/...` of a certificate."""
        found: Payload = {}
        if self.rows:
            for group in self.reduced.groups:
                listed = group.sources[self.listed[group.start : group.stop]]
                found[f"scope/{number}/units/{group.tensor}"] = marked(sizes[group.tensor], [(listed, 1)])
        for name, given in self.rows.items():
            found[f"scope/{number}/ends/{name}"] = marked(sizes[name], [(given.lows, 1), (given.highs, 2)])
            found[f"scope/{number}/hidden/{name}"] = given.slopes[:, self.listed].cpu().numpy()
            found[f"scope/{number}/multipliers/{name}"] = self.multipliers[name].cpu().numpy()
        return found


def narrowed(outer: Scope, path: Path, ascent: Ascent, budget: Budget) -> Scope:
    """Return the scope of a path inside another one.

    Tensor after tensor, earlier ones first, as a checker does: later rows rest on earlier bounds. Stops where bounds
    cross: no point is left.
    """
    reduced = outer.reduced
    signs = path.dense(reduced.bounds.low)
    low = torch.where(signs > 0, reduced.bounds.low.clamp(min=0), reduced.bounds.low)
    high = torch.where(signs < 0, reduced.bounds.high.clamp(max=0), reduced.bounds.high)
    reduced = reduced.within(low, high)
    made = Scope(reduced, path, reduced.free, begun=outer.begun)
    for group in reduced.groups:
        if made.empty or budget.spent:
            break
        made = _further(made, group, signs, ascent, budget)
    return made


def _further(scope: Scope, group: Group, signs: Tensor, ascent: Ascent, budget: Budget) -> Scope:
    """Return the scope with the undecided units of one group bounded by rows."""
    reduced = scope.reduced
    units = group.start + reduced.free[group.start : group.stop].nonzero()[:, 0]
    if not len(units):
        return scope
    rows = reduced.functions.take(units)
    both = Functions(*(torch.cat([t, -t])[:, None] for t in (rows.units, rows.inputs, rows.offset)))
    count, splits = 2 * len(units), scope.path.places(signs)
    real = torch.ones(count, 1, dtype=torch.bool, device=signs.device)
    goals = Goals(both, real, torch.arange(count, device=signs.device), signs.expand(count, -1).clone())
    start = _start(scope, group.tensor, units, goals)
    parts = []
    for part in torch.split(goals.which, ROWS):
        low, made = ascent.run(reduced, goals.take(part), start.take(part), budget=budget)
        parts.append((low, (made.slopes * 255.0).round().to(torch.uint8), made.multipliers[:, splits].float()))
    best, slopes, pulls = (torch.cat(column) for column in zip(*parts, strict=True))
    begun = {**scope.begun, group.tensor: Begun(units, slopes, pulls)}
    low, high = reduced.bounds.low.clone(), reduced.bounds.high.clone()
    least, most = best[: len(units)], -best[len(units) :]
    lows, highs = least > low[units], most < high[units]
    kept = torch.cat([lows, highs]).nonzero()[:, 0]
    if not len(kept):
        return replace(scope, begun=begun)
    low[units], high[units] = torch.maximum(low[units], least), torch.minimum(high[units], most)
    places = group.sources[units - group.start]
    return replace(
        scope,
        reduced=reduced.within(low, high),
        rows={**scope.rows, group.tensor: HiddenRows(places[lows], places[highs], slopes[kept])},
        multipliers={**scope.multipliers, group.tensor: pulls[kept]},
        begun=begun,
    )


def _start(scope: Scope, tensor: str, units: Tensor, goals: Goals) -> Choices:
    """Return the choices that the rows of some units, up and down, start from: those of the scope outside, if any."""
    first = Choices.first(scope.reduced, goals)
    begun = scope.begun.get(tensor)
    if begun is None:
        return first
    # what is undecided inside is undecided outside
    at = torch.searchsorted(begun.units, units)
    at = torch.cat([at, at + len(begun.units)])
    multipliers = torch.zeros_like(first.multipliers)
    outside = scope.path.places(units)[: begun.multipliers.shape[1]]
    multipliers[:, outside] = begun.multipliers[at].to(multipliers)
    return replace(first, slopes=begun.slopes[at].to(multipliers) / 255.0, multipliers=multipliers)
