"""What can be wrong with a log, each with the lines it is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from unmoved.evaluate.extent import Extent
from unmoved.evaluate.inference import Inference
from unmoved.evaluate.ladder import Floats, Ladder, Printed
from unmoved.record.tsv import ABSTAINED, LogRow

SERIOUS, MINOR, NOTE = "serious", "minor", "note"
USUAL_ALPHA = 0.001
"""The failure probability that the field's tables are about."""

DEDUCTED = 4e-5
"""How far below its rung a radius / sigma may lie and not be flagged: samplers deduct up to 1e-6 of an alpha of .001,
ours at 3x224x224."""

_CLOSE = 1e-9


@dataclass(frozen=True)
class Flag:
    """One thing to know about a log.

    `level` "serious": a figure of it is wrong or not what it is taken for. "minor": harmless, but not as it should be.
    "note": nothing wrong, worth knowing. `kind` is a short name for machines; `lines` are numbers of lines in the file.
    """

    level: str
    kind: str
    text: str
    lines: tuple[int, ...] = ()


def flags(rows: Sequence[LogRow], radii: Printed, inference: Inference, size: Extent) -> tuple[Flag, ...]:
    """Return all flags of a log, the serious ones first."""
    found = [*_rows(rows), *_order(rows), *_extent(rows, size), *_radii(rows, radii, inference), *_setting(inference)]
    return tuple(sorted(found, key=lambda flag: (SERIOUS, MINOR, NOTE).index(flag.level)))


def _rows(rows: Sequence[LogRow]) -> Iterator[Flag]:
    checks: dict[str, tuple[str, Callable[[LogRow], bool]]] = {
        "not-finite": ("radius is no finite number", lambda row: row.radius is None),
        "negative": ("radius below 0", lambda row: row.radius is not None and row.radius < 0),
        "abstained-radius": (
            "radius on an abstention",
            lambda row: row.predict == ABSTAINED and row.radius is not None and row.radius > 0,
        ),
        "correct-column": (
            "`correct` contradicts label and predict",
            lambda row: row.correct != (row.predict == row.label),
        ),
    }
    for kind, (text, wrong) in checks.items():
        lines = tuple(row.line for row in rows if wrong(row))
        if lines:
            yield Flag(SERIOUS, kind, f"{text}: {_count(len(lines), 'row')}", lines)


def _order(rows: Sequence[LogRow]) -> Iterator[Flag]:
    seen = Counter(row.index for row in rows)
    again = {index for index, times in seen.items() if times > 1}
    if again:
        lines = tuple(row.line for row in rows if row.index in again)
        yield Flag(SERIOUS, "duplicate", f"the same input more than once: {_listed(sorted(again))}", lines)
    lines = tuple(row.line for before, row in pairwise(rows) if row.index < before.index)
    if lines:
        yield Flag(MINOR, "unsorted", f"indices do not ascend: {_count(len(lines), 'place')}", lines)


def _extent(rows: Sequence[LogRow], size: Extent) -> Iterator[Flag]:
    if size.size is not None and size.last >= size.size:
        lines = tuple(row.line for row in rows if row.index >= size.size)
        yield Flag(SERIOUS, "beyond", f"an index beyond the data set of {size.size}", lines)
    if not size.regular:
        yield Flag(MINOR, "irregular", "indices follow no stride: whether rows are missing cannot be told")
    if size.missing and size.expected is not None:
        how = {"given": "", "name": ", by the file's name", "stride": ", the next usual size"}[size.known or "given"]
        text = (
            f"partial run: {size.distinct} of {size.expected} inputs "
            f"(every {_ordinal(size.stride)} of {size.size}{how}); the last is {size.last}"
        )
        yield Flag(SERIOUS, "partial", text)
    elif size.missing:
        yield Flag(SERIOUS, "partial", f"{_count(size.missing, 'input')} missing between {size.first} and {size.last}")
    elif size.expected is None and size.regular:
        yield Flag(NOTE, "size-unknown", "whether the run is whole cannot be told: say --data-size")


def _radii(rows: Sequence[LogRow], radii: Printed, inference: Inference) -> Iterator[Flag]:
    """Compare every radius with the rungs of the setting that was found."""
    if inference.best is None:
        return
    setting = inference.best.setting
    rungs, values = setting.ladder, radii.values
    over = overstated(radii, rungs, setting.sigma)
    nearest = (over > 0) & (over <= radii.units / 2 * (1 + _CLOSE) + _CLOSE)
    upward = (over > 0) & ~nearest & (over <= radii.units * (1 + _CLOSE))
    # neither a rung at most one digit below, nor one within a digit above
    impossible = (over > 0) & ~nearest & ~upward
    top = setting.sigma * rungs.top
    beyond = impossible & (values - radii.units > top)
    yield from _overstated(
        rows, radii, nearest, over, (MINOR, "rounded-to-nearest", "above the exact radius, rounded to nearest")
    )
    yield from _overstated(rows, radii, upward, over, (SERIOUS, "rounded-up", "above the exact radius, rounded up"))
    yield from _overstated(
        rows, radii, beyond, over, (SERIOUS, "too-large", f"above what a unanimous vote gives ({top:.4f})")
    )
    # two-class runs are ours: they may have stopped early, with fewer votes
    level = SERIOUS if setting.bound == "one-class" else NOTE
    yield from _overstated(
        rows, radii, impossible & ~beyond, over, (level, "impossible", "no count of all N votes gives these radii")
    )


def overstated(radii: Printed, rungs: Ladder, sigma: float) -> Floats:
    """Return how far each printed radius is above the next exact one below it, for every count that is possible.

    0 where some count's radius is the printed one or prints so when rounded down, and where the ladder is not known.
    """
    low, high = radii.cells("down", sigma)
    high += DEDUCTED
    fine = rungs.within(low * (1 - _CLOSE), high) | ~rungs.known(low - radii.units / sigma, high)
    over = radii.values - sigma * rungs.below(low)
    return np.where(fine, 0.0, over)


def _overstated(
    rows: Sequence[LogRow], radii: Printed, which: npt.NDArray[np.bool_], over: Floats, words: tuple[str, str, str]
) -> Iterator[Flag]:
    if not which.any():
        return
    level, kind, text = words
    chosen = set(radii.values[which].tolist())
    lines = tuple(
        row.line
        for row in rows
        if row.predict != ABSTAINED and row.radius is not None and float(row.radius_text) in chosen
    )
    worst = float(over[which].max())
    by = f", by up to {worst:.2g}" if np.isfinite(worst) and kind.startswith("rounded") else ""
    shown = _listed([f"{value:g}" for value in sorted(chosen, reverse=True)])
    yield Flag(level, kind, f"{text}: {_count(len(lines), 'row')}{by} ({shown})", lines)


def _setting(inference: Inference) -> Iterator[Flag]:
    if inference.best is None:
        return
    setting, named = inference.best.setting, inference.named_sigma
    if named is not None and abs(named - setting.sigma) > _CLOSE:
        yield Flag(MINOR, "sigma-name", f"the file name says sigma {named:g}, the radii fit {setting.sigma:g}")
    if setting.alpha > USUAL_ALPHA:
        text = f"made at alpha {setting.alpha:g}, not the {USUAL_ALPHA:g} that the field's tables assume"
        yield Flag(NOTE, "alpha", text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _ordinal(number: int) -> str:
    return "one" if number == 1 else f"{number}th"


def _listed(items: Iterable[object], most: int = 5) -> str:
    shown = [str(item) for item in items]
    return ", ".join(shown[:most]) + (", ..." if len(shown) > most else "")
