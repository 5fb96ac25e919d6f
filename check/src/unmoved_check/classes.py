"""The recorded classes of noisy copies: that they hash to the root and add up to the counts.

The tree is the one of RFC 6962, section 2.1, written here as the RFC defines it, from the top: a tree of n > 1 leaves
is split after the largest power of two below n.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from struct import iter_unpack
from typing import Any

from unmoved_check.outcome import Rejection
from unmoved_check.tensor import Tensor

__all__ = ["LEAF", "check_classes", "tree_hash"]

LEAF = 128
"""Classes a leaf."""


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """Return MTH of RFC 6962 over at least one leaf."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\1" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def check_classes(record: dict[str, Any], tensor: Tensor | None, counts: Sequence[int]) -> None:
    """Raise Rejection unless the classes (if there are any) are `sum(counts)` many, hash to the root and give `counts`.

    `record` has the fields root, bits and tensor; `tensor` is the one it names.
    """
    root, bits = record["root"], record["bits"]
    if not (isinstance(root, str) and re.fullmatch(r"[0-9a-f]{64}", root)):
        raise Rejection("evidence.classes.root is no sha256")
    if type(bits) is not int or bits not in (8, 16):
        raise Rejection("evidence.classes.bits is neither 8 nor 16")
    if tensor is None:
        return
    if tensor.dtype != "U8" or len(tensor.shape) != 1:
        raise Rejection("the classes are not a list of bytes")
    width, samples = bits // 8, sum(counts)
    data = _inflated(tensor.data, samples * width)
    step = LEAF * width
    if tree_hash([data[start : start + step] for start in range(0, len(data), step)]).hex() != root:
        raise Rejection("the classes do not hash to evidence.classes.root")
    found = Counter(data) if width == 1 else Counter(label for (label,) in iter_unpack("<H", data))
    if any(label >= len(counts) for label in found):
        raise Rejection("the classes hold one that there is not")
    if any(found[label] != count for label, count in enumerate(counts)):
        raise Rejection("the classes do not add up to evidence.counts")


def _inflated(packed: bytes, length: int) -> bytes:
    """Return the `length` bytes of a zlib stream; no more is ever unpacked."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, length + 1)
    except zlib.error:
        raise Rejection("the classes are no zlib stream") from None
    if len(data) != length or not stream.eof or stream.unused_data:
        raise Rejection("the classes are not as many as evidence.samples")
    return data
