"""`unmoved certify`: from arguments to a run, its files, its table and an exit code."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

from unmoved.cli import console, criterion
from unmoved.cli.output import export
from unmoved.cli.reasons import reasons
from unmoved.cli.stores import FILE
from unmoved.core import Semantics, UsageError, decimal_down
from unmoved.core.threat import Threat
from unmoved.evaluate.methods import Sampling, certifying
from unmoved.evaluate.results import Results
from unmoved.evaluate.run import Dataset, Job, dataset, execute
from unmoved.ir import Network
from unmoved.loaders import load, load_npz
from unmoved.record import Row
from unmoved.record.tsv import write_log
from unmoved.report.terminal import summary_json, summary_table
from unmoved.smooth.methods.holm import HolmMethod
from unmoved.smooth.methods.method import SmoothingMethod
from unmoved.store import Store, open_store
from unmoved.threats import parse

FIGURES = ("certified", "clean", "falsified", "unknown", "abstained")


@dataclass(frozen=True)
class Choice:
    """How certify's smoothing stops, what its alpha is about, and where networks run (`evaluate.methods.Sampling`)."""

    mode: str | None = None
    cohen: bool = False
    label_known: bool = False
    family: str | None = None
    noise: str | None = None
    keep: str | None = None
    band: str | None = None
    flip: str | None = None
    precision: str | None = None
    jobs: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Request:
    """What certify and attack have in common, as it stands on the command line."""

    model: str
    data: Path
    threat: str
    clip: str | None
    sigma: str | None
    samples: int | None
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
    choice: Choice = Choice()
    semantics: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could mean, before anything is loaded."""
        if self.limit is not None and self.limit < 1:
            raise UsageError("limit", self.limit, "a whole number of inputs >= 1")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError("seconds", self.seconds, "a number > 0")

    @property
    def asked(self) -> Threat:
        """The threat."""
        return parse(self.threat, clip_ends(self.clip))

    def meant(self, function: str) -> Semantics:
        """The arithmetic that proofs are about; of g they are about the executions that were sampled."""
        if self.semantics is not None and function == "g":
            raise UsageError("semantics", self.semantics, "no such choice with smoothing: what was sampled was run")
        return Semantics.of(self.semantics or "real")

    @property
    def sampling(self) -> Sampling:
        """Smoothing's settings."""
        return Sampling(self.sigma, self.samples, self.alpha, self.grid, **asdict(self.choice))

    def load(self) -> tuple[Network, Dataset]:
        """Return the model and the data, checked against each other."""
        try:
            x, y, remark = load_npz(self.data, x=self.x_name, y=self.y_name)
        except UsageError as error:
            name = {self.x_name: "x_name", self.y_name: "y_name"}.get(str(error.value))
            if error.argument != "data" or name is None:
                raise
            raise UsageError(name, error.value, error.expected) from error
        if remark:
            console.note(f"{self.data}: {remark}")
        network = load(self.model, weights=self.weights, input_shape=(1, *x.shape[1:]))
        return network, dataset(network, x, y, name=self.data.name)

    def open(self) -> Store:
        """Return the store, after making sure that the output folder can be written."""
        writable(self.out)
        return open_store(self.out / FILE if self.store is None else self.store)


