"""Optimised lines and planes on a whole network, for the operators that a reduced network cannot hold or choose for.

Any slope gives a sound line, any share a sound plane: so the final rows' slopes are free, a set of them for each row,
and the bound is differentiable in them (alpha-CROWN of Xu et al. 2021 for general operators; Shi et al. 2024, GenBaB,
section 3). Intermediate bounds stay those of the linear pass, which is what a checker derives too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.bounds import LinearBounds, Query
from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.relaxation import Bent, Lines, Relaxation, lines, planes, relaxed
from unmoved.core.budget import Budget
from unmoved.ops.op import Elementwise, Maximum, Product
from unmoved.refine.ascent import Ascent

FIXED = frozenset({"PRelu", "Sign"})
"""Piecewise linear operators whose lines a certificate does not carry."""

ROOM = 1e-9
"""Of the largest number a row's bound is made of: what rounding may take."""

Payload = dict[str, npt.NDArray[np.generic]]


@dataclass(eq=False)
class Choice:
    """The free numbers of one operator, a row of them for every final row: (2, R, *shape), or (R, *shape) for a ReLU.

    Slopes of the lower and the upper line; shares of two planes in [0, 1]; a ReLU's lower slope in [0, 1].
    """

    op: Bent
    values: tuple[Bounds, ...]
    numbers: Tensor
    scale: float

    def rounded(self) -> Tensor:
        """Return the numbers as a certificate can carry them; the gradient passes through."""
        free = self.numbers
        near = free.to(torch.float32).to(free.dtype) if self.lines else (free * 255).round() / 255
        return free + (near - free).detach()

    @property
    def lines(self) -> bool:
        """Whether the numbers are slopes of lines, of any size."""
        return isinstance(self.op, Elementwise) and self.op.kind != "Relu"

    def relaxation(self, numbers: Tensor) -> Relaxation:
        """Return the relaxation that the numbers choose."""
        if isinstance(self.op, Product):
            return planes(self.op, self.values[0], self.values[1], numbers[0], numbers[1])
        assert isinstance(self.op, Elementwise)
        if self.op.kind == "Relu":
            usual = relaxed(self.op, self.values)
            assert isinstance(usual, Lines)
            crossing = (self.values[0].low < 0) & (self.values[0].high > 0)
            return replace(usual, lower=torch.where(crossing, numbers, usual.lower))
        return lines(self.op, self.values[0], numbers[0], numbers[1])

    def payload(self, row: int) -> tuple[str, npt.NDArray[np.generic]]:
        """Return the tensor of a certificate for one row: its name, after the leaf's number, and its numbers."""
        if isinstance(self.op, Product):
            both = (self.numbers[:, row].flatten(1) * 255).round().to(torch.uint8)
            return f"planes/{{}}/{self.op.planes}", both.cpu().numpy()
        if self.op.kind == "Relu":
            slopes = (self.numbers[row].flatten() * 255).round().to(torch.uint8)
            return f"slopes/{{}}/{self.op.inputs[0]}", slopes.cpu().numpy()
        both = self.numbers[:, row].flatten(1).to(torch.float32)
        return f"lines/{{}}/{self.op.output}", both.cpu().numpy()


def _first(op: Elementwise | Product, values: tuple[Bounds, ...], usual: Relaxation) -> Choice:
    """Return the default choice."""
    if isinstance(op, Product):
        half = values[0].low.new_full((2, len(values[0].low), *op.pairs), 0.5)
        return Choice(op, values, half, 1.0)
    assert isinstance(usual, Lines)
    if op.kind == "Relu":
        return Choice(op, values, usual.lower.clamp(0, 1), 1.0)
    numbers = torch.stack([usual.lower, usual.upper])
    return Choice(op, values, numbers, float(numbers.abs().mean().clamp(1e-3, 1.0)))


@dataclass(eq=False)
class Rise:
    """Ascent on the bounds of the rows of a query: `best` (R,), and the choices that gave them.

    `known` is about one input a row.
    """

    known: LinearBounds
    query: Query
    chosen: list[Choice]
    best: Tensor
    kept: list[Tensor]

    @classmethod
    def of(cls, known: LinearBounds, query: Query) -> Rise:
        """Start from the default choices."""
        owner, whole = query.owner, known.enclosure
        bounds = {name: value.take(owner) for name, value in known.bounds.items()}
        usual, chosen = {}, []
        for op in known.ops:
            if not isinstance(op, Elementwise | Maximum | Product):
                continue
            values = tuple(bounds[name] for name in op.inputs)
            usual[op.output] = relaxed(op, values)
            if not isinstance(op, Maximum) and op.kind not in FIXED:
                chosen.append(_first(op, values, usual[op.output]))
        region = Enclosure(whole.box.take(owner), whole.center[owner], whole.norm, whole.eps[owner])
        wide = replace(known, enclosure=region, bounds=bounds, relaxations=usual)
        own = Query(torch.arange(len(owner), device=owner.device), query.rows, query.offsets)
        best = torch.full_like(query.offsets, -torch.inf)
        return cls(wide, own, chosen, best, [c.numbers.clone() for c in chosen])

    def run(self, ascent: Ascent, budget: Budget) -> None:
        """Take Adam's steps until every row is proved, or the steps or the budget are spent."""
        for choice in self.chosen:
            choice.numbers = choice.numbers.detach().clone().requires_grad_(True)
        groups = [{"params": [c.numbers]} for c in self.chosen]
        adam = torch.optim.Adam(groups, betas=(0.8, 0.98)) if groups else None
        for step in range(ascent.steps + 1):
            with torch.enable_grad():
                low = self._low()
                self._keep(low.detach())
                if adam is None or step == ascent.steps or budget.spent or bool((self.best > 0).all()):
                    break
                # Rows that are proved need no more; a row without a number has no direction.
                loss = -low[(self.best <= 0) & low.isfinite()].sum()
                gradients = torch.autograd.grad(loss, [c.numbers for c in self.chosen], allow_unused=True)
            for group, choice, gradient in zip(adam.param_groups, self.chosen, gradients, strict=True):
                group["lr"] = ascent.rate * choice.scale * ascent.decay**step
                choice.numbers.grad = None if gradient is None else gradient.nan_to_num(0.0, 0.0, 0.0)
            adam.step()
            for choice in self.chosen:
                if not choice.lines:
                    choice.numbers.data.clamp_(0, 1)
        for choice, kept in zip(self.chosen, self.kept, strict=True):
            choice.numbers = kept

    def _low(self) -> Tensor:
        """Return the bounds (R,) by the rounded numbers, less what rounding may take."""
        made = {c.op.output: c.relaxation(c.rounded()) for c in self.chosen}
        low = replace(self.known, relaxations={**self.known.relaxations, **made}).low(self.query)
        return low - ROOM * (1 + low.detach().abs())

    def _keep(self, low: Tensor) -> None:
        better = low > self.best
        self.best = torch.where(better, low, self.best)
        for choice, kept in zip(self.chosen, self.kept, strict=True):
            behind = kept.ndim - (1 if choice.op.kind == "Relu" else 2)
            mask = better.view(-1, *(1,) * behind)
            kept.copy_(torch.where(mask, choice.numbers.detach(), kept))

    def payload(self, rows: list[int]) -> Payload:
        """Return the certificate's tensors, leaf k proved by row rows[k]."""
        found: Payload = {}
        for leaf, row in enumerate(rows):
            for choice in self.chosen:
                name, numbers = choice.payload(row)
                found[name.format(leaf)] = numbers
        return found
