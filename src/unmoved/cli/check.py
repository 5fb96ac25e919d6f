"""`unmoved check`: the independent checker over bundles, or over everything in a store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unmoved.cli import console
from unmoved.core import UsageError
from unmoved.store import Store, open_store, rows, runs
from unmoved_check.check import Checker, Mode

SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Answer:
    """What the checker said of one certificate."""

    name: str
    accepted: bool
    text: str
    seconds: float


def check_command(
    path: Path, *, exact: bool, floating: bool, model: Path | None, limit: int | None, as_json: bool
) -> int:
    """Check everything at `path`; return 0 only if there was something and all of it was accepted."""
    if exact and floating:
        raise UsageError("--exact, --float", "both", "one of them at most")
    mode: Mode = "exact" if exact else "floating" if floating else "auto"
    found = store_path(path)
    if found is None:
        from unmoved_check.cli import check_paths

        return check_paths([path], mode=mode, model=model, as_json=as_json)
    answers = check_store(open_store(found, create=False), mode, limit)
    rejected = [answer for answer in answers if not answer.accepted]
    if not answers:
        raise UsageError("store", str(path), "a store with certificates in it: this one has none")
    seconds = sum(answer.seconds for answer in answers)
    if as_json:
        listed = [
            {"certificate": a.name, "accepted": a.accepted, "text": a.text, "seconds": a.seconds} for a in answers
        ]
        console.emit(
            json.dumps({"accepted": len(answers) - len(rejected), "of": len(answers), "results": listed}, indent=2)
        )
    else:
        for answer in rejected[:20]:
            console.OUT.print(f"[bold red]rejected[/] {answer.name}: {answer.text}", soft_wrap=True)
        for text, count in Counter(answer.text.split(":")[0] for answer in answers if answer.accepted).most_common(4):
            console.OUT.print(f"[dim]{count} x[/] {text}", soft_wrap=True)
        style = "bold red" if rejected else "green"
        accepted = f"{len(answers) - len(rejected)} of {len(answers)}"
        console.OUT.print(f"[{style}]{accepted} certificates accepted[/] in {seconds:.2f} s of checking")
    return console.NOT_MET if rejected else console.OK


def check_store(store: Store, mode: Mode, limit: int | None) -> list[Answer]:
    """Return the independent checker's answer to every certificate in a store (the first `limit`), each once."""
    work = list(dict.fromkeys(_certificates(store)))[:limit]
    answers = []
    with console.bar("checking") as move:
        move(0, len(work))
        for k, (model, manifest, payload) in enumerate(work):
            outcome = _checker(store, model).check(
                store.read("manifest", manifest), store.read("payload", payload), mode=mode
            )
            answers.append(Answer(manifest, outcome.accepted, str(outcome), outcome.seconds))
            move(k + 1, len(work))
    return answers


def _certificates(store: Store) -> Iterator[tuple[str, str, str]]:
    for run in runs(store):
        for row in rows(store, run):
            if row.certificate is not None and row.payload is not None:
                yield run.model, row.certificate, row.payload


@lru_cache(maxsize=4)
def _checker(store: Store, model: str) -> Checker:
    return Checker(store.read("model", model))


def store_path(path: Path) -> Path | None:
    """Return the store file that `path` is or holds (store.sqlite in a folder); None when it is something else."""
    if path.is_dir():
        path = path / "store.sqlite"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return path if file.read(16) == SQLITE else None
