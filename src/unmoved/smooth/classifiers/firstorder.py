"""First-order information: a larger L2 radius for Gaussian noise when the smoothed probability is known to be flat at
x.

Levine, Kumar, Goldstein, Feizi 2020 (arXiv 2010.10549); Mohapatra, Ko, Weng, Chen, Liu, Daniel 2020 (arXiv 2010.08661).
Let p(x') = P(f(z) = A), s sigma, phi and Phi the normal density and distribution function.

**Theorem.** If p(x) >= p and s ||grad p(x)||_2 <= m, then p(x') >= V for ||x' - x||_2 = r, where V = Phi(h - r/s) -
Phi(l - r/s) and the slab [l, h] has Phi(h) - Phi(l) = p and phi(h) - phi(l) = m (with a' = Phi(l): the formula of the
papers). When m >= phi(Phi^-1 p) the gradient says nothing, and the half-space l = -inf is the worst case.

**What is computed is a bound whatever l and h are**, so that no root need be exact. u is the noise along the move in
units of s, S the event. Shrinking S to probability p, points with u <= 0 first, keeps E[u 1_S] >= -m. L(u) = exp(r u/s
- r^2/(2 s^2)) is convex: below its chord k1 + k2 u through l and h between them, above it outside, k2 > 0. Hence
P_x'(S) = E[L 1_S] = E[(L - k1 - k2 u) 1_S] + k1 p + k2 E[u 1_S] >= E[L 1_[l,h]] + k1 (p - P([l, h])) - k2 (m + E[u
1_[l,h]]).

**The slope from samples.** u is not seen, but u^ = E[u | E], the mean of u over the cell of the integer E, is known,
and E[u^ 1] = E[u 1] = mu, s grad p. Let w and v be the means of u^ 1[f = A] over two separate halves of n copies each.
For a unit vector e independent of w, X = e.u^ 1[f = A] has |X| <= |E[e.u | E]|, so E X^2k <= E Z^2k, Z normal (Jensen),
and with an independent copy X': E exp(-t (X - E X)) <= E exp(t (X' - X)) <= E cosh(2 t Z) = exp(2 t^2). So n-means fall
short by c = 2 sqrt(2 ln(1/delta)/n) with probability <= delta: w.v >= mu.v - c ||v||, and mu.v >= ||mu||^2 - c ||mu||.
Together, with probability >= 1 - 2 delta, ||mu||^2 - c ||mu|| <= w.v + c ||v||, which bounds ||mu||.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down
from unmoved.smooth.classifiers.results import ABSTAIN
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.inversion import share_of
from unmoved.smooth.draws.seeds import Purpose, Stream, input_seed
from unmoved.smooth.noises.gaussian import Gaussian
from unmoved.smooth.radii.search import check_size, largest_size
from unmoved.smooth.statistics import clopper_pearson_low
from unmoved.smooth.voting.sampling import Classify, VoteCounter, evaluate

Vector = npt.NDArray[np.float64]

_ERROR = 1e-14
"""Above the error of the few floating-point operations of the bound, relative to the chord's size."""


def _density(u: float) -> float:
    return math.exp(-u * u / 2) / math.sqrt(2 * math.pi) if math.isfinite(u) else 0.0


def worst_case(p: float, slope: float, r: float, noise: Gaussian) -> float:
    """Return V, rounded down: what an event of probability >= p with s ||gradient|| <= slope keeps at distance r."""
    check_size(p, r)
    if not slope >= 0:
        raise UsageError("slope", slope, "a number >= 0")
    plain = noise.worst_case(p, r)
    if not 0 < p < 1 or r == 0 or slope >= _density(float(ndtri(p))):
        return plain
    shift = math.nextafter(r / float_down(noise.sigma), math.inf)

    def excess(start: float) -> float:
        return _density(float(ndtri(min(1.0, start + p)))) - _density(float(ndtri(start))) - slope

    centred = (1 - p) / 2  # the symmetric slab, of slope 0 but for rounding
    if excess(0.0) <= 0:
        return plain
    start = centred if excess(centred) >= 0 else float(brentq(excess, 0.0, centred, xtol=1e-18))
    low, high = float(ndtri(start)), float(ndtri(min(1.0, start + p)))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return plain
    ends = [math.exp(min(700.0, shift * u - shift * shift / 2)) for u in (low, high)]
    tilt = (ends[1] - ends[0]) / (high - low)
    level = ends[0] - tilt * low
    there = float(ndtr(high - shift) - ndtr(low - shift))
    here, mean = float(ndtr(high) - ndtr(low)), _density(low) - _density(high)
    bound = there + level * (p - here) - tilt * (slope + mean)
    error = _ERROR * (1 + abs(level) + abs(tilt) * (1 + abs(low) + abs(high)))
    return max(plain, bound - error)


def first_order_radius(p_low: float, slope: float, noise: Gaussian) -> float:
    """Return the radius, rounded down, at which V is still above 1/2 (one-class); -1 for p_low <= 1/2.

    Never below Cohen's s Phi^-1(p_low) (but for rounding), which it is when the slope says nothing.
    """
    return largest_size(lambda r: worst_case(p_low, slope, r, noise) > 0.5, float(noise.sigma))


