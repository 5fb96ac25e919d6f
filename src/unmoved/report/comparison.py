"""The figures of a comparison: every defence of a section in its own colour, each from the numbers that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unmoved.evaluate import Share
from unmoved.evaluate.comparison.board import Defence, Section, held, worn_mean
from unmoved.evaluate.comparison.calibration import Calibration
from unmoved.evaluate.comparison.profile import Profile
from unmoved.evaluate.comparison.selective import curve
from unmoved.report.figures import falling, standing
from unmoved.report.plot import DASHES, RULE, SERIES, Plot
from unmoved.report.words import NORMS, exact


@dataclass(frozen=True)
class Mark:
    """How a defence is drawn: its short name, colour and dash."""

    name: str
    colour: str
    dash: object


def marks(names: Sequence[str]) -> list[Mark]:
    """Return one mark a name, in order."""
    return [Mark(n, SERIES[k % len(SERIES)], DASHES[k // len(SERIES) % len(DASHES)]) for k, n in enumerate(names)]


def certified(section: Section, how: Sequence[Mark]) -> Plot:
    """Draw certified accuracy against size, solid, and what attacks left standing, dotted; stepped as in `figures`."""
    plot = Plot("Certified accuracy of every defence against the size of the change")
    radii = [float(r) for each in section.defences for r in each.profile.radii if r is not None]
    end = 1.06 * (max([*map(float, section.sizes), *radii]) or 1.0)
    for mark, each in zip(how, section.defences, strict=True):
        part = each.profile
        lower = [(0.0, float(part.clean().value)), *((float(r), float(part.certified(r).value)) for r in _reads(part))]
        plot.axes.plot(*zip(*falling(lower, end), strict=True), color=mark.colour, linestyle=mark.dash, zorder=3)
        for size in (s for s in section.sizes if s in part.sizes):
            _bar(plot, float(size), part.certified(size), mark.colour)
        upper = [(float(s), part.standing(s)) for s in part.attacked]
        above = [(0.0, float(part.clean().value)), *((x, float(s.value)) for x, s in upper if s is not None)]
        if len(above) > 1:
            line = standing(above, end)
            plot.axes.plot(*zip(*line, strict=True), color=mark.colour, linewidth=0.9, linestyle=(0, (1, 1.5)))
            plot.axes.plot(*zip(*above[1:], strict=True), "D", color=mark.colour, markersize=3.5)
    plot.percent()
    plot.axes.set_xlim(0, end)
    plot.axes.xaxis.set_major_locator(MaxNLocator(6))
    plot.titles(f"size of the change allowed, in {_norm(section)}", "share of inputs")
    return _keyed(plot, how)


def trade_off(section: Section, how: Sequence[Mark]) -> Plot:
    """Draw certified accuracy at the main size against clean accuracy, with both intervals."""
    plot = Plot("Certified accuracy against clean accuracy")
    for mark, each in zip(how, section.defences, strict=True):
        clean, share = each.profile.clean(), each.profile.certified(section.main)
        x, y = float(clean.value), float(share.value)
        plot.axes.plot([clean.low, clean.high], [y, y], color=mark.colour, linewidth=1.1)
        plot.axes.plot([x, x], [share.low, share.high], color=mark.colour, linewidth=1.1)
        plot.axes.plot([x], [y], "o", color=mark.colour, markersize=6)
    plot.percent()
    low = min(each.profile.clean().low for each in section.defences)
    plot.axes.set_xlim(max(0.0, low - 0.03), 1.005)
    plot.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    plot.axes.xaxis.set_major_locator(MaxNLocator(5))
    plot.titles("clean accuracy", f"certified at {_norm(section)} ≤ {exact(section.main)}")
    return _keyed(plot, how)


def tightness(section: Section, how: Sequence[Mark]) -> Plot:
    """Draw what is certified at the main size against the seconds an input that it took; thin: what attacks left."""
    plot = Plot("Tightness against time: certified share, and seconds of proof an input")
    spent = [max(float(each.profile.seconds.mean()), 1e-7) for each in section.defences]
    for mark, each, time in zip(how, section.defences, spent, strict=True):
        share, above = each.profile.certified(section.main), each.profile.standing(section.main)
        _bar(plot, time, share, mark.colour)
        plot.axes.plot([time], [float(share.value)], "o" if each.run.function == "f" else "s", color=mark.colour, ms=6)
        if above is not None:
            plot.axes.plot(
                [time, time], [float(share.value), float(above.value)], color=mark.colour, lw=0.9, ls=(0, (1, 1.5))
            )
            plot.axes.plot([time], [float(above.value)], "D", color=mark.colour, markersize=3.5)
    plot.percent()
    plot.time(min(spent) / 2, max(spent) * 2)
    plot.titles("time of the proofs, an input (logarithmic)", f"certified at {_norm(section)} ≤ {exact(section.main)}")
    return _keyed(plot, how)


def radii(section: Section, how: Sequence[Mark]) -> Plot:
    """Draw how the certified radii of right answers are distributed: the share of inputs in each of twelve bins."""
    plot = Plot("Distribution of the certified radii")
    lengths = [np.where(p.right, np.nan_to_num(p.lengths), 0) for p in (each.profile for each in section.defences)]
    top = max(float(found.max(initial=0)) for found in lengths) or 1.0
    edges = np.linspace(0, top * 1.0001, 13)
    highest = 0.0
    for mark, found in zip(how, lengths, strict=True):
        heights = np.histogram(found, edges)[0] / len(found)
        highest = max(highest, float(heights.max()))
        plot.axes.stairs(heights, edges, color=mark.colour, linestyle=mark.dash, linewidth=1.6)
    plot.percent(top=highest * 1.05)
    plot.axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    plot.axes.set_xlim(0, top * 1.02)
    plot.titles(f"certified radius, in {_norm(section)} (0: not certified)", "share of inputs")
    return _keyed(plot, how)


def selective(section: Section, how: Sequence[Mark]) -> Plot:
    """Draw the share of wrong answers against the share of inputs answered, as the demanded radius grows."""
    plot = Plot("Share of wrong answers against share of inputs answered, as the demanded radius grows")
    top = 0.01
    for mark, each in zip(how, section.defences, strict=True):
        points = [p for p in curve(each.profile) if p.right is not None]
        xs = [float(p.coverage.value) for p in points]
        ys = [1 - float(p.right.value) for p in points if p.right is not None]
        top = max([top, *ys])
        plot.axes.plot(xs, ys, color=mark.colour, linestyle=mark.dash, marker="o" if len(xs) < 12 else None, ms=4)
        plot.axes.plot(xs[:1], ys[:1], "s", color=mark.colour, markersize=5, clip_on=False, zorder=4)
    plot.percent(x=True, top=top * 1.15)
    plot.axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    plot.titles("share of inputs answered", "share of the answers that are wrong")
    return _keyed(plot, how)


def reliability(found: Sequence[tuple[Mark, Calibration]]) -> Plot:
    """Draw accuracy against mean confidence, a point a bin of confidence: the diagonal is a calibrated model's."""
    plot = Plot("Accuracy against confidence")
    plot.axes.plot([0, 1], [0, 1], color=RULE, linewidth=1, linestyle=(0, (3, 3)))
    for mark, each in found:
        xs = [b.confidence for b in each.by_confidence]
        plot.axes.plot(xs, [float(b.right.value) for b in each.by_confidence], "o-", color=mark.colour, ms=4, lw=1.4)
        for b in each.by_confidence:
            plot.axes.plot([b.confidence] * 2, [b.right.low, b.right.high], color=mark.colour, linewidth=0.9)
    plot.percent(x=True)
    plot.titles("mean confidence", "share of right answers")
    return _keyed(plot, [mark for mark, _ in found])


