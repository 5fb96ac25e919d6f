"""The table of inputs: for each what was certified, what was broken, and what they look like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import safetensors
from safetensors.numpy import load

from unmoved.core import Verdict, decimal_up
from unmoved.evaluate import Results, View, broken
from unmoved.evaluate.accuracy import wrong
from unmoved.record import Row
from unmoved.report import words
from unmoved.report.pictures import Numbers, as_image, data_uri, numbers, read_array, span
from unmoved.store import Store

MOST_INPUTS = 500
"""Inputs in one table; the ledger holds all."""


@dataclass(frozen=True)
class Break:
    """The nearest break that was found: at which distance (an upper bound), under which eps, and what was answered."""

    row: Row
    distance: float | None
    eps: Fraction | None
    answer: int | None = None
    point: Numbers | None = None


@dataclass(frozen=True)
class Step:
    """One size that was asked about: "certified", "broken" or "unknown"."""

    size: str
    verdict: str


@dataclass(frozen=True)
class Input:
    """One input over all runs of a view; pictures are `data:` addresses.

    `verdict` sums up: "certified" (at some size), else "wrong" at x, "broken", "abstained" or "unknown".
    """

    index: int
    label: int
    prediction: int | None
    certified: Fraction
    verdict: str
    steps: tuple[Step, ...]
    found: Break | None
    why: words.Why
    unchecked: bool
    picture: str | None
    witness: str | None
    values: str | None

    @property
    def kinds(self) -> str:
        """What the table can be filtered by, as words."""
        flags = {
            "certified": self.certified > 0 or self.verdict == "certified",
            "broken": self.found is not None,
            "unknown": self.verdict in ("unknown", "abstained")
            or any(step.verdict == "unknown" for step in self.steps),
            "wrong": self.prediction is not None and self.prediction != self.label,
        }
        return " ".join(name for name, on in flags.items() if on)

    @property
    def broken_at(self) -> str:
        """The distance of the nearest break, rounded up."""
        if self.found is None:
            return ""
        if self.found.distance is not None:
            return "0" if self.found.distance == 0 else decimal_up(self.found.distance, 3)
        return "" if self.found.eps is None else words.exact(self.found.eps)


def nearest_breaks(store: Store, view: View) -> dict[int, Break]:
    """Return for every broken input of the view its nearest break, with the distance where it can be known."""
    found: dict[int, Break] = {}
    for results in (*view.attacks, *view.certify):
        for row in results.rows:
            if broken(row):
                each = _break(store, view, results, row)
                if row.index not in found or _far(each) < _far(found[row.index]):
                    found[row.index] = each
    return found


def inputs(store: Store, view: View, breaks: dict[int, Break]) -> list[Input]:
    """Return the first MOST_INPUTS inputs of a view, by index."""
    asked: dict[int, list[tuple[Results, Row]]] = {}
    for results in view.certify or view.attacks:
        for row in results.rows:
            asked.setdefault(row.index, []).append((results, row))
    fallen: dict[int, set[Fraction | None]] = {}
    for results in view.attacks:
        for row in results.rows:
            if broken(row):
                fallen.setdefault(row.index, set()).add(results.eps)
    return [
        _input(store, view, asked[index], breaks.get(index), fallen.get(index, set()))
        for index in sorted(asked)[:MOST_INPUTS]
    ]


def certified_radius(rows: list[Row]) -> Fraction:
    """Return the largest radius at which the right label is certified by any of an input's rows; 0 without one."""
    return max((Fraction(row.radius) for row in rows if row.certified and row.radius is not None), default=Fraction(0))