def slope_bound(w: Vector, v: Vector, half: int, alpha: float) -> float:
    """Return an upper bound of ||mu||, wrong with probability <= alpha; `half` copies are behind each of w and v."""
    if half < 1 or not 0 < alpha < 1:
        raise UsageError("half, alpha", (half, alpha), "half >= 1, 0 < alpha < 1")
    c = 2 * math.sqrt(2 * math.log(2 / alpha) / half)
    product = max(0.0, float(w @ v)) + c * float(np.linalg.norm(v))
    # the sums of floats behind w and v are exact to far less than 1e-9 of 1
    return ((c + math.sqrt(c * c + 4 * product)) / 2) * (1 + 1e-9) + 1e-9


def cell_means(noise: Gaussian) -> Vector:
    """Return E[u | E = k], k = -K ... K, float64 (2 K + 1,): (phi(a) - phi(b))/(Phi(b) - Phi(a)), (a, b) the cell."""
    width = float(noise.sigma * noise.grid)
    b = (np.arange(-noise.reach, 1) + 0.5) / width
    b[-1] = 0.5 / width
    a = b - 1 / width
    mass = ndtr(b) - ndtr(a)
    weight = (np.exp(-a * a / 2) - np.exp(-b * b / 2)) / math.sqrt(2 * math.pi)
    lower = np.clip(np.divide(weight, mass, out=(a + b) / 2, where=mass > 0), a, b)
    lower[-1] = 0.0
    return np.concatenate([lower, -lower[-2::-1]])


@dataclass(frozen=True)
class FirstOrderResult:
    """With probability >= 1 - alpha: g(x') = `label` for all x' within the L2 `radius`, rounded down; or ABSTAIN.

    `plain_radius` is what the same p_low gives without the slope.
    """

    label: int | None
    radius: float
    plain_radius: float
    p_low: float
    slope_high: float
    count: int
    samples: int
    alpha: Fraction


@dataclass(frozen=True)
class FirstOrderSmoothed:
    """A classifier behind Gaussian noise, certified with the slope of the top class's probability.

    `classifier` as for `Smoothed`. Costs a product of each copy with a table, and two vectors of memory, more.
    """

    classifier: Classify
    noise: Gaussian
    classes: int
    batch: int = 256
    model: str = ""

    def certify(
        self,
        x: npt.NDArray[np.float32],
        *,
        selection_samples: int = 100,
        samples: int = 10_000,
        alpha: object = "1/1000",
        seed: int = 0,
    ) -> FirstOrderResult:
        """Return a label and a radius that hold together with probability >= 1 - alpha, or ABSTAIN.

        Half of alpha is for p_low (from all samples), half for the slope (from both halves of the same samples).
        """
        exact, counter = share_of(alpha, "alpha"), VoteCounter(self.classifier, self.noise, self.classes, self.batch)
        if samples < 2 or selection_samples < 1:
            raise UsageError("samples", (samples, selection_samples), "at least 2, and 1 for the selection")
        point = self.noise.place(x)
        left = exact - self.noise.deviation(samples, point.integers.size)
        if not 0 < left < 1:
            raise UsageError("alpha", float(exact), "a number below 1, above the sampler's deviation")
        asked = {"task": "first-order", "samples": samples, "selection": selection_samples, "alpha": str(exact)}
        asked |= {"kind": self.noise.kind, "scale": str(self.noise.scale), "grid": str(self.noise.grid)}
        key = input_seed(seed, self.model, x=x, parameters=asked)
        chosen = counter.count(point, range(selection_samples), stream=Stream(key, Purpose.SELECTION)).counts
        top, half, stream = chosen.index(max(chosen)), samples // 2, Stream(key, Purpose.CERTIFICATION)
        first_hits, w = self._mean(point, range(half), stream, top)
        second_hits, v = self._mean(point, range(half, 2 * half), stream, top)
        share = float_down(left / 2)
        low = clopper_pearson_low(first_hits + second_hits, 2 * half, share)
        slope = slope_bound(w, v, half, share)
        plain = self.noise.radius(low, min(1.0, math.nextafter(1 - low, math.inf)))
        radius = max(plain, first_order_radius(low, slope, self.noise))
        if radius > 0 and point.distance:
            radius = math.nextafter(radius - point.distance, -math.inf)
        label = top if radius > 0 else ABSTAIN
        return FirstOrderResult(label, max(0.0, radius), plain, low, slope, first_hits + second_hits, 2 * half, exact)

    def _mean(self, point: GridPoint, samples: range, stream: Stream, top: int) -> tuple[int, Vector]:
        """Return how many copies f puts in class `top`, and the mean of u^ over those, counting 0 for the others."""
        means, base = cell_means(self.noise), point.integers.astype(np.int64)
        rows = torch.empty((self.batch, *point.shape), dtype=torch.float32)
        view, total, hits = rows.numpy(), np.zeros(base.size, np.float64), 0
        for first in range(samples.start, samples.stop, self.batch):
            number = min(self.batch, samples.stop - first)
            self.noise.sample(point, view[:number], stream=stream, first=first)
            view[number:] = view[0]
            output = evaluate(self.classifier, rows)
            if output.ndim == 2:
                output = torch.where(torch.isfinite(output).all(dim=1), output.argmax(dim=1), self.classes)
            ours = output.cpu().numpy()[:number] == top
            # the quotient by the grid is within 2^-24 of z, relatively, and |q z| < 2^23: rounding restores the integer
            integers = np.rint(view[:number].reshape(number, -1)[ours].astype(np.float64) * self.noise.grid)
            total += means[integers.astype(np.int64) - base + self.noise.reach].sum(axis=0)
            hits += int(ours.sum())
        return hits, total / len(samples)