def certify_command(
    request: Request, *, method: str, require: str | None, unchecked: bool, tsv: Path | None = None, as_json: bool
) -> int:
    """Certify the data set; return the exit code."""
    wanted = None if require is None else criterion.parse(require, FIGURES)
    chosen, function = certifying(method, request.asked, request.sampling, timed=request.seconds is not None)
    meant = request.meant(function)
    if tsv is not None and function != "g":
        raise UsageError("tsv", str(tsv), "a smoothing run (--sigma): the format is about noise and votes")
    if tsv is not None and (tsv.is_dir() or not tsv.parent.is_dir() or not os.access(tsv.parent, os.W_OK)):
        raise UsageError("tsv", str(tsv), "a file that can be written")
    network, data = request.load()
    if function == "g":
        # now that there are inputs: their number, for a family, and their shape, for noises that depend on it
        known = replace(
            request.sampling, inputs=min(request.limit or len(data.x), len(data.x)), shape=network.input_shape
        )
        chosen, function = certifying(method, request.asked, known)
    store = request.open()
    if isinstance(chosen, SmoothingMethod | HolmMethod):
        _estimate(chosen, network, data, request)
    job = Job(
        network,
        data,
        request.asked,
        chosen,
        function=function,
        seed=request.seed,
        unchecked=unchecked,
        model_name=Path(request.model).name,
        seconds=math.inf if request.seconds is None else request.seconds,
        semantics=meant,
    )
    answers = run_kept(job, store, request, f"certifying {job.threat.name}")
    if tsv is not None:
        write_log(tsv, answers)
    figures = shares(answers)
    met = wanted is None or wanted.met(figures)
    if as_json:
        verdict = None if wanted is None else {"criterion": str(wanted), "met": met}
        summary = summary_json([Results(job.run, tuple(answers))]) | {"require": verdict, "family": _family(answers)}
        console.emit(json.dumps(summary, indent=2))
    else:
        show(job, answers, request)
        family = _family(answers)
        if family is not None:
            console.line(str(family["says"]))
        if wanted is not None:
            style = "green" if met else "bold red"
            value = figures[wanted.figure]
            console.OUT.print(f"[{style}]{'met' if met else 'NOT met'}[/]: {wanted}, here {float(value):.4f}")
    if any(row.unchecked for row in answers):
        console.warn("some certificates are UNCHECKED: no independent checker has accepted them")
    return console.OK if met else console.NOT_MET


def _estimate(method: SmoothingMethod | HolmMethod, network: Network, data: Dataset, request: Request) -> None:
    """Say on stderr how long the run will take at most, from the time of a few batches."""
    inputs = min(request.limit or len(data.x), len(data.x))
    smoothing = method.smoothing if isinstance(method, HolmMethod) else method
    rate = smoothing.copies_a_second(network)
    copies = inputs * (smoothing.samples + smoothing.selection_samples)
    early = "" if smoothing.mode == "fixed" else "; inputs that are settled early take less"
    console.note(f"at most about {_duration(copies / rate)}: {inputs} inputs, {rate:,.0f} copies a second{early}")


def _duration(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{max(1, math.ceil(seconds))} s"


def _family(rows: list[Row]) -> dict[str, object] | None:
    """Return what is claimed of all inputs together, where anything is."""
    found = next((row.details.get("family") for row in rows if row.details.get("family")), None)
    return found if isinstance(found, dict) else None


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


def run_kept(job: Job, store: Store, request: Request, title: str) -> list[Row]:
    """Run the job with a progress bar, write its files, close the store, and return its rows."""
    with console.bar(title) as move:
        answers = execute(job, store, limit=request.limit, progress=console.tally(move))
    export(store, job.run, request.out)
    store.close()
    return answers


def show(job: Job, answers: list[Row], request: Request) -> None:
    """Show a run's table, the reasons of what is unknown, and where everything is."""
    console.OUT.print(summary_table([Results(job.run, tuple(answers))]))
    for text in reasons(answers):
        console.line(text)
    smaller = [row.smaller for row in answers if row.smaller is not None]
    if smaller:
        ends = " to ".join(decimal_down(size, 5) for size in dict.fromkeys((min(smaller), max(smaller))))
        console.line(f"{len(smaller)} timeouts are proved at smaller sizes: {ends} (unmoved radius looks further)")
    where = request.out if request.store is None else request.store
    console.line(f"kept in {request.out}; next: unmoved check {where}, unmoved report {where}", style="dim")


def clip_ends(text: str | None) -> tuple[str, str] | None:
    """Return the ends of a range as typed, `0,1`; None for no range; UsageError unless there are two."""
    if text is None:
        return None
    ends = [part.strip() for part in text.split(",")]
    if len(ends) != 2 or not all(ends):
        raise UsageError("clip", text, "two numbers, such as 0,1")
    return ends[0], ends[1]
