"""The lines of the overview: what was asked, and the clean, certified and attacked accuracy that came out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from unmoved.evaluate import Results, Settled, Share, Summary, View, attacked, settled, summarise, upper_bound
from unmoved.evaluate.curves import certified_at

STANDARD_RADII = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(2), Fraction(3))
"""Where a smoothing run is read off, besides the sizes that were asked for."""


@dataclass(frozen=True)
class Line:
    """One question and its answer. `certified` is None for an attack alone, `attacked` None where no attack ran."""

    view: View
    results: Results
    radius: Fraction | None
    summary: Summary
    certified: Share | None
    attacked: Share | None
    settled: Settled

    @property
    def gap(self) -> Fraction | None:
        """What lies between certificate and attack, as a share; None unless both are there."""
        if self.certified is None or self.attacked is None:
            return None
        return self.attacked.value - self.certified.value


def lines(view: View) -> list[Line]:
    """Return a view's lines, by radius: one a run, or where inputs have their own one a radius to read them off at."""
    if not view.certify:
        return [_attack_line(view, results) for results in view.attacks]
    if view.graded:
        return [_line(view, results, radius) for results in view.certify for radius in radii(view, results)]
    return [_line(view, results, results.eps) for results in view.certify]


def radii(view: View, results: Results) -> list[Fraction]:
    """Return where a run with radii is read off: its eps, its attacks' eps, the usual radii up to its largest one.

    A search for the radius has nothing beyond its eps: it is read off at a quarter, a half and all of it.
    """
    if results.run.kind == "radius" and results.eps is not None:
        within = {each.eps for each in view.attacks if each.eps is not None and each.eps <= results.eps}
        return sorted(within | {results.eps / 4, results.eps / 2, results.eps})
    asked = results.eps or Fraction(0)
    most = max((Fraction(r.radius) for r in results.rows if r.certified and r.radius is not None), default=Fraction(0))
    usual = {radius for radius in STANDARD_RADII if asked <= radius <= most}
    found = usual | {each.eps for each in view.attacks if each.eps} | ({asked} if asked else set())
    return sorted(radius for radius in found if radius >= asked) or [asked]


def focus(found: Sequence[Line], eps: Fraction | None = None) -> Line:
    """Return the line that the first sentence speaks of: at `eps`, else the largest size at which most are certified.

    Where half are certified nowhere, the smallest size.
    """
    wanted = [line for line in found if eps is not None and line.radius == eps]
    if wanted:
        return wanted[0]
    most = [line for line in found if line.certified is not None and line.certified.value >= Fraction(1, 2)]
    return max(most, key=lambda line: line.radius or 0) if most else found[0]


@dataclass(frozen=True)
class Both:
    """f and the smoothed g on the same inputs: clean accuracy of each, and g's abstentions."""

    f: Share | None
    g: Share
    abstained: int

    @property
    def cost(self) -> Fraction | None:
        """What smoothing costs in clean accuracy (negative: it gains); None where f is not known."""
        return None if self.f is None else self.f.value - self.g.value


def both(view: View, others: Sequence[View]) -> Both | None:
    """Return f beside g for a smoothing view: f from the same rows where they have it, else from runs on the same data.

    None when the view has no smoothing run.
    """
    if view.function != "g" or not view.certify:
        return None
    mine = view.certify[0].rows
    known = [row for row in mine if isinstance(row.details.get("f_prediction"), int)]
    f = Share(sum(row.details["f_prediction"] == row.label for row in known), len(known)) if known else None
    if f is None:
        same = [v for v in others if (v.model, v.data, v.function) == (view.model, view.data, "f")]
        f = next((summarise(results.rows).clean for v in same for results in v.all), None)
    g = Share(sum(row.prediction == row.label for row in mine), len(mine))
    return Both(f, g, sum(row.prediction is None for row in mine))


@dataclass(frozen=True)
class Conversion:
    """A radius in one norm said in the others: `inside`, the largest ball of `norm` that lies in the certified one."""

    radius: Fraction
    inside: dict[str, Fraction]


def conversions(norm: str, size: int, found: Sequence[Fraction]) -> list[Conversion]:
    """Return what radii of the norm ("1", "2", "inf") mean in the other norms for inputs of `size` elements; down.

    For q <= p the q-ball of radius r lies in the p-ball; for q > p that of radius r / d^(1/p - 1/q) does (norm
    inequality; Linf from L2: r / sqrt d).
    """
    inverse = {"1": 1.0, "2": 0.5, "inf": 0.0}
    table = []
    for radius in found:
        inside = {}
        for other in inverse:
            lost = max(0.0, inverse[norm] - inverse[other])
            scale = Fraction(math.nextafter(size**lost, math.inf)) if lost else Fraction(1)
            inside[other] = radius / scale
        table.append(Conversion(radius, inside))
    return table


def _line(view: View, results: Results, radius: Fraction | None) -> Line:
    share = certified_at(results.rows, radius)
    alone = replace(view, certify=(results,))
    return Line(
        view, results, radius, summarise(results.rows), share, upper_bound(alone, radius), settled(alone, radius)
    )


def _attack_line(view: View, results: Results) -> Line:
    alone = replace(view, attacks=(results,))
    return Line(
        view, results, results.eps, summarise(results.rows), None, attacked([results]), settled(alone, results.eps)
    )
