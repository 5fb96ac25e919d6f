"""A tensor as bytes: type, shape and the little-endian numbers, nothing computed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod

from unmoved_check.outcome import Rejection

# safetensors name -> (struct code, bytes an element)
CODES = {
    "F64": ("d", 8),
    "F32": ("f", 4),
    "F16": ("e", 2),
    "I64": ("q", 8),
    "I32": ("i", 4),
    "I16": ("h", 2),
    "I8": ("b", 1),
    "U64": ("Q", 8),
    "U32": ("I", 4),
    "U16": ("H", 2),
    "U8": ("B", 1),
    "BOOL": ("?", 1),
}


@dataclass(frozen=True)
class Tensor:
    """`prod(shape)` numbers of type `dtype` (a safetensors name such as "F32"), row-major, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        if self.dtype not in CODES:
            raise Rejection(f"unknown tensor type {self.dtype!r}")
        count = len(self.data)
        if any(d < 0 for d in self.shape) or count != prod(self.shape) * CODES[self.dtype][1]:
            raise Rejection(f"a {self.dtype} tensor of shape {list(self.shape)} can't have {count} bytes")

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @cached_property
    def numbers(self) -> tuple[float | int, ...]:
        """The elements as Python numbers, exactly (a float64 holds every float32 and float16)."""
        return struct.unpack(f"<{self.size}{CODES[self.dtype][0]}", self.data)

    def fractions(self) -> list[Fraction]:
        """The elements as exact rationals; Rejection on a NaN or an infinity."""
        try:
            return [Fraction(v) for v in self.numbers]
        except (ValueError, OverflowError):
            raise Rejection("a tensor holds NaN or infinity") from None
