"""`unmoved evaluate` and `unmoved compare`: models and methods through the whole suite, and side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unmoved.cli import console
from unmoved.cli.output import export
from unmoved.cli.stores import FILE, find_store
from unmoved.cli.work import clip_ends, writable
from unmoved.core import Threat, UsageError
from unmoved.evaluate.comparison.board import Defence, Section, defences
from unmoved.evaluate.comparison.evaluation import ATTACK, PROOF
from unmoved.evaluate.comparison.measures import Measures, to_json
from unmoved.evaluate.comparison.suite import Follow, Suite, evaluate
from unmoved.evaluate.corruption import FAMILIES, SEVERITIES, read_corrupted
from unmoved.evaluate.methods import Sampling, certifying
from unmoved.evaluate.run import Dataset, Job, Progress, dataset
from unmoved.ir import Network
from unmoved.loaders import load, load_npz
from unmoved.loaders.arrays import load_inputs
from unmoved.report.leaderboard import measured, render_leaderboard
from unmoved.report.terminal import board_table
from unmoved.store import open_store, runs
from unmoved.threats import parse

Found = list[tuple[Section, list[Measures]]]


@dataclass(frozen=True)
class Asked:
    """The command line of `evaluate`, as typed."""

    models: list[str]
    data: Path
    threats: list[str]
    parts: int
    methods: list[str]
    clip: str | None
    sampling: Sampling
    attack: bool
    outside: Path | None
    corruptions: str | None
    severities: str
    corrupted: Path | None
    limit: int | None
    weights: Path | None
    x_name: str
    y_name: str
    seed: int
    seconds: float | None
    store: str | None
    out: Path
    unchecked: bool

    def __post_init__(self) -> None:
        """Refuse what no run could mean, before anything is loaded."""
        if self.limit is not None and self.limit < 1:
            raise UsageError("limit", self.limit, "a whole number of inputs >= 1")
        if self.parts < 1:
            raise UsageError("sizes", self.parts, "a whole number >= 1")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError("seconds", self.seconds, "a number > 0")


def evaluate_command(asked: Asked, *, as_json: bool) -> int:
    """Evaluate every model by every method, write the page, and return the exit code."""
    suite = _suite(asked)
    for method in asked.methods:
        for threat in suite.threats:
            certifying(method, threat, _sampling(asked, method), timed=asked.seconds is not None)
    x, y = _data(asked, asked.data)
    loaded = [(name, *_model(asked, name, x, y)) for name in asked.models]
    suite = _imaged(suite, asked, x)
    writable(asked.out)
    store = open_store(asked.out / FILE if asked.store is None else asked.store)
    kept: set[str] = set()
    for name, network, data in loaded:
        for method in asked.methods:
            blank = Job(network, data, suite.threats[0], certifying("interval", suite.threats[0], Sampling())[0])
            job = Job(**{**vars(blank), "model_name": Path(name).name})
            with _bars(f"{Path(name).name}: ") as follow:
                made = evaluate(job, method, suite, store, follow)
            kept |= made.runs(PROOF, ATTACK)
    for run in runs(store):
        if run.id in kept:
            export(store, run, asked.out)
    found = measured(defences(store, asked.out.name))
    store.close()
    return _answer(found, asked.out / "evaluation.html", as_json=as_json, extra={"out": str(asked.out)})


def compare_command(sources: Sequence[str], out: Path, title: str | None, *, as_json: bool) -> int:
    """Put what some stores hold side by side; return the exit code."""
    found: list[Defence] = []
    for text in sources:
        store = find_store(text)
        if store is None:
            raise UsageError("run", text, "a store, or the --out folder of a run")
        mine = defences(store, Path(text).name)
        if not mine:
            raise UsageError("run", text, "a store with certifying runs: nothing is certified there")
        found += mine
        store.close()
    return _answer(measured(found), out, as_json=as_json, title=title)


def _answer(
    found: Found, page: Path, *, as_json: bool, title: str | None = None, extra: dict[str, str] | None = None
) -> int:
    text = render_leaderboard(found, title=title)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError("out", str(page), f"a file that can be written ({error.strerror})") from error
    if as_json:
        told = {"sections": [to_json(section, measures) for section, measures in found], "page": str(page)}
        console.emit(json.dumps(told | (extra or {}), indent=2))
    else:
        for section, measures in found:
            console.OUT.print(board_table(section, measures))
        console.line(f"page: {page}")
    wrong = sum(each.contradicted for _, measures in found for each in measures if each.defence.run.function == "f")
    if wrong:
        console.warn(f"{wrong} certificates of f were broken by an attack: a bug of ours, please report it")
    return console.OK if not wrong else console.NOT_MET


def _suite(asked: Asked) -> Suite:
    families = _families(asked.corruptions)
    severities = tuple(_severity(part) for part in asked.severities.split(","))
    clip = clip_ends(asked.clip)
    threats: list[Threat] = []
    for text in asked.threats:
        whole = parse(text, clip)
        if whole.size is None:
            raise UsageError("threat", text, "a threat with a size, such as linf:0.1")
        word = whole.name.partition(":")[0]
        shares = [Fraction(k, asked.parts) for k in range(asked.parts, 0, -1)] if whole.size else [Fraction(1)]
        threats += [parse(f"{word}:{whole.size * share}", clip) for share in shares]
    unique = list({threat.name: threat for threat in threats}.values())
    return Suite(
        tuple(unique),
        asked.sampling,
        attack=asked.attack,
        corruptions=families,
        severities=severities,
        limit=asked.limit,
        seed=asked.seed,
        seconds=math.inf if asked.seconds is None else asked.seconds,
        unchecked=asked.unchecked,
    )


def _imaged(suite: Suite, asked: Asked, x: np.ndarray) -> Suite:
    """Return the suite with what only the data tell: the images' shape and range, and the other data sets."""
    told: dict[str, Any] = {"image": tuple(x.shape[1:])}
    clip = clip_ends(asked.clip)
    if clip is not None:
        told["span"] = (float(Fraction(clip[0])), float(Fraction(clip[1])))
    if asked.outside is not None:
        outside, remark = load_inputs(asked.outside, x=asked.x_name, argument="ood")
        told |= {"outside": outside, "outside_name": asked.outside.name}
        if remark:
            console.note(f"{asked.outside}: {remark}")
    if asked.corrupted is not None:
        read_corrupted(asked.corrupted)
        told["corrupted"] = partial(read_corrupted, asked.corrupted, limit=asked.limit)
    return Suite(**{**vars(suite), **told})


