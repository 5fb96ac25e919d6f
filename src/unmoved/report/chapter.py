"""One question's part of the report: the answer, the figures, the table of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from markupsafe import Markup

from unmoved.core import decimal_down, decimal_up
from unmoved.evaluate import Agreement, Checks, View, agreement, checks, summarise
from unmoved.evaluate import risk as risks
from unmoved.evaluate.curves import ACR_CAVEAT, average_radius
from unmoved.report import figures, words
from unmoved.report.answer import answer, asked
from unmoved.report.inputs import Break, Input, certified_radius, inputs, nearest_breaks
from unmoved.report.pictures import Numbers, as_image, read_array
from unmoved.report.plot import VARIABLES, Plot
from unmoved.report.tables import Both, Conversion, Line, both, conversions, focus, lines
from unmoved.store import Store


@dataclass(frozen=True)
class Panel:
    """A figure on the page. `key` pairs a colour's name in the style sheet with what it stands for."""

    title: str
    key: tuple[tuple[str, str], ...]
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Chapter:
    """Everything the page says of one view. `key` is unique on the page."""

    key: str
    view: View
    title: str
    answer: Markup
    asked: list[tuple[str, str]]
    lines: list[Line]
    focus: Line
    both: Both | None
    panels: list[Panel]
    conversions: list[Conversion]
    length: str
    inputs: list[Input]
    total: int
    longest: float
    agreement: Agreement
    checks: Checks


def chapter(store: Store, view: View, others: Sequence[View], *, key: str, eps: Fraction | None) -> Chapter:
    """Return a view's chapter; `eps` is the size that its first sentence speaks of, where the view has it."""
    found = lines(view)
    main = focus(found, eps)
    example = _example(store, view)
    picture = example is not None and as_image(example) is not None
    size = None if example is None else example.size
    breaks = nearest_breaks(store, view)
    shown = inputs(store, view, breaks)
    rows = {row.index for results in view.certify or view.attacks for row in results.rows}
    sizes = [line.radius for line in found if line.radius]
    converted = conversions(view.norm, size, sizes) if size and view.norm in words.NORMS and view.certify else []
    far = [float(each.certified) for each in shown] + [b.distance for b in breaks.values() if b.distance is not None]
    return Chapter(
        key=key,
        view=view,
        title=_title(view),
        answer=answer(main, picture=picture),
        asked=asked(view, main, picture=picture, size=size) + _facts(view),
        lines=found,
        focus=main,
        both=both(view, others),
        panels=_panels(view, found, breaks, key),
        conversions=converted,
        length=_length(view, size, main),
        inputs=shown,
        total=len(rows),
        longest=max(far, default=0.0),
        agreement=agreement(view),
        checks=checks([row for results in view.all for row in results.rows]),
    )


def _title(view: View) -> str:
    function = "The model itself, f" if view.function == "f" else "The smoothed model, g"
    return f"{function}, against {words.norm(view.norm)} changes" + ("" if view.certify else " (attack only)")


def _example(store: Store, view: View) -> Numbers | None:
    try:
        return read_array(store.read("input", view.all[0].rows[0].input))
    except KeyError:
        return None


def _length(view: View, size: int | None, main: Line) -> str:
    """Say how sizes in L_inf and L2 go together for so many values: why one certificate says little of the other."""
    if size is None or not main.radius:
        return ""
    if view.norm == "2":
        thin = words.radius(conversions("2", size, [main.radius])[0].inside["inf"], 4)
        return (
            f"Spread over all {words.count(size)} values, an L2 radius of {words.exact(main.radius)} leaves {thin} "
            "a value: against L∞ changes this certificate says little."
        )
    if view.norm != "inf":
        return ""
    longest = decimal_up(float(main.radius) * size**0.5, 2)
    return (
        f"A change of {words.exact(main.radius)} in every one of the {words.count(size)} values is up to {longest} "
        "long in L2, far beyond the L2 ball in the table: that ball is what follows for sure, no measure of strength."
    )


def _facts(view: View) -> list[tuple[str, str]]:
    """Return the smaller numbers of a smoothing run."""
    if view.function != "g" or not view.certify:
        return []
    rows = view.certify[0].rows
    spent = sum(int(r.details.get("drawn", r.details.get("samples", 0))) + int(r.details.get("n0", 0)) for r in rows)
    summary = summarise(rows)
    copies = f"{words.count(spent)} noisy copies in all"
    return [("spent", f"{copies}; {summary.abstained} of {summary.total} inputs abstained")]


