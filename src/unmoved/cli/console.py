"""What the commands share: where text goes, progress bars, and one clear line for every mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from unmoved.record import Row

OUT = Console(highlight=False)
LOG = Console(stderr=True, highlight=False)

SHORT = {"CERTIFIED": "proved", "FALSIFIED": "broken", "UNKNOWN": "unknown"}
OK, NOT_MET, MISUSE, INTERRUPTED = 0, 1, 2, 130


def fail(text: str) -> None:
    """Write one line about a mistake to stderr."""
    LOG.print(f"[bold red]error[/]: {_escaped(text)}", soft_wrap=True)


def warn(text: str) -> None:
    """Write one line to stderr about what a user should not overlook."""
    LOG.print(f"[bold yellow]warning[/]: {_escaped(text)}", soft_wrap=True)


def note(text: str) -> None:
    """Write a remark to stderr, where it cannot spoil --json."""
    LOG.print(f"[dim]{_escaped(text)}[/]", soft_wrap=True)


def line(text: str, style: str = "") -> None:
    """Write one line to stdout: as it is, however long, no part of it read as markup."""
    OUT.print(Text(text, style=style), soft_wrap=True)


def emit(text: str) -> None:
    """Write text for a machine to stdout, as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


@contextmanager
def bar(title: str) -> Iterator[Callable[..., None]]:
    """Yield a function (done, total, *anything) that moves a progress bar on stderr; it appears with the first call."""
    columns = (
        TextColumn("{task.description:<27}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("[dim]{task.fields[extra]}[/]"),
    )
    progress = Progress(*columns, console=LOG)
    task = progress.add_task(title, total=None, extra="")

    def move(done: int, total: int, extra: str = "") -> None:
        progress.start()
        progress.update(task, completed=done, total=total, extra=extra)

    try:
        yield move
    finally:
        if progress.live.is_started:
            progress.stop()


def tally(move: Callable[..., None]) -> Callable[[int, int, Sequence[Row]], None]:
    """Return a progress callback for `evaluate.run.execute` that shows the running count of verdicts beside the bar."""
    counts: dict[str, int] = {}

    def step(done: int, total: int, fresh: Sequence[Row]) -> None:
        for row in fresh:
            counts[row.verdict] = counts.get(row.verdict, 0) + 1
        move(done, total, ", ".join(f"{counts[word]} {short}" for word, short in SHORT.items() if word in counts))

    return step
