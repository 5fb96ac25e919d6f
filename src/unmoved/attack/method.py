"""Attacks as a method: it can falsify, with a witness that was confirmed, and never certify."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from unmoved.attack.ball import norm_of
from unmoved.attack.gradient import FGSM, Pgd
from unmoved.attack.search import Attacked, Scores, Search
from unmoved.core.budget import Budget
from unmoved.core.certificate import Finding, Witness
from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.core.method import Method
from unmoved.core.problem import Problem
from unmoved.core.property import SameClass
from unmoved.core.verdict import Code, Reason, Verdict
from unmoved.ir.network import Network
from unmoved.loaders.runtime import Runtime
from unmoved.ops import bind, evaluate

DEFAULT = (FGSM, Pgd())


def scores(network: Network, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Scores:
    """Return the network as a differentiable function (n, *input_shape) -> (n, *output shape); UnsupportedError too."""
    ops = bind(network, dtype=dtype, device=device)
    return lambda points: evaluate(ops, network, points.to(dtype))


@dataclass(frozen=True)
class PgdMethod(Method):
    """FALSIFIED with a witness, or UNKNOWN. The stages run cheap to dear, each on the inputs that still stand.

    A witness lies in S(x) exactly, and breaks the property in float32, in float64 and in onnxruntime: nothing less.
    """

    stages: tuple[Search, ...] = DEFAULT
    batch: int = 500
    device: str = "cpu"
    label: str = "pgd"

    def __post_init__(self) -> None:
        """Check the settings."""
        if not self.stages or self.batch < 1:
            raise UsageError("stages, batch", (self.stages, self.batch), "at least one stage and a batch >= 1")

    @property
    def name(self) -> str:
        """`pgd`, or the name of a suite."""
        return self.label

    def settings(self) -> dict[str, str]:
        """Every stage's settings, and the batch."""
        stages = {f"stage{i}": str(stage) for i, stage in enumerate(self.stages)}
        return {**stages, "batch": str(self.batch)}

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem, in order; UNKNOWN(unsupported) when the network has an unknown operator."""
        if not problems:
            return []
        network = problems[0].model
        if not isinstance(network, Network):
            raise UsageError("model", type(network).__name__, "an ir.Network")
        try:
            target = Target.of(network, self.device)
        except UnsupportedError as error:
            reason = Reason(Code.UNSUPPORTED, str(error))
            return [Finding(Verdict.UNKNOWN, self.name, reason=reason) for _ in problems]
        found: list[Finding | None] = [None] * len(problems)
        for rows in groups(problems, self.batch):
            for i, finding in zip(rows, self._attack(target, [problems[i] for i in rows], budget, seed), strict=True):
                found[i] = finding
        return [finding for finding in found if finding is not None]

    def _attack(self, target: Target, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        started = time.monotonic()
        x = np.stack([problem.x for problem in problems])
        with torch.no_grad():
            classes = target.single(torch.as_tensor(x.astype(np.float32), device=self.device)).flatten(1).argmax(1)
        margin = np.full(len(problems), np.inf)
        witnesses: dict[int, Witness] = {}
        weaker: dict[int, Reason] = {}
        for stage in self.stages:
            rows = [i for i in range(len(problems)) if i not in witnesses]
            if not rows or budget.spent:
                break
            threats, props = [problems[i].threat for i in rows], [problems[i].prop for i in rows]
            result = stage.search(target.single, x[rows], threats, props, seed=seed, budget=budget, device=self.device)
            margin[rows] = np.minimum(margin[rows], result.margins)
            asked = [problems[i] for i in rows]
            witnesses |= {rows[k]: w for k, w in target.confirm(result, asked).items()}
            weaker |= {rows[k]: said for k, said in target.weaker(result, asked).items() if rows[k] not in witnesses}
        seconds = (time.monotonic() - started) / len(problems)
        findings = []
        for i, problem in enumerate(problems):
            prediction = int(classes[i]) if isinstance(problem.prop, SameClass) else None
            reason = None if i in witnesses else weaker.get(i) or self._reason(budget)
            verdict = Verdict.FALSIFIED if i in witnesses else Verdict.UNKNOWN
            least = float(margin[i]) if np.isfinite(margin[i]) else None
            finding = Finding(verdict, self.name, evidence=witnesses.get(i), reason=reason)
            findings.append(replace(finding, margin=least, prediction=prediction, seconds=seconds))
        return findings

    @staticmethod
    def _reason(budget: Budget) -> Reason:
        if budget.spent:
            return Reason(Code.TIMEOUT, "the attack was cut off", "allow more seconds")
        return Reason(Code.UNPROVED, "the attack found no violation, which proves nothing")


@dataclass(frozen=True)
class Target:
    """One network as the attack sees it: float32 for the search, float64 and onnxruntime to confirm."""

    single: Scores
    double: Scores
    runtime: Runtime
    device: str

    @staticmethod
    def of(network: Network, device: str) -> Target:
        """Bind a network; UnsupportedError when it has an operator without facts."""
        single, double = (scores(network, dtype=dtype, device=device) for dtype in (torch.float32, torch.float64))
        return Target(single, double, Runtime(network.source), device)

    def confirm(self, found: Attacked, problems: Sequence[Problem]) -> dict[int, Witness]:
        """Return a witness for each point that breaks its property in S(x) in all three arithmetics."""
        witnesses = {}
        for i, broken in self._replayed(found, problems).items():
            if broken.real and broken.runtime:
                witnesses[i] = Witness(found.points[i].copy(), self.runtime.version, broken.output)
        return witnesses

    def weaker(self, found: Attacked, problems: Sequence[Problem]) -> dict[int, Reason]:
        """Return what is to be said of each point that breaks its property in real arithmetic or onnxruntime alone."""
        said = {}
        for i, broken in self._replayed(found, problems).items():
            if broken.real != broken.runtime:
                where = "real" if broken.real else "this runtime"
                said[i] = Reason(Code.WEAKER, f"an input of S(x) is falsified under {where} only")
        return said

    def _replayed(self, found: Attacked, problems: Sequence[Problem]) -> dict[int, Replay]:
        """Replay the points of S(x) that the search took for violations, in float64 and in onnxruntime."""
        replays = {}
        for i in np.flatnonzero(found.margins <= 0).tolist():
            point, problem = found.points[i], problems[i]
            if not problem.threat.contains(problem.x, point):
                continue
            with torch.no_grad():
                exact = self.double(torch.as_tensor(point[None], device=self.device))[0].cpu().numpy()
            output = self.runtime.run(point[None])[0].astype(np.float32)
            replays[i] = Replay(problem.prop.violated(exact), problem.prop.violated(output), output)
        return replays


@dataclass(frozen=True, eq=False)
class Replay:
    """Whether a point breaks its property in float64, which stands for real arithmetic, and in onnxruntime's output."""

    real: bool
    runtime: bool
    output: np.ndarray


def groups(problems: Sequence[Problem], batch: int) -> list[list[int]]:
    """Return the problems' numbers in groups of one norm and one dtype, at most `batch` each, in order."""
    kinds: dict[tuple[str | None, str], list[int]] = {}
    for i, problem in enumerate(problems):
        norm = norm_of(problem.threat, problem.x[None])
        kinds.setdefault((norm, str(problem.x.dtype)), []).append(i)
    return [rows[k : k + batch] for rows in kinds.values() for k in range(0, len(rows), batch)]