def _panels(view: View, found: list[Line], breaks: dict[int, Break], key: str) -> list[Panel]:
    if not view.certify:
        return [panel(figures.fates(found), f"{key}-fates", "What became of every input", _fates_caption(found))]
    made = []
    clean = found[0].summary.clean
    if view.norm is not None:
        plot = figures.certified_curve(view, clean, found)
        caption = "Solid: certified, with 95 % intervals. What is certified at one size holds at every smaller one."
        if not figures.same_inputs(view):
            caption = "Points with 95 % intervals. The runs are about different inputs, so no line joins them."
        elif view.attacks:
            caption += " Dashed: what attacks left standing. The truth lies between the two lines."
        made.append(panel(plot, f"{key}-curve", "Certified accuracy against the size of the change", caption))
    made += _tightness(view, found, key)
    title = "What became of every input, by size"
    made.append(panel(figures.fates(found), f"{key}-fates", title, _fates_caption(found)))
    if view.norm is not None:
        made.append(_per_input(view, breaks, key))
        made.append(_risk(view, key))
    if view.function == "g" and any("p_low" in row.details for row in view.certify[0].rows):
        plot = figures.probabilities(view.certify[0].rows)
        mean = decimal_down(average_radius(view.certify[0].rows), 3)
        made.append(
            panel(plot, f"{key}-votes", "How sure the votes are", f"Average certified radius {mean}. {ACR_CAVEAT}")
        )
    return made


def _tightness(view: View, found: list[Line], key: str) -> list[Panel]:
    """Return the picture of several methods at the largest size that they share; nothing where there is one method."""
    methods: dict[Fraction, dict[str, Line]] = {}
    for line in found:
        if view.function == "f" and line.certified is not None and line.radius:
            methods.setdefault(line.radius, {}).setdefault(line.results.run.method, line)
    sizes = [size for size, each in methods.items() if len(each) > 1]
    if not sizes:
        return []
    size = max(sizes)
    plot = figures.tightness(view, list(methods[size].values()))
    caption = "Higher is tighter, left is cheaper; bars are 95 % intervals. No method can pass the dashed line."
    return [panel(plot, f"{key}-time", f"Tightness against time at {words.exact(size)}", caption)]


def panel(plot: Plot, key: str, title: str, caption: str) -> Panel:
    """Return a plot as a figure of the page; `key` is unique on the page."""
    names = tuple((VARIABLES[colour], name) for name, colour in plot.key)
    return Panel(title, names, plot.svg(key), caption)


def _fates_caption(found: Sequence[Line]) -> str:
    text = "Each input is counted once in each bar."
    bare = [words.exact(line.radius) for line in found if line.attacked is None and line.radius]
    if len(bare) == len(found):
        return f"{text} No attack was run, so nothing can be called broken."
    text += " Grey is the gap between certificate and attack."
    return f"{text} No attack was run at {', '.join(bare)}." if bare else text


def _per_input(view: View, breaks: dict[int, Break], key: str) -> Panel:
    rows: dict[int, list[Fraction]] = {}
    for results in view.certify:
        for row in results.rows:
            rows.setdefault(row.index, []).append(certified_radius([row]))
    order = sorted(rows)
    distances = [breaks[i].distance if i in breaks else None for i in order]
    plot = figures.per_input(view, [max(rows[i]) for i in order], distances)
    caption = "No break may lie inside the blue. Where a break lies far above it, one of the two can be improved."
    if not view.attacks:
        caption = "How far each input is certified. No attack was run on this question."
    return panel(plot, f"{key}-inputs", "Certificate against attack, input by input", caption)


def _risk(view: View, key: str) -> Panel:
    rows = view.certify[0].rows
    points = risks.by_radius(rows) if view.graded and view.certify else risks.by_eps(view.certify)
    clean = summarise(rows).clean
    plot = figures.risk_coverage(points, 1 - clean.value if view.function == "f" else None)
    most = max((p.coverage for p in points), default=Fraction(0))
    caption = (
        "The model answers only where a radius r is certified, and abstains elsewhere. Area under the curve at most "
        f"{decimal_up(risks.aurc(points), 4)}, up to a coverage of {words.percent_down(most)}."
    )
    if any(p.maybe for p in points):
        caption += " How far wrong answers hold was not asked; at most, all of them are given."
    return panel(plot, f"{key}-risk", "Risk against coverage, with abstention", caption)
