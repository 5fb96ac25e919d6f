"""The smoothed classifier g(x) = argmax_c P(f(z) = c), its predictions and its certificates (Cohen et al. 2019).

Nothing here is about f itself: a certificate is for g, for one input, with probability >= 1 - alpha over the sampling,
and void beyond its radius. Abstaining is ABSTAIN (None), never a class.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_up, rational
from unmoved.smooth import statistics
from unmoved.smooth.grid import GridPoint
from unmoved.smooth.noise import Noise
from unmoved.smooth.results import ABSTAIN, Prediction, SmoothedResult
from unmoved.smooth.sampling import Classify, VoteCounter, Votes
from unmoved.smooth.seeds import Purpose, Stream, input_seed

__all__ = ["ABSTAIN", "ALPHA", "Prediction", "Smoothed", "SmoothedResult"]

ALPHA = Fraction(1, 1000)
"""The failure probability of the literature, per input."""

MOST_SAMPLES = 10**10
"""Largest number of samples that is named as the one that would do."""


@dataclass(frozen=True)
class Smoothed:
    """A classifier behind noise: `classifier` maps (B, *shape) float32 to logits (B, classes) or labels (B,).

    `batch` copies are evaluated at a time. `model` is the model's digest; it enters the seeds, so that two models do
    not share noise. Raises UsageError for a torch module in training mode.
    """

    classifier: Classify
    noise: Noise
    classes: int
    batch: int = 256
    model: str = ""

    def __post_init__(self) -> None:
        self._counter()

    def _counter(self) -> VoteCounter:
        return VoteCounter(self.classifier, self.noise, self.classes, self.batch)

    def predict(
        self,
        x: npt.NDArray[np.float32],
        samples: int = 1000,
        *,
        alpha: object = ALPHA,
        seed: int = 0,
    ) -> Prediction:
        """Return g(x), wrong with probability <= alpha over the sampling, or ABSTAIN.

        `x` is float32 of one input's shape. The top class is returned if BinomTest(n1, n1 + n2, 1/2) <= alpha
        (two-sided; Hung and Fithian; Cohen et al. 2019, proposition 1), alpha less the sampler's deviation. Raises
        UsageError when not even a unanimous vote of `samples` could pass.
        """
        begun = time.perf_counter()
        point = self.noise.place(x)
        exact = _probability(alpha)
        left = self._alpha_left(exact, samples, point)
        least = 1
        while statistics.binomial_test(least, 0) > left:
            least += 1
        if samples < least:
            raise UsageError("samples", samples, f"at least {least} at alpha {float(exact):g}")
        asked = {"task": "predict", "samples": samples, "alpha": str(exact)}
        stream = self._stream(seed, x, asked, Purpose.PREDICTION)
        votes = self._counter().count(point, range(samples), stream=stream)
        second, first = sorted(votes.counts)[-2:]
        p_value = statistics.binomial_test(first, max(second, votes.invalid))
        settled = p_value <= left
        return Prediction(
            label=votes.counts.index(first) if settled else ABSTAIN,
            counts=votes.counts,
            invalid=votes.invalid,
            p_value=p_value,
            alpha=exact,
            samples=samples,
            on_grid=point.on_grid,
            seed=stream.seed.hex(),
            sampler=self.noise.sampler,
            seconds=time.perf_counter() - begun,
            reason="" if settled else f"the two leading classes are too close after {samples} samples",
        )

    def certify(
        self,
        x: npt.NDArray[np.float32],
        *,
        selection_samples: int = 100,
        samples: int = 10_000,
        alpha: object = ALPHA,
        seed: int = 0,
        bound: str = "two-class",
    ) -> SmoothedResult:
        """Return a label and a radius that hold together with probability >= 1 - alpha over the sampling, or ABSTAIN.

        `x` is float32 of one input's shape. The class is chosen from `selection_samples` copies, and its probability
        bounded from `samples` others (Cohen et al. 2019, CERTIFY; `bound`: see `unmoved.smooth.statistics`). Raises
        UsageError when not even a unanimous vote of `samples` could certify anything, naming the number that could.
        """
        begun = time.perf_counter()
        if isinstance(selection_samples, bool) or not isinstance(selection_samples, int) or selection_samples < 1:
            raise UsageError("selection_samples", selection_samples, "an integer >= 1")
        point = self.noise.place(x)
        exact = _probability(alpha)
        left = self._alpha_left(exact, samples, point)
        self._require(samples, left, point, bound)
        asked = {"task": "certify", "samples": samples, "selection": selection_samples}
        stream = self._stream(seed, x, asked | {"alpha": str(exact), "bound": bound}, Purpose.CERTIFICATION)
        counter, choosing = self._counter(), Stream(stream.seed, Purpose.SELECTION)
        selection = counter.count(point, range(selection_samples), stream=choosing)
        votes = counter.count(point, range(samples), stream=stream)
        top = selection.counts.index(max(selection.counts))
        bounds = statistics.bound_named(bound)((*votes.counts, votes.invalid), top, left)
        radius, reason = self._decide(bounds, point, votes)
        return SmoothedResult(
            label=top if radius > 0 else ABSTAIN,
            radius=radius,
            counts=votes.counts,
            selection_counts=selection.counts,
            top=top,
            invalid=selection.invalid + votes.invalid,
            p_low=bounds.p_low,
            p_high=bounds.p_high,
            alpha=exact,
            bound=bound,
            samples=samples,
            selection_samples=selection_samples,
            noise=self.noise.kind,
            sigma=self.noise.scale,
            grid=self.noise.grid,
            on_grid=point.on_grid,
            grid_distance=point.distance,
            seed=stream.seed.hex(),
            sampler=self.noise.sampler,
            seconds=time.perf_counter() - begun,
            reason=reason,
        )

    def _decide(self, bounds: statistics.Bounds, point: GridPoint, votes: Votes) -> tuple[float, str]:
        """Return the radius around the input, rounded down, or 0 with the reason for abstaining."""
        if votes.invalid:
            return 0.0, f"{votes.invalid} of {votes.seen} noisy copies gave a NaN or an infinity"
        around_point = self.noise.radius(bounds.p_low, bounds.p_high)
        if around_point <= 0:
            return 0.0, "the top class is not ahead for certain: more samples or a smaller sigma may settle it"
        radius = math.nextafter(around_point - point.distance, -math.inf) if point.distance else around_point
        if radius <= 0:
            lost = "rounding x to the grid costs" if point.on_grid else "x is off the grid, which costs"
            return 0.0, f"{lost} {point.distance:.3g}, more than the radius {around_point:.3g}: use a finer grid"
        return radius, ""

    def _alpha_left(self, alpha: Fraction, samples: int, point: GridPoint) -> Fraction:
        """Return alpha less the distance of the sampler's law from the exact one."""
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise UsageError("samples", samples, "an integer >= 1")
        deviation = self.noise.deviation(samples, point.integers.size)
        if alpha <= deviation:
            expected = f"more than {float_up(deviation):.3g}, the sampler's deviation over {samples} samples"
            raise UsageError("alpha", float(alpha), expected)
        return alpha - deviation

    def _require(self, samples: int, left: Fraction, point: GridPoint, bound: str) -> None:
        """Raise UsageError when a unanimous vote would not certify a positive radius around the input."""
        unanimous = statistics.bound_named(bound)((samples, 0), 0, left)
        if self.noise.radius(unanimous.p_low, unanimous.p_high) > point.distance:
            return
        needed = self._samples_needed(samples, left, point, bound)
        if needed > MOST_SAMPLES:
            where = "rounding to the grid" if point.on_grid else "an input off the grid"
            expected = f"a finer grid or a larger {self.noise.kind} noise: {where} costs {point.distance:.3g}"
            raise UsageError("grid", self.noise.grid, expected)
        raise UsageError("samples", samples, f"at least {needed} at alpha {float(left):g}: fewer certify nothing")

    def _samples_needed(self, samples: int, left: Fraction, point: GridPoint, bound: str) -> int:
        """Return the least number of samples whose unanimous vote certifies something, at most MOST_SAMPLES + 1."""

        def enough(number: int) -> bool:
            unanimous = statistics.bound_named(bound)((number, 0), 0, left)
            return self.noise.radius(unanimous.p_low, unanimous.p_high) > point.distance

        low, high = samples, 2 * samples
        while high <= MOST_SAMPLES and not enough(high):
            low, high = high, 2 * high
        if high > MOST_SAMPLES:
            return MOST_SAMPLES + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high

    def _stream(self, seed: int, x: npt.NDArray[np.float32], asked: dict[str, object], purpose: Purpose) -> Stream:
        noise = {"kind": self.noise.kind, "scale": str(self.noise.scale), "grid": self.noise.grid}
        parameters = {**asked, **noise, "sampler": self.noise.sampler, "classes": self.classes}
        return Stream(input_seed(seed, self.model, x=x, parameters=parameters), purpose)


def _probability(alpha: object) -> Fraction:
    exact = rational(alpha, "alpha")
    if not 0 < exact < 1:
        raise UsageError("alpha", alpha, "a number strictly between 0 and 1")
    return exact
