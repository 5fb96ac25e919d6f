"""Clean, certified and attacked accuracy of runs; unknown counts as NOT certified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from unmoved.core import Code, Verdict
from unmoved.evaluate.results import Results
from unmoved.evaluate.share import Share
from unmoved.record import Row


@dataclass(frozen=True)
class Checks:
    """What the independent checker said: `accepted` of `total` bundles that it was given; `unchecked` let through."""

    accepted: int
    total: int
    unchecked: int

    @property
    def clean(self) -> bool:
        """Whether every claim was accepted and none was let through unchecked."""
        return self.accepted == self.total and self.unchecked == 0


@dataclass(frozen=True)
class Summary:
    """One run in numbers. `unknown` counts the verdicts UNKNOWN by their reason's code; the seconds are sums.

    `clean` is the share whose prediction at x itself is the label (an abstention is not), `certified` the share proved
    with the right label, `falsified` the inputs that a checked witness breaks.
    """

    clean: Share
    certified: Share
    falsified: int
    unknown: Mapping[str, int]
    checks: Checks
    seconds: float
    check_seconds: float

    @property
    def total(self) -> int:
        """Number of inputs."""
        return self.clean.total

    @property
    def abstained(self) -> int:
        """Inputs without an answer, for which nothing is claimed."""
        return self.unknown.get(str(Code.ABSTAINED), 0)


def summarise(rows: Sequence[Row]) -> Summary:
    """Return the numbers of a run's rows; UsageError when there is none."""
    return Summary(
        clean=clean(rows),
        certified=Share(sum(row.certified for row in rows), len(rows)),
        falsified=sum(row.verdict == Verdict.FALSIFIED for row in rows),
        unknown=dict(sorted(Counter(code_of(row) for row in rows if row.verdict == Verdict.UNKNOWN).items())),
        checks=checks(rows),
        seconds=sum(row.seconds for row in rows),
        check_seconds=sum(row.check_seconds or 0.0 for row in rows),
    )


def clean(rows: Sequence[Row]) -> Share:
    """Return the share of inputs that are answered with the label at x itself."""
    return Share(sum(row.prediction == row.label for row in rows), len(rows))


def checks(rows: Sequence[Row]) -> Checks:
    """Return how the independent checks of these rows ended. A claim let through unchecked is not accepted."""
    given = [row for row in rows if row.check is not None or row.unchecked]
    return Checks(sum(accepted(row) for row in given), len(given), sum(row.unchecked for row in rows))


def accepted(row: Row) -> bool:
    """Say whether the independent checker accepted this row's certificate."""
    return row.check is not None and row.check.startswith("accepted") and not row.unchecked


def code_of(row: Row) -> str:
    """Return the first word of the reason: its code."""
    head = (row.reason or "").partition(":")[0].partition(" (")[0].strip()
    return head or "no reason given"


def wrong(row: Row) -> bool:
    """Say whether x itself is answered, and with another class than the label."""
    return row.prediction is not None and row.prediction != row.label


def broken(row: Row) -> bool:
    """Say whether the label does not hold within the row's threat: falsified, or wrong at x itself (distance 0).

    Of a smoothed classifier, which has no witness that a checker could replay, the row's details say it; an abstention
    there is no break, for it says nothing of g.
    """
    answer = row.details.get("answer")
    sampled = row.details.get("broken") is True and isinstance(answer, int) and answer not in (-1, row.label)
    return row.verdict == Verdict.FALSIFIED or wrong(row) or sampled


def broken_at(row: Row, radius: Fraction | None) -> bool:
    """Say whether the label is known not to hold as far as `radius`; rows of one size are asked about that size."""
    least = row.broken_from
    if least is None or radius is None:
        return broken(row)
    return wrong(row) or least <= radius


def attacked(
    attacks: Sequence[Results], proofs: Sequence[Results] = (), radius: Fraction | None = None
) -> Share | None:
    """Return the share of the attacked inputs that stand: an upper bound of what could be proved. None: no attack.

    All runs are of one threat, of size `radius` where it has one; an input that any of them breaks is broken. `proofs`
    may add breaks of their own.
    """
    tried = {row.index for results in attacks for row in results.rows}
    if not tried:
        return None
    fallen = {row.index for results in (*attacks, *proofs) for row in results.rows if broken_at(row, radius)}
    return Share(len(tried - fallen), len(tried))


def proved(row: Row, radius: Fraction | None) -> bool:
    """Say whether the right label is proved to hold as far as `radius` (0: at any distance; None: in the whole box)."""
    if radius is None:
        return row.certified
    return row.certified and row.radius is not None and Fraction(row.radius) >= radius
