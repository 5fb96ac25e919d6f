"""Executions that a claim `float32-any-order` may be about: what a runtime may do to every number, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from unmoved_check.outcome import Rejection

FUNCTIONS = {"sigmoid": (16, 0), "tanh": (16, 0), "erf": (16, 0), "exp": (0, 16), "slanted": (0, 1)}


@dataclass(frozen=True)
class Profile:
    """A kind of execution: every operation is off by a factor 1 + d, |d| <= `unit`, and by at most 2^-126 beside it.

    `operand` bounds the relative rounding of both factors of every product inside Gemm, MatMul and Conv.
    """

    name: str
    unit: Fraction
    operand: Fraction
    text: str
    functions: Mapping[str, tuple[int, int]] = field(default_factory=lambda: FUNCTIONS)
    """By the curve's name, a and r: what is computed is off by at most (a + r |f|) units. An assumption, not a fact,
    but for slanted (LeakyRelu, PRelu), where it is one product."""

    def factor(self, roundings: int, products: int) -> Fraction:
        """What `roundings` operations and the operands of `products` matrix products make of a number, at most.

        (1 + g)(1 + o)^2p - 1 with g = r u / (1 - r u), the bound of (1 + d_1) ... (1 + d_r) - 1 and of its inverse
        (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1).
        """
        lost = roundings * self.unit
        if 2 * lost > 1:
            raise Rejection(f"sums too long for {self.name}")
        return (1 + lost / (1 - lost)) * (1 + self.operand) ** (2 * products) - 1


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("float32", Fraction(1, 1 << 24), Fraction(0), "IEEE float32, round to nearest"),
        Profile("tf32", Fraction(1, 1 << 22), Fraction(1, 1 << 10), "tensor cores: factors of 11 bits, float32 sums"),
    )
}
"""By the name that a claim gives. tf32: factors rounded or cut off to 11 bits, sums cut off to 23 bits."""
