"""The figures of a report, each from the numbers that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from matplotlib.ticker import MaxNLocator

from unmoved.core import float_down
from unmoved.evaluate import Share, View, upper_bound
from unmoved.evaluate.curves import Point, by_eps, by_radius
from unmoved.evaluate.risk import RiskPoint
from unmoved.record import Row
from unmoved.report.plot import ABSTAINED, ATTACKED, CERTIFIED, INK, MUTED, OPEN, PAPER, SERIES, WRONG, Plot
from unmoved.report.tables import Line
from unmoved.report.words import NORMS, exact, plain

FATES = (
    ("proved", "certified", CERTIFIED),
    ("open", "unknown", OPEN),
    ("abstained", "abstained", ABSTAINED),
    ("broken", "broken", ATTACKED),
    ("wrong", "wrong at x", WRONG),
)


def axis(view: View) -> str:
    """Return the name of the horizontal axis: the size of a change, in the view's norm."""
    return f"size of the change allowed, in {NORMS.get(view.norm or '', 'the threat')}"


def certified_curve(view: View, clean: Share, certified: Sequence[Line]) -> Plot:
    """Draw certified accuracy against radius, the attacks' upper bound over it, and what is open between them.

    Only what is known is drawn: what is certified at one size holds at every smaller one, what is broken at one size at
    every larger one; so the lower line steps down before its points, the upper one after. No line joins runs that are
    about different inputs.
    """
    points = by_radius(view.certify[0].rows) if view.graded and view.certify else by_eps(view.certify)
    if not points or points[0].radius > 0:
        points = (Point(Fraction(0), clean), *points)
    bounds = [(eps, upper_bound(view, eps)) for eps in sorted({r.eps for r in view.attacks if r.eps})]
    upper = [(0.0, float(clean.value)), *((float(eps), float(b.value)) for eps, b in bounds if b)]
    last = max([float(points[-1].radius), *(x for x, _ in upper)], default=0.0) or 1.0
    end = last * 1.06
    whole = same_inputs(view)
    plot = Plot(f"Certified accuracy against the size of the change, in {view.norm}")
    lower = falling([(float(p.radius), float(p.share.value)) for p in points], end)
    if whole:
        plot.axes.plot(*zip(*lower, strict=True), color=CERTIFIED, zorder=3)
    if bounds and whole:
        above = standing(upper, end)
        plot.axes.plot(*zip(*above, strict=True), color=ATTACKED, zorder=3, linestyle=(0, (4, 1.5)))
        _band(plot, lower, above)
    for line in certified:
        if line.certified is not None and line.radius is not None and line.radius > 0:
            _bar(plot, float(line.radius), line.certified)
    plot.axes.plot([x for x, _ in upper[1:]], [y for _, y in upper[1:]], "D", color=ATTACKED, markersize=4.5, zorder=4)
    _sizes(plot, [p.radius for p in points], end)
    plot.titles(axis(view), "share of inputs")
    plot.key.append(("certified", CERTIFIED))
    if bounds:
        plot.key += [*([("unknown", OPEN)] if whole else []), ("attack left standing", ATTACKED)]
    return plot


def tightness(view: View, found: Sequence[Line]) -> Plot:
    """Draw each method's certified share at one size against its seconds an input; dashed: what attacks left."""
    plot = Plot("Tightness against time: certified share of each method, and seconds an input")
    spent = [max(line.summary.seconds / line.summary.total, 1e-7) for line in found]
    for line, time, colour in zip(found, spent, SERIES * len(found), strict=False):
        if line.certified is not None:
            plot.axes.plot([time, time], [line.certified.low, line.certified.high], color=colour, linewidth=1.1)
            plot.axes.plot([time], [float(line.certified.value)], "o", color=colour, markersize=6)
            plot.key.append((plain(line.results.run.method), colour))
    bound = upper_bound(view, found[0].radius)
    if bound is not None:
        plot.axes.axhline(float(bound.value), color=ATTACKED, linestyle=(0, (4, 1.5)))
        plot.key.append(("attack left standing", ATTACKED))
    plot.percent()
    plot.time(min(spent) / 2, max(spent) * 2)
    plot.titles("time of the proofs, an input (logarithmic)", "certified")
    return plot


