"""Certified accuracy against the radius that is demanded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from unmoved.core import float_down
from unmoved.evaluate.accuracy import proved
from unmoved.evaluate.results import Results, one_per_eps
from unmoved.evaluate.share import Share
from unmoved.record import Row

ACR_CAVEAT = (
    "The average certified radius can be raised by widening the radii of easy inputs at the cost of hard ones "
    "(arXiv 2410.06895): read it with the whole curve and with the distribution of the probabilities, never alone."
)


@dataclass(frozen=True)
class Point:
    """The share of inputs whose right label is proved to hold as far as `radius`, and everywhere nearer."""

    radius: Fraction
    share: Share


def by_eps(results: Iterable[Results]) -> tuple[Point, ...]:
    """Return one point a run, by eps: what each proved at its own size. Of two runs of one eps, the one with more rows.

    Between two sizes nothing was asked; what is proved at the larger one holds at every smaller one as well.
    """
    return tuple(Point(eps, certified_at(found.rows, eps)) for eps, found in one_per_eps(results).items())


def by_radius(rows: Sequence[Row]) -> tuple[Point, ...]:
    """Return the curve of one run from the rows' own radii: a point at 0 and one at every distinct proved radius.

    It is a step function: the share at r is that of the next point at or beyond r, and 0 beyond the last.
    """
    radii = sorted({Fraction(row.radius) for row in rows if row.certified and row.radius is not None})
    return tuple(Point(radius, certified_at(rows, radius)) for radius in (Fraction(0), *(r for r in radii if r > 0)))


def certified_at(rows: Sequence[Row], radius: Fraction | None) -> Share:
    """Return the share of rows whose right label is proved as far as `radius`; unknown counts as not proved."""
    return Share(sum(proved(row, radius) for row in rows), len(rows))


def average_radius(rows: Sequence[Row]) -> float:
    """Return the mean over all inputs of the proved radius, 0 where nothing (or a wrong label) is proved; rounded down.

    See ACR_CAVEAT.
    """
    total = sum((Fraction(row.radius) for row in rows if row.certified and row.radius is not None), Fraction(0))
    return float_down(total / len(rows))
