"""The field's log of a smoothing run, a line an input: `idx label predict radius correct time`, between tabs.

Cohen, Rosenfeld and Kolter 2019 introduced it, and those who followed kept it. What differs between real logs is read:
radii with three significant digits or with fixed decimals; times in seconds or as h:mm:ss.ffffff; either line end.
Everything else that is malformed is a LoadError that names the line: a line cut off by a kill is not skipped.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from unmoved.core.errors import LoadError, UsageError
from unmoved.core.rounding import decimal_down
from unmoved.record.ledger import Row

HEADER = ("idx", "label", "predict", "radius", "correct", "time")
ABSTAINED = -1
"""What stands for the predicted class where the smoothed classifier abstained."""

DECIMALS = 6
"""Decimals of the radii that we write, always rounded down."""

_CLOCK = re.compile(r"(?:(\d{1,6}) days?, )?(\d{1,6}):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)")
_NUMBER = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,3})?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"-?\d{1,18}")


@dataclass(frozen=True)
class LogRow:
    """One line as it stands: `line` is its number in the file, `radius_text` the radius letter by letter.

    `radius` is that text as an exact number, None for a NaN or an infinity. `predict` is -1 for an abstention.
    `correct` is what the line says, whatever `label` and `predict` say. `seconds` is exact as well.
    """

    line: int
    index: int
    label: int
    predict: int
    radius_text: str
    radius: Fraction | None
    correct: bool
    seconds: Fraction


@dataclass(frozen=True)
class Log:
    """A whole log: its file name, the sha256 of the file's bytes, and at least one row, in the file's order."""

    name: str
    sha256: str
    rows: tuple[LogRow, ...]


def read_log(path: str | os.PathLike[str]) -> Log:
    """Return the log in a file; LoadError, naming the line, unless every line is well formed."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LoadError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadError(f"{path}: not a text file (byte {error.start})") from error
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    head = tuple(lines[0].lower().split("\t")) if lines else ()
    if head != HEADER:
        raise LoadError(f"{path}: line 1: expected the header {' '.join(HEADER)}, between tabs")
    if len(lines) == 1:
        raise LoadError(f"{path}: no rows below the header")
    rows = tuple(_row(path, number, line) for number, line in enumerate(lines[1:], start=2))
    return Log(Path(path).name, hashlib.sha256(data).hexdigest(), rows)


def write_log(path: str | os.PathLike[str], rows: Iterable[Row]) -> None:
    """Write a smoothing run's rows as a log, in one move; no radius is above the proved one.

    The radius is what the samples support, also where the class is wrong or less than the asked eps (as in the field's
    logs), cut after DECIMALS decimals. An input without an answer (abstained, or no time left) is -1 with radius 0.
    Raises UsageError when a row is not smoothing's, or when the file cannot be written.
    """
    text = "".join("\t".join(fields) + "\n" for fields in (HEADER, *map(_fields, rows)))
    target = Path(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(text.encode())
        os.replace(partial, target)
    except OSError as error:
        raise UsageError("tsv", str(path), f"a file that can be written ({error.strerror})") from error


def clock(seconds: float | Fraction) -> str:
    """Return a time >= 0 as h:mm:ss.ffffff, to the nearest microsecond."""
    micros = round(Fraction(seconds) * 1_000_000)
    minutes, rest = divmod(micros, 60_000_000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 1_000_000:02d}.{rest % 1_000_000:06d}"


def _fields(row: Row) -> Sequence[str]:
    if row.verdict == "CERTIFIED" and "sample_radius" not in row.details:
        raise UsageError("tsv", row.method, "rows of smoothing: other methods have no place in this format")
    radius = row.details.get("sample_radius")
    answered = row.prediction is not None and radius is not None and radius > 0
    predict = row.prediction if answered and row.prediction is not None else ABSTAINED
    written = decimal_down(radius, DECIMALS) if answered and radius is not None else decimal_down(0, DECIMALS)
    correct = str(int(predict == row.label))
    return (str(row.index), str(row.label), str(predict), written, correct, clock(row.seconds))


def _row(path: object, number: int, line: str) -> LogRow:
    fields = [field.strip() for field in line.split("\t")]
    where = f"{path}: line {number}"
    if len(fields) != len(HEADER):
        raise LoadError(f"{where}: {len(fields)} fields, expected {len(HEADER)} between tabs")
    index, label, predict = (_whole(where, name, text) for name, text in zip(HEADER, fields[:3], strict=False))
    if index < 0 or label < 0:
        raise LoadError(f"{where}: idx {index}, label {label}: expected whole numbers >= 0")
    if predict < ABSTAINED:
        raise LoadError(f"{where}: predict {predict}: expected a class, or -1 for an abstention")
    if fields[4] not in ("0", "1"):
        raise LoadError(f"{where}: correct {fields[4]!r}: expected 0 or 1")
    return LogRow(
        number, index, label, predict, fields[3], _radius(where, fields[3]), fields[4] == "1", _time(where, fields[5])
    )


def _whole(where: str, name: str, text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise LoadError(f"{where}: {name} {text[:40]!r}: expected a whole number")
    return int(text)


def _radius(where: str, text: str) -> Fraction | None:
    if _NOT_FINITE.fullmatch(text):
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise LoadError(f"{where}: radius {text[:40]!r}: expected a number")
    return Fraction(text)


def _time(where: str, text: str) -> Fraction:
    parts = _CLOCK.fullmatch(text)
    if parts:
        days, hours, minutes, seconds = parts.groups()
        return Fraction(seconds) + 60 * (int(minutes) + 60 * (int(hours) + 24 * int(days or 0)))
    if not _NUMBER.fullmatch(text) or text.startswith("-") or not math.isfinite(float(text)):
        raise LoadError(f"{where}: time {text[:40]!r}: expected seconds, or h:mm:ss.ffffff")
    return Fraction(text)