def _sizes(plot: Plot, sizes: Sequence[Fraction], end: float) -> None:
    """Let the axes run over 0 to 100 % and 0 to `end`, with a tick a size where there is room."""
    plot.percent()
    plot.axes.set_xlim(0, end)
    places = [float(size) for size in sizes]
    if len(places) <= 8 and end / 30 < min((b - a for a, b in pairwise(places)), default=0):
        plot.axes.set_xticks(places, [exact(size) for size in sizes])
    else:
        plot.axes.xaxis.set_major_locator(MaxNLocator(6))


def same_inputs(view: View) -> bool:
    """Say whether all runs of a view are about the same inputs, so that their shares may be joined by a line."""
    return len({frozenset(row.index for row in results.rows) for results in view.all}) <= 1


def fates(found: Sequence[Line]) -> Plot:
    """Draw what became of every input, a bar for each size; the counts are written where there is room."""
    rows = list(found)
    plot = Plot("What became of every input, by size of the change", height=0.95 + 0.36 * len(rows))
    used = [fate for fate in FATES if any(getattr(line.settled, fate[0]) for line in rows)]
    for place, line in enumerate(rows):
        start, total = 0.0, line.settled.total
        for name, _, colour in used:
            number = getattr(line.settled, name)
            if not number:
                continue
            width = number / total
            plot.axes.barh(place, width, left=start, height=0.66, color=colour, edgecolor=PAPER, linewidth=1)
            if width > 0.014 * len(str(number)) + 0.014:
                ink = INK if name in ("open",) else PAPER
                plot.axes.text(start + width / 2, place, str(number), ha="center", va="center_baseline", color=ink)
            start += width
    names = ["whole box" if line.radius is None else exact(line.radius) for line in rows]
    plot.axes.set_yticks(range(len(rows)), names, color=INK)
    plot.axes.invert_yaxis()
    plot.percent(x=True, y=False)
    plot.titles("share of inputs")
    plot.key += [(label, colour) for _, label, colour in used]
    return plot


def per_input(view: View, proved: Sequence[Fraction], breaks: Sequence[float | None]) -> Plot:
    """Draw every input, by falling certified radius: how far it is certified, and the nearest break that was found."""
    plot = Plot("Every input: certified radius, and distance of the nearest break found")
    far = [float("inf") if distance is None else distance for distance in breaks]
    order = sorted(range(len(proved)), key=lambda i: (-proved[i], -far[i]))
    heights = [float_down(proved[i]) for i in order]
    edges = list(range(len(order) + 1))
    plot.axes.stairs(heights, edges, fill=True, color=CERTIFIED, alpha=0.85, linewidth=0)
    hit = [(k + 0.5, far[i]) for k, i in enumerate(order) if breaks[i] is not None]
    if hit:
        size = 3.5 if len(order) <= 300 else 2
        plot.axes.plot([x for x, _ in hit], [y for _, y in hit], "D", color=ATTACKED, markersize=size, mew=0)
    top = max([*heights, *(y for _, y in hit), 1e-9])
    plot.axes.set_xlim(0, len(order))
    plot.axes.set_ylim(0, top * 1.08)
    plot.axes.yaxis.set_major_locator(MaxNLocator(5))
    plot.axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    plot.axes.grid(axis="y", color=MUTED, alpha=0.15, linewidth=0.8)
    plot.axes.set_axisbelow(True)
    plot.titles(
        "inputs, by falling certified radius", f"distance from x, in {NORMS.get(view.norm or '', 'the threat')}"
    )
    plot.key += [("certified as far as", CERTIFIED), *([("nearest break found", ATTACKED)] if hit else [])]
    return plot


