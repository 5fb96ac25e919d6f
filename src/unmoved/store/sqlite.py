"""A store in one SQLite file (write-ahead log): safe against kill -9, readable while a run writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from unmoved.core.errors import UsageError
from unmoved.store.store import Entry, Store

_TABLE = "CREATE TABLE IF NOT EXISTS entries (kind TEXT, name TEXT, data BLOB, PRIMARY KEY (kind, name)) WITHOUT ROWID"


class SqliteStore(Store):
    """A store in the file `path`, made if missing (`create=False`: it must exist).

    Raises UsageError when the file is missing, cannot be written, or is not a store.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise UsageError("store", str(path), "an existing store file")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            if create:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute(_TABLE)
            self._db.execute("SELECT count(*) FROM entries WHERE kind = 'run'").fetchone()
        except sqlite3.OperationalError as error:
            raise UsageError("store", str(path), f"a store file in a folder that can be written ({error})") from error
        except sqlite3.DatabaseError as error:
            raise UsageError("store", str(path), f"a store written by unmoved ({error})") from error
        except OSError as error:
            raise UsageError("store", str(path), f"a folder that can be written ({error.strerror})") from error

    def _write(self, entries: tuple[Entry, ...]) -> None:
        rows = [(entry.kind, entry.name, entry.data) for entry in entries]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?)", rows)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _read(self, kind: str, name: str) -> bytes:
        found = self._db.execute("SELECT data FROM entries WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        if found is None:
            raise KeyError(f"{kind} {name}")
        return bytes(found[0])

    def _keys(self, kind: str, prefix: str) -> list[str]:
        found = self._db.execute(
            "SELECT name FROM entries WHERE kind = ? AND substr(name, 1, ?) = ?", (kind, len(prefix), prefix)
        )
        return [name for (name,) in found]

    def close(self) -> None:
        """Close the database file."""
        self._db.close()
