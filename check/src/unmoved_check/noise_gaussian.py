"""Gaussian noise: Cohen, Rosenfeld, Kolter 2019, Theorem 1, in L2.

If under N(0, sigma^2 I) noise at x class c has probability >= pA and every other class <= pB, then c stays the most
probable class at every x' with ||x' - x||_2 < R = sigma/2 (Phi^-1(pA) - Phi^-1(pB)); with pB = 1 - pA this is R =
sigma Phi^-1(pA). The integer noise of the format page is Gaussian noise rounded to the grid, hence the theorem holds
for f composed with the rounding. The R computed here is strictly below that of the theorem (`normal` encloses
strictly), so the closed ball of radius R is covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from unmoved_check.noise_law import GRID_SAMPLER, Told
from unmoved_check.normal import normal_quantile_bounds
from unmoved_check.outcome import Rejection

__all__ = ["gaussian"]


@dataclass(frozen=True)
class _Gaussian:
    sigma: Fraction
    deviation: Fraction
    norm: str = "2"
    sampler: str = GRID_SAMPLER

    def admit(self, center: list[Fraction]) -> None:
        """Any centre will do."""

    def radius(self, p_low: Fraction, p_high: Fraction, asked: Fraction) -> Fraction:
        """A lower bound of R, positive."""
        if p_high == 1 - p_low:
            radius = self.sigma * normal_quantile_bounds(p_low)[0]
        else:
            gap = normal_quantile_bounds(p_low)[0] - normal_quantile_bounds(p_high)[1]
            radius = self.sigma / 2 * gap
        if radius <= 0:
            raise Rejection("the counts prove no positive radius")
        return radius


def gaussian(told: Told) -> _Gaussian:
    """P(E = k) = Phi((k + 1/2)/(q sigma)) - Phi((k - 1/2)/(q sigma)), cut at K = ceil(10 sigma q).

    A copy's deviation is d (2 K + 2) 2^-64: 2 K + 1 thresholds, each off by less than 2^-64, and both tails.
    """
    told.plain()
    reach = ceil(10 * told.scale * told.grid)
    return _Gaussian(told.scale, told.elements * Fraction(2 * reach + 2, 1 << 64))
