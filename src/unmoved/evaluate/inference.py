"""With how many samples, which failure probability and which noise a log was made: read off its radii.

Every setting among common values predicts a ladder of radii (ladder.py). A printed radius that has a rung in its cell
speaks for a setting by 1 / c, where c is the share of cells near it that have one; a radius without a rung speaks
against it by SLIP. A largest radius that many rows share is the unanimous vote's: if it were not, as many rows would be
expected on the next rung. Bayes' rule over all settings, and "none of these", says how sure that is. It is a
judgement about a log, no proof: N and alpha are what the log should have said.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unmoved.evaluate.ladder import SLACK, Ladder, Printed, ladder

SAMPLES = {
    **dict.fromkeys((100, 200, 500, 2000, 5000, 20_000, 50_000, 200_000, 500_000, 1_000_000), 1.0),
    1000: 3.0,
    10_000: 5.0,
    100_000: 10.0,
}
ALPHAS = {**dict.fromkeys((0.1, 0.02, 0.005, 0.002, 0.0005, 0.0002, 0.0001), 1.0), 0.05: 2.0, 0.01: 2.0, 0.001: 8.0}
SIGMAS = {
    **dict.fromkeys((0.05, 0.1, 0.125, 0.15, 0.2, 0.3, 0.35, 0.4, 0.6, 0.7, 0.75, 0.8, 0.9, 1.25, 1.5, 2.0, 3.0), 1.0),
    **dict.fromkeys((0.12, 0.25, 0.5, 1.0), 8.0),
}
BOUNDS = {"one-class": 4.0, "two-class": 1.0}
STYLES = {"nearest": 4.0, "down": 2.0, "up": 1.0}
"""How common each value is; what a log says outweighs it quickly."""

NAMED = 500.0
"""How much likelier the sigma in a file's name is than any other."""

NONE = 0.1
"""Probability beforehand that a log was made otherwise than by any of these settings."""

SLIP = 1e-3
"""Probability that a radius of a log is none of its ladder's rungs."""

SURE = 0.9
"""Probability from which on a setting counts as found."""

FIELDS = ("sigma", "samples", "alpha", "bound", "rounding")

Value = float | int | str

FEWEST = 4
"""Distinct radii below which nothing is inferred."""

_MISSES, _SCREEN, _PILE = 8, 24, 20.0
_SIGMA = re.compile(
    r"(?:^|[_\-. ])(?:sigma|noise|std)[_\-=]?(\d+(?:\.\d+)?|\.\d+)|[_\-]s[_\-=]?(\d*\.\d+)", re.IGNORECASE
)


@dataclass(frozen=True)
class Setting:
    """Noise, samples, failure probability, bound and the rounding in print that a log was made with."""

    sigma: float
    samples: int
    alpha: float
    bound: str
    rounding: str

    @property
    def ladder(self) -> Ladder:
        """The radii / sigma that are possible with it."""
        return ladder(self.samples, self.alpha, self.bound)


@dataclass(frozen=True)
class Fit:
    """How well a setting explains a log.

    Of the distinct radii, `matched` have a rung; `telling` of these say something, as fewer than half of the cells near
    them have one; `unmatched` have none. `probability` is the setting's among all, "none of these" included, whatever
    the rounding; `setting.rounding` is the likeliest (Inference.rounding: whether it is settled).
    """

    setting: Setting
    matched: int
    telling: int
    unmatched: int
    evidence: float
    probability: float


@dataclass(frozen=True)
class Inference:
    """What the radii of a log say about how it was made: fits by probability, the likeliest first (at most 8).

    `distinct` is the number of distinct positive radii, `style` how they are printed. `marginals` are probabilities of
    single values: by "sigma", "samples", "alpha", "bound", "rounding". `named_sigma` is the one in the file name.
    """

    fits: tuple[Fit, ...]
    marginals: Mapping[str, Mapping[Value, float]]
    distinct: int
    style: str
    named_sigma: float | None

    @property
    def best(self) -> Fit | None:
        """The likeliest setting, if it is probable enough to be relied on (SURE)."""
        return self.fits[0] if self.fits and self.fits[0].probability >= SURE else None

    @property
    def rounding(self) -> str | None:
        """How radii were rounded in print, if it can be relied on (SURE)."""
        best = self.likeliest("rounding")
        return str(best[0]) if best and best[1] >= SURE else None

    def likeliest(self, field: str) -> tuple[Value, float] | None:
        """Return the likeliest value of a field of Setting and its probability; None without any fit."""
        values = self.marginals.get(field)
        return max(values.items(), key=lambda pair: pair[1]) if values else None


