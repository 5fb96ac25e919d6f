"""Which inputs of a data set a log covers: every k-th, from the first to the last, or fewer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

NAMED_SIZES = {"cifar": 10_000, "mnist": 10_000, "imagenet": 50_000, "svhn": 26_032}
"""Inputs of the test sets that logs are mostly about, by a word in the file's name."""


@dataclass(frozen=True)
class Extent:
    """The inputs of a log: `rows` lines about `distinct` inputs, the most common step between neighbours `stride`.

    `size` is that of the data set and `known` how it is known: "given", by a word in the file's "name", guessed from
    the "stride", or None where nothing tells. `expected` is how many inputs a whole run has with this stride (None
    likewise), `holes` how many are missing between the first and the last. `regular`: all steps are multiples of the
    stride.
    """

    rows: int
    distinct: int
    stride: int
    first: int
    last: int
    holes: int
    regular: bool
    size: int | None
    known: str | None
    expected: int | None

    @property
    def missing(self) -> int:
        """How many inputs a whole run would have that are not there."""
        return max(self.holes if self.regular else 0, (self.expected or 0) - self.distinct)


def extent(indices: Sequence[int], *, name: str = "", data_size: int | None = None) -> Extent:
    """Return what a log's indices cover. Raises nothing: what does not fit is for the flags."""
    order = sorted(set(indices))
    steps = Counter(after - before for before, after in pairwise(order))
    # of equally common steps the smaller one: holes make steps larger, nothing makes them smaller
    stride = min(steps, key=lambda step: (-steps[step], step)) if steps else 1
    regular = all(step % stride == 0 for step in steps)
    size, known = _size(order[-1], stride, len(order), name, data_size)
    return Extent(
        rows=len(indices),
        distinct=len(order),
        stride=stride,
        first=order[0],
        last=order[-1],
        holes=(order[-1] - order[0]) // stride + 1 - len(order) if regular else 0,
        regular=regular,
        size=size,
        known=known,
        expected=None if size is None or not regular else len(range(order[0] % stride, size, stride)),
    )


def _size(last: int, stride: int, rows: int, name: str, given: int | None) -> tuple[int | None, str | None]:
    if given is not None:
        return given, "given"
    for word, size in NAMED_SIZES.items():
        if word in name.lower() and last < size:
            return size, "name"
    larger = sorted({size for size in NAMED_SIZES.values() if size > last})
    # every input of some small set looks like the start of a large one: only a stride tells them apart
    if stride > 1 and rows > 1 and larger:
        return larger[0], "stride"
    return None, None
