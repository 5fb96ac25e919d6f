"""Risk against coverage: a model that answers only where a radius is certified, and abstains elsewhere.

El-Yaniv and Wiener 2010 (selective classification); AURC: Geifman, Uziel and El-Yaniv 2019 (arXiv 1805.08206), with the
certified radius as the confidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from unmoved.core import Verdict
from unmoved.evaluate.accuracy import proved, wrong
from unmoved.evaluate.results import Results, one_per_eps
from unmoved.record import Row


@dataclass(frozen=True)
class RiskPoint:
    """When a radius is demanded: how many inputs of `total` are answered, and how many of those wrongly.

    `right` answers are certified, `wrong` ones known to be given. Of `maybe` wrong answers nobody asked how far they
    hold, so that they may or may not be given; `risk` counts them all as given, which bounds it from above.
    """

    radius: Fraction
    right: int
    wrong: int
    maybe: int
    total: int

    @property
    def coverage(self) -> Fraction:
        """Share of inputs that are answered, with all that may be."""
        return Fraction(self.right + self.wrong + self.maybe, self.total)

    @property
    def risk(self) -> Fraction | None:
        """Largest possible share of wrong answers among the answers; None without answers."""
        answered = self.right + self.wrong + self.maybe
        return Fraction(self.wrong + self.maybe, answered) if answered else None

    @property
    def least_risk(self) -> Fraction | None:
        """Smallest possible share of wrong answers among the answers; None without answers."""
        answered = self.right + self.wrong
        return Fraction(self.wrong, answered) if answered else None


def answered_wrongly(row: Row, radius: Fraction) -> bool | None:
    """Say whether a wrong answer is given when this radius is demanded; None: nobody knows.

    A certificate may be about a prediction that is wrong. Where the question was about the label, smoothing's own
    radius (`sample_radius`, not re-checked) tells how far the wrong answer holds; of f, nothing does.
    """
    if not wrong(row):
        return False
    if row.verdict == Verdict.CERTIFIED and row.radius is not None:
        return Fraction(row.radius) >= radius
    if "sample_radius" not in row.details:
        return None
    own = row.details["sample_radius"]
    return isinstance(own, int | float) and own > 0 and Fraction(own) >= radius


def point(rows: Sequence[Row], radius: Fraction) -> RiskPoint:
    """Return coverage and risk when `radius` is demanded of every answer."""
    right = sum(proved(row, radius) for row in rows)
    given = [answered_wrongly(row, radius) for row in rows]
    return RiskPoint(radius, right, given.count(True), given.count(None), len(rows))


def by_radius(rows: Sequence[Row]) -> tuple[RiskPoint, ...]:
    """Return the points of one run for growing radii: coverage falls. One point at 0 and one a distinct radius."""
    radii = {Fraction(row.radius) for row in rows if row.verdict == Verdict.CERTIFIED and row.radius is not None}
    own = (row.details.get("sample_radius") for row in rows if wrong(row))
    radii |= {Fraction(r) for r in own if isinstance(r, int | float) and r > 0}
    return tuple(point(rows, radius) for radius in (Fraction(0), *sorted(r for r in radii if r > 0)))


def by_eps(results: Iterable[Results]) -> tuple[RiskPoint, ...]:
    """Return one point a run, by eps, each from its own rows; of two runs of one eps, that with more rows."""
    return tuple(point(found.rows, eps) for eps, found in one_per_eps(results).items())


def aurc(points: Sequence[RiskPoint]) -> Fraction:
    """Return the area under risk against coverage, from coverage 0 to the largest one reached.

    Sum over the points, by falling radius, of the coverage gained times the risk there; without ties that is the
    mean of the selective risks. What is never answered has no part: state the largest coverage beside it.
    """
    area, reached = Fraction(0), Fraction(0)
    for each in sorted(points, key=lambda p: p.coverage):
        if each.risk is not None:
            area += (each.coverage - reached) * each.risk
            reached = each.coverage
    return area
