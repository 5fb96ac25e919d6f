"""Single passes of bounds as methods: a proof where the bound is above zero, a witness where x itself is unsafe."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from unmoved.bounds import Enclosure, deployed, interval, interval_low, linear
from unmoved.bounds.lazy import kinked
from unmoved.core.budget import Budget
from unmoved.core.certificate import Finding, Witness
from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.core.method import Method
from unmoved.core.problem import Problem
from unmoved.core.property import SameClass
from unmoved.core.semantics import Semantics
from unmoved.core.verdict import Code, Reason, Verdict
from unmoved.ir.network import Network
from unmoved.loaders.runtime import Runtime
from unmoved.ops import Elementwise, Maximum, Op, Product, bind, evaluate, primitives
from unmoved.refine.questions import Answer, Questions

Payload = Mapping[str, npt.NDArray[np.generic]]
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
COPIES = 10
"""Arrays as large as all tensors of one input together that a pass keeps: bounds, lines and temporaries."""


@dataclass(frozen=True)
class BoundMethod(Method):
    """Certifies by one pass of bounds over all problems, falsifies only at x itself, else says how far it came.

    `precision` is the arithmetic of the search ("float64" or "float32"; the checker decides in its own). `memory` bytes
    (about) are used at most, however many problems there are; how they are batched does not change an answer.
    """

    precision: str = "float64"
    device: str = "cpu"
    memory: int = 2**30

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.precision not in PRECISIONS:
            raise UsageError("precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        if self.memory < 1:
            raise UsageError("memory", self.memory, "a number of bytes >= 1")

    def settings(self) -> dict[str, str]:
        """The precision: device and memory change no answer."""
        return {"precision": self.precision}

    @property
    @abstractmethod
    def remedy(self) -> str:
        """What a user can try when the bound was too weak."""

    @abstractmethod
    def answers(
        self, ops: Sequence[Op], network: Network, enclosure: Enclosure, questions: Questions, budget: Budget
    ) -> list[Answer]:
        """Return what the bounds say of every problem; a margin above 0 without evidence is what nobody can check."""

    @abstractmethod
    def floats(self, network: Network) -> int:
        """Return how many numbers a pass keeps for one input, about."""

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem, in order; the seed plays no part."""
        if not problems:
            return []
        network = problems[0].model
        if not isinstance(network, Network):
            raise UsageError("model", type(network).__name__, "an ir.Network")
        try:
            ops = bind(network, dtype=PRECISIONS[self.precision], device=self.device)
            return self._decide(ops, network, problems, budget)
        except UnsupportedError as error:
            reason = Reason(Code.UNSUPPORTED, error.operator, "try --method smoothing")
            return [Finding(Verdict.UNKNOWN, self.name, reason=reason) for _ in problems]

    def _decide(
        self, ops: Sequence[Op], network: Network, problems: Sequence[Problem], budget: Budget
    ) -> list[Finding]:
        findings = self._at_x(network, problems, ops)
        open_ = [i for i, finding in enumerate(findings) if finding.verdict is Verdict.UNKNOWN]
        for part in self._batches(network, problems, open_):
            started = time.monotonic()
            if budget.spent:
                reason = Reason(Code.TIMEOUT, "nothing was tried", "allow more seconds")
                found = [replace(findings[i], reason=reason) for i in part]
            else:
                found = self._bound(ops, network, [(problems[i], findings[i]) for i in part], budget)
            seconds = (time.monotonic() - started) / len(part)
            for i, finding in zip(part, found, strict=True):
                findings[i] = replace(finding, seconds=finding.seconds + seconds)
        return findings

    def _at_x(self, network: Network, problems: Sequence[Problem], own: Sequence[Op]) -> list[Finding]:
        """Predict at x in float32; FALSIFIED, with a witness, where x is in S(x), and onnxruntime and `own` agree.

        (`own` has the method's precision: float64 stands for real arithmetic here.)
        """
        started, dtype = time.monotonic(), PRECISIONS[self.precision]
        ops, runtime, outputs = bind(network, device=self.device), Runtime(network.source), []
        points = [problem.x.astype(np.float32) for problem in problems]
        with torch.no_grad():
            for k in range(0, len(points), self._batch(network)):
                batch = torch.as_tensor(np.stack(points[k : k + self._batch(network)]), device=self.device)
                outputs += list(evaluate(ops, network, batch).cpu().numpy())
        findings = []
        for problem, point, output in zip(problems, points, outputs, strict=True):
            same = isinstance(problem.prop, SameClass)
            finding = Finding(Verdict.UNKNOWN, self.name, prediction=int(output.argmax()) if same else None)
            if problem.prop.violated(output) and problem.threat.contains(problem.x, point):
                answer = runtime.run(point[None])[0].astype(np.float32)
                with torch.no_grad():
                    exact = evaluate(own, network, torch.as_tensor(point[None], device=self.device).to(dtype))
                if problem.prop.violated(answer) and problem.prop.violated(exact.cpu().numpy()):
                    witness = Witness(point, onnxruntime.__version__, answer)
                    finding = replace(finding, verdict=Verdict.FALSIFIED, evidence=witness)
            findings.append(finding)
        seconds = (time.monotonic() - started) / len(problems)
        return [replace(finding, seconds=seconds) for finding in findings]

    def _batch(self, network: Network) -> int:
        return max(1, min(256, self.memory // (8 * self.floats(network))))

    def _batches(self, network: Network, problems: Sequence[Problem], chosen: Sequence[int]) -> Iterator[list[int]]:
        """Yield the chosen problems' numbers in batches whose regions have one norm, and their claims one semantics."""
        kinds: dict[tuple[str | None, Semantics], list[int]] = {}
        for i in chosen:
            norm = problems[i].threat.region(problems[i].x[None]).norm
            kinds.setdefault((norm, problems[i].semantics), []).append(i)
        size = self._batch(network)
        for numbers in kinds.values():
            yield from (numbers[k : k + size] for k in range(0, len(numbers), size))

    def _bound(
        self, ops: Sequence[Op], network: Network, batch: Sequence[tuple[Problem, Finding]], budget: Budget
    ) -> list[Finding]:
        regions = [problem.threat.region(problem.x[None]) for problem, _ in batch]
        questions = Questions.of([p.prop.disjuncts(network.outputs) for p, _ in batch], network.outputs)
        with torch.no_grad():
            enclosure = Enclosure.of_regions(regions, PRECISIONS[self.precision], self.device)
            if batch[0][0].semantics.deployed:
                ops, network = deployed(ops, network, interval(ops, network, enclosure.box), batch[0][0].semantics)
            answers = self.answers(ops, network, enclosure, questions, budget)
        findings = []
        for answer, (problem, finding) in zip(answers, batch, strict=True):
            margin = answer.margin if np.isfinite(answer.margin) else None
            if answer.evidence is not None:
                proved = replace(finding, verdict=Verdict.CERTIFIED, evidence=answer.evidence)
                findings.append(replace(proved, margin=margin, radius=problem.threat.size))
            else:
                findings.append(replace(finding, margin=margin, reason=self._reason(answer.margin, budget)))
        return findings

    def _reason(self, margin: float, budget: Budget) -> Reason:
        if margin > 0:
            detail = f"{self.name} bounds reach a margin of {margin:.4g}, but not in a form that a checker could replay"
            return Reason(Code.UNCHECKED, detail, self.remedy)
        detail = f"{self.name} bounds reach a margin of {margin:.4g}, and a proof needs one above 0"
        if budget.spent:
            return Reason(Code.TIMEOUT, detail, "allow more seconds")
        return Reason(Code.UNPROVED, detail, self.remedy)


def elements(network: Network) -> int:
    """Return how many numbers all tensors of one input hold together."""
    return sum(prod(shape) for shape in network.shapes.values())


@dataclass(frozen=True)
class IntervalMethod(BoundMethod):
    """Interval bound propagation, with the last affine operators merged into the margin: the cheapest proof."""

    @property
    def name(self) -> str:
        """`interval`."""
        return "interval"

    @property
    def remedy(self) -> str:
        """A tighter method."""
        return "try --method linear, or a model trained for certification"

    def floats(self, network: Network) -> int:
        """Return those of bounds, lines and temporaries of all tensors."""
        return COPIES * elements(network)

    def answers(
        self, ops: Sequence[Op], network: Network, enclosure: Enclosure, questions: Questions, budget: Budget
    ) -> list[Answer]:
        """Answer by interval bounds over the box hull: what the checker replays, also where a ball is known.

        (A claim that only the ball supports would be rejected, and the cascade would not go on to the method that can.)
        """
        hull, query = Enclosure.of_box(enclosure.box.low, enclosure.box.high), questions.query(enclosure.center)
        return questions.answers(interval_low(ops, network, hull, interval(ops, network, hull.box), query), "interval")


@dataclass(frozen=True)
class LinearMethod(BoundMethod):
    """Backward linear bounds (CROWN with DeepPoly's slopes), rows of their own for undecided elements only."""

    @property
    def name(self) -> str:
        """`linear`."""
        return "linear"

    @property
    def remedy(self) -> str:
        """What is left to try."""
        return (
            "try a smaller threat, or a model trained for certification; --method smoothing certifies another function"
        )

    def floats(self, network: Network) -> int:
        """Return those of bounds, lines and temporaries of all tensors."""
        return COPIES * elements(network)

    def answers(
        self, ops: Sequence[Op], network: Network, enclosure: Enclosure, questions: Questions, budget: Budget
    ) -> list[Answer]:
        """Answer by backward bounds; once the budget is spent, intermediate bounds are refined no more."""
        query, rest = questions.query(enclosure.center), spared(ops)
        first: list[Answer] = []
        if rest:
            # Inputs of smooth operators and of products are many: first without rows of their own.
            cheap = linear(ops, network, enclosure, budget=budget, policy=kinked)
            first = [_by(answer, rest) for answer in questions.answers(cheap.low(query), "linear")]
            if budget.spent or all(answer.evidence is not None for answer in first):
                return first
        known = linear(ops, network, enclosure, budget=budget)
        found = questions.answers(known.low(query), "linear")
        if not first:
            return found
        return [
            a if a.evidence is not None or not b.margin > a.margin else b for a, b in zip(first, found, strict=True)
        ]


def spared(ops: Sequence[Op]) -> Payload:
    """Return `rows/...` of a certificate that gives rows to inputs of piecewise linear operators alone."""
    bent = [op for op in primitives(ops) if isinstance(op, Elementwise | Maximum | Product)]
    kept = {name for op in bent if kinked(op) for name in op.inputs}
    every = dict.fromkeys(name for op in bent for name in op.inputs if name not in kept)
    return {f"rows/{name.removesuffix(' (rounded)')}": np.zeros(1, np.uint8) for name in every}


def _by(answer: Answer, choices: Payload) -> Answer:
    if answer.evidence is None:
        return answer
    return replace(answer, evidence=replace(answer.evidence, choices={**answer.evidence.choices, **choices}))
