"""Randomised ablation (Levine and Feizi 2020): f sees k of the n pixels, chosen evenly; L0.

A change of r pixels stays out of sight unless one of them is kept, with probability D = 1 - C(n - r, k)/C(n, k). So an
event of probability p keeps at least p - D, and class A is ahead where pA - D > pB + D. A pixel is a place of an image
with all of its channels; r changed elements touch at most r pixels, so a radius in pixels is one in elements.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import comb

from unmoved_check.noise_law import Told
from unmoved_check.outcome import Rejection

__all__ = ["ablation", "places"]

_WORDS = re.compile(r"([1-9][0-9]{0,8}) of ([1-9][0-9]{0,8}), -?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:e[+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class _Ablation:
    keep: int
    pixels: int
    deviation: Fraction
    norm: str = "0"
    sampler: str = "philox4x32-10/subset/1"

    def admit(self, center: list[Fraction]) -> None:
        """Any centre will do."""

    def radius(self, p_low: Fraction, p_high: Fraction, asked: Fraction) -> Fraction:
        """`asked` pixels, if the class is still ahead after so many changed."""
        if asked.denominator != 1 or asked < 0:
            raise Rejection("claim.radius is not a whole number of elements")
        seen = comb(max(0, self.pixels - int(asked)), self.keep)
        if p_low - p_high > 2 * (1 - Fraction(seen, comb(self.pixels, self.keep))):
            return asked
        raise Rejection("claim.radius is more than the counts prove")


def places(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of the pixels: without a leading 1 (the batch); of three axes or more then without the channels."""
    inner = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return inner[1:] if len(inner) >= 3 else inner


def ablation(told: Told) -> _Ablation:
    """The words are "k of n, blank"; `scale` is k/n. Two of the 64-bit keys equal: a copy's deviation is n^2 2^-65."""
    told.on(gridded=False)
    found = None if told.words is None else _WORDS.fullmatch(told.words)
    if found is None:
        raise Rejection("evidence.noise is not ablation(K of N, VALUE)")
    keep, pixels, real = int(found[1]), int(found[2]), 1
    for length in places(told.shape):
        real *= length
    if pixels != real or keep > pixels or told.scale != Fraction(keep, pixels):
        raise Rejection(f"evidence.noise does not fit inputs of {real} pixels")
    return _Ablation(keep, pixels, Fraction(pixels * pixels, 1 << 65))
