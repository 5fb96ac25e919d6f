"""A constant of the graph, exactly: floats as float64 (rationals after folding), integers as integers."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, prod
from typing import Literal

from unmoved_check.model.wire import Message
from unmoved_check.outcome import Rejection

Kind = Literal["float", "int", "int32", "int8", "uint8", "bool"]
Number = int | float | Fraction

# ONNX TensorProto.DataType -> (kind, array code of raw_data)
_TYPES: dict[int, tuple[Kind, str]] = {
    1: ("float", "f"),
    11: ("float", "d"),
    10: ("float", "e"),
    7: ("int", "q"),
    6: ("int32", "i"),
    2: ("uint8", "B"),
    3: ("int8", "b"),
    9: ("bool", "B"),
}

MOST_ELEMENTS = 1 << 26
"""Larger tensors are refused before they are made: a few bytes of a model may ask for any size."""

RANGES: dict[Kind, range] = {
    "int": range(-(1 << 63), 1 << 63),
    "int32": range(-(1 << 31), 1 << 31),
    "int8": range(-128, 128),
    "uint8": range(256),
    "bool": range(2),
}
"""What whole numbers a kind holds: arithmetic that leaves them wraps around in a runtime, and is refused here."""


@dataclass(frozen=True)
class Constant:
    """`prod(shape)` numbers, row-major; each value is the exact number the file stores."""

    kind: Kind
    shape: tuple[int, ...]
    values: Sequence[Number]

    def __post_init__(self) -> None:
        if any(d < 0 for d in self.shape) or prod(self.shape) != len(self.values):
            raise Rejection(f"model: {len(self.values)} numbers can't have shape {list(self.shape)}")

    def integers(self) -> list[int]:
        """The values of an int constant."""
        if self.kind in ("float", "bool"):
            raise Rejection("model: expected integers")
        return [int(v) for v in self.values]

    def rationals(self) -> list[Fraction]:
        """The values as exact rationals; refused when one is NaN or infinite."""
        try:
            return [Fraction(v) for v in self.values]
        except (ValueError, OverflowError):
            raise Rejection("model: a constant is NaN or infinite") from None

    def weights(self) -> array[float]:
        """The values as finite float64, exactly; refused when that is not possible."""
        if isinstance(self.values, array) and self.values.typecode == "d":
            if not all(map(isfinite, self.values)):
                raise Rejection("model: a weight is NaN or infinite")
            return self.values
        exact = self.rationals()
        found = array("d", (float(v) for v in exact))
        if any(Fraction(f) != v for f, v in zip(found, exact, strict=True)):
            raise Rejection("model: a folded weight is not a float64 number")
        return found

    def single(self) -> Number:
        """The only value."""
        if len(self.values) != 1:
            raise Rejection("model: expected one number")
        return self.values[0]


def float32(number: float) -> float:
    """The float32 next to `number`: how ONNX's float attributes and their defaults are stored."""
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def read_tensor(message: Message) -> Constant:
    """The constant of a TensorProto; external, segmented, string and sparse tensors are refused."""
    if message.has(13) or message.integer(14) != 0:
        raise Rejection("model: external data")
    if message.has(3) or message.has(6):
        raise Rejection("model: a tensor in segments or of strings")
    code = message.integer(2)
    if code not in _TYPES:
        raise Rejection(f"model: tensor type {code}")
    kind, letter = _TYPES[code]
    shape = tuple(message.integers(1))
    filled = [number for number in (4, 5, 7, 9, 10, 11) if message.has(number)]
    if len(filled) > 1:
        raise Rejection("model: a tensor with two kinds of data")
    if message.has(9):
        return _ranged(Constant(kind, shape, _raw(letter, bytes(message.blob(9)))))
    if filled and filled[0] != {"f": 4, "d": 10, "q": 7}.get(letter, 5):
        raise Rejection("model: a tensor's data is in the wrong field")
    if letter in "fd":
        data = message.packed(4, 4) if letter == "f" else message.packed(10, 8)
        return Constant(kind, shape, _raw(letter, data))
    numbers = message.integers(7 if letter == "q" else 5)
    if letter == "e":
        if any(not 0 <= n < 1 << 16 for n in numbers):
            raise Rejection("model: a float16 of more than 16 bits")
        return Constant(kind, shape, _raw("e", b"".join(n.to_bytes(2, "little") for n in numbers)))
    return _ranged(Constant(kind, shape, tuple(numbers)))


def _ranged(constant: Constant) -> Constant:
    if constant.kind != "float" and any(n not in RANGES[constant.kind] for n in constant.values):
        raise Rejection("model: an integer out of its type's range")
    return constant


def _raw(letter: str, data: bytes) -> Sequence[Number]:
    """Little-endian bytes as numbers; float types become float64, exactly."""
    width = 2 if letter == "e" else array(letter).itemsize
    if len(data) % width:
        raise Rejection("model: raw data of a broken length")
    if letter == "e":
        return array("d", struct.unpack(f"<{len(data) // 2}e", data))
    numbers = array(letter)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return array("d", numbers) if letter in "fd" else tuple(numbers)
