"""The overview as a table for the terminal, and as JSON for machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from unmoved.evaluate import Results, Share, View, agreement, checks, views
from unmoved.evaluate.comparison.board import Section
from unmoved.evaluate.comparison.measures import Measures
from unmoved.report import words
from unmoved.report.leaderboard import names
from unmoved.report.tables import Line, lines

BOARD = ("defence", "clean", "certified", "95 %", "attacked", "radius", "AURC", "s/input")
COLUMNS = ("change", "clean", "certified", "95 %", "attacked", "unknown", "checked", "time")


def summary_table(results: Iterable[Results]) -> Group:
    """Return the overview of some runs, 80 columns wide: a table a question, a line a size, and how the checks ended.

    Certified is rounded down, attacked up. No name is read as markup.
    """
    every = views(results)
    return Group(*(_table(view) for view in every), caption(every))


def _table(view: View) -> Table:
    found = lines(view)
    sizes = sorted({line.summary.total for line in found})
    inputs = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    methods = ", ".join(dict.fromkeys(words.plain(line.results.run.method) for line in found))
    what = {"f": "f, the model itself", "g": "g, the smoothed model"}[view.function]
    if view.semantics != "real":
        what = f"{what} in {words.plain(view.semantics)}"
    title = Text.assemble((words.plain(view.first.model_name), "bold"), f"  {what}; {methods}; {inputs} inputs")
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "change" else "right", no_wrap=True, header_style="dim")
    for line in found:
        cells = [Text(cell) for cell in _cells(line)]
        cells[2].stylize("bold")
        table.add_row(*cells)
    table.add_row()
    return table


def board_table(section: Section, found: Sequence[Measures]) -> Table:
    """Return a section of a comparison, 80 columns wide: a line a defence, at the size by which they are ranked."""
    change = f"{words.norm(section.norm)} ≤ {words.exact(section.main)}"
    kept = "; only inputs that all have" if section.restricted else ""
    title = Text(f"{change}; {section.common} inputs{kept}")
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in BOARD:
        table.add_column(name, justify="left" if name == "defence" else "right", no_wrap=name != "defence")
    for name, each in zip(names([m.defence for m in found]), found, strict=True):
        at = each.at(section.main)
        table.add_row(
            Text(name),
            words.percent_down(each.clean.value),
            Text(words.percent_down(at.certified.value), style="bold"),
            words.interval(at.certified).replace(" to ", "-"),
            "" if at.standing is None else words.percent_up(at.standing.value),
            words.figure(each.average_radius),
            words.figure(each.aurc, up=True),
            words.seconds(each.seconds),
        )
    table.add_row()
    return table


def summary_json(results: Iterable[Results]) -> dict[str, Any]:
    """Return the overview as data that `json` can write: counts and exact radii, nothing rounded for show."""
    every = views(results)
    checked = checks([row for view in every for each in view.all for row in each.rows])
    agreed = [agreement(view) for view in every]
    return {
        "questions": [_json(line) for view in every for line in lines(view)],
        "checks": {"accepted": checked.accepted, "total": checked.total, "unchecked": checked.unchecked},
        "agreement": {
            "tested": sum(a.tested for a in agreed),
            "contradictions": [
                {"index": c.index, "radius": _text(c.radius), "eps": _text(c.eps)}
                for a in agreed
                for c in a.contradictions
            ],
        },
    }


def caption(every: Sequence[View]) -> Text:
    """Return the line below the table."""
    checked = checks([row for view in every for each in view.all for row in each.rows])
    agreed = [agreement(view) for view in every]
    tested, against = sum(a.tested for a in agreed), sum(len(a.contradictions) for a in agreed)
    text = Text()
    if checked.unchecked:
        text.append(f"{checked.unchecked} UNCHECKED: let through without an independent check. ", "bold red")
    text.append(f"{checked.accepted} of {checked.total} certificates accepted by the independent checker. ")
    if tested:
        text.append(f"{tested - against} of {tested} certificates withstood every attack inside them.")
    if against:
        text.append(f" {against} CONTRADICTED by an attack.", "bold red")
    return text


def _cells(line: Line) -> list[str]:
    run, summary = line.results.run, line.summary
    certified = "" if line.certified is None else words.percent_down(line.certified.value)
    unknown = line.settled.open + line.settled.abstained
    return [
        words.plain(run.threat) if line.radius is None else f"{words.norm(run.norm)} ≤ {words.exact(line.radius)}",
        words.percent_down(summary.clean.value),
        certified,
        "" if line.certified is None else words.interval(line.certified).replace(" to ", "-"),
        "" if line.attacked is None else words.percent_up(line.attacked.value),
        str(unknown),
        f"{summary.checks.accepted}/{summary.checks.total}" + (" !" if summary.checks.unchecked else ""),
        words.seconds(summary.seconds),
    ]


def _json(line: Line) -> dict[str, Any]:
    run, summary, fate = line.results.run, line.summary, line.settled
    return {
        "run": run.id,
        "kind": run.kind,
        "model": run.model,
        "model_name": run.model_name,
        "data": run.data,
        "data_name": run.data_name,
        "function": run.function,
        "semantics": run.settings.get("semantics", "real") if run.function == "f" else None,
        "norm": run.norm,
        "radius": _text(line.radius),
        "method": run.method,
        "inputs": summary.total,
        "clean": _share(summary.clean),
        "certified": _share(line.certified),
        "attacked": _share(line.attacked),
        "settled": {
            "proved": fate.proved,
            "open": fate.open,
            "abstained": fate.abstained,
            "broken": fate.broken,
            "wrong": fate.wrong,
        },
        "unknown": dict(summary.unknown),
        "checks": {
            "accepted": summary.checks.accepted,
            "total": summary.checks.total,
            "unchecked": summary.checks.unchecked,
        },
        "seconds": summary.seconds,
        "check_seconds": summary.check_seconds,
    }


def _text(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


def _share(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    return {"count": share.count, "total": share.total, "low": share.low, "high": share.high}
