"""What a check ends in: `Accepted` or `Rejected`, never an exception.

Rejection (internal, a ValueError)  ->  Rejected at the door (`check.Checker`)
"""

from __future__ import annotations

from dataclasses import dataclass


class Rejection(ValueError):  # noqa: N818 - a verdict, not a fault of the program
    """Raised inside the checker to say why a bundle is not accepted."""


@dataclass(frozen=True)
class Accepted:
    """The claim of the bundle follows from its evidence; `margin` says by how much (a text, for people)."""

    kind: str
    mode: str
    margin: str
    seconds: float

    @property
    def accepted(self) -> bool:
        """Whether the certificate was accepted: always true."""
        return True

    def __str__(self) -> str:
        return f"accepted: {self.kind} evidence, {self.mode} arithmetic, {self.margin}, {self.seconds:.3f} s"


@dataclass(frozen=True)
class Rejected:
    """The claim does not follow from the evidence, or the bundle is malformed; `reason` says why."""

    reason: str
    seconds: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether the certificate was accepted: always false."""
        return False

    def __str__(self) -> str:
        return f"rejected: {self.reason}"
