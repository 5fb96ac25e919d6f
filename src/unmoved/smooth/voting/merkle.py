"""One hash that binds the class of every noisy copy, such that any few of them can be shown without the rest.

The tree is that of RFC 6962 (Certificate Transparency), section 2.1, with SHA-256. A leaf is the classes of BLOCK
consecutive copies (the last leaf of those that are left), in order, each as one byte, or as two little-endian bytes
where the evidence says 16 bits:

    hash of a leaf = SHA-256(0x00 + bytes),  hash of a node = SHA-256(0x01 + left + right),

where the left subtree has the largest power of two of leaves that is less than all. Leaf and node hashes differ in
their first byte, so that no node can be passed off as a leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

BLOCK = 128
"""Classes a leaf: hashing then takes a thousandth of the time of the smallest network."""


def leaves(data: bytes, width: int) -> list[bytes]:
    """Return the leaves of classes that are packed in `data`, `width` bytes each."""
    step = BLOCK * width
    return [data[start : start + step] for start in range(0, len(data), step)]


@dataclass(frozen=True)
class Tree:
    """The hashes of a tree, level by level: the leaves' first, the root's last."""

    levels: tuple[tuple[bytes, ...], ...]

    @property
    def root(self) -> bytes:
        """The root hash."""
        return self.levels[-1][0]

    def path(self, index: int) -> tuple[bytes, ...]:
        """Return the audit path of leaf `index` (RFC 6962, section 2.1.1): what `proves` needs beside leaf and root."""
        places = [(level, (index >> height) ^ 1) for height, level in enumerate(self.levels)]
        return tuple(level[beside] for level, beside in places if beside < len(level))


def tree(parts: Sequence[bytes]) -> Tree:
    """Return the tree over at least one leaf."""
    level = [_leaf(part) for part in parts]
    levels = [tuple(level)]
    # joining neighbours and carrying a lone last one up gives the tree of the RFC
    while len(level) > 1:
        joined = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = joined + level[len(joined) * 2 :]
        levels.append(tuple(level))
    return Tree(tuple(levels))


def proves(expected: bytes, leaf: bytes, index: int, *, count: int, steps: Sequence[bytes]) -> bool:
    """Return whether `steps` prove that `leaf` is number `index` of the `count` leaves under the root `expected`."""
    if not 0 <= index < count:
        return False
    value, last, left = _leaf(leaf), count - 1, list(steps)
    while last > 0:
        if index % 2 or index < last:
            if not left:
                return False
            beside = left.pop(0)
            value = _node(beside, value) if index % 2 else _node(value, beside)
        index, last = index // 2, last // 2
    return not left and value == expected


def _leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def _node(first: bytes, second: bytes) -> bytes:
    return sha256(b"\x01" + first + second).digest()
