"""Final rows with slopes of their own, for many boxes at once: alpha-CROWN of the outputs on given intermediate bounds.

Xu et al. 2021 ("Fast and complete", section 3.2). One row costs a small part of the intermediate bounds under it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unmoved.bounds import LinearBounds, Query
from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.relaxation import Lines, through
from unmoved.bounds.rows import Rows, pull
from unmoved.ops.op import Affine, Elementwise, Maximum, Product
from unmoved.refine.ascent import FIRST, SECOND

Slopes = dict[str, Tensor]
"""For the input of every ReLU the lower lines' slopes, (R, *shape): 255ths, as a certificate carries them."""


@dataclass(frozen=True)
class FinalAscent:
    """At most `steps` steps of size `rate`, each `decay` times the last; a row stops once proved or hopeless.

    Hopeless is a row whose bound `patience` times all that the steps have gained so far would not bring above 0.
    """

    steps: int = 8
    rate: float = 0.3
    decay: float = 0.85
    patience: float = 3.0

    def run(self, known: LinearBounds, query: Query, size: Tensor) -> tuple[Tensor, Slopes]:
        """Return the best bounds (R,) of a query's rows, and their slopes; `size` (R,) is taken off every bound."""
        every = {op.inputs[0]: known.relaxations[op.output] for op in known.ops if op.kind == "Relu"}
        lines = {name: line for name, line in every.items() if isinstance(line, Lines)}
        kept = {name: line.lower[query.owner] for name, line in lines.items()}
        best = torch.full_like(query.offsets, -torch.inf)
        rows, now = torch.arange(len(best), device=best.device), dict(kept)
        moments = {name: (torch.zeros_like(s), torch.zeros_like(s)) for name, s in now.items()}
        first = best
        for step in range(self.steps + 1):
            rounded = {name: (s * 255.0).round() / 255.0 for name, s in now.items()}
            asked = Query(query.owner[rows], query.rows[rows], query.offsets[rows])
            low, gradient = _bound(known, asked, lines, rounded)
            low = low - size[rows]
            better = low > best[rows]
            best[rows[better]] = low[better]
            for name, chosen in rounded.items():
                kept[name][rows[better]] = chosen[better]
            first = low if step == 0 else first
            reach = best[rows] + self.patience * (best[rows] - first) if step > 1 else torch.full_like(low, torch.inf)
            left = ((best[rows] <= 0) & (reach > 0)).nonzero()[:, 0]
            if step == self.steps or not len(left):
                break
            for name, given in gradient.items():
                mean, square = moments[name]
                mean.mul_(FIRST).add_(given, alpha=1 - FIRST)
                square.mul_(SECOND).addcmul_(given, given, value=1 - SECOND)
                ahead = mean / (1 - FIRST ** (step + 1)) / ((square / (1 - SECOND ** (step + 1))).sqrt() + 1e-30)
                now[name] = (now[name] + self.rate * self.decay**step * ahead).clamp(0, 1)[left]
                moments[name] = mean[left], square[left]
            rows, first = rows[left], first[left]
        return best, kept


def _bound(known: LinearBounds, query: Query, lines: dict[str, Lines], slopes: Slopes) -> tuple[Tensor, Slopes]:
    """Return the bounds of rows with slopes of their own where a ReLU is undecided, and the derivatives in them."""
    network = known.network
    with torch.enable_grad():
        free = {name: s.clone().requires_grad_(True) for name, s in slopes.items()}
        shape = network.shapes[network.output]
        rows = Rows({network.output: query.rows.reshape(-1, *shape)}, -query.offsets)
        for op in reversed(known.ops):
            if op.output not in rows.coefficients:
                continue
            if isinstance(op, Affine):
                rows = pull(op, rows)
                continue
            name = op.inputs[0]
            if op.kind == "Relu" and name in free:
                rows = _under(rows, op.output, name, lines[name], known.bounds[name], free[name], query.owner)
            else:
                assert isinstance(op, Elementwise | Maximum | Product)
                rows = through(op, known.relaxations[op.output], rows, query.owner)
        last = rows.coefficients.get(network.input)
        low = rows.constant if last is None else rows.constant + known.enclosure.least(last, query.owner)
        if not low.requires_grad:
            return low, {name: torch.zeros_like(s) for name, s in slopes.items()}
        found = torch.autograd.grad(low.sum(), list(free.values()), allow_unused=True)
    pairs = zip(slopes.items(), found, strict=True)
    return low.detach(), {name: torch.zeros_like(s) if g is None else g for (name, s), g in pairs}


def _under(rows: Rows, output: str, name: str, line: Lines, bounds: Bounds, slopes: Tensor, owner: Tensor) -> Rows:
    """Take rows back through a ReLU by lines whose lower slopes are each row's own where it is undecided."""
    left = dict(rows.coefficients)
    outer = left.pop(output)
    above, below = outer.clamp(min=0), outer.clamp(max=0)
    free = ((bounds.low < 0) & (bounds.high > 0))[owner]
    inner = above * torch.where(free, slopes, line.lower[owner]) + below * line.upper[owner]
    constant = rows.constant
    if line.upper_offset is not None:
        constant = constant + torch.linalg.vecdot(below.flatten(1), line.upper_offset[owner].flatten(1))
    left[name] = left[name] + inner if name in left else inner
    return Rows(left, constant)