def risk_coverage(points: Sequence[RiskPoint], error: Fraction | None) -> Plot:
    """Draw the share of wrong answers against the share of inputs answered, as the demanded radius grows.

    Where it is not known which wrong answers would be given, the band reaches from the smallest risk to the largest.
    """
    plot = Plot("Share of wrong answers against share of inputs answered, as the demanded radius grows")
    shown = [p for p in points if p.risk is not None]
    xs, ys = [float(p.coverage) for p in shown], [float(p.risk or 0) for p in shown]
    top = max([*ys, float(error or 0), 0.01])
    if any(p.maybe for p in shown):
        plot.axes.fill_between(xs, [float(p.least_risk or 0) for p in shown], ys, color=OPEN, alpha=0.45, linewidth=0)
        plot.key += [("largest possible risk", CERTIFIED), ("smallest to largest", OPEN)]
    plot.axes.plot(xs, ys, "-" if len(shown) > 12 else "o-", color=CERTIFIED, markersize=5)
    if error is not None:
        plot.axes.plot([1.0], [float(error)], "s", color=WRONG, markersize=6, clip_on=False, zorder=4)
        plot.key.append(("no radius demanded", WRONG))
    for p in _spread(shown, 4):
        plot.axes.plot([float(p.coverage)], [float(p.risk or 0)], "o", color=CERTIFIED, markersize=5, clip_on=False)
        label = f"r ≥ {exact(p.radius) if p.radius.denominator < 1000 else f'{float_down(p.radius):.2f}'}"
        plot.say(float(p.coverage), float(p.risk or 0), label, CERTIFIED, side="", rise=10)
    plot.percent(x=True, top=top * 1.25)
    plot.axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    plot.titles("share of inputs answered", "share of the answers that are wrong")
    return plot


def probabilities(rows: Sequence[Row]) -> Plot:
    """Draw how the lower bounds of the top class's probability are distributed, right and wrong answers apart."""
    plot = Plot("Distribution of the lower bounds of the top class's probability under noise")
    right = [float(r.details["p_low"]) for r in rows if "p_low" in r.details and r.prediction == r.label]
    other = [float(r.details["p_low"]) for r in rows if "p_low" in r.details and r.prediction != r.label]
    edges = [k / 20 for k in range(21)]
    plot.axes.hist(
        [right, other], bins=edges, stacked=True, color=[CERTIFIED, WRONG], rwidth=0.88, label=["right", "other"]
    )
    plot.axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    plot.axes.set_xlim(0, 1)
    plot.axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    plot.axes.set_ylim(0, plot.axes.get_ylim()[1] * 1.15)
    plot.titles("lower bound of the top class's probability under noise", "inputs")
    plot.key += [("right", CERTIFIED), ("wrong or abstained", WRONG)]
    return plot


def falling(points: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Return the corners of a line that holds each point's height to its left, and is 0 beyond the last."""
    corners = [points[0]]
    for (x0, _), (x1, y1) in pairwise(points):
        corners += [(x0, y1), (x1, y1)]
    return [*corners, (points[-1][0], 0.0), (end, 0.0)]


def standing(points: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Return the corners of a line that holds each point's height to its right, never rising."""
    corners, height = [points[0]], points[0][1]
    for x, y in points[1:]:
        corners += [(x, height), (x, min(y, height))]
        height = min(y, height)
    return [*corners, (end, height)]


def _height(corners: Sequence[tuple[float, float]], x: float) -> float:
    """Return the height of a stepped line just right of x."""
    return next((y0 for (x0, y0), (x1, _) in pairwise(corners) if x0 <= x < x1), corners[-1][1])


def _band(plot: Plot, lower: Sequence[tuple[float, float]], upper: Sequence[tuple[float, float]]) -> None:
    xs = sorted({x for x, _ in lower} | {x for x, _ in upper})
    low, high = [_height(lower, x) for x in xs], [_height(upper, x) for x in xs]
    plot.axes.fill_between(xs, low, high, step="post", color=OPEN, alpha=0.45, linewidth=0, zorder=1)


def _bar(plot: Plot, x: float, share: Share) -> None:
    middle = float(share.value)
    ends = [[middle - share.low], [share.high - middle]]
    plot.axes.errorbar([x], [middle], ends, color=CERTIFIED, linewidth=1.1, capsize=4, capthick=1.1, zorder=3)
    plot.axes.plot([x], [middle], "o", color=CERTIFIED, markersize=5, zorder=4)


def _spread(points: Sequence[RiskPoint], most: int) -> list[RiskPoint]:
    """Return at most `most` points that lie apart along the coverage axis, largest coverage first, radii not alike."""
    kept: list[RiskPoint] = []
    for p in sorted(points, key=lambda p: -p.coverage):
        apart = all(abs(float(p.coverage - other.coverage)) >= 1.0 / (most + 1) for other in kept)
        if apart and all(p.radius - other.radius > Fraction(1, 50) for other in kept):
            kept.append(p)
    return kept
