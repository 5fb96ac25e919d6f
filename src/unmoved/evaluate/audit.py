"""What a log of a smoothing run says, recomputed from its rows, and what is wrong with it.

Certified accuracy at r: the share of rows whose class is the label and whose radius, as printed, is at least r. ACR:
the mean over all rows of the radius where the class is right, 0 elsewhere. Both from label and predict, never from the
column `correct`. See ACR_CAVEAT in curves.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median_high

from unmoved.core import UsageError
from unmoved.evaluate.curves import Point
from unmoved.evaluate.extent import Extent, extent
from unmoved.evaluate.flags import SERIOUS, Flag, flags
from unmoved.evaluate.inference import Inference, infer
from unmoved.evaluate.ladder import printed
from unmoved.evaluate.share import Share
from unmoved.record.tsv import ABSTAINED, Log, LogRow

STEP = Fraction(1, 4)
"""Distance of the radii at which the field tabulates its curves."""


@dataclass(frozen=True)
class Audit:
    """Everything recomputed from one log. Radii and their mean are exact rationals of the printed digits.

    `curve` has a point at 0 and every STEP up to the last with a certified row. `mean_radius` is the ACR.
    `median_seconds` (of two in the middle the larger) and `seconds`, the sum, are of the column `time`. `inference` is
    a judgement on how the log was made.
    """

    name: str
    sha256: str
    rows: tuple[LogRow, ...]
    curve: tuple[Point, ...]
    abstained: Share
    mean_radius: Fraction
    max_radius: Fraction
    median_seconds: Fraction
    seconds: Fraction
    inference: Inference
    extent: Extent
    flags: tuple[Flag, ...]

    @property
    def clean(self) -> Share:
        """The share of rows whose class is right, whatever the radius: the accuracy of g."""
        return Share(sum(row.predict == row.label for row in self.rows), len(self.rows))

    @property
    def serious(self) -> tuple[Flag, ...]:
        """The flags for which no figure of the log should be quoted as it stands."""
        return tuple(flag for flag in self.flags if flag.level == SERIOUS)

    def certified_at(self, radius: Fraction) -> Share:
        """Return the share of rows whose class is right and whose printed radius is at least `radius`."""
        return _certified(self.rows, radius)


def audit(log: Log, *, sigma: float | None = None, data_size: int | None = None) -> Audit:
    """Return what a log says and what is wrong with it; `sigma` and `data_size` where they are known.

    Raises UsageError unless sigma > 0 and data_size >= 1.
    """
    if sigma is not None and not 0 < sigma < float("inf"):
        raise UsageError("sigma", sigma, "a number > 0")
    if data_size is not None and data_size < 1:
        raise UsageError("data-size", data_size, "a whole number of inputs >= 1")
    rows = log.rows
    answered = [row for row in rows if row.predict != ABSTAINED and row.radius is not None]
    radii = printed([row.radius_text for row in answered])
    inference = infer(radii, name=log.name, sigma=sigma)
    size = extent([row.index for row in rows], name=log.name, data_size=data_size)
    right = [row.radius for row in rows if _right(row) and row.radius is not None and row.radius >= 0]
    return Audit(
        name=log.name,
        sha256=log.sha256,
        rows=rows,
        curve=tuple(_curve(rows)),
        abstained=Share(sum(row.predict == ABSTAINED for row in rows), len(rows)),
        mean_radius=sum(right, Fraction(0)) / len(rows),
        max_radius=max((row.radius for row in answered if row.radius is not None), default=Fraction(0)),
        median_seconds=median_high(row.seconds for row in rows),
        seconds=sum((row.seconds for row in rows), Fraction(0)),
        inference=inference,
        extent=size,
        flags=flags(rows, radii, inference, size),
    )


def _right(row: LogRow) -> bool:
    return row.predict == row.label and row.predict != ABSTAINED


def _certified(rows: Sequence[LogRow], radius: Fraction) -> Share:
    return Share(sum(_right(row) and row.radius is not None and row.radius >= radius for row in rows), len(rows))


def _curve(rows: Sequence[LogRow]) -> Iterator[Point]:
    radius = Fraction(0)
    while (share := _certified(rows, radius)).count or not radius:
        yield Point(radius, share)
        radius += STEP
