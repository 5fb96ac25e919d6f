"""Does confidence say anything about robustness: confidence against accuracy, and against the certified radius."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from unmoved.evaluate.comparison.estimate import Estimate, Floats, bootstrap
from unmoved.evaluate.comparison.profile import ABSTAINED, Profile
from unmoved.evaluate.share import Share

BINS = 10

ECE_CAVEAT = "The expected calibration error of a sample is biased upwards: small data sets look worse than they are."


@dataclass(frozen=True)
class Bin:
    """Inputs of like confidence, or radius, from `low` to `high` (None: no end): mean confidence, and shares.

    `right` are answered with the label; `certified` as well, at the radius that the whole diagram is about.
    """

    low: float
    high: float | None
    confidence: float
    right: Share
    certified: Share


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy and radius, over the inputs that are answered and whose confidence is known.

    `by_confidence` is the reliability diagram, `by_radius` the same inputs by how far their answer is certified.
    `ece` and `ece_by_radius`: mean over the bins, weighed by their inputs, of |mean confidence - accuracy| (Guo et al.
    2017). `rank`: Spearman's correlation of confidence and radius, None where one of them does not vary.
    """

    radius: Fraction
    by_confidence: tuple[Bin, ...]
    by_radius: tuple[Bin, ...]
    ece: Estimate | None
    ece_by_radius: Estimate | None
    rank: Estimate | None


def calibration(profile: Profile, radius: Fraction, *, seed: int = 0) -> Calibration | None:
    """Return the calibration of a profile, `radius` being what counts as certified; None without confidences."""
    known = ~np.isnan(profile.confidences) & (profile.answers != ABSTAINED)
    if not known.any():
        return None
    rows = np.flatnonzero(known)
    part = profile.only([profile.keys[k] for k in rows])
    held = np.array([r is not None and r >= radius for r in part.radii]) & part.right
    lengths = np.nan_to_num(part.lengths, nan=0.0)
    cuts = np.linspace(0, 1, BINS + 1)
    steps = radius_cuts(part)
    groups = np.clip(np.searchsorted(cuts, part.confidences, side="right") - 1, 0, BINS - 1)
    # exactly: a radius that was asked for and proved lies in the bin that begins there
    rings = np.array([bisect_right(steps, r or 0) - 1 for r in part.radii])
    ends: list[float | None] = [*map(float, steps[1:]), None]
    return Calibration(
        radius,
        _bins(groups, part, held, [(cuts[k], cuts[k + 1]) for k in range(BINS)]),
        _bins(rings, part, held, list(zip(map(float, steps), ends, strict=True))),
        _ece(groups, part, seed),
        _ece(rings, part, seed),
        bootstrap(lambda r: rank_correlation(part.confidences[r], lengths[r]), len(rows), seed=seed),
    )


def radius_cuts(profile: Profile) -> list[Fraction]:
    """Return where radius bins begin: 0 (not certified), then the sizes asked for, or quarters of the largest."""
    radii = [r for r in profile.radii if r]
    if not radii:
        return [Fraction(0)]
    quarters = [max(radii) * k / 4 for k in (1, 2, 3)]
    # what is not certified at all has a bin of its own
    return sorted({Fraction(0), min(radii), *(size for size in profile.sizes or quarters if 0 < size <= max(radii))})


def rank_correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's correlation, ties by mean ranks; NaN where one of them does not vary."""
    a, b = rankdata(one), rankdata(other)
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def expected_error(groups: npt.NDArray[np.int64], confidences: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Return the mean over groups, by size, of |mean confidence - accuracy|."""
    off = np.bincount(groups, confidences - right, minlength=int(groups.max()) + 1)
    return float(np.abs(off).sum() / len(groups))


def _ece(groups: npt.NDArray[np.int64], part: Profile, seed: int) -> Estimate | None:
    confidences, right = part.confidences, part.right
    return bootstrap(lambda r: expected_error(groups[r], confidences[r], right[r]), len(groups), seed=seed)


def _bins(
    groups: npt.NDArray[np.int64],
    part: Profile,
    held: npt.NDArray[np.bool_],
    ends: Sequence[tuple[float, float | None]],
) -> tuple[Bin, ...]:
    found = []
    for k, (low, high) in enumerate(ends):
        mine = groups == k
        count = int(mine.sum())
        if count:
            mean = float(part.confidences[mine].mean())
            shares = (Share(int((mine & which).sum()), count) for which in (part.right, held))
            found.append(Bin(float(low), None if high is None else float(high), mean, *shares))
    return tuple(found)