def confidence_by_radius(found: Sequence[tuple[Mark, Calibration]], norm: str) -> Plot:
    """Draw accuracy and mean confidence against the certified radius of the answer, a point a bin of radii."""
    plot = Plot("Accuracy and confidence against the certified radius")
    for mark, each in found:
        ends = [b.high if b.high is not None else b.low for b in each.by_radius]
        xs = [(b.low + end) / 2 if b.low > 0 else 0.0 for b, end in zip(each.by_radius, ends, strict=True)]
        plot.axes.plot(xs, [float(b.right.value) for b in each.by_radius], "o-", color=mark.colour, ms=4, lw=1.4)
        plot.axes.plot(xs, [b.confidence for b in each.by_radius], "o--", color=mark.colour, ms=4, lw=1, mfc="none")
        for x, b in zip(xs, each.by_radius, strict=True):
            plot.axes.plot([x, x], [b.right.low, b.right.high], color=mark.colour, linewidth=0.9)
    plot.percent()
    plot.axes.set_xlim(left=-0.02 * max(plot.axes.get_xlim()[1], 1e-9))
    plot.axes.xaxis.set_major_locator(MaxNLocator(5))
    plot.titles(
        f"certified radius of the answer, in {NORMS.get(norm, norm)} (0: not certified)",
        "solid: right; dashed: confidence",
    )
    return _keyed(plot, [mark for mark, _ in found])


