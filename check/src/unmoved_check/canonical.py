"""Canonical JSON (RFC 8785) without floating-point numbers: read only if written canonically."""

from __future__ import annotations

import json
from typing import NoReturn, TypeAlias

from unmoved_check.outcome import Rejection

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

LARGEST = (1 << 53) - 1
"""RFC 8785 numbers are float64; beyond this an integer is not written as its digits."""


def parse(data: bytes) -> Json:
    """The value that `data` is the canonical form of; Rejection on anything else."""
    try:
        value: Json = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise Rejection("manifest: not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Rejection(f"manifest: not JSON ({error.msg})") from None
    if serialise(value) != data:
        raise Rejection("manifest: not in canonical form")
    return value


def serialise(value: Json) -> bytes:
    """The canonical form: keys in UTF-16 order, no white space, shortest escapes."""
    parts: list[str] = []
    _write(value, parts)
    try:
        return "".join(parts).encode("utf-8")
    except UnicodeEncodeError:
        raise Rejection("manifest: a lone surrogate") from None


def _write(value: Json, parts: list[str]) -> None:
    if isinstance(value, dict):
        parts.append("{")
        for i, key in enumerate(sorted(value, key=lambda k: k.encode("utf-16-be", "surrogatepass"))):
            parts.append(("," if i else "") + json.dumps(key, ensure_ascii=False) + ":")
            _write(value[key], parts)
        parts.append("}")
    elif isinstance(value, list):
        parts.append("[")
        for i, item in enumerate(value):
            if i:
                parts.append(",")
            _write(item, parts)
        parts.append("]")
    else:
        parts.append(json.dumps(value, ensure_ascii=False))


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Rejection("manifest: a key occurs twice")
    return found


def _no_float(text: str) -> NoReturn:
    raise Rejection(f"manifest: {text[:40]} is no integer")


def _integer(text: str) -> int:
    value = int(text) if len(text) < 20 else LARGEST + 1
    if abs(value) > LARGEST:
        raise Rejection("manifest: an integer beyond 2^53")
    return value
