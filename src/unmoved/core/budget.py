"""What a method may spend."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from unmoved.core.errors import UsageError


@dataclass(frozen=True)
class Budget:
    """Seconds of wall time for one call of a method; infinite unless said. The clock starts when the budget is made."""

    seconds: float = math.inf
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Refuse NaN and negative seconds."""
        if not self.seconds >= 0:
            raise UsageError("seconds", self.seconds, "a number >= 0")

    @property
    def left(self) -> float:
        """Seconds left; 0 when spent."""
        return max(0.0, self.seconds - (time.monotonic() - self.started))

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0.0
