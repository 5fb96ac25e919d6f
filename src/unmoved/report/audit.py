"""What an auditor needs: identities, environment, checks, how to repeat them, and where the evidence belongs."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from unmoved.evaluate import Results, View, checks, summarise
from unmoved.record import SCHEMA, Run
from unmoved.report import words
from unmoved.store import Store

PACKAGES = ("unmoved", "unmoved-check", "torch", "numpy", "scipy", "onnx", "onnxruntime")

CROSSWALK = (
    (
        "EU AI Act, Article 15 (1), (3)",
        "accuracy, robustness; metrics declared",
        "clean and certified accuracy with intervals",
    ),
    (
        "EU AI Act, Article 15 (4), (5)",
        "resilience; inputs designed to cause a mistake",
        "certificates per input; attacks as a counter-check",
    ),
    (
        "EU AI Act, Annex IV 2 (g)",
        "validation and testing, metrics, dated test reports",
        "this report, the ledger and the certificates, to be signed by the persons responsible",
    ),
    (
        "NIST AI RMF, MEASURE 2.5",
        "validity and reliability; limits of generalisation documented",
        "intervals, risk against coverage, “What is not proved”",
    ),
    (
        "NIST AI RMF, MEASURE 2.7",
        "security and resilience evaluated and documented",
        "certified radius, attack's upper bound, the gap between them",
    ),
    (
        "ISO/IEC 24029-2:2023",
        "formal assessment of stability",
        "local stability; sound, incomplete methods; arithmetic named",
    ),
)


@dataclass(frozen=True)
class RunFacts:
    """One run as an auditor reads it."""

    id: str
    question: str
    inputs: int
    accepted: int
    checked: int
    unchecked: int
    modes: str
    proof_seconds: str
    check_seconds: str
    semantics: str
    settings: tuple[tuple[str, str], ...]
    seed: int
    tool: str
    first: str
    last: str


def environment() -> list[tuple[str, str]]:
    """Return the versions and the kind of machine that wrote the report, nothing that names this one machine."""
    found = [("Python", platform.python_version()), ("platform", f"{platform.system()} {platform.machine()}")]
    for package in PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            found.append((package, "not installed"))
    return found


def run_facts(store: Store, results: Results) -> RunFacts:
    """Return what the audit section says of one run."""
    run, rows = results.run, results.rows
    summary, checked = summarise(rows), checks(rows)
    dates = sorted(row.at for row in rows if row.at)
    return RunFacts(
        id=run.id,
        question=f"{words.plain(run.model_name)} · {_asked(run)}",
        inputs=len(rows),
        accepted=checked.accepted,
        checked=checked.total,
        unchecked=checked.unchecked,
        modes=", ".join(sorted({words.plain(row.check_mode) for row in rows if row.check_mode})),
        proof_seconds=words.seconds(summary.seconds),
        check_seconds=words.seconds(summary.check_seconds) if checked.total else "",
        semantics=_semantics(store, results),
        settings=tuple((words.plain(k), words.plain(v)) for k, v in sorted(run.settings.items())),
        seed=run.seed,
        tool=words.plain(run.tool),
        first=_minute(dates[0]) if dates else "",
        last=_minute(dates[-1]) if dates else "",
    )


def identities(views: Sequence[View]) -> list[tuple[str, str]]:
    """Return the schema and the digests of models and data sets, each once."""
    found = [("certificate schema", SCHEMA)]
    for view in views:
        found.append((f"model {words.plain(view.first.model_name)}, sha256", view.model))
        found.append((f"data {words.plain(view.first.data_name)}, sha256", view.data))
    return list(dict.fromkeys(found))


def _asked(run: Run) -> str:
    return f"{words.plain(run.kind)} {words.plain(run.function)} · {words.threat(run)} · {words.plain(run.method)}"


def _minute(at: str) -> str:
    """Return a row's time of writing to the minute."""
    return words.plain(at.replace("T", " ")[:16] + ("Z" if at.endswith("+00:00") else ""))


def _semantics(store: Store, results: Results) -> str:
    """Return the arithmetic that the first certificate of a run names."""
    name = next((row.certificate for row in results.rows if row.certificate), None)
    if name is None:
        return ""
    try:
        claim = json.loads(store.read("manifest", name)).get("claim", {})
    except (KeyError, ValueError):
        return ""
    if not isinstance(claim, dict):
        return ""
    profile = f", {claim['profile']}" if claim.get("profile") else ""
    return words.plain(f"{claim.get('semantics', '')}{profile}")
