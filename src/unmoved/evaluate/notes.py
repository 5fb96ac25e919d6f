"""A run's notebook in its store: work inside an input, so that a kill in the middle of it loses seconds only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unmoved.record import Run
from unmoved.store import Entry, Store

KIND = "progress"


@dataclass(frozen=True)
class StoreNotes:
    """Notes as entries `progress <run>/<key>/<digest>`: append-only, durable, and checked against their digest.

    They stay when the run is done, as everything in a store does. `tell` gets the number of problems done.
    """

    store: Store
    run: Run
    every: float
    tell: Callable[[int], None]

    def read(self, key: str) -> list[bytes]:
        """Return every note under `key`."""
        return [self.store.read(KIND, name) for name in self.store.keys(KIND, f"{self.run.id}/{key}/")]

    def add(self, key: str, note: bytes) -> None:
        """Keep a note under `key`."""
        self.store.write([Entry.of(KIND, note, prefix=f"{self.run.id}/{key}")])

    def moved(self, done: int) -> None:
        """Say that `done` problems of the present call are through."""
        self.tell(done)
