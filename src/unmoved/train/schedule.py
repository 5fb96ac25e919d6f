"""How a quantity moves through training: functions of progress, 0 at the first step and 1 at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unmoved.core.errors import UsageError


@dataclass(frozen=True)
class SmoothRamp:
    """From 0 to 1 until progress `end`, then 1: as a power up to the share `middle` of the ramp, linear after it.

    The slope is continuous (the smoothed schedule of Xu et al. 2020, used by Shi et al. 2021). `end` 0: always 1.
    """

    end: float = 0.45
    middle: float = 0.25
    power: float = 4.0

    def __post_init__(self) -> None:
        """Check the settings."""
        if not (0 <= self.end <= 1 and 0 < self.middle < 1 and self.power >= 1):
            raise UsageError("end, middle, power", (self.end, self.middle, self.power), "in [0, 1], in (0, 1), >= 1")

    def __call__(self, progress: float) -> float:
        """Return the value, in [0, 1]; it never decreases."""
        if progress >= self.end:
            return 1.0
        t, m, p = progress / self.end, self.middle, self.power
        # a t^p and the line meet at m in value and slope: p a m^(p-1) (1 - m) + a m^p = 1
        a = 1 / (m ** (p - 1) * (p * (1 - m) + m))
        return float(a * t**p if t <= m else a * m**p + p * a * m ** (p - 1) * (t - m))


@dataclass(frozen=True)
class ConstantThenCosine:
    """1 until progress `start`, then half a cosine down to 0 at the end."""

    start: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 <= self.start <= 1:
            raise UsageError("start", self.start, "a share from 0 to 1")

    def __call__(self, progress: float) -> float:
        """Return the value, in [0, 1]; it never increases."""
        if progress <= self.start:
            return 1.0
        return (1 + math.cos(math.pi * (progress - self.start) / (1 - self.start))) / 2
