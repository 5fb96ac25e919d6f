"""Training by interval bound propagation, through the very bounds that certify.

Gowal et al. 2018 (the loss), Shi et al. 2021 (initialisation, regulariser, short ramp, batch norm).
"""

from __future__ import annotations

from dataclasses import dataclass

from unmoved.train.certified.box import Batch, BoxObjective, Terms, worst_loss


@dataclass(frozen=True)
class Ibp(BoxObjective):
    """Cross-entropy of the interval bounds of the margins y_label - y_j over the whole balls."""

    @property
    def name(self) -> str:
        """`ibp`."""
        return "ibp"

    def terms(self, batch: Batch) -> Terms:
        """Return the loss."""
        box = batch.box(batch.eps)
        bounds = batch.interval(box)
        lower = batch.margins(bounds)
        return Terms(worst_loss(lower, batch.y), lower, bounds, box)
