"""A store in one SQLite file (write-ahead log): safe against kill -9, readable while a run writes."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from unmoved.core.errors import IntegrityError, UsageError
from unmoved.store.store import Entry, Store

_TABLE = "CREATE TABLE IF NOT EXISTS entries (kind TEXT, name TEXT, data BLOB, PRIMARY KEY (kind, name)) WITHOUT ROWID"
_MAGIC = b"SQLite format 3\0"
_PATIENCE = 60.0
"""Seconds that one process waits for another's transaction."""


class SqliteStore(Store):
    """A store in the file `path`, made if missing (`create=False`: it must exist).

    Raises UsageError when the file is missing, cannot be written, or is not a store.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise UsageError("store", str(path), "an existing store file")
        try:
            self._refuse_other_files()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # absolute, so that no name means anything else to SQLite (":memory:" would be forgotten)
            self._db = sqlite3.connect(self.path.absolute(), timeout=_PATIENCE, isolation_level=None)
            self._db.execute("PRAGMA synchronous=FULL")
            if create:
                self._make()
            self._db.execute("SELECT count(*) FROM entries WHERE kind = 'run'").fetchone()
        except sqlite3.DatabaseError as error:
            # SQLITE_ERROR: no such table or column; the other operational errors are of the file system
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                expected = f"a store file in a folder that can be written ({error})"
                raise UsageError("store", str(path), expected) from error
            raise UsageError("store", str(path), f"a store written by unmoved ({error})") from error
        except OSError as error:
            raise UsageError("store", str(path), f"a folder that can be written ({error.strerror})") from error

    def _refuse_other_files(self) -> None:
        """Refuse what is not SQLite's; it would overwrite a file of less than a page as if that were empty."""
        if self.path.is_file():
            with self.path.open("rb") as file:
                if file.read(len(_MAGIC)) not in (b"", _MAGIC):
                    raise UsageError("store", str(self.path), "a store written by unmoved")

    def _make(self) -> None:
        """Make the table, in an empty database only: a database of another program is left alone."""
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "entries" in tables:
            return
        if tables:
            raise sqlite3.DatabaseError("a database of another program")
        self._wal()
        self._db.execute(_TABLE)

    def _wal(self) -> None:
        """Switch to the write-ahead log; SQLite does not wait for another process that is just doing the same."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def _write(self, entries: tuple[Entry, ...]) -> None:
        rows = [(entry.kind, entry.name, entry.data) for entry in entries]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise UsageError("store", str(self.path), f"a store that can be written ({error})") from error
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"store {self.path}: {error}") from error
        finally:
            # whatever went wrong, a failed COMMIT included; SQLite may have rolled back by itself
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _read(self, kind: str, name: str) -> bytes:
        found = self._select("SELECT data FROM entries WHERE kind = ? AND name = ?", (kind, name))
        if not found:
            raise KeyError(f"{kind} {name}")
        return bytes(found[0][0])

    def _keys(self, kind: str, prefix: str) -> list[str]:
        found = self._select(
            "SELECT name FROM entries WHERE kind = ? AND substr(name, 1, ?) = ?", (kind, len(prefix), prefix)
        )
        return [name for (name,) in found]

    def _select(self, query: str, values: tuple[str | int, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            raise UsageError("store", str(self.path), f"a store that can be read ({error})") from error
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"store {self.path}: {error}") from error

    def close(self) -> None:
        """Close the database file."""
        self._db.close()
