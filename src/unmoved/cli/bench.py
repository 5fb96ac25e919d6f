"""`unmoved bench`: run a benchmark folder in the form of VNN-COMP, compare with known answers, print a table."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Timer

from rich.console import Console
from rich.table import Table

from unmoved.cli import console
from unmoved.core import UsageError

DEFINITE = ("sat", "unsat")
WIDTH = 140
"""Columns of the table at least."""
WORDS = (*DEFINITE, "unknown", "timed-out")
GRACE = 30.0
"""Seconds after its timeout at which a process that does not answer is killed."""


@dataclass(frozen=True)
class Instance:
    """One line of instances.csv, with what expected.csv says of it: the answer, and another tool's result and time."""

    onnx: str
    vnnlib: str
    timeout: float
    expected: str = ""
    rival: str = ""
    rival_seconds: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one process answered ("error" where it gave none), its seconds of CPU and of wall time, its peak memory."""

    instance: Instance
    answer: str
    cpu_seconds: float
    wall_seconds: float
    peak_megabytes: float
    why: str

    @property
    def wrong(self) -> bool:
        """Whether the answer contradicts the known one."""
        return self.answer in DEFINITE and self.instance.expected in DEFINITE and self.answer != self.instance.expected


@dataclass(frozen=True)
class Plan:
    """How to run: timeouts are multiplied by `factor`; `memory` gigabytes a process; `flags` go to every `verify`."""

    factor: float = 1.0
    limit: int | None = None
    only: str = ""
    memory: float = 8.0
    certificates: Path | None = None
    flags: tuple[str, ...] = ()


def bench_command(folder: Path, plan: Plan, out: Path | None) -> int:
    """Run the folder's instances one after the other, print the table, and return 1 if an answer was wrong."""
    for name, value in (("timeout_factor", plan.factor), ("memory", plan.memory)):
        if not value > 0:
            raise UsageError(name, value, "a number > 0")
    if plan.limit is not None and plan.limit < 1:
        raise UsageError("limit", plan.limit, "a whole number >= 1")
    chosen = [i for i in instances(folder) if plan.only in f"{i.onnx} {i.vnnlib}"][: plan.limit]
    if not chosen:
        raise UsageError("only", plan.only, "a part of an instance's file names")
    outcomes = []
    with console.bar("bench") as move:
        for number, instance in enumerate(chosen):
            move(number, len(chosen), instance.vnnlib)
            outcomes.append(run(folder, instance, plan, number))
        move(len(chosen), len(chosen))
    # in a file or a pipe, where nothing says how wide a line may be, names stay whole
    Console(highlight=False, width=max(console.OUT.width, WIDTH)).print(_table(outcomes))
    console.line(_summary(outcomes))
    if out is not None:
        _write(out, outcomes, plan)
    return console.NOT_MET if any(outcome.wrong for outcome in outcomes) else console.OK


def instances(folder: Path) -> list[Instance]:
    """Return the instances of a folder; UsageError where there is no instances.csv, or a line without a timeout."""
    known = {(row["onnx"], row["vnnlib"]): row for row in _rows(folder / "expected.csv", None)}
    found = []
    for row in _rows(folder / "instances.csv", ("onnx", "vnnlib", "timeout")):
        name, query = row["onnx"].removeprefix("./"), row["vnnlib"].removeprefix("./")
        said = known.get((name, query), {})
        seconds = said.get("abc_process_cpu_s") or said.get("rival_seconds", "")
        try:
            timeout = float(row["timeout"])
        except ValueError as error:
            raise UsageError("instances.csv", row["timeout"], "a timeout in seconds") from error
        rival = said.get("abc_result_here") or said.get("rival", "")
        found.append(Instance(name, query, timeout, said.get("result", ""), rival, seconds))
    return found


def _rows(path: Path, header: tuple[str, ...] | None) -> Iterator[Mapping[str, str]]:
    """Yield the rows of a CSV file with a header (which instances.csv may lack); none of a file that is optional."""
    if not path.is_file():
        if header is None:
            return
        raise UsageError("folder", str(path.parent), f"a folder with {path.name}")
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.reader(file) if line]
    if lines and (header is None or lines[0][0].strip() == header[0]):
        header, lines = tuple(lines[0]), lines[1:]
    for line in lines:
        yield dict(zip(header or (), (cell.strip() for cell in line), strict=False))


