"""Optimised bounds of hidden layers: every undecided input of a ReLU gets two rows with slopes of their own.

The rows that help are evidence ("hidden rows"): a checker's bounds must be as good as the search's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.linear import LinearBounds
from unmoved.bounds.relaxation import relax
from unmoved.core.budget import Budget
from unmoved.ops.op import Elementwise, Maximum
from unmoved.refine.ascent import Ascent
from unmoved.refine.dual import Choices, Goals
from unmoved.refine.reduced import Functions, Reduced, Reducer

ROWS = 512
"""Rows that are optimised together."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class HiddenRows:
    """The rows of one tensor that improve its bounds: elements bounded from below, and from above; (R, units) slopes.

    The slopes are those of the units that come before the tensor, lower rows first.
    """

    lows: Tensor
    highs: Tensor
    slopes: Tensor


@dataclass(eq=False)
class Tightening:
    """Called by `linear` operator by operator, for a batch of one input: optimises, then folds the operator.

    Stops where the rows' slopes would take more than `memory` bytes of a certificate, or the budget is spent.
    """

    ascent: Ascent
    budget: Budget
    memory: int = 2**25
    reducer: Reducer | None = None
    rows: dict[str, HiddenRows] = field(default_factory=dict)

    def __call__(self, known: LinearBounds, op: Elementwise | Maximum) -> None:
        """Improve the bounds of the operator's input, where earlier slopes can be chosen, then fold the operator."""
        if self.reducer is None:
            self.reducer = Reducer(known, 0)
        reducer, name = self.reducer, op.inputs[0]
        functions = None
        if op.kind == "Relu" and name not in self.rows and any(group.free for group in reducer.groups.values()):
            places = reducer.open(op, relax(op, reducer.value(name)))
            if len(places) and self._affordable(len(places)):
                functions = reducer.elements(name, places)
                self._improve(known, name, places, functions)
                left = reducer.open(op, relax(op, reducer.value(name)))
                functions = functions.take(torch.isin(places, left))
        reducer.add(op, functions)

    def _affordable(self, count: int) -> bool:
        assert self.reducer is not None
        spent = sum(rows.slopes.numel() for rows in self.rows.values())
        return spent + 2 * count * self.reducer.count <= self.memory and not self.budget.spent

    def _improve(self, known: LinearBounds, name: str, places: Tensor, functions: Functions) -> None:
        """Put better ends of the elements at `places` into the bounds, and remember the rows that gave them."""
        assert self.reducer is not None
        reduced = self.reducer.reduced()
        value = known.bounds[name]
        low, high = value.low.flatten().clone(), value.high.flatten().clone()
        least, below = self._rows(reduced, functions, 1.0)
        minus, above = self._rows(reduced, functions, -1.0)
        lows, highs = least > low[places], -minus < high[places]
        low[places] = torch.maximum(low[places], least)
        high[places] = torch.minimum(high[places], -minus)
        ends = (end.view_as(value.low) for end in (torch.minimum(low, high), torch.maximum(low, high)))
        known.bounds[name] = Bounds(*ends)
        slopes = torch.cat([below[lows], above[highs]])
        if len(slopes):
            self.rows[name] = HiddenRows(places[lows], places[highs], slopes)

    def _rows(self, reduced: Reduced, functions: Functions, sign: float) -> tuple[Tensor, Tensor]:
        """Return lower bounds (R,) of sign * functions, and the slopes (R, units) that give them."""
        lows, slopes = [], []
        numbers = torch.arange(len(functions.offset), device=functions.offset.device)
        for part in torch.split(numbers, ROWS):
            taken = functions.take(part)
            signed = Functions(*(sign * getattr(taken, n)[:, None] for n in ("units", "inputs", "offset")))
            real = torch.ones(len(part), 1, dtype=torch.bool, device=part.device)
            goals = Goals(signed, real, numbers[: len(part)], torch.zeros_like(taken.units))
            best, choices = self.ascent.run(reduced, goals, Choices.first(reduced, goals), budget=self.budget)
            lows.append(best)
            slopes.append(choices.slopes)
        return torch.cat(lows), torch.cat(slopes)


def hidden_choices(reduced: Reduced, sizes: Mapping[str, int], rows: Mapping[str, HiddenRows]) -> dict[str, Bytes]:
    """Return the payload tensors `units/...`, `ends/...` and `hidden/...` of a certificate."""
    found: dict[str, Bytes] = {}
    free = [group for group in reduced.groups if group.free]
    if rows:
        for group in free:
            found[f"units/{group.tensor}"] = marked(sizes[group.tensor], [(group.sources, 1)])
    for name, given in rows.items():
        found[f"ends/{name}"] = marked(sizes[name], [(given.lows, 1), (given.highs, 2)])
        columns = [t for group in free for t in range(group.start, min(group.stop, given.slopes.shape[1]))]
        chosen = (given.slopes[:, columns] * 255.0).round().to(torch.uint8)
        found[f"hidden/{name}"] = chosen.cpu().numpy()
    return found


def marked(size: int, marks: list[tuple[Tensor, int]]) -> Bytes:
    """Return a number for each of `size` elements: the sum of the marks at the places where there are some."""
    mask = np.zeros(size, np.uint8)
    for places, mark in marks:
        mask[places.cpu().numpy()] += mark
    return mask
