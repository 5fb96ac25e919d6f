"""The leaderboard: defences side by side as one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from unmoved.core import UsageError, decimal_up
from unmoved.evaluate.comparison.board import Defence, Section, sections
from unmoved.evaluate.comparison.calibration import ECE_CAVEAT
from unmoved.evaluate.comparison.measures import Damage, Measures, measure
from unmoved.evaluate.corruption import SEVERITIES
from unmoved.evaluate.curves import ACR_CAVEAT
from unmoved.report import comparison, words
from unmoved.report.chapter import Panel, panel
from unmoved.report.comparison import Mark, marks
from unmoved.report.page import environment
from unmoved.report.plot import VARIABLES

TITLE = "Defences side by side"


@dataclass(frozen=True)
class Place:
    """A line of the table: `colour` names the style sheet's variable."""

    mark: Mark
    colour: str
    measures: Measures
    whole: int


@dataclass(frozen=True)
class Heat:
    """Corruptions of one defence: a line a family, a cell a severity (None: not measured).

    `inputs` a cell, at least; `widest` is the width of the widest 95 % interval, in points.
    """

    place: Place
    severities: tuple[int | None, ...]
    lines: tuple[tuple[str, tuple[Damage | None, ...]], ...]
    inputs: int
    widest: str


@dataclass(frozen=True)
class Page:
    """A section as the template takes it."""

    key: str
    section: Section
    norm: str
    places: list[Place]
    panels: list[Panel]
    heats: list[Heat]
    clips: list[str]


def write_leaderboard(found: Sequence[Defence], path: str | Path, *, title: str | None = None) -> Path:
    """Write the defences' page and return its path.

    Raises UsageError when defences of one norm have no input in common, or `path` cannot be written.
    """
    target = Path(path)
    text = render_leaderboard(measured(found), title=title)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError("out", str(path), f"a file that can be written ({error.strerror})") from error
    return target


def measured(found: Sequence[Defence]) -> list[tuple[Section, list[Measures]]]:
    """Return every section with the figures of its defences, in order."""
    return [(section, [measure(section, each) for each in section.defences]) for section in sections(found)]


def render_leaderboard(found: Sequence[tuple[Section, list[Measures]]], *, title: str | None = None) -> str:
    """Return the page as HTML text."""
    pages = [_page(f"n{k}", section, measures) for k, (section, measures) in enumerate(found)]
    return (
        environment()
        .get_template("leaderboard.html")
        .render(
            title=words.plain(title or TITLE),
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            pages=pages,
            contradicted=sum(p.measures.contradicted for page in pages for p in page.places),
            unchecked=sum(p.measures.defence.checks.unchecked for page in pages for p in page.places),
            acr_caveat=ACR_CAVEAT,
            ece_caveat=ECE_CAVEAT,
        )
    )


def names(found: Sequence[Defence]) -> list[str]:
    """Return a short name for each defence: its model and method, and what else is needed to tell it from the rest."""
    first = [_name(each) for each in found]
    twice = {name for name, number in Counter(first).items() if number > 1}
    longer = [
        f"{name} ({words.plain(each.source)})" if name in twice else name
        for name, each in zip(first, found, strict=True)
    ]
    seen: Counter[str] = Counter()
    unique = []
    for name in longer:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return unique


def _name(defence: Defence) -> str:
    run = defence.run
    stem = words.plain(run.model_name.removesuffix(".onnx"))
    noise = (
        f", {run.settings.get('noise', 'σ')} {words.plain(run.settings['sigma'])}" if "sigma" in run.settings else ""
    )
    return f"{stem} · {run.function} by {words.plain(run.method)}{noise}"


def _page(key: str, section: Section, found: list[Measures]) -> Page:
    how = marks(names(section.defences))
    places = [
        Place(mark, VARIABLES[mark.colour], each, whole)
        for mark, each, whole in zip(how, found, section.whole, strict=True)
    ]
    clips = sorted({"none" if d.run.clip is None else f"[{d.run.clip[0]}, {d.run.clip[1]}]" for d in section.defences})
    heats = [heat for place in places if (heat := _heat(place))]
    return Page(key, section, words.norm(section.norm), places, _panels(key, section, places), heats, clips)


def _panels(key: str, section: Section, places: list[Place]) -> list[Panel]:
    how = [place.mark for place in places]
    made = [
        panel(
            comparison.certified(section, how),
            f"{key}-curve",
            "Certified accuracy against the size of the change",
            "Solid: certified, bars 95 %. Dotted, with diamonds: what attacks left standing. The truth lies between.",
        ),
        panel(
            comparison.trade_off(section, how),
            f"{key}-trade",
            "What robustness costs",
            "Up and to the right is better. Bars: 95 % intervals of both.",
        ),
        panel(
            comparison.tightness(section, how),
            f"{key}-time",
            "Tightness against time",
            "Circles: certified of f. Squares: of the smoothed g, another function. Diamonds: left standing by "
            "attacks; what lies between is open. Seconds are those of the machine that ran it, all sizes together.",
        ),
        panel(comparison.radii(section, how), f"{key}-radii", "How the certified radii are distributed", ACR_CAVEAT),
        panel(
            comparison.selective(section, how),
            f"{key}-risk",
            "Risk against coverage, with abstention",
            "A defence answers only where the demanded radius is certified; the square demands nothing. Left: large "
            "radii. The area under the curve is AURC.",
        ),
    ]
    calibrated = [(p.mark, p.measures.calibration) for p in places if p.measures.calibration is not None]
    sure = [(mark, each) for mark, each in calibrated if each is not None]
    if sure:
        made.append(
            panel(
                comparison.reliability(sure),
                f"{key}-reliable",
                "Confidence against accuracy",
                f"On the diagonal confidence is what it says. {ECE_CAVEAT}",
            )
        )
        made.append(
            panel(
                comparison.confidence_by_radius(sure, section.norm),
                f"{key}-confident",
                "Confidence against certified radius",
                "Where the dashed line is above the solid one, answers that are certified this far are less often "
                "right than the model says.",
            )
        )
    foreign = [(p.mark, p.measures.defence) for p in places if p.measures.defence.outside is not None]
    if foreign:
        made.append(
            panel(
                comparison.outside(foreign, section),
                f"{key}-outside",
                "Inside and outside the data",
                "How far answers are certified. A certificate on a foreign input is true and useless: the answer does "
                "not move, and means nothing.",
            )
        )
    worn = [p for p in places if p.measures.damage_by_severity]
    if worn:
        size = worn[0].measures.damage_size
        pairs = [(p.mark, p.measures.defence) for p in worn]
        made.append(
            panel(
                comparison.corrupted(pairs, section, size),
                f"{key}-worn",
                "Certified accuracy under common corruptions",
                "Means over the families, with 95 % intervals over the inputs.",
            )
        )
    return made


def _heat(place: Place) -> Heat | None:
    damage = place.measures.damage
    if not damage:
        return None
    severities: tuple[int | None, ...] = tuple(s for s in (*SEVERITIES, None) if any(d.severity == s for d in damage))
    cells = {(d.family, d.severity): d for d in damage}
    families = dict.fromkeys(d.family for d in damage)
    lines = tuple((words.plain(f.replace("_", " ")), tuple(cells.get((f, s)) for s in severities)) for f in families)
    widest = decimal_up(100 * max(d.certified.high - d.certified.low for d in damage), 1)
    return Heat(place, severities, lines, min(d.certified.total for d in damage), widest)
