"""Uniform noise and splitting noise: probabilities are 1/(2 lam)-Lipschitz in L1.

Uniform on [-lam, lam]^d: the laws at x and x + delta overlap with mass prod_i (1 - |delta_i|/(2 lam))_+ >= 1 -
||delta||_1/(2 lam). Splitting (Levine and Feizi 2021): element i is seen through a threshold uniform on (0, 2 lam);
moving it by delta_i changes what is seen with probability <= |delta_i|/(2 lam); the union bound does the rest. So an
event of probability p keeps at least p - r/(2 lam), and class A is ahead where pA - r/(2 lam) > pB + r/(2 lam), that
is r < lam (pA - pB). All of it is rational.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from unmoved_check.noise_law import GRID_SAMPLER, Told
from unmoved_check.outcome import Rejection

__all__ = ["splitting", "uniform"]


@dataclass(frozen=True)
class _Lipschitz:
    lam: Fraction
    deviation: Fraction
    sampler: str
    norm: str = "1"

    def admit(self, center: list[Fraction]) -> None:
        """Any centre will do."""

    def radius(self, p_low: Fraction, p_high: Fraction, asked: Fraction) -> Fraction:
        """`asked`, if it is below lam (p_low - p_high): at that very distance two classes may be equal."""
        if asked < self.lam * (p_low - p_high):
            return asked
        raise Rejection("claim.radius is more than the counts prove")


def uniform(told: Told) -> _Lipschitz:
    """P(E <= k) = (k + 1/2 + lam q)/(2 lam q) within [0, 1], |E| <= K = max(0, ceil(lam q - 1/2)).

    2 K + 1 thresholds, each off by less than 2^-64: a copy's deviation is d (2 K + 1) 2^-64.
    """
    told.plain()
    reach = max(0, ceil(told.scale * told.grid - Fraction(1, 2)))
    return _Lipschitz(told.scale, told.elements * Fraction(2 * reach + 1, 1 << 64), GRID_SAMPLER)


def splitting(told: Told) -> _Lipschitz:
    """Thresholds (V + 1/2)/q, V uniform on 0 ... L - 1, L = 2 lam q, an integer; f sees (min(s, 1) + [x > s])/2.

    L thresholds of 64 bits: a copy's deviation is d L 2^-64.
    """
    told.plain()
    levels = 2 * told.scale * told.grid
    if levels.denominator != 1:
        raise Rejection("evidence: 2 sigma grid is not an integer, as splitting noise needs")
    return _Lipschitz(told.scale, told.elements * levels / (1 << 64), "philox4x32-10/splitting/1")
