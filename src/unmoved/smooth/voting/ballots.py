"""The classes of an input's noisy copies, in order: drawn as far as asked, kept, noted, and packed for a certificate.

Memory: one batch of inputs, and one byte (two beyond 255 classes) for each copy.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmoved.core.budget import Budget
from unmoved.core.certificate import Classes
from unmoved.core.errors import UsageError
from unmoved.core.notes import NoNotes, Notes
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.seeds import Purpose, Stream
from unmoved.smooth.voting import merkle
from unmoved.smooth.voting.sampling import Piece, VoteCounter, Votes

Labels = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Roll:
    """Which copies: the first `selection` of the stream SELECTION, then the first `samples` of CERTIFICATION.

    Both share batches, so that choosing the class costs no batch of its own.
    """

    seed: bytes
    selection: int
    samples: int

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The streams, and which copies of each, in order."""
        choosing, deciding = Stream(self.seed, Purpose.SELECTION), Stream(self.seed, Purpose.CERTIFICATION)
        return (choosing, range(self.selection)), (deciding, range(self.samples))


class Ballots:
    """The classes of the copies of `roll` around `point`, as `counter` has them drawn and evaluated, batch by batch.

    Copies that `notes` hold already are not drawn again; batches keep their places, so that a run resumed after a kill
    sees the same, bit for bit. Drawing stops early when the budget is spent.
    """

    def __init__(
        self, counter: VoteCounter, point: GridPoint, roll: Roll, *, budget: Budget, notes: Notes | None = None
    ) -> None:
        self._counter, self._point, self._roll, self._budget = counter, point, roll, budget
        self._notes = notes or NoNotes()
        kind = np.uint8 if counter.classes <= np.iinfo(np.uint8).max else np.uint16
        self._labels: Labels = np.empty(roll.selection + roll.samples, dtype=kind)
        self._seen = self._noted = 0
        self._since = time.monotonic()
        self._closed = False
        self._restore()
        self._batches = counter.ballots(point, roll.pieces, skip=self._seen)

    @property
    def classes_in_all(self) -> int:
        """The number of classes."""
        return self._counter.classes

    def close(self) -> None:
        """Draw nothing more from now on, as if the budget were spent."""
        self._closed = True
        self.note()

    @property
    def seen(self) -> int:
        """How many copies have a class by now, of both kinds."""
        return self._seen

    def reach(self, number: int) -> bool:
        """Draw until the first `number` copies for certification have a class; False: the budget was spent before."""
        while self._seen < self._roll.selection + number:
            if self._closed or self._budget.spent:
                self.note()
                return False
            labels = next(self._batches)
            self._labels[self._seen : self._seen + len(labels)] = labels
            self._seen += len(labels)
            if time.monotonic() - self._since >= self._notes.every:
                self.note()
        return True

    def selection(self) -> Votes:
        """Return the votes of the copies that choose the class (all of them; `reach(0)` first)."""
        return self._votes(self._labels[: self._roll.selection])

    def votes(self, number: int) -> Votes:
        """Return the votes of the first `number` copies for certification."""
        return self._votes(self._decisive(number))

    def classes(self, number: int) -> Classes:
        """Return the record of the first `number` copies for certification, for a certificate."""
        data = self._decisive(number).astype(self._labels.dtype.newbyteorder("<")).tobytes()
        width = self._labels.dtype.itemsize
        root = merkle.tree(merkle.leaves(data, width)).root
        return Classes(root=root.hex(), bits=8 * width, packed=zlib.compress(data, 6))

    def note(self) -> None:
        """Keep what was drawn since the last note."""
        fresh = self._labels[self._noted : self._seen].astype(self._labels.dtype.newbyteorder("<"))
        if fresh.size:
            self._notes.add(self._key, self._noted.to_bytes(8, "little") + zlib.compress(fresh.tobytes(), 6))
        self._noted, self._since = self._seen, time.monotonic()

    @property
    def _key(self) -> str:
        return self._roll.seed.hex()

    def _restore(self) -> None:
        """Take over the notes that fit on to each other from the start; a note ends where a batch ended."""
        kind = self._labels.dtype.newbyteorder("<")
        notes = sorted((int.from_bytes(note[:8], "little"), note[8:]) for note in self._notes.read(self._key))
        for first, packed in notes:
            labels = np.frombuffer(zlib.decompress(packed), kind)
            if first <= self._seen < first + len(labels) <= len(self._labels):
                self._labels[first : first + len(labels)] = labels
                self._seen = self._noted = first + len(labels)

    def _decisive(self, number: int) -> Labels:
        start = self._roll.selection
        if start + number > self._seen:
            raise IndexError(f"{number} copies asked for, {self._seen - start} drawn")
        return self._labels[start : start + number]

    def _votes(self, labels: Labels) -> Votes:
        *counts, invalid = np.bincount(labels, minlength=self._counter.classes + 1).tolist()
        return Votes(tuple(counts), invalid)


def unpack(record: Classes, samples: int) -> bytes:
    """Return the classes of a record as bytes, `bits` each; UsageError when there are none, or not `samples` of them.

    That they are those that the root binds is for the reader to test, leaf by leaf or at once (`merkle`).
    """
    if record.packed is None:
        raise UsageError("classes", "only their root", "a certificate that holds the classes themselves")
    size = samples * record.bits // 8
    opened = zlib.decompressobj()
    try:
        data = opened.decompress(record.packed, size + 1)
    except zlib.error as error:
        raise UsageError("classes", "damaged bytes", f"a zlib stream ({error})") from error
    if len(data) != size or not opened.eof:
        raise UsageError("classes", f"{len(data)} bytes", f"{size}, for {samples} samples")
    return data
