"""Regression: bounds on the percentile of a smoothed real-valued function (Chiang et al. 2020, arXiv 2007.03730).

h_p(x) = inf{y : P(f(z) <= y) >= p}, z a noisy copy of x, 0 < p < 1; f any measurable real function. Let W be the
noise's worst case (of a move from x to x' and back alike, as for every noise of this room), and ||x' - x|| <= eps. Then

    h_{W(p, eps)}(x) <= h_p(x') <= h_{1 - W(1 - p, eps)}(x)  (the right end: any larger percentile will do);

for Gaussian noise these are h_{Phi(Phi^-1 p -+ eps/s)}. From n samples at x, sorted, X_(1) <= ... <= X_(n):

* X_(k) >= h_p(x') fails only if P(f <= X_(k)) <= u = 1 - W(1 - p, eps); then at least k samples lie in a set of
  probability <= u: P(Bin(n, u) >= k) <= alpha/2 iff u <= CPlow(k, n, alpha/2). The least such k.
* X_(j) <= h_p(x') fails only if P(f < X_(j)) >= v = W(p, eps); then at most j - 1 samples lie in a set of probability
  >= v: P(Bin(n, v) <= j - 1) <= alpha/2 iff v >= CPup(j - 1, n, alpha/2). The largest such j.

Where there is no such k or j the bound is infinite. A NaN counts as +inf for the upper and as -inf for the lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down
from unmoved.smooth.draws.inversion import share_of
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.draws.seeds import Purpose, Stream, input_seed
from unmoved.smooth.radii.search import largest_whole, one_minus_down, one_minus_up
from unmoved.smooth.statistics import clopper_pearson_high, clopper_pearson_low
from unmoved.smooth.voting.sampling import Classify, VoteCounter, evaluate


@dataclass(frozen=True)
class PercentileBounds:
    """low <= h_p(x') <= high for all x' within eps, together, with probability >= 1 - alpha. `value`: X_(ceil(p n)).

    `low_rank` (0: none) and `high_rank` (n + 1: none) are the order statistics that the ends are, counted from 1.
    """

    value: float
    low: float
    high: float
    low_rank: int
    high_rank: int


def percentile_bounds(
    values: npt.NDArray[np.float64],
    noise: Noise,
    eps: float,
    *,
    percentile: object = "1/2",
    alpha: Fraction,
) -> PercentileBounds:
    """Return bounds on h_percentile(x') for all x' within `eps` of x (in the noise's norm), wrong with probability <=
    alpha.

    `values` (n,) are f at n independent noisy copies of x; alpha is what is left after the noise's deviation. `eps`
    must hold what the grid costs already. Raises UsageError for an empty array, a percentile outside (0, 1), eps < 0.
    """
    share = share_of(percentile, "percentile")
    if values.ndim != 1 or values.size == 0 or not 0 < share < 1 or not eps >= 0:
        expected = "values (n,), 0 < percentile < 1, eps >= 0"
        raise UsageError("values, percentile, eps", (values.shape, str(share), eps), expected)
    n, half = values.size, float_down(alpha / 2)
    p = float(share)
    below, above = (math.nextafter(p, end) for end in (0.0, 1.0))  # the float may be on either side of a rational
    v = noise.worst_case(below, eps)
    u = math.nextafter(one_minus_up(noise.worst_case(one_minus_down(above), eps)), math.inf)
    # CPup(j - 1) grows with j, CPlow(k) with k: the conditions hold for all smaller j, for all larger k
    j = largest_whole(lambda rank: rank == 0 or clopper_pearson_high(rank - 1, n, half) <= v, n)
    k = 1 + largest_whole(lambda rank: rank == 0 or clopper_pearson_low(rank, n, half) < u, n)
    lower = np.sort(np.where(np.isnan(values), -np.inf, values))
    upper = np.sort(np.where(np.isnan(values), np.inf, values))
    return PercentileBounds(
        value=float(upper[math.ceil(share * n) - 1]),
        low=float(lower[j - 1]) if j else -math.inf,
        high=float(upper[k - 1]) if k <= n else math.inf,
        low_rank=j,
        high_rank=k,
    )


@dataclass(frozen=True)
class SmoothedRegression:
    """A real function behind noise: `function` maps (B, *shape) float32 to (B,) or (B, 1); its percentiles are
    certified.

    `batch` copies are evaluated at a time; besides the values, memory is one batch. `model`: the model's digest.
    Raises UsageError for a torch module in training mode.
    """

    function: Classify
    noise: Noise
    batch: int = 256
    model: str = ""

    def __post_init__(self) -> None:
        VoteCounter(self.function, self.noise, 2, self.batch)  # refuses what no function of z alone can be

    def certify(
        self,
        x: npt.NDArray[np.float32],
        eps: float,
        *,
        percentile: object = "1/2",
        samples: int = 10_000,
        alpha: object = "1/1000",
        seed: int = 0,
    ) -> PercentileBounds:
        """Return bounds on h_percentile(x') for all x' within `eps` of `x`, wrong with probability <= alpha.

        What x loses to the grid is added to eps, and the sampler's deviation taken off alpha, first.
        """
        exact = share_of(alpha, "alpha")
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise UsageError("samples", samples, "an integer >= 1")
        point = self.noise.place(x)
        left = exact - self.noise.deviation(samples, point.integers.size)
        if not 0 < left < 1:
            raise UsageError("alpha", float(exact), "a number below 1, above the sampler's deviation")
        noise = {"kind": self.noise.kind, "scale": str(self.noise.scale), "grid": self.noise.grid}
        asked = {"task": "percentile", "samples": samples, "percentile": str(percentile), "alpha": str(exact), **noise}
        stream = Stream(input_seed(seed, self.model, x=x, parameters=asked), Purpose.CERTIFICATION)
        values, rows = np.empty(samples, np.float64), torch.empty((self.batch, *point.shape), dtype=torch.float32)
        for first in range(0, samples, self.batch):
            number = min(self.batch, samples - first)
            view = rows.numpy()
            self.noise.sample(point, view[:number], stream=stream, first=first)
            view[number:] = view[0]
            output = evaluate(self.function, rows)
            if output.shape not in ((self.batch,), (self.batch, 1)) or not output.is_floating_point():
                shown = f"outputs {output.dtype} {tuple(output.shape)}"
                raise UsageError("function", shown, f"numbers ({self.batch},) or ({self.batch}, 1)")
            values[first : first + number] = output.reshape(-1)[:number].double().cpu().numpy()
        far = math.nextafter(eps + point.distance, math.inf) if point.distance else eps
        return percentile_bounds(values, self.noise, far, percentile=percentile, alpha=left)
