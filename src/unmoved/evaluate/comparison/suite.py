"""One model through the whole evaluation: proofs, attacks, wrong answers, foreign inputs, corrupted images.

Every part is an ordinary run in the store, so that a killed evaluation goes on where it stopped, and what `unmoved
certify` answered before is not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unmoved.core import Threat, UsageError
from unmoved.evaluate.comparison.evaluation import (
    ANSWERS,
    ATTACK,
    CORRUPTED,
    OUTSIDE,
    PROOF,
    Evaluation,
    Part,
    write_evaluation,
)
from unmoved.evaluate.corruption import Corrupted, corrupt
from unmoved.evaluate.methods import Sampling, attacking, certifying
from unmoved.evaluate.run import Dataset, Job, Progress, dataset, execute
from unmoved.ir import Network
from unmoved.loaders import Runtime
from unmoved.record import Row
from unmoved.store import Store
from unmoved.threats import L2, Lp, parse

Follow = Callable[[str], Progress | None]
"""Called with a part's title before it starts; returns what follows its inputs."""


@dataclass(frozen=True)
class Suite:
    """What is asked of every model, by every method: threats of one or more norms and sizes, without repetition.

    `attack`: whether attacks of the same sizes are run, with `steps` and `restarts`. `outside`: inputs (n, ...) that
    are not from the data's distribution. `corruptions` at `severities`, and ready-made `corrupted` images, are
    certified against the first threat. `image` is the shape of one input as an image, `span` the range of its values.
    `limit`: the first so many inputs, of each part.
    """

    threats: tuple[Threat, ...]
    sampling: Sampling = field(default_factory=Sampling)
    attack: bool = True
    steps: int = 40
    restarts: int = 3
    outside: npt.NDArray[np.float32] | None = None
    outside_name: str = "outside"
    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    corrupted: Callable[[], Iterator[Corrupted]] | None = None
    image: tuple[int, ...] | None = None
    span: tuple[float, float] = (0.0, 1.0)
    limit: int | None = None
    seed: int = 0
    seconds: float = float("inf")
    unchecked: bool = False

    def norms(self) -> list[tuple[Threat, ...]]:
        """Return the threats by norm, each by size."""
        found: dict[str, list[Threat]] = {}
        for threat in self.threats:
            found.setdefault(threat.name.partition(":")[0], []).append(threat)
        return [tuple(sorted(group, key=lambda threat: threat.size or 0)) for group in found.values()]


def evaluate(job: Job, method: str, suite: Suite, store: Store, follow: Follow = lambda title: None) -> Evaluation:
    """Run every part for the model and data of `job`, certifying by `method`, and keep what it amounts to.

    Of `job` only model, data and names count. Raises UsageError for a method that cannot decide the threats, for
    inputs that are no images where corruptions are asked for.
    """
    every = _Evaluating(job, method, suite, store, follow)
    return every.run()


