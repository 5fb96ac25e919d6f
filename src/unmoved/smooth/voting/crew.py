"""Worker processes that evaluate batches of copies: one thread each, kept from one input to the next.

Work is cut at the batches that one process would have made, and labels come back in order: a copy depends on its stream
and number alone, a batch on its copies alone. So counts are the same, bit for bit, whatever the number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, Protocol

import numpy as np
import torch

from unmoved.core.errors import UnmovedError, UsageError
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.seeds import Stream

Labels = np.ndarray[Any, np.dtype[np.int64]]
Pieces = tuple[tuple[Stream, range], ...]

_AHEAD = 2
"""Batches a worker that are under way at once: one that runs, and one that waits for it."""

_HERE: dict[str, Any] = {}
"""In a worker: the counter that it was started with."""


class Counter(Protocol):
    """What a worker does for a batch; it travels to the worker once, by pickle."""

    def labels(self, point: GridPoint, pieces: Pieces) -> Labels:
        """Return the classes of the copies of one batch."""


class Crew:
    """`jobs` processes that run `counter.labels`, from the first batch to `close` or the end of the program.

    Raises UsageError for a counter whose classifier cannot be sent to another process.
    """

    def __init__(self, counter: Counter, jobs: int) -> None:
        if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
            raise UsageError("jobs", jobs, "an integer >= 1")
        self.jobs = jobs
        try:
            self._counter = pickle.dumps(counter)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            expected = f"1: this classifier cannot be sent to another process ({error})"
            raise UsageError("jobs", jobs, expected) from error
        self._pool: ProcessPoolExecutor | None = None

    def labels(self, point: GridPoint, batches: Iterable[Pieces]) -> Iterator[Labels]:
        """Yield the classes of the batches' copies, in order; a few batches beyond those asked for may be evaluated."""
        running: deque[Future[Labels]] = deque()
        pool = self._started()
        try:
            for pieces in batches:
                running.append(pool.submit(_labels, point, pieces))
                if len(running) >= _AHEAD * self.jobs:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool as error:
            self.close()
            raise UnmovedError("a worker process ended before its work did (killed, or out of memory)") from error
        finally:
            for future in running:
                future.cancel()

    def close(self) -> None:
        """End the processes; batches that nobody waits for are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # spawned, not forked: a fork would copy the locks of torch's threads in whatever state they are
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.jobs, context, initializer=_start, initargs=(self._counter,))
        return self._pool


def _start(counter: bytes) -> None:
    """Make a worker ready: one thread, deaf to Ctrl-C (the parent hears it), gone when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _HERE["counter"] = pickle.loads(counter)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _labels(point: GridPoint, pieces: Pieces) -> Labels:
    labels: Labels = _HERE["counter"].labels(point, pieces)
    return labels
