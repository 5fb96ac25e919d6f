"""Out-of-distribution inputs: whether large radii tell what the model knows from what it has never seen."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from unmoved.evaluate.comparison.estimate import Estimate, auroc
from unmoved.evaluate.comparison.profile import Profile
from unmoved.evaluate.share import Share


@dataclass(frozen=True)
class Separation:
    """How scores tell inputs inside from those outside: `radius` and `confidence` as scores.

    `certified` are the shares of the outside inputs whose answer is certified at each size: a certificate says that an
    answer does not move, not that it is sensible. `unknown` inside inputs, wrong answers that nobody asked about, have
    no radius and are left out.
    """

    outside: int
    unknown: int
    radius: Estimate | None
    confidence: Estimate | None
    certified: tuple[tuple[Fraction, Share], ...]


def separation(inside: Profile, outside: Profile, sizes: tuple[Fraction, ...]) -> Separation:
    """Return how the profile of inside inputs differs from that of outside ones (labelled by their own answers)."""
    near, far = inside.lengths, np.nan_to_num(outside.lengths, nan=0.0)
    sure, unsure = (p.confidences[~np.isnan(p.confidences)] for p in (inside, outside))
    return Separation(
        len(outside.keys),
        int(np.isnan(near).sum()),
        auroc(near[~np.isnan(near)], far),
        auroc(sure, unsure),
        tuple((size, outside.certified(size)) for size in sizes),
    )
