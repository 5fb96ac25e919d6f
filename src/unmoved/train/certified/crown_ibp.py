"""CROWN-IBP: linear bounds of the margins over interval bounds of everything before (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unmoved.bounds.cones import Matrices
from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.linear import LinearBounds
from unmoved.bounds.relaxation import Choice, Lines, lines, relax
from unmoved.bounds.slopes import Face
from unmoved.core.errors import UsageError
from unmoved.ops import Elementwise, Maximum
from unmoved.train.certified.box import Batch, BoxObjective, Terms, margin_query, worst_loss

WIDTH = 1e-12
"""Intervals are made this much wider on either side: the slope of a chord over a point has no gradient."""


@dataclass(frozen=True)
class CrownIbp(BoxObjective):
    """Cross-entropy of a mixture of margin bounds: linear with weight w, interval with 1 - w.

    w falls from 1 to `last` as eps grows ("Towards stable and efficient training of verifiably robust neural
    networks", equation 10). last 0 ends as interval training: best at large eps. last 1: linear bounds throughout.
    """

    last: float = 0.5

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
        if weight > 0 and batch.eps > 0:
            lower = weight * margins_linear(batch, bounds) + (1 - weight) * lower
        return Terms(worst_loss(lower, batch.y), lower, bounds, box)


def margins_linear(batch: Batch, bounds: Mapping[str, Bounds]) -> Tensor:
    """Return lower bounds (n, classes) of y_label - y_j by backward rows through lines on the given bounds."""
    box = bounds[batch.network.input]
    enclosure = Enclosure.of_box(box.low, box.high)
    matrices = Matrices(batch.ops, batch.network.shapes, enclosure.center)
    known = LinearBounds(batch.ops, batch.network, enclosure, dict(bounds), matrices)
    for op in batch.ops:
        if isinstance(op, Elementwise | Maximum):
            known.relaxations[op.output] = _relaxation(op, bounds[op.inputs[0]])
    return known.low(margin_query(batch.network, batch.y)).view(len(batch.y), -1)


def _relaxation(op: Elementwise | Maximum, value: Bounds) -> Lines | Choice:
    wide = Bounds(value.low - WIDTH, value.high + WIDTH)
    if isinstance(op, Maximum) or op.kind == "Relu":
        return relax(op, wide)
    with torch.no_grad():
        below, above = Face.of(op, wide, 1.0).slope(), -Face.of(op, wide, -1.0).slope()
    return lines(op, wide, below, above)