def outside(pairs: Sequence[tuple[Mark, Defence]], section: Section) -> Plot:
    """Draw the share of answers certified as far as a radius, right or wrong: solid inside, dotted outside the data."""
    plot = Plot("Share of answers certified, inside and outside the data, against the radius")
    every = [float(r) for _, each in pairs for p in (each.profile, each.outside) if p for r in p.radii if r]
    end = 1.06 * max([*every, float(section.main)])
    for mark, each in pairs:
        for part, style, width in ((each.profile, mark.dash, 1.8), (each.outside, (0, (1, 1.5)), 1.4)):
            if part is None:
                continue
            points = [(0.0, 1.0), *((float(r), _held(part, r)) for r in _reads(part))]
            plot.axes.plot(
                *zip(*falling(points, end), strict=True), color=mark.colour, linestyle=style, linewidth=width
            )
    plot.percent()
    plot.axes.set_xlim(0, end)
    plot.axes.xaxis.set_major_locator(MaxNLocator(6))
    plot.titles(f"certified radius, in {_norm(section)}", "share of answers; dotted: outside the data")
    return _keyed(plot, [mark for mark, _ in pairs])


def corrupted(pairs: Sequence[tuple[Mark, Defence]], section: Section, radius: Fraction) -> Plot:
    """Draw the mean over families of what is certified, by severity, intervals over inputs; dotted: clean."""
    plot = Plot("Mean certified accuracy under corruption, by severity")
    for mark, each in pairs:
        for good, style in ((held(radius), mark.dash), (lambda part: part.right, (0, (1, 1.5)))):
            severities = sorted({w.severity for w in each.worn if w.severity is not None})
            found = [(s, worn_mean([w for w in each.worn if w.severity == s], good)) for s in severities]
            known = [(s, e) for s, e in found if e is not None]
            plot.axes.plot([s for s, _ in known], [e.value for _, e in known], color=mark.colour, linestyle=style)
            for s, e in known:
                plot.axes.plot([s, s], [e.low, e.high], color=mark.colour, linewidth=0.9)
        start = float(each.profile.certified(radius).value)
        plot.axes.plot([0], [start], "o", color=mark.colour, markersize=5)
    plot.percent()
    plot.axes.set_xlim(-0.15, 5.15)
    plot.axes.set_xticks(range(6), ["none", "1", "2", "3", "4", "5"])
    plot.titles("severity", f"certified at {_norm(section)} ≤ {exact(radius)}; dotted: right")
    return _keyed(plot, [mark for mark, _ in pairs])


def _reads(part: Profile) -> list[Fraction]:
    """Return where a curve has points: the sizes asked for, or every radius."""
    return sorted(set(part.sizes) or {r for r in part.radii if r})


def _held(part: Profile, radius: Fraction) -> float:
    return sum(r is None or r >= radius for r in part.radii) / len(part.radii)


def _norm(section: Section) -> str:
    return NORMS.get(section.norm, section.norm)


def _bar(plot: Plot, x: float, share: Share, colour: str) -> None:
    plot.axes.plot([x, x], [share.low, share.high], color=colour, linewidth=1.1, zorder=3)
    plot.axes.plot([x], [float(share.value)], "o", color=colour, markersize=4, zorder=4)


def _keyed(plot: Plot, how: Sequence[Mark]) -> Plot:
    plot.key += [(mark.name, mark.colour) for mark in how]
    return plot
