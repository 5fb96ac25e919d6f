"""A share of a data set, with its confidence interval."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from unmoved.core import UsageError
from unmoved.smooth.statistics import clopper_pearson_high, clopper_pearson_low

CONFIDENCE = Fraction(95, 100)
"""Level of every interval: two-sided, half of the rest on each side."""


@dataclass(frozen=True)
class Share:
    """`count` of `total` inputs. The share of the population lies in [low, high] with confidence 95 %.

    Clopper and Pearson 1934, both ends rounded outward. It speaks of inputs drawn as these were, and of no others.
    Raises UsageError unless 0 <= count <= total and total >= 1.
    """

    count: int
    total: int

    def __post_init__(self) -> None:
        """Check the counts."""
        if not 0 <= self.count <= self.total or self.total < 1:
            raise UsageError("count, total", (self.count, self.total), "0 <= count <= total, total >= 1")

    @property
    def value(self) -> Fraction:
        """The share itself, exactly."""
        return Fraction(self.count, self.total)

    @cached_property
    def low(self) -> float:
        """Lower end of the interval."""
        return clopper_pearson_low(self.count, self.total, float(1 - CONFIDENCE) / 2)

    @cached_property
    def high(self) -> float:
        """Upper end of the interval."""
        return clopper_pearson_high(self.count, self.total, float(1 - CONFIDENCE) / 2)