@dataclass(frozen=True)
class _Evaluating:
    job: Job
    method: str
    suite: Suite
    store: Store
    follow: Follow

    @property
    def limit(self) -> int:
        return min(self.suite.limit or len(self.job.data.x), len(self.job.data.x))

    def run(self) -> Evaluation:
        parts: list[Part] = []
        rows: dict[str, float] = {}
        data, suite = self.job.data, self.suite
        sure = confidences(self.job.network, data.x[: self.limit])
        for group in suite.norms():
            parts += self._proofs(PROOF, data, group, "", rows, sure[1])
            parts += self._attacks(group)
            parts += self._wrong(group, sure[0])
        if suite.outside is not None:
            parts += self._outside(rows)
        parts += self._corrupted()
        found = Evaluation(
            self.job.network.digest,
            self.job.model_name,
            data.digest,
            self.function,
            self.method,
            self.limit,
            tuple(parts),
            rows if self.function == "f" else {},
        )
        write_evaluation(self.store, found)
        return found

    @property
    def function(self) -> str:
        return self._certifying(self.suite.threats[0])[1]

    def _certifying(self, threat: Threat) -> tuple[Any, str]:
        shaped = replace(self.suite.sampling, shape=self.job.network.input_shape, inputs=self.limit)
        noiseless = self.method not in ("auto", "smoothing")
        return certifying(
            self.method,
            threat,
            Sampling(alpha=shaped.alpha, device=shaped.device) if noiseless else shaped,
            timed=self.suite.seconds < 1e300,
        )

    def _proofs(
        self,
        role: str,
        data: Dataset,
        group: Sequence[Threat],
        title: str,
        seen: dict[str, float] | None = None,
        sure: npt.NDArray[np.float64] | None = None,
        worn: tuple[str | None, int | None] = (None, None),
    ) -> list[Part]:
        """Certify a data set at every size (of g: once, for all radii), and note the confidences of its inputs."""
        parts = []
        for threat in self._asked(group):
            method, function = self._certifying(threat)
            job = self._as(data, threat, method, function=function, kind="certify")
            rows = self._execute(job, f"{self.method} {threat.name}{title}")
            parts.append(Part(role, job.run.id, *worn))
            if seen is not None and sure is not None:
                seen |= {row.input: float(sure[row.index]) for row in rows}
        return parts

    def _asked(self, group: Sequence[Threat]) -> Sequence[Threat]:
        if self.function == "f":
            return group
        first = group[0]
        clip = first.clip if isinstance(first, Lp) else None
        # one run answers for every radius
        return (parse(f"{first.name.partition(':')[0]}:0", None if clip is None else (str(clip[0]), str(clip[1]))),)

    def _attacks(self, group: Sequence[Threat]) -> list[Part]:
        if not self.suite.attack:
            return []
        sampling = (
            self.suite.sampling
            if self.function == "g"
            else Sampling(alpha=self.suite.sampling.alpha, device=self.suite.sampling.device)
        )
        if self.function == "g" and not _attackable(group[0], sampling):
            return []
        parts = []
        for threat in group:
            method, function = attacking(threat, sampling, steps=self.suite.steps, restarts=self.suite.restarts)
            job = self._as(self.job.data, threat, method, function=function, kind="attack")
            self._execute(job, f"attack {threat.name}")
            parts.append(Part(ATTACK, job.run.id))
        return parts

    def _wrong(self, group: Sequence[Threat], answers: npt.NDArray[np.int64]) -> list[Part]:
        """Ask how far f's wrong answers hold; of g its votes have told it."""
        wrong = np.flatnonzero(answers != self.job.data.y[: self.limit])
        if self.function == "g" or not len(wrong):
            return []
        name = f"{self.job.data.name}, wrong answers"
        data = dataset(self.job.network, self.job.data.x[wrong], answers[wrong], name)
        return self._proofs(ANSWERS, data, group, ", wrong answers")

    def _outside(self, rows: dict[str, float]) -> list[Part]:
        assert self.suite.outside is not None
        x = self.suite.outside[: self.suite.limit]
        answers, sure = confidences(self.job.network, x)
        data = dataset(self.job.network, x, answers, self.suite.outside_name)
        parts = []
        for group in self.suite.norms():
            parts += self._proofs(OUTSIDE, data, group, f", {self.suite.outside_name}", rows, sure)
        return parts

    def _corrupted(self) -> list[Part]:
        parts = []
        for worn in self._worn():
            name = worn.family if worn.severity is None else f"{worn.family} {worn.severity}"
            data = dataset(self.job.network, worn.x, worn.y, f"{self.job.data.name}, {name}")
            first = self.suite.threats[:1]
            parts += self._proofs(CORRUPTED, data, first, f", {name}", worn=(worn.family, worn.severity))
        return parts

    def _worn(self) -> Iterator[Corrupted]:
        x, y = self.job.data.x[: self.limit], self.job.data.y[: self.limit]
        images = x.reshape(len(x), *(self.suite.image or self.job.network.input_shape[1:]))
        for family in self.suite.corruptions:
            for severity in self.suite.severities:
                worn = corrupt(images, family, severity, seed=self.suite.seed, span=self.suite.span)
                yield Corrupted(family, severity, worn, y)
        if self.suite.corrupted is not None:
            yield from self.suite.corrupted()

    def _as(self, data: Dataset, threat: Threat, method: Any, **told: Any) -> Job:
        suite = self.suite
        common: dict[str, Any] = {"seed": suite.seed, "seconds": suite.seconds, "unchecked": suite.unchecked}
        return replace(self.job, data=data, threat=threat, method=method, **common, **told)

    def _execute(self, job: Job, title: str) -> list[Row]:
        return execute(job, self.store, limit=min(self.limit, len(job.data.x)), progress=self.follow(title))


def confidences(network: Network, x: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return f's answers (n,) and how sure it says to be (n,): the largest output, of softmax unless they are shares.

    UsageError where an output is no number.
    """
    outputs = np.asarray(Runtime(network.source).run(x.reshape(len(x), *network.input_shape)), np.float64)
    scores = outputs.reshape(len(x), -1)
    if not np.isfinite(scores).all():
        raise UsageError("model", "an output that is NaN or infinite", "finite outputs on every input")
    shares = scores
    if not ((scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-4)):
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares = shares / shares.sum(1, keepdims=True)
    return scores.argmax(1), shares.max(1)


def _attackable(threat: Threat, sampling: Sampling) -> bool:
    return isinstance(threat, L2) and threat.clip is None and sampling.sigma is not None and sampling.noise is None
