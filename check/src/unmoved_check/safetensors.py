"""The safetensors format, strictly: exact header, no holes, no overlaps, no NaN or infinity."""

from __future__ import annotations

import json
from math import isfinite, prod
from typing import Any

from unmoved_check.outcome import Rejection
from unmoved_check.tensor import CODES, Tensor


def parse(data: bytes) -> dict[str, Tensor]:
    """The tensors by name."""
    if len(data) < 8:
        raise Rejection("payload: too short")
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8 or length > 100_000_000:
        raise Rejection("payload: the header is cut off")
    header = _header(data[8 : 8 + length])
    body = data[8 + length :]
    entries = sorted((_entry(name, entry) for name, entry in header.items()), key=lambda e: (e[3], e[4]))
    found: dict[str, Tensor] = {}
    at = 0
    for name, dtype, shape, start, end in entries:
        if start != at:
            raise Rejection("payload: tensors overlap or leave holes")
        if end < start or end > len(body):
            raise Rejection("payload: a tensor is cut off")
        found[name] = Tensor(dtype, shape, body[start:end])
        at = end
    if at != len(body):
        raise Rejection("payload: bytes that belong to no tensor")
    for name, tensor in found.items():
        if tensor.dtype[0] == "F" and not all(map(isfinite, tensor.numbers)):
            raise Rejection(f"payload: {name} holds NaN or infinity")
    return found


def _header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise Rejection("payload: the header is not UTF-8") from None
    except json.JSONDecodeError:
        raise Rejection("payload: the header is not JSON") from None
    if not isinstance(header, dict):
        raise Rejection("payload: the header is no object")
    extra = header.pop("__metadata__", {})
    if not isinstance(extra, dict) or not all(isinstance(v, str) for v in extra.values()):
        raise Rejection("payload: __metadata__ is no table of texts")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Rejection("payload: a name occurs twice")
    return found


def _entry(name: str, entry: Any) -> tuple[str, str, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Rejection(f"payload: {name} has unknown or missing fields")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in CODES:
        raise Rejection(f"payload: {name} has an unknown type")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or prod(shape) > 1 << 40:
        raise Rejection(f"payload: {name} has a broken shape or place")
    return name, dtype, tuple(shape), offsets[0], offsets[1]


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)