def _families(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    if text == "all":
        return tuple(FAMILIES)
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in FAMILIES:
            raise UsageError("corruptions", name, "all, or some of " + ", ".join(FAMILIES))
    return names


def _severity(text: str) -> int:
    if text.strip() not in {str(s) for s in SEVERITIES}:
        raise UsageError("severities", text, "some of 1,2,3,4,5")
    return int(text)


def _sampling(asked: Asked, method: str) -> Sampling:
    return (
        asked.sampling
        if method in ("auto", "smoothing")
        else Sampling(alpha=asked.sampling.alpha, device=asked.sampling.device)
    )


def _data(asked: Asked, path: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y, remark = load_npz(path, x=asked.x_name, y=asked.y_name)
    if remark:
        console.note(f"{path}: {remark}")
    return x, y


def _model(asked: Asked, name: str, x: np.ndarray, y: np.ndarray) -> tuple[Network, Dataset]:
    network = load(name, weights=asked.weights, input_shape=(1, *x.shape[1:]))
    return network, dataset(network, x, y, name=asked.data.name)


@contextmanager
def _bars(prefix: str) -> Iterator[Follow]:
    """Yield what opens a progress bar for a part, and closes the last one's."""
    with ExitStack() as stack:

        def follow(title: str) -> Progress:
            stack.close()
            return console.tally(stack.enter_context(console.bar(prefix + title)))

        yield follow
