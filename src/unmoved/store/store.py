"""Where runs, rows, certificates, models and inputs are kept: append-only and content-addressed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from unmoved.core.errors import IntegrityError, MissingError
from unmoved.record import digest


@dataclass(frozen=True)
class Entry:
    """Bytes under a kind and a name; the name is the sha256 of the bytes, with an optional prefix `.../` before it.

    Kinds in use: model, input, manifest, payload, run (names are digests), row (`<run>/<index>/<digest>`) and progress
    (`<run>/<key>/<digest>`: work inside an input, see `unmoved.core.notes`).
    """

    kind: str
    name: str
    data: bytes

    @staticmethod
    def of(kind: str, data: bytes, prefix: str = "") -> Entry:
        """Return the entry that holds `data`, its name derived from the content."""
        return Entry(kind, f"{prefix}/{digest(data)}" if prefix else digest(data), data)


class Store(ABC):
    """Append-only and content-addressed: what was written is never changed, and what is read is what was written.

    An implementation gives the three hooks; the integrity of every entry is checked here, above it.
    """

    def write(self, entries: Iterable[Entry]) -> None:
        """Write all entries or none; an entry that is there already stays as it is. IntegrityError for a wrong name."""
        batch = tuple(entries)
        for entry in batch:
            _verify(entry)
        self._write(batch)

    def read(self, kind: str, name: str) -> bytes:
        """Return the bytes. MissingError if there are none; IntegrityError if they are not what the name says."""
        try:
            data = self._read(kind, name)
        except KeyError as error:
            raise MissingError(f"{kind} {name}: nothing is stored there") from error
        _verify(Entry(kind, name, data))
        return data

    def keys(self, kind: str, prefix: str = "") -> list[str]:
        """Return the names of this kind that start with `prefix`, sorted."""
        return sorted(self._keys(kind, prefix))

    @abstractmethod
    def _write(self, entries: tuple[Entry, ...]) -> None:
        """Write all or nothing, durably; ignore entries whose kind and name exist."""

    @abstractmethod
    def _read(self, kind: str, name: str) -> bytes:
        """Return the bytes or raise KeyError."""

    @abstractmethod
    def _keys(self, kind: str, prefix: str) -> list[str]:
        """Return the names of this kind that start with `prefix`."""

    def close(self) -> None:  # noqa: B027
        """Release what the store holds open."""


def _verify(entry: Entry) -> None:
    expected = entry.name.rpartition("/")[2]
    if digest(entry.data) != expected:
        raise IntegrityError(f"{entry.kind} {entry.name}: the stored bytes have another sha256 than their name says")
