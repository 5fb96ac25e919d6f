"""The arithmetic that a claim is about: exact real numbers, or every execution in floating point of some kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unmoved.core.errors import UsageError


@dataclass(frozen=True)
class Semantics:
    """`name` and `profile` (None for real arithmetic) as certificates have them (docs/certificate-format.md).

    `unit` bounds the relative rounding of an operation, `operand` that of both factors of every matrix product.
    """

    name: str
    profile: str | None = None
    unit: float = 0.0
    operand: float = 0.0

    def __str__(self) -> str:
        """As the command line has it."""
        return self.name if self.profile in (None, "float32") else f"{self.name}:{self.profile}"

    @staticmethod
    def of(text: str) -> Semantics:
        """Return the semantics that the command line calls so; UsageError when there is none."""
        if text not in SEMANTICS:
            raise UsageError("semantics", text, "one of " + ", ".join(SEMANTICS))
        return SEMANTICS[text]

    @property
    def deployed(self) -> bool:
        """Whether executions are meant, and not real numbers."""
        return self.profile is not None


REAL = Semantics("real")
FLOAT32 = Semantics("float32-any-order", "float32", 2.0**-24)
TF32 = Semantics("float32-any-order", "tf32", 2.0**-22, 2.0**-10)

SEMANTICS: Mapping[str, Semantics] = {str(s): s for s in (REAL, FLOAT32, TF32)}
"""By the name on the command line."""
