"""Questions to a store: which runs, which rows of a run."""

from __future__ import annotations

from pathlib import Path

from unmoved.core.errors import UsageError
from unmoved.record import Row, Run
from unmoved.store.sqlite import SqliteStore
from unmoved.store.store import Entry, Store


def open_store(url: str | Path, *, create: bool = True) -> Store:
    """Return the store at `sqlite:///path` or at a path; UsageError for any other scheme."""
    text = str(url)
    scheme, separator, rest = text.partition("://")
    if not separator and not text.lower().startswith("sqlite:"):
        return SqliteStore(Path(text), create=create)
    if scheme != "sqlite" or not rest.startswith("/") or len(rest) < 2:
        raise UsageError("store", text, "a path, or sqlite:///PATH")
    return SqliteStore(Path(rest[1:]), create=create)


def runs(store: Store) -> list[Run]:
    """Return every run in the store, each once (a run resumed under other names for people is the same run)."""
    found = (Run.from_json(store.read("run", name)) for name in store.keys("run"))
    return list({run.id: run for run in found}.values())


def rows(store: Store, run: Run) -> list[Row]:
    """Return a run's rows by index, one an index (should two processes have raced: the one of the least digest)."""
    found: dict[int, Row] = {}
    for name in store.keys("row", f"{run.id}/"):
        row = Row.from_json(store.read("row", name))
        found.setdefault(row.index, row)
    return [found[index] for index in sorted(found)]


def row_entry(run: Run, row: Row) -> Entry:
    """Return the entry that holds one row of a run."""
    return Entry.of("row", row.to_json(), prefix=f"{run.id}/{row.index:08d}")


def done(store: Store, run: Run) -> set[int]:
    """Return the indices that have a row already."""
    return {int(name.split("/")[1]) for name in store.keys("row", f"{run.id}/")}