def _input(
    store: Store, view: View, asked: list[tuple[Results, Row]], found: Break | None, fallen: set[Fraction | None]
) -> Input:
    rows = [row for _, row in asked]
    first = next((row for row in rows if row.prediction is not None), rows[0])
    x = _stored(store, first.input)
    image = None if x is None else as_image(x)
    picture = witness = None
    if image is not None:
        low, high = span(image)
        picture = data_uri(image, low, high)
        if found is not None and found.point is not None and found.distance != 0:
            moved = as_image(found.point)
            witness = None if moved is None else data_uri(moved, low, high)
    certified = certified_radius(rows)
    verdict = _verdict(view, rows, found)
    return Input(
        index=first.index,
        label=first.label,
        prediction=first.prediction,
        certified=certified,
        verdict=verdict,
        steps=_steps(view, asked, fallen),
        found=found,
        why=_why(view, asked, found, fallen),
        unchecked=any(row.unchecked for row in rows),
        picture=picture,
        witness=witness,
        values=None if image is not None or x is None else numbers(x),
    )


def _verdict(view: View, rows: list[Row], found: Break | None) -> str:
    if any(row.certified for row in rows):
        return "certified"
    if any(wrong(row) for row in rows):
        return "wrong"
    if view.function == "g" and all(row.prediction is None for row in rows):
        return "abstained"
    return "broken" if found else "unknown"


def _why(view: View, asked: list[tuple[Results, Row]], found: Break | None, fallen: set[Fraction | None]) -> words.Why:
    first = next((row for _, row in asked if row.prediction is not None), asked[0][1])
    if wrong(first):
        return words.Why(f"Wrong at x itself: {view.function} answers {first.prediction}", "", "")
    for results, row in asked:
        if row.verdict == Verdict.UNKNOWN and results.eps not in fallen:
            told = words.why(row.reason)
            at = "" if view.graded or results.eps is None else f" at {words.exact(results.eps)}"
            return words.Why(told.what + at, told.detail, told.remedy)
    if found is None:
        return words.Why("", "", "")
    beyond = certified_radius([row for _, row in asked]) > 0
    return words.Why("Beyond that, an attack breaks it" if beyond else "An attack breaks it", "", "")


def _steps(view: View, asked: list[tuple[Results, Row]], fallen: set[Fraction | None]) -> tuple[Step, ...]:
    if view.graded or not view.certify:
        return ()
    steps: dict[str, str] = {}
    for results, row in asked:
        size = "box" if results.eps is None else words.exact(results.eps)
        verdict = "certified" if row.certified else "broken" if broken(row) or results.eps in fallen else "unknown"
        if verdict == "certified" or steps.get(size, "unknown") == "unknown":
            steps[size] = verdict
    return tuple(Step(size, verdict) for size, verdict in steps.items())


def _break(store: Store, view: View, results: Results, row: Row) -> Break:
    if wrong(row):
        return Break(row, 0.0, results.eps, row.prediction)
    told, answer = row.details.get("distance"), row.details.get("answer")
    distance = float(told) if isinstance(told, int | float) else None
    answer = answer if isinstance(answer, int) else None
    if row.payload is None:
        return Break(row, distance, results.eps, answer)
    try:
        tensors = load(store.read("payload", row.payload))
    except (KeyError, safetensors.SafetensorError):
        return Break(row, distance, results.eps, answer)
    point, center, output = (tensors.get(name) for name in ("witness", "center", "witness_output"))
    if point is None or center is None or point.shape != center.shape:
        return Break(row, distance, results.eps, answer)
    if distance is None and view.norm in words.NORMS:
        distance = _distance(np.asarray(point, np.float64), np.asarray(center, np.float64), view.norm or "inf")
    if output is not None and output.size:
        answer = int(np.argmax(output))
    return Break(row, distance, results.eps, answer, np.asarray(point, np.float64))


def _distance(point: Numbers, center: Numbers, norm: str) -> float:
    """Return a float64 >= the distance: the rounding of d sums is below (d + 8) 2^-52."""
    move = (point - center).reshape(-1)
    value = float(np.linalg.norm(move, {"1": 1, "2": 2, "inf": np.inf}[norm]))
    return value * (1 + (move.size + 8) * 2.0**-52)


def _far(found: Break) -> float:
    if found.distance is not None:
        return found.distance
    return math.inf if found.eps is None else float(found.eps)


def _stored(store: Store, name: str) -> Numbers | None:
    try:
        return read_array(store.read("input", name))
    except KeyError:
        return None
