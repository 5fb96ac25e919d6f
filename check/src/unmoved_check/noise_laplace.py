"""Laplace noise: the exact worst case in L1.

Let F be the distribution function of Laplace(1). An event of probability p keeps at least W_r(p) = F(F^-1(p) -
r/lam) after a move of L1 size r. One coordinate: the ratio of the two densities is monotone in that coordinate, so by
Neyman and Pearson a half-line keeps the least, which is W. Coordinate after coordinate: W grows with p, and W_s(W_r(p))
= W_{r+s}(p). So class A is ahead where W_r(pA) > 1 - W_r(1 - pB). (With pB = 1 - pA: r < -lam ln(2 (1 - pA)), Teng, Lee
and Yuan 2019.)

With e = exp(r/lam): W = p/e for p <= 1/2, else 1 - (1 - p) e where that is >= 1/2, else 1/(4 (1 - p) e). W falls as e
grows, and for an e above exp(r/lam) it is the worst case of a larger move: so an upper bound of e is all it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from unmoved_check.noise_law import GRID_SAMPLER, Told
from unmoved_check.normal import WORK, exp_bounds
from unmoved_check.outcome import Rejection

__all__ = ["kept", "laplace"]

_FARTHEST = 200
"""More multiples of lam than any count can prove."""


@dataclass(frozen=True)
class _Laplace:
    lam: Fraction
    deviation: Fraction
    norm: str = "1"
    sampler: str = GRID_SAMPLER

    def admit(self, center: list[Fraction]) -> None:
        """Any centre will do."""

    def radius(self, p_low: Fraction, p_high: Fraction, asked: Fraction) -> Fraction:
        """`asked`, if the class is still ahead there."""
        shift = asked / self.lam
        if 0 <= shift <= _FARTHEST:
            growth = Fraction(exp_bounds(shift)[1], 1 << WORK)
            if kept(p_low, growth) + kept(1 - p_high, growth) > 1:
                return asked
        raise Rejection("claim.radius is more than the counts prove")


def kept(p: Fraction, growth: Fraction) -> Fraction:
    """W as above, for e = `growth` >= 1."""
    if 2 * p <= 1:
        return p / growth
    rest = (1 - p) * growth
    if 2 * rest <= 1:
        return 1 - rest
    return 1 / (4 * rest)


def laplace(told: Told) -> _Laplace:
    """P(E > k) = exp(-(k + 1/2)/(q lam))/2 for k >= 0, symmetric, cut at K = ceil(45 lam q).

    Beyond K lies less than e^-45/2 < 2^-65 on either side. A copy's deviation is d (2 K + 2) 2^-64.
    """
    told.plain()
    reach = ceil(45 * told.scale * told.grid)
    return _Laplace(told.scale, told.elements * Fraction(2 * reach + 2, 1 << 64))
