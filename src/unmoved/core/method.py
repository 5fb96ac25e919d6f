"""What a method is: anything that can decide problems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from unmoved.core.budget import Budget
from unmoved.core.certificate import Finding
from unmoved.core.notes import Notes
from unmoved.core.problem import Problem


class Method(ABC):
    """Decides problems. Its contract (`unmoved.testing`): never contradict a problem whose answer is known."""

    chunk: ClassVar[int] = 32
    """How many problems it likes to decide at once; progress and resume are as fine as this."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The method as the command line and the certificates call it."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Everything that the answer depends on besides the problem, as text: it goes into the run's identity."""

    @abstractmethod
    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem, in order. All problems have the same model and kind of threat.

        The same problems, settings and seed give the same findings. An operator without a rule is a finding
        UNKNOWN(unsupported: X), not an exception; a spent budget is UNKNOWN(timeout).
        """


@runtime_checkable
class Resumable(Protocol):
    """A method that can take up work left in the middle of a problem, after a kill."""

    def resuming(self, notes: Notes) -> Method:
        """Return the same method, which keeps its unfinished work in `notes`: the same findings, bit for bit."""
