"""CROWN-IBP: linear bounds of the margins over interval bounds of everything before (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.query import Query
from unmoved.bounds.relaxation import Bent, Relaxation, lines, relax, relaxed, through
from unmoved.bounds.rows import Rows, pull
from unmoved.bounds.slopes import Face
from unmoved.core.errors import UsageError
from unmoved.ops import Affine, Elementwise, Maximum, Product, primitives
from unmoved.train.certified.box import Batch, BoxObjective, Terms, margin_query, worst_loss

WIDTH = 1e-12
"""Intervals are made this much wider on either side: the slope of a chord over a point has no gradient."""


@dataclass(frozen=True)
class CrownIbp(BoxObjective):
    """Cross-entropy of a mixture of margin bounds: linear with weight w, interval with 1 - w.

    w falls from 1 to `last` as eps grows ("Towards stable and efficient training of verifiably robust neural
    networks", equation 10). last 0 ends as interval training: best at large eps. last 1: linear bounds throughout.
    `fused`: one linear bound of the loss itself takes the place of one for every class (Xu et al. 2020, section 3.3);
    then losses are mixed, not bounds. A step of a small CNN takes a fifth of the time; neither is always tighter.
    """

    last: float = 0.5
    fused: bool = True

    def check(self) -> None:
        """Check `last`."""
        if not 0 <= self.last <= 1:
            raise UsageError("last", self.last, "a share from 0 to 1")

    @property
    def name(self) -> str:
        """`crown-ibp`."""
        return "crown-ibp"

    def terms(self, batch: Batch) -> Terms:
        """Return the loss; at eps 0, where all bounds agree, it takes intervals alone."""
        box = batch.box(batch.eps)
        bounds = batch.interval(box)
        lower = batch.margins(bounds)
        weight = 1 - batch.share * (1 - self.last)
        if weight == 0 or batch.eps == 0:
            return Terms(worst_loss(lower, batch.y), lower, bounds, box)
        if self.fused:
            loss = weight * fused_loss(batch, bounds, lower) + (1 - weight) * worst_loss(lower, batch.y)
            return Terms(loss, lower, bounds, box)
        lower = weight * margins_linear(batch, bounds) + (1 - weight) * lower
        return Terms(worst_loss(lower, batch.y), lower, bounds, box)


def margins_linear(batch: Batch, bounds: Mapping[str, Bounds]) -> Tensor:
    """Return lower bounds (n, classes) of y_label - y_j by backward rows through lines on the given bounds."""
    return linear_low(batch, bounds, margin_query(batch.network, batch.y)).view(len(batch.y), -1)


def fused_loss(batch: Batch, bounds: Mapping[str, Bounds], lower: Tensor) -> Tensor:
    """Return an upper bound of the mean cross-entropy over the boxes, one backward row an input.

    The loss is log sum_j exp(u_j), u_j = y_j - y_label. Within its interval bounds exp lies below its chord, so the sum
    lies below a linear function of the outputs.
    """
    classes, y = batch.network.outputs, batch.y
    rows = margin_query(batch.network, y)
    high = -lower
    low = batch.rows_low(bounds, Query(rows.owner, -rows.rows, rows.offsets)).view(len(y), classes)
    width = (high - low).clamp(min=1e-6)
    shift = high.detach().amax(1, keepdim=True)
    slope = (high - shift).exp() * -torch.expm1(-width) / width
    constant = ((low - shift).exp() - slope * low).sum(1)
    each = torch.arange(len(y), device=y.device)
    summed = torch.einsum("nc,nco->no", slope, rows.rows.view(len(y), classes, -1))
    least = linear_low(batch, bounds, Query(each, summed, torch.zeros_like(constant)))
    return ((constant - least).clamp(min=1e-30).log() + shift[:, 0]).mean()


def linear_low(batch: Batch, bounds: Mapping[str, Bounds], query: Query) -> Tensor:
    """Return lower bounds (R,) of a query's rows: back to the input through lines on the bounds, differentiable."""
    network, box = batch.network, bounds[batch.network.input]
    rows = Rows({network.output: query.rows.reshape(-1, *network.shapes[network.output])}, -query.offsets)
    for op in reversed(tuple(primitives(batch.ops))):
        if op.output not in rows.coefficients:
            continue
        if isinstance(op, Affine):
            rows = pull(op, rows)
            continue
        assert isinstance(op, Elementwise | Maximum | Product)
        rows = through(op, _relaxation(op, [bounds[name] for name in op.inputs]), rows, query.owner)
    at_input = rows.coefficients.get(network.input)
    if at_input is None:
        return rows.constant
    return rows.constant + Enclosure.of_box(box.low, box.high).least(at_input, query.owner)


def _relaxation(op: Bent, values: Sequence[Bounds]) -> Relaxation:
    if isinstance(op, Product):
        return relaxed(op, values)
    wide = Bounds(values[0].low - WIDTH, values[0].high + WIDTH)
    if isinstance(op, Maximum) or op.kind == "Relu":
        return relax(op, wide)
    with torch.no_grad():
        below, above = Face.of(op, wide, 1.0).slope(), -Face.of(op, wide, -1.0).slope()
    return lines(op, wide, below, above)
