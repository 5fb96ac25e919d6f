"""Stores as people name them: a file, the folder of a run, or a URL."""

from __future__ import annotations

from pathlib import Path

from unmoved.core.errors import IntegrityError
from unmoved.store import Store, open_store

SQLITE = b"SQLite format 3\x00"
FILE = "store.sqlite"


def find_store(text: str) -> Store | None:
    """Return the store that `text` names (a URL, a file, a folder with store.sqlite); None if it names no store.

    Raises UsageError for a URL of another scheme, and for a database that is no store.
    """
    if text.lower().startswith("sqlite:") or "://" in text:
        return open_store(text, create=False)
    path = Path(text)
    if path.is_dir():
        path = path / FILE
    return open_store(path, create=False) if _is_sqlite(path) else None


def fetch(store: Store, kind: str, name: str) -> bytes:
    """Return the bytes of an entry that another entry speaks of; IntegrityError where they are gone or changed."""
    try:
        return store.read(kind, name)
    except KeyError as error:
        raise IntegrityError(f"{kind} {name}: named by an answer, and not there") from error


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False
