"""Reading the objects of a manifest strictly: exact fields, exact types, or Rejection by name."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from unmoved_check.outcome import Rejection

__all__ = ["constants", "counted", "fields", "integer", "part", "rational"]

_RATIONAL = re.compile(r"[+-]?[0-9]{1,1000}(/[0-9]{1,1000}|(\.[0-9]{1,1000})?([eE][+-]?[0-9]{1,3})?)")


def part(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the object called `name`."""
    part = manifest.get(name)
    if not isinstance(part, dict):
        raise Rejection(f"{name} is not an object")
    return part


def fields(found: dict[str, Any], where: str, names: tuple[str, ...]) -> None:
    """Check that an object has exactly these fields."""
    missing, unknown = [n for n in names if n not in found], [n for n in found if n not in names]
    if missing or unknown:
        problem, name = ("lacks", missing[0]) if missing else ("has an unknown field", unknown[0])
        raise Rejection(f"{where} {problem} {name!r}")


def constants(part: dict[str, Any], where: str, expected: dict[str, str]) -> None:
    """Check that fields hold these texts."""
    for name, value in expected.items():
        if not (isinstance(part[name], str) and part[name] == value):
            raise Rejection(f"{where}.{name} is not {value!r}")


def counted(value: object, where: str, *, least: int) -> int:
    """Return an integer >= least (no boolean)."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Rejection(f"{where} is not an integer >= {least}")
    return value


def integer(part: dict[str, Any], where: str, name: str, *, least: int) -> int:
    """Return the integer field `name`, >= least."""
    return counted(part[name], f"{where}.{name}", least=least)


def rational(part: dict[str, Any], where: str, name: str) -> Fraction:
    """Return the rational number that the text field `name` holds, as `fractions.Fraction` reads it."""
    text = part[name]
    if not (isinstance(text, str) and _RATIONAL.fullmatch(text)):
        raise Rejection(f"{where}.{name} is not a rational number in a string")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise Rejection(f"{where}.{name} has denominator zero") from None
