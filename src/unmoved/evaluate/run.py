"""A whole data set: certify or attack input after input, resume where a run was cut off, keep everything."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np

from unmoved.certifier import certify_all
from unmoved.core import (
    REAL,
    Budget,
    Certificate,
    Method,
    Problem,
    Resumable,
    SameClass,
    Semantics,
    Threat,
    UsageError,
    Verdict,
)
from unmoved.core.threat import AnyFloats
from unmoved.evaluate.notes import StoreNotes
from unmoved.evaluate.sizes import ATTACK, LATE, Beside, radius, smaller
from unmoved.ir import Network
from unmoved.loaders import Runtime
from unmoved.record import Row, Run
from unmoved.record import digest as sha256
from unmoved.store import Entry, Store, done, row_entry, rows
from unmoved.threats import Changes, Lp

_DOOR = 256

Progress = Callable[[int, int, Sequence[Row]], None]
"""Called with (inputs done, inputs in all, the rows that are new)."""


@dataclass(frozen=True)
class Dataset:
    """Inputs (n, *input_shape) float32 and labels (n,) int64, with a name for people."""

    x: AnyFloats
    y: np.ndarray[Any, np.dtype[np.int64]]
    name: str = "data"

    @property
    def digest(self) -> str:
        """sha256 over shapes and bytes of x and y."""
        head = f"{self.x.shape}{self.x.dtype}{self.y.shape}".encode()
        return hashlib.sha256(head + self.x.tobytes() + self.y.tobytes()).hexdigest()


def dataset(network: Network, x: object, y: object, name: str = "data") -> Dataset:
    """Return x and y checked against the model: shapes, finiteness, label range. Raises UsageError."""
    if network.outputs < 2:
        raise UsageError("model", "a model with one output", "a classifier: one output for each class, at least two")
    values, labels = _array("x", x), _array("y", y)
    if values.dtype.kind not in "fiu":
        raise UsageError("x", f"dtype {values.dtype}", "an array of numbers")
    if values.ndim == 0 or len(values) == 0:
        raise UsageError("x", f"shape {values.shape}", "at least one input")
    wanted = network.input_shape
    if _squeezed(values.shape[1:]) != _squeezed(wanted):
        raise UsageError("x", f"inputs of shape {values.shape[1:]}", f"the model's input shape {wanted}")
    if labels.shape != (len(values),):
        raise UsageError("y", f"shape {labels.shape}", f"one label an input, shape ({len(values)},)")
    if labels.dtype.kind not in "iu":
        raise UsageError("y", f"dtype {labels.dtype}", "integer labels")
    # asked before the rounding to float32, where a huge number becomes an infinity
    if not (np.isfinite(values).all() and np.abs(values).max() <= np.finfo(np.float32).max):
        raise UsageError("x", "NaN, infinity or more than float32 holds inside", "finite float32 numbers")
    wrong = labels[(labels < 0) | (labels >= network.outputs)]
    if wrong.size:
        raise UsageError(
            "y", int(wrong[0]), f"labels from 0 to {network.outputs - 1} (the model has {network.outputs} outputs)"
        )
    return Dataset(network.batch(values), labels.astype(np.int64), name)


@dataclass(frozen=True)
class Job:
    """What is asked of a data set: by which method, against which threat, with which seed.

    `kind` is "certify", "attack" or "radius": the largest size up to the threat's, in `steps` halvings of it.
    `function` is "f" or "g". `seconds` bounds the time of one chunk of inputs ("radius": of one input). Inside an
    input, work is noted about every `note_every` seconds, where the method can take it up again.
    """

    network: Network
    data: Dataset
    threat: Threat
    method: Method
    kind: str = "certify"
    function: str = "f"
    seed: int = 0
    unchecked: bool = False
    model_name: str = "model"
    seconds: float = field(default=float("inf"))
    note_every: float = 2.0
    semantics: Semantics = REAL
    steps: int = 10

    @property
    def chunk(self) -> int:
        """How many inputs are answered, and kept, at a time."""
        return 1 if self.kind == "radius" else self.method.chunk

    @property
    def run(self) -> Run:
        """The run's identity."""
        size, lp = self.threat.size, self.threat if isinstance(self.threat, Lp | Changes) else None
        return Run(
            kind=self.kind,
            model=self.network.digest,
            model_name=self.model_name,
            data=self.data.digest,
            data_name=self.data.name,
            threat=self.threat.name,
            eps=None if size is None else str(size),
            norm=lp.norm if lp else None,
            clip=(str(lp.clip[0]), str(lp.clip[1])) if lp and lp.clip else None,
            function=self.function,
            method=self.method.name,
            settings=self.method.settings()
            | ({"seconds": str(float(self.seconds))} if self.seconds < float("inf") else {})
            | ({"semantics": str(self.semantics)} if self.semantics.deployed else {})
            | ({"steps": str(self.steps), "attack": ATTACK} if self.kind == "radius" else {}),
            seed=self.seed,
            tool=version("unmoved"),
            unchecked=self.unchecked,
        )


