"""Counting votes: f on noisy copies, batch by batch, in memory that does not grow with the number of samples.

The theorems are about a function f of z alone. So a VoteCounter evaluates f in inference mode, without autocast, in
single precision, and always on batches of one shape: a last, shorter batch is filled up with rows that are already
there, whose votes are dropped. `same_at_every_position` tests whether a classifier keeps its side: some libraries sum
in another order at the edge of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from unmoved.core.errors import UsageError
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.noise import Copies
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.voting.crew import Crew
from unmoved.smooth.voting.device import gridded, write

Classify = Callable[[torch.Tensor], Any]
"""(B, *shape) float32 tensor -> logits (B, classes), floating, or labels (B,), integers."""

Piece = tuple[Stream, range]
"""Copies of one stream, by number (step 1)."""

Labels = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Votes:
    """How many copies f put in each class; `invalid`: copies whose outputs held a NaN or an infinity (no class's)."""

    counts: tuple[int, ...]
    invalid: int = 0

    @property
    def seen(self) -> int:
        """The number of copies counted."""
        return sum(self.counts) + self.invalid


@dataclass(frozen=True)
class VoteCounter:
    """Counts the votes of `classify` among `classes` classes, `batch` noisy copies at a time.

    `crew`: worker processes to evaluate the batches, with the same counts; without, this process does. `device`:
    torch's name of where the copies are drawn and given to `classify`, the same ones everywhere
    (`smooth.voting.device`); "" draws them by compiled code on the CPU.
    """

    classify: Classify
    noise: Copies
    classes: int
    batch: int = 256
    crew: Crew | None = field(default=None, compare=False, repr=False)
    device: str = ""

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UsageError("classes", self.classes, "an integer >= 2")
        if self.batch < 1:
            raise UsageError("batch", self.batch, "an integer >= 1")
        module = self.classify
        if isinstance(module, torch.nn.Module) and any(part.training for part in module.modules()):
            expected = "a module in evaluation mode (call .eval()): dropout and batch statistics look beyond z"
            raise UsageError("classifier", f"{type(module).__name__} in training mode", expected)

    def count(
        self,
        point: GridPoint,
        samples: range,
        *,
        stream: Stream,
        start: Votes | None = None,
        after_batch: Callable[[Votes], None] | None = None,
    ) -> Votes:
        """Return `start` plus the votes of the copies whose numbers are in `samples` (step 1).

        To resume after a kill: the last Votes that `after_batch` got, and range(votes.seen, n); the same total, bit for
        bit, comes out. Any split of a range into ranges may be counted apart and added. Holds one batch of inputs.
        """
        tally = np.zeros(self.classes + 1, dtype=np.int64)
        if start is not None:
            if len(start.counts) != self.classes:
                raise UsageError("start", start, f"counts of {self.classes} classes")
            tally[:] = (*start.counts, start.invalid)
        for labels in self.ballots(point, ((stream, samples),)):
            tally += np.bincount(labels, minlength=self.classes + 1)
            if after_batch is not None:
                after_batch(_votes(tally))
        return _votes(tally)

    def ballots(self, point: GridPoint, pieces: Sequence[Piece], *, skip: int = 0) -> Iterator[Labels]:
        """Yield the class of each copy of the pieces laid end to end, `batch` copies at a time, after the first `skip`.

        `classes` stands for a copy on which f gave a NaN or an infinity. A batch may hold copies of several pieces. f
        runs only when the next batch is asked for. Holds one batch of inputs.
        """
        for _, samples in pieces:
            if samples.step != 1:
                raise UsageError("samples", samples, "a range with step 1")
        total = sum(len(samples) for _, samples in pieces)
        starts = range(skip, total, self.batch)
        batches = (tuple(_between(pieces, start, min(start + self.batch, total))) for start in starts)
        if self.crew is not None:
            yield from self.crew.labels(point, batches)
            return
        rows = self._room(point)
        for batch in batches:
            yield self.labels(point, batch, rows)

    def labels(self, point: GridPoint, pieces: Sequence[Piece], rows: torch.Tensor | None = None) -> Labels:
        """Return the classes of the copies of one batch, in order, at most `batch` of them; `rows` is room for it."""
        rows, number = self._room(point) if rows is None else rows, 0
        for stream, samples in pieces:
            self._draw(point, rows[number : number + len(samples)], stream, samples.start)
            number += len(samples)
        rows[number:] = rows[0]
        return self._votes(rows)[:number]

    def classes_of(self, point: GridPoint, numbers: Labels, *, stream: Stream) -> Labels:
        """Return the classes of up to `batch` copies, each by its number; int64 (n,)."""
        return self.labels(point, [(stream, range(number, number + 1)) for number in numbers.tolist()])

    def _room(self, point: GridPoint) -> torch.Tensor:
        return torch.empty((self.batch, *point.shape), dtype=torch.float32, device=self.device or "cpu")

    def _draw(self, point: GridPoint, rows: torch.Tensor, stream: Stream, first: int) -> None:
        """Fill `rows` with copies, drawn by torch on their device where it can, else by the noise itself."""
        noise = gridded(self.noise) if self.device else None
        if noise is not None:
            write(noise, point, rows, stream=stream, first=first)
            return
        here = rows.cpu()
        self.noise.sample(point, here.numpy(), stream=stream, first=first)
        if here.device != rows.device:
            rows.copy_(here)

    def _votes(self, rows: torch.Tensor) -> Labels:
        """Return the class of each row, int64 (B,); `classes` stands for a row with a NaN or an infinity."""
        output = evaluate(self.classify, rows)
        if output.ndim == 1 and len(output) == len(rows) and not output.is_floating_point():
            labels = output.to(torch.int64)
            if bool(((labels < 0) | (labels >= self.classes)).any()):
                raise UsageError("classifier", "a label out of range", f"labels from 0 to {self.classes - 1}")
            return np.asarray(labels.cpu().numpy())
        if output.shape != (len(rows), self.classes) or not output.is_floating_point():
            shown = f"outputs {output.dtype} {tuple(output.shape)}"
            raise UsageError("classifier", shown, f"logits ({len(rows)}, {self.classes}) or integer labels")
        labels = torch.where(torch.isfinite(output).all(dim=1), output.argmax(dim=1), self.classes)
        return np.asarray(labels.cpu().numpy())


def _between(pieces: Sequence[Piece], start: int, stop: int) -> Iterator[Piece]:
    """Yield what lies at the places `start` to `stop` of the pieces laid end to end."""
    place = 0
    for stream, samples in pieces:
        part = samples[max(0, start - place) : max(0, stop - place)]
        if part:
            yield stream, part
        place += len(samples)


def _votes(tally: Labels) -> Votes:
    *counts, invalid = tally.tolist()
    return Votes(tuple(counts), invalid)


def evaluate(classify: Classify, rows: torch.Tensor) -> torch.Tensor:
    """Return the outputs of `classify`, with gradients and autocast off."""
    with torch.inference_mode(), torch.autocast(rows.device.type, enabled=False):
        return torch.as_tensor(classify(rows))


def same_at_every_position(classify: Classify, row: torch.Tensor, batch: int = 256) -> bool:
    """Return whether `row` (*shape) gets bit-identical outputs at each place of a batch, whatever stands beside it.

    Tried once with copies of the row alone, and once with the row at every third place among changed rows.
    """
    rows = row.expand(batch, *row.shape).contiguous()
    alone = evaluate(classify, rows)
    mixed = rows.flip(0) * torch.linspace(0.5, 1.5, batch).reshape(-1, *[1] * row.ndim)
    mixed[::3] = row
    among = evaluate(classify, mixed)[::3]
    return bool((alone == alone[0]).all()) and bool((among == alone[0]).all())
