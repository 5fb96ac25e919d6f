"""`unmoved check`: the independent checker over bundles, or over everything in a store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unmoved.cli import console
from unmoved.cli.stores import fetch, find_store
from unmoved.core import UsageError
from unmoved.core.errors import IntegrityError
from unmoved.store import Store, rows, runs
from unmoved_check.check import Checker, Mode
from unmoved_check.cli import Misuse, Models, bundles, outcome
from unmoved_check.outcome import Accepted, Rejected

SHOWN = 20
"""Rejected certificates that are listed one by one; --json has all."""


@dataclass(frozen=True)
class Answer:
    """What the checker said of one certificate."""

    name: str
    outcome: Accepted | Rejected

    @property
    def accepted(self) -> bool:
        """Whether it was accepted."""
        return self.outcome.accepted

    @property
    def seconds(self) -> float:
        """How long the check took."""
        return self.outcome.seconds

    @property
    def manner(self) -> str:
        """What was accepted, and in which arithmetic."""
        found = self.outcome
        return f"{found.kind}, {found.mode} arithmetic" if isinstance(found, Accepted) else "rejected"


def check_command(
    text: str, *, exact: bool, floating: bool, model: Path | None, limit: int | None, as_json: bool
) -> int:
    """Check everything at a path or URL; return 0 only if there was something and all of it was accepted."""
    if exact and floating:
        raise UsageError("--exact, --float", "both", "one of them at most")
    if limit is not None and limit < 1:
        raise UsageError("limit", limit, "a whole number >= 1")
    mode: Mode = "exact" if exact else "floating" if floating else "auto"
    store = find_store(text)
    if store is None:
        answers = check_bundles(Path(text), mode, model, limit)
    elif model is not None:
        raise UsageError("model", str(model), "no model: the store has its own")
    else:
        answers = check_store(store, mode, limit)
        store.close()
    if not answers:
        raise UsageError("path", text, "a store with certificates in it: this one has none yet")
    if as_json:
        console.emit(json.dumps(_json(answers), indent=2))
    else:
        _show(answers)
    return console.OK if all(answer.accepted for answer in answers) else console.NOT_MET


def check_bundles(path: Path, mode: Mode, model: Path | None, limit: int | None) -> list[Answer]:
    """Return the independent checker's answer to every bundle at a path (the first `limit`)."""
    if model is not None and not model.is_file():
        raise UsageError("model", str(model), "an existing .onnx file")
    try:
        found = list(bundles(path))[:limit]
    except (Misuse, OSError) as error:
        raise UsageError("path", str(path), "a bundle, a folder of bundles, or a store") from error
    models, answers = Models(model), []
    with console.bar("checking") as move:
        for k, bundle in enumerate(found):
            try:
                answers.append(Answer(str(bundle), outcome(bundle, models, mode)))
            except OSError as error:
                raise UsageError("path", str(bundle), f"a bundle that can be read ({error.strerror})") from error
            move(k + 1, len(found))
    return answers


def check_store(store: Store, mode: Mode, limit: int | None) -> list[Answer]:
    """Return the independent checker's answer to every certificate in a store (the first `limit`), each once."""
    work = list(dict.fromkeys(certificates(store)))[:limit]
    answers = []
    with console.bar("checking") as move:
        for k, (model, manifest, payload) in enumerate(work):
            answers.append(Answer(manifest, _outcome(store, model, manifest, payload, mode)))
            move(k + 1, len(work))
    return answers


def _outcome(store: Store, model: str, manifest: str, payload: str, mode: Mode) -> Accepted | Rejected:
    try:
        checker = _checker(store, model)
        return checker.check(fetch(store, "manifest", manifest), fetch(store, "payload", payload), mode=mode)
    except IntegrityError as error:
        return Rejected(str(error))


def certificates(store: Store) -> Iterator[tuple[str, str, str]]:
    """Yield the names of model, manifest and payload of every certificate in a store."""
    for run in runs(store):
        for row in rows(store, run):
            yield from ((run.model, manifest, payload) for manifest, payload in row.bundles)


@lru_cache(maxsize=4)
def _checker(store: Store, model: str) -> Checker:
    return Checker(fetch(store, "model", model))


def _json(answers: list[Answer]) -> dict[str, object]:
    listed = [
        {"certificate": a.name, "accepted": a.accepted, "text": str(a.outcome), "seconds": a.seconds} for a in answers
    ]
    return {"accepted": sum(a.accepted for a in answers), "of": len(answers), "results": listed}


def _show(answers: list[Answer]) -> None:
    rejected = [answer for answer in answers if not answer.accepted]
    for answer in rejected[:SHOWN]:
        console.line(f"{answer.name}: {answer.outcome}", style="red")
    if len(rejected) > SHOWN:
        console.line(f"and {len(rejected) - SHOWN} more rejected", style="red")
    for manner, count in Counter(answer.manner for answer in answers if answer.accepted).most_common():
        console.line(f"{count} accepted: {manner}", style="dim")
    text = f"{len(answers) - len(rejected)} of {len(answers)} certificates accepted"
    seconds = sum(answer.seconds for answer in answers)
    console.line(f"{text} in {seconds:.2f} s of checking", style="bold red" if rejected else "green")
