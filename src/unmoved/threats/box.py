"""A box: every feature between a low and a high end of its own, whatever the input was."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from unmoved.core.errors import UsageError
from unmoved.core.rounding import Floats
from unmoved.core.threat import AnyFloats, Region, Threat, exact


@dataclass(frozen=True, eq=False)
class Box(Threat):
    """All x' with low <= x' <= high, elementwise; the ends are float64 of the model's input shape, taken exactly.

    Raises UsageError when the ends have different shapes, are not finite, or low > high somewhere.
    """

    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        """Check the ends."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        for name, end in (("low", low), ("high", high)):
            if end.dtype not in (np.float16, np.float32, np.float64):
                raise UsageError(name, f"dtype {end.dtype}", "an array of float64")
        low, high = low.astype(np.float64), high.astype(np.float64)
        if low.shape != high.shape:
            raise UsageError("high", high.shape, f"the shape of low, {low.shape}")
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise UsageError("low, high", "NaN or infinity inside", "finite numbers")
        if (low > high).any():
            raise UsageError("low", f"low > high at {int((low > high).sum())} places", "low <= high everywhere")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @property
    def name(self) -> str:
        """`box:` and the first hex digits of the ends' digest."""
        return "box:" + hashlib.sha256(self.low.tobytes() + self.high.tobytes()).hexdigest()[:12]

    @property
    def size(self) -> Fraction | None:
        """A box has no single size."""
        return None

    def contains(self, x: AnyFloats, point: AnyFloats) -> bool:
        """Say exactly whether `point` lies in the box; x plays no part."""
        if point.shape != self.low.shape or not exact(point):
            return False
        wide = point.astype(np.float64)
        return bool(((self.low <= wide) & (wide <= self.high)).all())

    def region(self, x: AnyFloats) -> Region:
        """Return the box itself, once an input; its centre is the middle."""
        low = np.broadcast_to(self.low, (len(x), *self.low.shape))
        high = np.broadcast_to(self.high, (len(x), *self.high.shape))
        # halves of the least floats round to zero, which may be outside
        return Region(low, high, np.clip(low / 2 + high / 2, low, high))

    def inner_box(self, x: AnyFloats) -> tuple[AnyFloats, AnyFloats]:
        """Return the box's ends once an input, as float32 rounded inward: what attacks clamp to."""
        low, high = self.low.astype(np.float32), self.high.astype(np.float32)
        low = np.where(low < self.low, np.nextafter(low, np.float32(np.inf)), low)
        high = np.where(high > self.high, np.nextafter(high, np.float32(-np.inf)), high)
        return np.broadcast_to(low, (len(x), *low.shape)), np.broadcast_to(high, (len(x), *high.shape))

    def project(self, x: AnyFloats, points: AnyFloats) -> AnyFloats:
        """Clamp float32 points into the box, NaN to its low end; where no float32 fits, `contains` says no."""
        low, high = self.inner_box(points)
        single = points.astype(np.float32)
        return np.clip(np.where(np.isnan(single), low, single), low, high)
