"""A drawing surface with one calm style: matplotlib's SVG, made fit to stand inside a page, light or dark."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK, MUTED, RULE, PAPER = "#110001", "#110002", "#110003", "#110004"
CERTIFIED, ATTACKED, OPEN, WRONG, ABSTAINED, FAINT = "#110011", "#110012", "#110013", "#110014", "#110015", "#110016"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    PAPER: "--paper",
    CERTIFIED: "--certified",
    ATTACKED: "--attacked",
    OPEN: "--open",
    WRONG: "--wrong",
    ABSTAINED: "--abstained",
    FAINT: "--faint",
}
SERIES = tuple(f"#1100{21 + k}" for k in range(6))
"""Colours of things that stand side by side; more than six begin again, with another dash."""

DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))
VARIABLES |= {colour: f"--s{k + 1}" for k, colour in enumerate(SERIES)}
"""Stand-ins that no figure uses otherwise, and the style sheet's variables that take their place."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "unmoved",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.grid": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


class Plot:
    """One figure with one pair of axes, `axes`; `svg` returns it, `key` names its colours.

    `label` says what it shows, for those who cannot see it.
    """

    def __init__(self, label: str, *, height: float = 2.9) -> None:
        self.label = label
        self.key: list[tuple[str, str]] = []
        with matplotlib.rc_context(STYLE):
            self.figure = Figure(figsize=(5.2, height), facecolor="none")
            FigureCanvasSVG(self.figure)
            self.axes: Axes = self.figure.add_axes((0.105, 0.42 / height, 0.875, 1 - 0.57 / height), facecolor="none")
        for side in ("top", "right", "left"):
            self.axes.spines[side].set_visible(False)

    def percent(self, *, x: bool = False, y: bool = True, top: float = 1.0) -> None:
        """Let an axis run from 0 to `top` in per cent, with faint rules across the page."""
        show = FuncFormatter(lambda value, _: f"{100 * value:.0f} %" if abs(value * 100 % 1) < 1e-6 else "")
        if y:
            self.axes.set_ylim(0, top * 1.03)
            self.axes.yaxis.set_major_formatter(show)
            self.axes.grid(axis="y", color=FAINT, linewidth=0.8)
            self.axes.set_axisbelow(True)
        if x:
            self.axes.set_xlim(0, 1.02)
            self.axes.xaxis.set_major_formatter(show)

    def time(self, low: float, high: float) -> None:
        """Let the horizontal axis run over seconds from `low` to `high`, logarithmically."""
        self.axes.set_xscale("log")
        self.axes.set_xlim(low, high)
        self.axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200 * low else (1.0,)))
        show = FuncFormatter(lambda value, _: f"{value:g} s" if value >= 0.1 else f"{1000 * value:g} ms")
        self.axes.xaxis.set_major_formatter(show)
        self.axes.xaxis.set_minor_formatter(NullFormatter())

    def say(self, x: float, y: float, text: str, colour: str, *, side: str = "right", rise: float = 0.0) -> None:
        """Write a label beside a point: `side` is where it stands, `rise` how many points above the height of y."""
        ha = {"right": "left", "left": "right"}.get(side, "center")
        self.axes.annotate(
            text,
            (x, y),
            xytext=({"right": 6, "left": -6}.get(side, 0), rise),
            textcoords="offset points",
            ha=ha,
            va="center",
            color=colour,
            annotation_clip=False,
        )

    def titles(self, x: str, y: str = "") -> None:
        """Name the axes: below, and above the vertical axis where text can be read without turning one's head."""
        self.axes.set_xlabel(x, labelpad=4)
        if y:
            self.axes.set_title(y, loc="left", color=MUTED, fontsize=9, pad=8, x=-0.105)

    def svg(self, key: str) -> Markup:
        """Return the figure as an inline <svg>; `key` (letters, digits, -) makes its ids unique on the page."""
        target = io.StringIO()
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return inline(target.getvalue(), key, self.label)


def inline(text: str, key: str, label: str) -> Markup:
    """Return matplotlib's SVG without prolog, metadata and fixed size, with the page's colours, fonts and ids."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="([\d. ]+)"', text)
    assert box is not None
    text = re.sub(
        r"<svg[^>]*>", f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(label)}" class="plot">', text, count=1
    )
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    text = re.sub(r"font: (?:(\d+) )?([\d.]+)px [^;\"]*", _font, text)
    text = re.sub(r"([a-z-]+)=\"(#1100\d\d)\"", r'style="\1: \2"', text)
    for stand_in, variable in VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    return Markup(re.sub(r"\n\s*", "\n", text))


def _font(found: re.Match[str]) -> str:
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}px"
