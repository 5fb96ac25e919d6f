"""The report: one HTML file that needs nothing else, from what a store holds."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unmoved.core import UsageError, rational
from unmoved.evaluate import Agreement, Checks, read_results, views
from unmoved.evaluate.comparison.evaluation import asides
from unmoved.evaluate.obfuscation import kept
from unmoved.report import audit, words
from unmoved.report.chapter import Chapter, chapter
from unmoved.report.inputs import MOST_INPUTS
from unmoved.report.limits import limits, misled
from unmoved.store import Store

TITLE = "How far the input can move before the answer does"
PAGE_ROWS = 12
"""Inputs that the table shows at once."""


@dataclass(frozen=True)
class Totals:
    """The checks over the whole report."""

    checks: Checks
    agreement: Agreement


def write_report(
    store: Store,
    path: str | Path,
    *,
    title: str | None = None,
    eps: object = None,
    only: Collection[str] | None = None,
) -> Path:
    """Write what the store holds as one self-contained HTML file and return its path.

    `eps` is the size that the first sentences speak of (default: the largest at which at least half is certified).
    `only` limits the report to runs with these ids; without it, runs about corrupted or foreign inputs have no chapter
    (`unmoved compare` shows them). Raises UsageError when there is nothing to report, or `path` cannot
    be written; IntegrityError when stored bytes were changed.
    """
    target = Path(path)
    text = render(store, title=title, eps=eps, only=only)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError("out", str(path), f"a file that can be written ({error.strerror})") from error
    return target


def render(store: Store, *, title: str | None = None, eps: object = None, only: Collection[str] | None = None) -> str:
    """Return the report as HTML text; see `write_report`."""
    aside = asides(store) if only is None else set()
    results = [each for each in read_results(store, only=only) if each.run.id not in aside]
    if not results:
        raise UsageError("store", getattr(store, "path", "store"), "a store with at least one answered input")
    size = None if eps is None else rational(eps, "eps")
    every = views(results)
    chapters = [chapter(store, view, every, key=f"v{k}", eps=size) for k, view in enumerate(every)]
    made = environment()
    script, _, _ = made.loader.get_source(made, "report.js") if made.loader else ("", None, None)
    return made.get_template("report.html").render(
        title=words.plain(title or TITLE),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        chapters=chapters,
        models=_models(chapters),
        answers=[each.answer for each in chapters if each.view.certify] or [each.answer for each in chapters],
        totals=_totals(chapters),
        limits=[*misled(kept(store, [each.run for each in results])), *limits(every)],
        runs=[audit.run_facts(store, each) for each in results],
        identities=audit.identities(every),
        environment=audit.environment(),
        crosswalk=audit.CROSSWALK,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        page_rows=PAGE_ROWS,
        most_inputs=MOST_INPUTS,
    )


def environment() -> Environment:
    """Return the templates of this room: everything is escaped, nothing undefined is passed over."""
    made = Environment(
        loader=PackageLoader("unmoved.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["words"] = words
    return made


def _models(chapters: Sequence[Chapter]) -> list[dict[str, Any]]:
    """Return the chapters by model, in order."""
    found: dict[str, dict[str, Any]] = {}
    for each in chapters:
        name = words.plain(each.view.first.model_name)
        entry = found.setdefault(each.view.model, {"name": name, "digest": each.view.model, "chapters": []})
        entry["chapters"].append(each)
    return list(found.values())


def _totals(chapters: Sequence[Chapter]) -> Totals:
    parts = [each.checks for each in chapters]
    both = [each.agreement for each in chapters]
    return Totals(
        Checks(sum(p.accepted for p in parts), sum(p.total for p in parts), sum(p.unchecked for p in parts)),
        Agreement(sum(a.tested for a in both), tuple(c for a in both for c in a.contradictions)),
    )