def run(folder: Path, instance: Instance, plan: Plan, number: int) -> Outcome:
    """Run `unmoved verify` on one instance in a process of its own, whose memory is capped."""
    seconds = instance.timeout * plan.factor
    command = [sys.executable, "-c", "from unmoved.cli import main; main()", "verify", str(folder / instance.vnnlib)]
    command += ["--network", str(folder / instance.onnx), "--timeout", str(seconds), "--memory", str(plan.memory)]
    if plan.certificates is not None:
        command += ["--certificate", str(plan.certificates / f"{number:04d}")]
    start = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        child = subprocess.Popen([*command, *plan.flags], stdout=out, stderr=log)
        killer = Timer(seconds + GRACE, child.kill)
        killer.start()
        usage, megabytes = _wait(child)
        killer.cancel()
        wall = time.monotonic() - start
        out.seek(0)
        log.seek(0)
        said, notes = out.read().decode(errors="replace"), log.read().decode(errors="replace")
    word = said.split("\n", 1)[0].strip()
    why = " ".join(notes.split())[-300:]
    return Outcome(instance, word if word in WORDS else "error", usage, wall, megabytes, why)


def _wait(child: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Wait for a process and return its CPU seconds and peak megabytes (zero where the system does not say)."""
    if not hasattr(os, "wait4"):
        child.wait()
        return 0.0, 0.0
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("query", "answer", "known", "CPU s", "wall s", "MB", "other tool", "its CPU s"):
        table.add_column(title, justify="left" if title in ("query", "answer", "known", "other tool") else "right")
    for o in outcomes:
        style = "bold red" if o.wrong else "green" if o.answer in DEFINITE else "yellow"
        name = f"{Path(o.instance.onnx).stem[:24]} {Path(o.instance.vnnlib).stem[:30]}"
        spent = (f"{o.cpu_seconds:.1f}", f"{o.wall_seconds:.1f}", f"{o.peak_megabytes:.0f}")
        known = o.instance.expected + (" WRONG" if o.wrong else "")
        row = (name, f"[{style}]{o.answer}[/]", known, *spent, o.instance.rival, o.instance.rival_seconds)
        table.add_row(*row)
    return table


def _summary(outcomes: Sequence[Outcome]) -> str:
    words = Counter(o.answer for o in outcomes)
    counts = ", ".join(f"{words[word]} {word}" for word in (*WORDS, "error") if words[word])
    wrong = sum(o.wrong for o in outcomes)
    solved = sum(words[word] for word in DEFINITE)
    cpu = sum(o.cpu_seconds for o in outcomes)
    text = f"{solved} of {len(outcomes)} solved ({counts}), {wrong} wrong, {cpu:.0f} CPU seconds"
    ratios = [o.cpu_seconds / float(o.instance.rival_seconds) for o in outcomes if _both(o)]
    if ratios:
        product = 1.0
        for ratio in ratios:
            product *= ratio ** (1 / len(ratios))
        theirs = sum(o.instance.rival in DEFINITE for o in outcomes)
        text += f"; the other tool solves {theirs}; CPU time where both do, geometric mean: {product:.2f} of its"
    return text


def _both(o: Outcome) -> bool:
    solved = o.answer in DEFINITE and o.instance.rival in DEFINITE and not o.wrong
    return solved and bool(o.instance.rival_seconds) and o.cpu_seconds > 0


def _write(path: Path, outcomes: Sequence[Outcome], plan: Plan) -> None:
    rows = [asdict(outcome) | {"wrong": outcome.wrong} for outcome in outcomes]
    settings = {"timeout_factor": plan.factor, "memory_gigabytes": plan.memory, "flags": list(plan.flags)}
    data = {"summary": _summary(outcomes), "settings": settings, "outcomes": rows}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError("out", str(path), f"a file that can be written ({error.strerror})") from error
