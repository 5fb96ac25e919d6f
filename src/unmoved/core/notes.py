"""Where a method leaves unfinished work, so that a kill in the middle of one problem loses seconds only."""

from __future__ import annotations

from typing import Protocol


class Notes(Protocol):
    """An append-only notebook for one run. What is read was added before, by this process or one that was killed.

    It never holds a decision, only work: with notes or without, a method's findings are the same.
    """

    @property
    def every(self) -> float:
        """About how many seconds of work to put into one note."""

    def read(self, key: str) -> list[bytes]:
        """Return every note under `key`, in any order, each whole."""

    def add(self, key: str, note: bytes) -> None:
        """Keep a note under `key`, durably."""

    def moved(self, done: int) -> None:
        """Say that `done` problems of the present call are through."""


class NoNotes:
    """A notebook that forgets."""

    every = float("inf")

    def read(self, key: str) -> list[bytes]:
        """Return nothing."""
        return []

    def add(self, key: str, note: bytes) -> None:
        """Forget it."""

    def moved(self, done: int) -> None:
        """Tell nobody."""
