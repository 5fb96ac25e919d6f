"""Segmentation: which pixels of a smoothed segmentation are certain, all together (Fischer, Baader, Vechev 2021,
arXiv 2107.00228).

For pixel i, let c_i be a class chosen from other copies and p_i = P(f_i(z) = c_i). H0_i: p_i <= tau. Its p-value is
P(Bin(n, tau) >= n_i) = I_tau(n_i, n - n_i + 1), rounded up. Holm's step-down test rejects false hypotheses wrongly,
even one of them, with probability <= alpha, however the pixels depend on each other; so does Bonferroni's, with fewer
rejections. Where H0_i is rejected g_i keeps c_i within the radius that p_low = tau, p_high = 1 - tau gives: for
Gaussian noise R = s Phi^-1(tau). The other pixels abstain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import special

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down, float_up
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.inversion import share_of
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.draws.seeds import Purpose, Stream, input_seed
from unmoved.smooth.statistics import MARGIN
from unmoved.smooth.voting.sampling import Classify, VoteCounter, evaluate

ABSTAINS = -1
"""What stands in place of the class of a pixel that is not certified."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """With probability >= 1 - alpha: g_i(x') = labels_i for all pixels i that do not abstain and x' within `radius`.

    `labels` int64, the shape of the pixels, ABSTAINS where nothing is certified; `guesses` the classes that were
    tested; `hits` int64, how many of `samples` copies gave them. `radius` is rounded down; 0: all abstain.
    """

    labels: Integers
    guesses: Integers
    hits: Integers
    radius: float
    tau: Fraction
    alpha: Fraction
    samples: int
    method: str


def rejected(
    hits: Integers,
    samples: int,
    *,
    tau: Fraction,
    alpha: Fraction,
    method: str = "holm",
) -> npt.NDArray[np.bool_]:
    """Return which hypotheses P <= tau are rejected, wrongly in any place with probability <= alpha.

    `hits` (any shape) of `samples` each; `method` "holm" or "bonferroni".
    """
    if method not in ("holm", "bonferroni"):
        raise UsageError("method", method, '"holm" or "bonferroni"')
    values = p_values(hits.ravel(), samples, tau)
    m, level = values.size, float_down(alpha)
    order = np.argsort(values, kind="stable")
    steps = np.arange(m, 0, -1) if method == "holm" else np.full(m, m)
    passed = values[order] * steps * (1 + MARGIN) <= level
    stop = m if passed.all() else int(np.argmin(passed))
    found = np.zeros(m, np.bool_)
    found[order[:stop]] = True
    return found.reshape(hits.shape)


def p_values(hits: Integers, samples: int, tau: Fraction) -> npt.NDArray[np.float64]:
    """Return P(Bin(samples, tau) >= hits), rounded up; 1 for no hits."""
    if samples < 1 or hits.size == 0 or hits.min() < 0 or hits.max() > samples:
        raise UsageError("hits", hits.shape, f"counts from 0 to samples = {samples}")
    if not 0 < tau < 1:
        raise UsageError("tau", str(tau), "a number strictly between 0 and 1")
    above = np.maximum(hits, 1)
    tails = special.betainc(above, samples - above + 1, float_up(tau)) * (1 + MARGIN) + 1e-300
    return np.where(hits == 0, 1.0, np.minimum(1.0, tails))


@dataclass(frozen=True)
class SmoothedSegmentation:
    """A segmentation behind noise: `model` maps (B, *shape) float32 to scores (B, classes, *pixels).

    g's class of a pixel is the most probable one of f's. Memory: one batch, and one number for each pixel and class.
    Raises UsageError for a torch module in training mode.
    """

    model: Classify
    noise: Noise
    classes: int
    batch: int = 16
    digest: str = ""

    def __post_init__(self) -> None:
        VoteCounter(self.model, self.noise, self.classes, self.batch)  # refuses what no function of z alone can be

    def certify(
        self,
        x: npt.NDArray[np.float32],
        *,
        tau: object = "3/4",
        samples: int = 100,
        selection_samples: int = 10,
        alpha: object = "1/1000",
        seed: int = 0,
        method: str = "holm",
    ) -> SegmentationResult:
        """Return classes and a radius that hold for all pixels that do not abstain, with probability >= 1 - alpha."""
        share, exact = share_of(tau, "tau"), share_of(alpha, "alpha")
        point = self.noise.place(x)
        for name, number in (("samples", samples), ("selection_samples", selection_samples)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise UsageError(name, number, "an integer >= 1")
        left = exact - self.noise.deviation(samples, point.integers.size)
        low = float_down(share)
        radius = self.noise.radius(low, min(1.0, float_up(1 - Fraction(low))))
        if point.distance:
            radius = math.nextafter(radius - point.distance, -math.inf)
        if not 0 < left < 1 or not radius > 0:
            raise UsageError("tau, alpha", (str(share), str(exact)), "a tau that certifies a radius, 0 < alpha < 1")
        noise = {"kind": self.noise.kind, "scale": str(self.noise.scale), "grid": self.noise.grid}
        asked = {"task": "segment", "samples": samples, "selection": selection_samples, "alpha": str(exact), **noise}
        key = input_seed(seed, self.digest, x=x, parameters=asked | {"tau": str(share), "method": method})
        votes = self._tally(point, selection_samples, Stream(key, Purpose.SELECTION), None)
        guesses = votes.argmax(axis=0)
        hits = self._tally(point, samples, Stream(key, Purpose.CERTIFICATION), guesses)
        certain = rejected(hits, samples, tau=share, alpha=left, method=method)
        labels = np.where(certain, guesses, ABSTAINS)
        return SegmentationResult(
            labels, guesses, hits, radius if certain.any() else 0.0, share, exact, samples, method
        )

    def _tally(self, point: GridPoint, samples: int, stream: Stream, guesses: Integers | None) -> Integers:
        """Return the votes (classes, *pixels), or how often each pixel got its guess (*pixels)."""
        rows = torch.empty((self.batch, *point.shape), dtype=torch.float32)
        view, total = rows.numpy(), np.zeros(1, np.int64)
        for first in range(0, samples, self.batch):
            number = min(self.batch, samples - first)
            self.noise.sample(point, view[:number], stream=stream, first=first)
            view[number:] = view[0]
            labels = self._labels(rows)[:number]
            if guesses is None:
                total = total + np.stack([(labels == c).sum(axis=0) for c in range(self.classes)])
            else:
                total = total + (labels == guesses).sum(axis=0)
        return np.asarray(total, np.int64)

    def _labels(self, rows: torch.Tensor) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the class of each pixel, int64 (B, *pixels); `classes` where a score is a NaN or an infinity."""
        output = evaluate(self.model, rows)
        if output.ndim < 2 or output.shape[:2] != (self.batch, self.classes) or not output.is_floating_point():
            shown = f"outputs {output.dtype} {tuple(output.shape)}"
            raise UsageError("model", shown, f"scores ({self.batch}, {self.classes}, *pixels)")
        labels = torch.where(torch.isfinite(output).all(dim=1), output.argmax(dim=1), self.classes)
        return np.asarray(labels.cpu().numpy())
