"""Append-only, content-addressed storage of everything a run leaves."""

from unmoved.store.query import done, open_store, row_entry, rows, runs
from unmoved.store.sqlite import SqliteStore
from unmoved.store.store import Entry, Store

__all__ = ["Entry", "SqliteStore", "Store", "done", "open_store", "row_entry", "rows", "runs"]
