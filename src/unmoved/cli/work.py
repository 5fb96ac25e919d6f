"""`unmoved certify` and `unmoved attack`: from arguments to a run, its files, its table and an exit code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from unmoved.cli import console, criterion
from unmoved.cli.output import export
from unmoved.core import UsageError
from unmoved.core.threat import Threat
from unmoved.evaluate.methods import Sampling, attacking, certifying
from unmoved.evaluate.results import Results
from unmoved.evaluate.run import Dataset, Job, dataset, execute
from unmoved.ir import Network
from unmoved.loaders import load, load_npz
from unmoved.record import Row
from unmoved.record.tsv import write_log
from unmoved.report.terminal import summary_json, summary_table
from unmoved.store import Store, open_store
from unmoved.threats import parse

FIGURES = ("certified", "clean", "falsified", "unknown", "abstained")


@dataclass(frozen=True)
class Request:
    """What certify and attack have in common, as it stands on the command line."""

    model: str
    data: Path
    threat: str
    clip: str | None
    sigma: str | None
    samples: int
    alpha: str
    grid: int
    limit: int | None
    weights: Path | None
    x_name: str
    y_name: str
    seed: int
    seconds: float | None
    store: str | None
    out: Path

    @property
    def asked(self) -> Threat:
        """The threat."""
        return parse(self.threat, _clip(self.clip))

    @property
    def sampling(self) -> Sampling:
        """Smoothing's settings."""
        return Sampling(self.sigma, self.samples, self.alpha, self.grid)

    def load(self) -> tuple[Network, Dataset]:
        """Return the model and the data, checked against each other."""
        x, y, remark = load_npz(self.data, x=self.x_name, y=self.y_name)
        if remark:
            console.note(f"{self.data}: {remark}")
        network = load(self.model, weights=self.weights, input_shape=(1, *x.shape[1:]))
        return network, dataset(network, x, y, name=self.data.name)

    def open(self) -> Store:
        """Return the store, after making sure that the output folder can be written."""
        writable(self.out)
        return open_store(self.store or self.out / "store.sqlite")


def certify_command(
    request: Request, *, method: str, require: str | None, unchecked: bool, tsv: Path | None = None, as_json: bool
) -> int:
    """Certify the data set; return the exit code."""
    wanted = criterion.parse(require, FIGURES) if require else None
    chosen, function = certifying(method, request.asked, request.sampling)
    if tsv is not None and function != "g":
        raise UsageError("tsv", str(tsv), "a smoothing run (--sigma): the format is about noise and votes")
    network, data = request.load()
    store = request.open()
    job = Job(
        network,
        data,
        request.asked,
        chosen,
        function=function,
        seed=request.seed,
        unchecked=unchecked,
        model_name=Path(request.model).name,
        seconds=_seconds(request.seconds),
    )
    answers = _run(job, store, request, f"certifying {job.threat.name}")
    if tsv is not None:
        write_log(tsv, answers)
    figures = shares(answers)
    met = wanted is None or wanted.met(figures)
    if as_json:
        verdict = None if wanted is None else {"criterion": str(wanted), "met": met}
        console.emit(json.dumps(summary_json([Results(job.run, tuple(answers))]) | {"require": verdict}, indent=2))
    else:
        console.OUT.print(summary_table([Results(job.run, tuple(answers))]))
        _closing(request, store)
        if wanted is not None:
            style = "green" if met else "bold red"
            value = figures[wanted.figure]
            console.OUT.print(f"[{style}]{'met' if met else 'NOT met'}[/]: {wanted}, here {float(value):.4f}")
    if unchecked and any(row.unchecked for row in answers):
        console.fail("some certificates are UNCHECKED: no independent checker has accepted them")
    return console.OK if met else console.NOT_MET


def attack_command(request: Request, *, steps: int, restarts: int, as_json: bool) -> int:
    """Attack the data set; return the exit code."""
    chosen, function = attacking(request.asked, request.sampling, steps=steps, restarts=restarts)
    network, data = request.load()
    store = request.open()
    job = Job(
        network,
        data,
        request.asked,
        chosen,
        kind="attack",
        function=function,
        seed=request.seed,
        model_name=Path(request.model).name,
        seconds=_seconds(request.seconds),
    )
    answers = _run(job, store, request, f"attacking {job.threat.name}")
    if as_json:
        console.emit(json.dumps(summary_json([Results(job.run, tuple(answers))]), indent=2))
    else:
        console.OUT.print(summary_table([Results(job.run, tuple(answers))]))
        _closing(request, store)
    return console.OK


def shares(rows: list[Row]) -> dict[str, Fraction]:
    """Return the figures that a criterion may name, as exact shares of the inputs."""
    counts = {
        "certified": sum(row.certified for row in rows),
        "clean": sum(row.prediction == row.label for row in rows),
        "falsified": sum(row.verdict == "FALSIFIED" for row in rows),
        "unknown": sum(row.verdict == "UNKNOWN" for row in rows),
        "abstained": sum(row.reason is not None and row.reason.startswith("abstained") for row in rows),
    }
    return {name: Fraction(count, len(rows)) for name, count in counts.items()}


def writable(folder: Path) -> None:
    """Make the folder; UsageError when it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".unmoved-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError("out", str(folder), f"a folder that can be written ({error.strerror})") from error


def _run(job: Job, store: Store, request: Request, title: str) -> list[Row]:
    with console.bar(title) as move:
        answers = execute(job, store, limit=request.limit, progress=console.tally(move))
    export(store, job.run, request.out)
    return answers


def _closing(request: Request, store: Store) -> None:
    console.OUT.print(
        f"[dim]ledger, certificates and store in[/] {request.out}"
        f"[dim]; next:[/] unmoved check {request.out}[dim],[/] unmoved report {request.out}",
        soft_wrap=True,
    )
    store.close()


def _seconds(value: float | None) -> float:
    if value is None:
        return float("inf")
    if not value > 0:
        raise UsageError("seconds", value, "a number > 0")
    return value


def _clip(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    low, comma, high = text.partition(",")
    if not comma:
        raise UsageError("clip", text, "two numbers, such as 0,1")
    return low.strip(), high.strip()
