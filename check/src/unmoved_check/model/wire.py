"""The protobuf wire format: bytes to (field number, value), strictly.

https://protobuf.dev/programming-guides/encoding: varint, 64-bit, length-delimited and 32-bit fields.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from unmoved_check.outcome import Rejection

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned number at `at` and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Rejection("model: a number is cut off")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >= 1 << 64:
                break
            return number, at
    raise Rejection("model: a number of more than 64 bits")


def signed(number: int) -> int:
    """An int64 from its unsigned varint."""
    return number - (1 << 64) if number >= 1 << 63 else number


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Every field of a message: (number, wire type, value), in file order."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise Rejection("model: field number 0")
        if kind == VARINT:
            value, at = varint(data, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, at = varint(data, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise Rejection(f"model: wire type {kind}")
        if length > len(data) - at:
            raise Rejection("model: a field is cut off")
        yield number, kind, data[at : at + length]
        at += length


@dataclass
class Message:
    """The fields of one message by number; reading a singular field that is there twice is refused.

    (protobuf merges such fields; two readers could see two different models.)
    """

    values: dict[int, list[tuple[int, int | memoryview]]] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: memoryview) -> Message:
        """All fields of `data`."""
        message = cls()
        for number, kind, value in fields(data):
            message.values.setdefault(number, []).append((kind, value))
        return message

    def has(self, number: int) -> bool:
        """Whether the field occurs."""
        return number in self.values

    def _single(self, number: int, kind: int) -> int | memoryview | None:
        found = self.values.get(number, [])
        if len(found) > 1:
            raise Rejection(f"model: field {number} occurs twice")
        if found and found[0][0] != kind:
            raise Rejection(f"model: field {number} has wire type {found[0][0]}")
        return found[0][1] if found else None

    def integer(self, number: int, default: int = 0) -> int:
        """A singular int64 or enum field."""
        value = self._single(number, VARINT)
        return default if value is None else signed(_as_int(value))

    def real(self, number: int) -> float:
        """A singular float field."""
        value = self._single(number, FIXED32)
        return 0.0 if value is None else float(struct.unpack("<f", _as_bytes(value))[0])

    def blob(self, number: int) -> memoryview:
        """A singular bytes field (empty when absent)."""
        value = self._single(number, BYTES)
        return memoryview(b"") if value is None else _as_bytes(value)

    def text(self, number: int) -> str:
        """A singular string field."""
        return decode(self.blob(number))

    def message(self, number: int) -> Message | None:
        """A singular sub-message."""
        return Message.parse(self.blob(number)) if self.has(number) else None

    def many(self, number: int) -> list[memoryview]:
        """A repeated length-delimited field."""
        found = self.values.get(number, [])
        if any(kind != BYTES for kind, _ in found):
            raise Rejection(f"model: field {number} is not length-delimited")
        return [_as_bytes(value) for _, value in found]

    def messages(self, number: int) -> list[Message]:
        """A repeated sub-message."""
        return [Message.parse(data) for data in self.many(number)]

    def texts(self, number: int) -> list[str]:
        """A repeated string field."""
        return [decode(data) for data in self.many(number)]

    def integers(self, number: int) -> list[int]:
        """A repeated integer field, packed or not, as signed 64-bit numbers."""
        numbers: list[int] = []
        for kind, value in self.values.get(number, []):
            if kind == VARINT:
                numbers.append(signed(_as_int(value)))
            elif kind == BYTES:
                data, at = _as_bytes(value), 0
                while at < len(data):
                    one, at = varint(data, at)
                    numbers.append(signed(one))
            else:
                raise Rejection(f"model: field {number} holds no integers")
        return numbers

    def packed(self, number: int, width: int) -> bytes:
        """A repeated fixed-width field, packed or not, as its little-endian bytes."""
        single = FIXED32 if width == 4 else FIXED64
        parts = []
        for kind, value in self.values.get(number, []):
            if kind not in (single, BYTES) or len(_as_bytes(value)) % width:
                raise Rejection(f"model: field {number} is malformed")
            parts.append(_as_bytes(value))
        return b"".join(parts)


def decode(data: memoryview) -> str:
    """UTF-8 text."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Rejection("model: a name is not UTF-8") from None


def _as_int(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise Rejection("model: expected a number")
    return value


def _as_bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise Rejection("model: expected bytes")
    return value
