"""What can be said of a problem, and why when nothing could be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction


class Verdict(StrEnum):
    """CERTIFIED: proved and re-checked. FALSIFIED: a witness is attached. UNKNOWN: a Reason is attached."""

    CERTIFIED = "CERTIFIED"
    FALSIFIED = "FALSIFIED"
    UNKNOWN = "UNKNOWN"


class Code(StrEnum):
    """Why a verdict is UNKNOWN, in one word.

    WEAKER: an input of S(x) breaks the property in real arithmetic only, or in one runtime's float32 only.
    """

    UNPROVED = "unproved"
    WEAKER = "weaker"
    ABSTAINED = "abstained"
    UNSUPPORTED = "unsupported"
    UNCHECKED = "unchecked"
    REJECTED = "rejected"
    TIMEOUT = "timeout"
    MEMORY = "memory"


@dataclass(frozen=True)
class Reason:
    """Why no verdict could be given, and what a user can do about it."""

    code: Code
    detail: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.code}: {self.detail}" if self.detail else str(self.code)
        return f"{text} ({self.remedy})" if self.remedy else text


@dataclass(frozen=True)
class Guarantee:
    """What kind of guarantee a verdict carries, and of which function.

    `of` is "f" (the model) or "g" (the smoothed model). `alpha` is None for a deterministic guarantee, else the
    probability, over the sampling, that the certificate is wrong.
    """

    of: str = "f"
    alpha: Fraction | None = None

    @property
    def kind(self) -> str:
        """`deterministic` or `probabilistic`."""
        return "deterministic" if self.alpha is None else "probabilistic"
