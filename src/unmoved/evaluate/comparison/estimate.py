"""A figure that is no share, with its confidence interval, and where that interval comes from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

Floats = npt.NDArray[np.float64]

DRAWS = 1000
"""Resamples of a bootstrap."""

BOOTSTRAP = f"percentile bootstrap over inputs, {DRAWS} resamples (Efron 1979)"
DELONG = "DeLong 1988 on the logit scale"
NEWCOMBE = "Newcombe 2006, method 5: the samples do not overlap, so that DeLong's variance is 0"

_Z = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Estimate:
    """A figure; the population's lies in [low, high] with confidence about 95 %, by the method `how`.

    Unlike a `Share`'s, the interval is approximate: it comes from large samples' laws.
    """

    value: float
    low: float
    high: float
    how: str = BOOTSTRAP


def bootstrap(figure: Callable[[npt.NDArray[np.int64]], float], count: int, *, seed: int = 0) -> Estimate | None:
    """Return `figure` of the rows 0..count-1, its interval from resamples of the rows; None where it is undefined.

    `figure` takes row numbers (with repetitions) and returns a number, NaN where it has none. An interval needs at
    least two rows, and resamples of which at least half have a value.
    """
    value = figure(np.arange(count))
    if count < 2 or math.isnan(value):
        return None
    draws = np.random.default_rng(seed)
    found = np.array([figure(draws.integers(0, count, count)) for _ in range(DRAWS)])
    known = found[~np.isnan(found)]
    if len(known) < DRAWS / 2:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(float(value), min(float(low), value), max(float(high), value))


def auroc(inside: Floats, outside: Floats) -> Estimate | None:
    """Return P(score of an inside input > that of an outside one), ties counted half, from scores of both.

    The interval is DeLong's, from the placements' variances, on the logit scale, so that it stays in [0, 1]; where the
    variance is 0 it is Newcombe's score interval. None unless there are two inputs of each kind.
    """
    m, n = len(inside), len(outside)
    if m < 2 or n < 2:
        return None
    together = rankdata(np.concatenate([inside, outside]))
    above = (together[:m] - rankdata(inside)) / n
    below = 1 - (together[m:] - rankdata(outside)) / m
    area = float(above.mean())
    variance = float(above.var(ddof=1) / m + below.var(ddof=1) / n)
    if variance <= 0 or not 0 < area < 1:
        return Estimate(area, *_newcombe(area, m, n), NEWCOMBE)
    logit, error = math.log(area / (1 - area)), math.sqrt(variance) / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-(logit + sign * _Z * error))) for sign in (-1, 1))
    return Estimate(area, low, high, DELONG)


def _newcombe(area: float, m: int, n: int) -> tuple[float, float]:
    """Return both t with |area - t| = z sqrt(V(t)), V as for exponential scores (Newcombe 2006, method 5)."""
    spare = (m + n) / 2 - 1

    def apart(t: float) -> float:
        spread = t * (1 - t) * (1 + spare * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        return abs(area - t) - _Z * math.sqrt(spread)

    return _end(apart, area, 0.0), _end(apart, area, 1.0)


def _end(apart: Callable[[float], float], area: float, far: float) -> float:
    """Return where `apart` turns from negative (near `area`) to positive, on the way to `far`; `far` where nowhere."""
    if area == far:
        return far
    near = area
    for _ in range(60):
        middle = (near + far) / 2
        near, far = (middle, far) if apart(middle) < 0 else (near, middle)
    return far