def execute(job: Job, store: Store, *, limit: int | None = None, progress: Progress | None = None) -> list[Row]:
    """Answer the first `limit` inputs (all, if None) and return their rows; rows already in the store are not redone.

    Each chunk's rows, certificates, inputs and the model are written in one transaction: a run that is killed at any
    moment resumes with nothing lost and nothing twice.
    """
    if limit is not None and (not isinstance(limit, int | np.integer) or limit < 1):
        raise UsageError("limit", limit, "a whole number of inputs >= 1")
    run, total = job.run, min(int(limit or len(job.data.x)), len(job.data.x))
    for start in range(0, total, _DOOR):
        # an input outside the clip range is said now, not after an hour
        job.threat.region(job.data.x[start : min(start + _DOOR, total)])
    store.write(
        [Entry.of("model", job.network.source), Entry(kind="run", name=sha256(run.to_json()), data=run.to_json())]
    )
    finished = done(store, run)
    todo = [i for i in range(total) if i not in finished]
    if progress:
        progress(total - len(todo), total, ())
    size = job.chunk
    for start in range(0, len(todo), size):
        before = total - len(todo) + start
        method = _noting(job, run, store, _teller(progress, before, total))
        fresh = _chunk(replace(job, method=method), run, store, todo[start : start + size])
        if progress:
            progress(total - len(todo) + min(start + size, len(todo)), total, fresh)
    return [row for row in rows(store, run) if row.index < total]


def _teller(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if progress:
            progress(before + done, total, ())

    return tell


def _noting(job: Job, run: Run, store: Store, tell: Callable[[int], None]) -> Method:
    """Return the job's method, with a notebook in the store if it can use one."""
    if not isinstance(job.method, Resumable):
        return job.method
    return job.method.resuming(StoreNotes(store, run, job.note_every, tell))


def _chunk(job: Job, run: Run, store: Store, indices: Sequence[int]) -> list[Row]:
    problems = [
        Problem(job.network, job.data.x[i], job.threat, SameClass(int(job.data.y[i])), job.semantics) for i in indices
    ]
    fresh, entries = [], []
    for i, (certificate, beside) in zip(indices, _answers(job, problems), strict=True):
        of = certificate.finding.guarantee.of
        if certificate.verdict is not Verdict.UNKNOWN and of != job.function:
            raise UsageError("function", job.function, f"{of!r}, the function that {job.method.name} speaks of")
        row, parts = _keep(i, int(job.data.y[i]), certificate, _prediction(job, i, certificate))
        for name, other in beside.items():
            row, parts = _beside(row, parts, name, other)
        fresh.append(row)
        entries += [*parts, row_entry(run, row)]
    store.write(entries)
    return fresh


def _answers(job: Job, problems: Sequence[Problem]) -> list[tuple[Certificate, Beside]]:
    """Return each problem's certificate, and those of other sizes that belong beside it."""
    seed, unchecked = job.seed, job.unchecked
    if job.kind == "radius":
        asked = partial(radius, seed=seed, steps=job.steps, unchecked=unchecked)
        return [asked(problem, job.method, Budget(job.seconds)) for problem in problems]
    found = certify_all(problems, job.method, Budget(job.seconds), seed=seed, unchecked=unchecked)
    if job.kind != "certify" or job.function != "f":
        return [(each, {}) for each in found]
    late = Budget(max(LATE, job.seconds / 10))
    return [(each, smaller(problem, each, late, seed=seed)) for problem, each in zip(problems, found, strict=True)]


def _beside(row: Row, parts: list[Entry], name: str, found: Certificate) -> tuple[Row, list[Entry]]:
    """Return the row with the size of another certificate under this name, and its bundle among what is written."""
    if found.manifest is None or found.payload is None:
        return row, parts
    bundle = [Entry.of("manifest", found.manifest), Entry.of("payload", found.payload)]
    size = found.problem.threat.size
    told = {"eps": str(size), "certificate": bundle[0].name, "payload": bundle[1].name}
    return replace(row, details={**row.details, name: told}), [*parts, *bundle]


def _prediction(job: Job, index: int, certificate: Certificate) -> int | None:
    """Return the class at the input itself. Of f it is known even where a method gave up before it looked."""
    found = certificate.finding.prediction
    if found is None and job.function == "f":
        found = int(np.argmax(_runtime(job.network).run(job.data.x[index : index + 1])[0]))
    return None if found is None else int(found)


@lru_cache(maxsize=2)
def _runtime(network: Network) -> Runtime:
    return Runtime(network.source)


def _keep(index: int, label: int, certificate: Certificate, prediction: int | None) -> tuple[Row, list[Entry]]:
    finding, check = certificate.finding, certificate.check
    image = io.BytesIO()
    np.save(image, certificate.problem.x, allow_pickle=False)
    parts = [Entry.of("input", image.getvalue())]
    row = Row(
        index=index,
        label=label,
        prediction=prediction,
        verdict=str(certificate.verdict),
        reason=None if certificate.reason is None else str(certificate.reason),
        radius=None if certificate.radius is None else str(certificate.radius),
        margin=float(finding.margin) if finding.margin is not None and math.isfinite(finding.margin) else None,
        method=finding.method,
        seconds=float(finding.seconds),
        check=None if check is None else check.text,
        check_mode=None if check is None else check.mode,
        check_seconds=None if check is None else check.seconds,
        certificate=None,
        payload=None,
        input=parts[0].name,
        unchecked=certificate.unchecked,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        details={str(key): _plain(value) for key, value in finding.details.items()},
    )
    if certificate.manifest is not None and certificate.payload is not None:
        bundle = [Entry.of("manifest", certificate.manifest), Entry.of("payload", certificate.payload)]
        row = replace(row, certificate=bundle[0].name, payload=bundle[1].name)
        parts += bundle
    return row, parts


def _array(name: str, value: object) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise UsageError(name, type(value).__name__, "an array, each input of the same shape") from error


def _plain(value: object) -> object:
    """Return what JSON can hold: numpy's numbers as Python's, NaN and infinities as None."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, int | str) else str(value)


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
