"""`unmoved radius`: the largest size that is proved for each input, and the least that is broken."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from unmoved.cli import console
from unmoved.cli.reasons import reasons
from unmoved.cli.work import Request, run_kept
from unmoved.core import UsageError, decimal_down, decimal_up
from unmoved.evaluate import checks
from unmoved.evaluate.comparison.estimate import Estimate, bootstrap
from unmoved.evaluate.methods import certifying
from unmoved.evaluate.run import Job
from unmoved.record import Row
from unmoved.report import words
from unmoved.threats import Lp

MOST_STEPS = 30
DIGITS = 5
SHOWN = 25
"""Inputs that are listed one by one; --json and the ledger have all."""


@dataclass(frozen=True)
class Found:
    """One input's answer: the largest size proved (0: none), and the least broken (None: nothing was)."""

    row: Row
    proved: Fraction
    broken: Fraction | None

    @staticmethod
    def of(row: Row) -> Found:
        """Read it off a row."""
        proved = Fraction(row.radius) if row.certified and row.radius is not None else Fraction(0)
        broken = Fraction(0) if row.prediction not in (None, row.label) else row.broken_from
        return Found(row, proved, broken)

    @property
    def gap(self) -> Fraction | None:
        """What lies between, neither proved nor broken."""
        return None if self.broken is None else self.broken - self.proved


def radius_command(request: Request, *, method: str, steps: int, unchecked: bool, as_json: bool) -> int:
    """Look for the radius of each input of the data set; return the exit code."""
    asked = request.asked
    if not isinstance(asked, Lp) or not asked.eps > 0:
        raise UsageError("threat", request.threat, "the largest size to look at, above 0: linf:EPS, l2:EPS or l1:EPS")
    if not 1 <= steps <= MOST_STEPS:
        raise UsageError("steps", steps, f"a whole number from 1 to {MOST_STEPS}")
    if method == "smoothing":
        raise UsageError("method", method, "unmoved certify --sigma: a smoothing certificate is a radius by itself")
    chosen, function = certifying(method, asked, request.sampling, timed=request.seconds is not None)
    network, data = request.load()
    job = Job(
        network,
        data,
        asked,
        chosen,
        kind="radius",
        function=function,
        seed=request.seed,
        unchecked=unchecked,
        model_name=Path(request.model).name,
        seconds=math.inf if request.seconds is None else request.seconds,
        semantics=request.meant(function),
        steps=steps,
    )
    rows = run_kept(job, request.open(), request, f"radii up to {asked.name}")
    found = [Found.of(row) for row in rows]
    if as_json:
        console.emit(json.dumps(_json(job, found), indent=2))
    else:
        _show(job, found, request)
    if any(row.unchecked for row in rows):
        console.warn("some certificates are UNCHECKED: no independent checker has accepted them")
    return console.OK


def average(found: Sequence[Found]) -> Estimate | None:
    """Return the average certified radius over all inputs, with its interval; None for a single input."""
    sizes = np.array([float(each.proved) for each in found])
    return bootstrap(lambda rows: float(sizes[rows].mean()), len(sizes))


def _median(sizes: Sequence[Fraction]) -> Fraction:
    """Return the lower median: half of the inputs have at least so much."""
    return sorted(sizes)[(len(sizes) - 1) // 2]


def _show(job: Job, found: Sequence[Found], request: Request) -> None:
    assert isinstance(job.threat, Lp)
    norm = words.norm(job.threat.norm)
    title = Text.assemble((words.plain(job.model_name), "bold"), f"  {norm} up to {words.exact(job.threat.eps)}")
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("input", "label", "certified", "broken", "gap", "time"):
        table.add_column(name, justify="right", no_wrap=True, header_style="dim")
    for each in found[:SHOWN]:
        # a radius is rounded down, what is broken up
        broken = "" if each.broken is None else decimal_up(each.broken, DIGITS)
        gap = "" if each.gap is None else decimal_up(each.gap, DIGITS)
        certified = Text(decimal_down(each.proved, DIGITS), style="bold")
        row = each.row
        table.add_row(str(row.index), str(row.label), certified, broken, gap, words.seconds(row.seconds))
    console.OUT.print(table)
    if len(found) > SHOWN:
        console.line(f"and {len(found) - SHOWN} more (--json and the ledger have all)", style="dim")
    _figures(found)
    told = checks([each.row for each in found])
    console.line(f"{told.accepted} of {told.total} certificates accepted by the independent checker.")
    for text in reasons([each.row for each in found]):
        console.line(text)
    where = request.out if request.store is None else request.store
    console.line(f"kept in {request.out}; next: unmoved check {where}, unmoved report {where}", style="dim")


def _figures(found: Sequence[Found]) -> None:
    mean, proved = average(found), [each.proved for each in found]
    value = decimal_down(sum(proved, Fraction(0)) / len(proved), DIGITS)
    interval = "" if mean is None else f" (95 %: {words.span(mean, DIGITS)})"
    median = decimal_down(_median(proved), DIGITS)
    console.line(f"certified radius over all {len(found)} inputs: average {value}{interval}, median {median}")
    broken = [each.broken for each in found if each.broken is not None]
    if broken:
        least = decimal_up(sum(broken, Fraction(0)) / len(broken), DIGITS)
        console.line(f"broken: {len(broken)} of {len(found)} inputs, on average from {least} on")


def _json(job: Job, found: Sequence[Found]) -> dict[str, object]:
    mean, proved = average(found), [each.proved for each in found]
    broken = [each.broken for each in found if each.broken is not None]
    told = checks([each.row for each in found])
    total = sum(proved, Fraction(0))
    return {
        "run": job.run.id,
        "norm": job.run.norm,
        "eps": job.run.eps,
        "steps": job.steps,
        "inputs": [_input(each) for each in found],
        "average_certified_radius": {
            "value": float(total / len(proved)),
            "low": None if mean is None else mean.low,
            "high": None if mean is None else mean.high,
            "how": None if mean is None else mean.how,
        },
        "median": str(_median(proved)),
        "broken": {"count": len(broken), "mean": float(sum(broken, Fraction(0)) / len(broken)) if broken else None},
        "checks": {"accepted": told.accepted, "total": told.total, "unchecked": told.unchecked},
    }


def _input(each: Found) -> dict[str, object]:
    row = each.row
    return {
        "index": row.index,
        "label": row.label,
        "prediction": row.prediction,
        "verdict": row.verdict,
        "certified": str(each.proved),
        "broken": None if each.broken is None else str(each.broken),
        "gap": None if each.gap is None else str(each.gap),
        "method": row.method,
        "reason": row.reason,
        "seconds": row.seconds,
    }