def sigma_named(name: str) -> float | None:
    """Return the sigma that a file name states (`_s0.25`, `sigma_0.25`, `noise_0.50`), None unless it states one."""
    stem = name.removesuffix(".tsv").removesuffix(".txt")
    found = {float(first or second) for first, second in _SIGMA.findall(stem)}
    return found.pop() if len(found) == 1 and min(found) > 0 else None


def infer(radii: Printed, *, name: str = "", sigma: float | None = None) -> Inference:
    """Return what distinct radii say about how they were made; with `sigma`, for that noise only."""
    named = sigma_named(name)
    sigmas = {sigma: 1.0} if sigma is not None else dict(SIGMAS)
    if sigma is None and named is not None:
        sigmas[named] = sigmas.get(named, 1.0) * NAMED
    scored = sorted(_scored(radii, sigmas), key=lambda pair: -pair[0]) if len(radii.values) >= FEWEST else []
    # scores are relative to the radii's own frequencies under "none of these"
    scores = np.array([score for score, _ in scored])
    peak = float(scores.max(initial=0.0))
    weights = np.exp(scores - peak)
    shares = weights / (weights.sum() + NONE / (1 - NONE) * math.exp(-peak))
    fits = [replace(fit, probability=float(share)) for share, (_, fit) in zip(shares, scored, strict=True)]
    return Inference(tuple(_grouped(fits)[:8]), _marginals(fits), len(radii.values), radii.style, named)


def _grouped(fits: Sequence[Fit]) -> list[Fit]:
    """Return one fit for each setting whatever the rounding: that of the likeliest, with the probability of all."""
    found: dict[Setting, Fit] = {}
    for fit in fits:
        key = replace(fit.setting, rounding="")
        first = found.setdefault(key, replace(fit, probability=0.0))
        found[key] = replace(first, probability=first.probability + fit.probability)
    return sorted(found.values(), key=lambda fit: -fit.probability)


def _marginals(fits: Sequence[Fit]) -> Mapping[str, Mapping[Value, float]]:
    found: dict[str, dict[Value, float]] = {field: {} for field in FIELDS}
    for fit in fits:
        for field, values in found.items():
            value = getattr(fit.setting, field)
            values[value] = values.get(value, 0.0) + fit.probability
    return found


def _scored(radii: Printed, sigmas: Mapping[float, float]) -> Iterator[tuple[float, Fit]]:
    """Yield every setting that is not far off with the log of its prior times its likelihood."""
    parts = (SAMPLES, ALPHAS, BOUNDS, STYLES, sigmas)
    norm = sum(math.log(sum(part.values())) for part in parts)
    top = Printed(radii.values[-_SCREEN:], radii.units[-_SCREEN:], radii.rows[-_SCREEN:], radii.style)
    for samples, alpha, bound in itertools.product(SAMPLES, ALPHAS, BOUNDS):
        # settings whose unanimous vote is below too many of the radii need no closer look
        reach = ladder(samples, alpha, bound).top
        floor = top.values[-_MISSES - 1] - top.units[-_MISSES - 1] if len(top.values) > _MISSES else 0.0
        near = [sigma for sigma in sigmas if sigma * (reach - SLACK) >= floor]
        for sigma, rounding in itertools.product(near, STYLES):
            setting = Setting(sigma, samples, alpha, bound, rounding)
            if _fit(setting, top).unmatched > _MISSES:
                continue
            fit = _fit(setting, radii)
            weights = (SAMPLES[samples], ALPHAS[alpha], BOUNDS[bound], STYLES[rounding], sigmas[sigma])
            yield fit.evidence + sum(map(math.log, weights)) - norm, fit


def _fit(setting: Setting, radii: Printed) -> Fit:
    rungs = setting.ladder
    low, high = radii.cells(setting.rounding, setting.sigma)
    known, there = rungs.known(low, high), rungs.within(low, high)
    chance = rungs.chance(low, high)
    gain = np.where(there, np.log((1 - SLIP) / chance + SLIP), math.log(SLIP))[known]
    unanimous = low[-1] <= rungs.top <= high[-1]
    # as many rows as share the largest radius would half be expected on the rung above it, if there were one
    pile = 0.0 if unanimous else -min(float(radii.rows[-1]) / 2, _PILE)
    matched, telling = there & known, there & known & (chance < 0.5)
    return Fit(
        setting, int(matched.sum()), int(telling.sum()), int((known & ~there).sum()), float(gain.sum()) + pile, 0.0
    )
