"""`unmoved report`."""

from __future__ import annotations

from pathlib import Path

from unmoved.cli import console
from unmoved.cli.check import store_path
from unmoved.core import UsageError
from unmoved.report.page import write_report
from unmoved.store import open_store


def report_command(path: Path, out: Path, title: str | None) -> int:
    """Write the page; return the exit code."""
    found = store_path(path)
    if found is None:
        raise UsageError("store", str(path), "a store, or the --out folder of a run")
    store = open_store(found, create=False)
    try:
        written = write_report(store, out, title=title)
    except OSError as error:
        raise UsageError("out", str(out), f"a file that can be written ({error.strerror})") from error
    console.OUT.print(f"report: {written}", soft_wrap=True)
    return console.OK
