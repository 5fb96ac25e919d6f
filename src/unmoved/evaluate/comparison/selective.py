"""A defence that answers only where a radius is certified: how often it answers, and how often rightly.

El-Yaniv and Wiener 2010 (selective classification); AURC: Geifman, Uziel and El-Yaniv 2019 (arXiv 1805.08206), with the
certified radius as the confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from unmoved.evaluate.comparison.estimate import Estimate, bootstrap
from unmoved.evaluate.comparison.profile import ABSTAINED, Profile
from unmoved.evaluate.share import Share


@dataclass(frozen=True)
class Answered:
    """When `radius` is demanded: the share of inputs answered, and of these the share answered rightly (None: none).

    Radius 0 demands nothing. Wrong answers of which nobody asked how far they hold count as answered.
    """

    radius: Fraction
    coverage: Share
    right: Share | None


def answered(profile: Profile, radius: Fraction) -> Answered:
    """Return coverage and accuracy when `radius` is demanded of every answer."""
    given = profile.answers != ABSTAINED
    if radius > 0:
        given = given & np.array([r is None or r >= radius for r in profile.radii])
    right = int((given & profile.right).sum())
    return Answered(
        radius, Share(int(given.sum()), len(given)), Share(right, int(given.sum())) if given.any() else None
    )


def curve(profile: Profile) -> tuple[Answered, ...]:
    """Return the points for radius 0 and every distinct radius: coverage never grows."""
    radii = sorted({r for r in profile.radii if r})
    return tuple(answered(profile, radius) for radius in (Fraction(0), *radii))


def aurc(profile: Profile, *, seed: int = 0) -> Estimate | None:
    """Return the area under risk against coverage, from 0 to the largest coverage; None where nothing is answered.

    Inputs in order of falling radius, ties answered together, abstentions never.
    """
    given, right = profile.answers != ABSTAINED, profile.right
    # unknown radii come first: the risk is bounded from above
    lengths = np.where(np.isnan(profile.lengths), np.inf, profile.lengths)
    return bootstrap(lambda rows: area(lengths[rows], right[rows], given[rows]), len(given), seed=seed)


def area(lengths: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], given: npt.NDArray[np.bool_]) -> float:
    """Return the area under risk against coverage of the inputs that are `given` an answer; NaN where none is."""
    if not given.any():
        return float("nan")
    order = np.argsort(-lengths[given], kind="stable")
    ranked, wrong = lengths[given][order], ~right[given][order]
    last = np.append(ranked[1:] != ranked[:-1], True)
    count = np.arange(1, len(ranked) + 1)[last]
    risks = wrong.cumsum()[last] / count
    return float((np.diff(count, prepend=0) * risks).sum() / len(given))
