"""`unmoved report`."""

from __future__ import annotations

import json
from pathlib import Path

from unmoved.cli import console
from unmoved.cli.stores import find_store
from unmoved.core import UsageError
from unmoved.evaluate.results import read_results, views
from unmoved.evaluate.tightness import contradicted
from unmoved.report.page import write_report
from unmoved.report.terminal import summary_json


def report_command(text: str, out: Path, title: str | None, *, as_json: bool) -> int:
    """Write the page; return the exit code."""
    store = find_store(text)
    if store is None:
        raise UsageError("store", text, "a store, or the --out folder of a run")
    written = write_report(store, out, title=title)
    if as_json:
        console.emit(json.dumps(summary_json(read_results(store)) | {"report": str(written)}, indent=2))
    else:
        console.line(f"report: {written}")
    wrong = contradicted(views(read_results(store)))
    if wrong:
        console.fail(f"{wrong} certificates of f are CONTRADICTED by an attack: a bug of ours, please report it")
    return console.NOT_MET if wrong else console.OK
