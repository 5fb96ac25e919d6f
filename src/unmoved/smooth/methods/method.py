"""Randomised smoothing as a method: decides problems about the smoothed model g by sampling."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from unmoved.core import (
    Budget,
    Code,
    Finding,
    Guarantee,
    Method,
    Model,
    NoNotes,
    Notes,
    Problem,
    Reason,
    SameClass,
    Threat,
    UsageError,
    Verdict,
    decimal_down,
)
from unmoved.ir import Network
from unmoved.loaders.runtime import Runtime
from unmoved.smooth.classifiers.results import SmoothedResult
from unmoved.smooth.classifiers.session import DEADLINE, Session
from unmoved.smooth.classifiers.smoothed import Smoothed
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.radii.norms import loss, stated
from unmoved.smooth.statistics import ALPHA, Family, Plan, Rule
from unmoved.smooth.voting.engine import Engine, Setup, prepare


@dataclass(frozen=True)
class SmoothingMethod(Method):
    """Certifies that g keeps the label within a radius, with probability >= 1 - alpha over the sampling, an input.

    The class and the radius are certified as in `Smoothed.certify`; CERTIFIED means that the certified class is the
    asked label and the radius at least the threat's size (0 asks for whatever radius there is). `noise` is any Noise;
    threats are of its norm, and those that follow from it by norm inequality (`smooth.radii.norms`). `mode`:
    see `smooth.statistics.MODES`; target means the threat's eps, grid the multiples of `step`. `label_known`:
    inputs whose first guess is wrong are skipped. `family`: the whole data set's claim; alpha is then the family's.
    `precision` and `batch` (0: what fits the network): see `smooth.voting.engine.Setup`; the certified g is that of
    the function so evaluated, on `device`. `jobs`: worker processes; findings do not depend on it.
    """

    noise: Noise
    samples: int = 10_000
    alpha: Fraction = ALPHA
    selection_samples: int = 100
    bound: str = "two-class"
    batch: int = 0
    mode: str = "radius"
    step: Fraction = Fraction(1, 4)
    label_known: bool = False
    family: Family | None = None
    precision: str = "float32"
    device: str = "cpu"
    jobs: int = field(default=1, compare=False)
    notes: Notes = field(default_factory=NoNotes, compare=False, repr=False)
    chunk: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """`smoothing`."""
        return "smoothing"

    def settings(self) -> dict[str, str]:
        """Noise, plan, family and the batch size (logits may depend on it in the last bit)."""
        family = {} if self.family is None else {"family": self.family.kind, "inputs": str(self.family.inputs)}
        grid = {"step": str(self.step)} if self.mode == "grid" else {}
        return (
            family
            | grid
            | {
                "noise": self.noise.kind,
                "sigma": str(self.noise.scale),
                "grid": str(self.noise.grid),
                "samples": str(self.samples),
                "selection_samples": str(self.selection_samples),
                "alpha": str(self.alpha),
                "bound": self.bound,
                "mode": self.mode,
                "label_known": "yes" if self.label_known else "no",
                "batch": str(self.batch or "fitting"),
                "engine": f"{self.precision}, batch norm folded" + ("" if self.device == "cpu" else f", {self.device}"),
            }
        )

    def plan(self, eps: Fraction) -> Plan:
        """Return the plan of one input for a threat of size `eps`."""
        alpha = self.alpha if self.family is None else self.family.each
        size = eps if self.mode == "target" else self.step
        return Plan(self.samples, self.selection_samples, alpha, self.bound, self.mode, size)

    def resuming(self, notes: Notes) -> SmoothingMethod:
        """Return the method with a place for unfinished work."""
        return replace(self, notes=notes)

    def refuse_impossible(self, threat: Threat, elements: int = 1) -> None:
        """Raise UsageError, naming the samples that would do, when not even a unanimous vote could certify the threat.

        `elements` of an input, where they are known: certificates stated in another norm than the noise's need them.
        """
        eps = threat.size or Fraction(0)
        noise = stated(self.noise, threat, elements)
        rule = Rule(self.plan(eps), self.plan(eps).alpha, noise.radius)
        if rule.reaches(eps):
            return
        needed = rule.samples_needed(eps)
        if needed is None:
            expected = f"a smaller one, or other noise: no affordable sample of {_told(self.noise)} could certify it"
            raise UsageError("threat", threat.name, expected)
        what = threat.name if eps else "anything"
        expected = f"at least {needed} at alpha {float(rule.alpha):g}: fewer could never certify {what}"
        raise UsageError("samples", self.samples, expected)

    def copies_a_second(self, network: Network) -> float:
        """Return how many noisy copies a second the network and the noise take, from three batches at a black input."""
        x = np.zeros(network.input_shape, np.float32)
        smoothed = _smoothed(network, self.noise, self.precision, self.batch, self.jobs, self.device)
        point = self.noise.place(x)
        batch = classifier(network, self.precision, self.batch, self.device).batch
        batches = smoothed.counter(point).ballots(point, ((Stream(bytes(32)), range(4 * batch)),))
        next(batches)
        begun = time.perf_counter()
        return sum(len(labels) for labels in batches) / max(time.perf_counter() - begun, 1e-9)

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem; what the budget leaves no time for is UNKNOWN(timeout).

        A problem that the budget cuts short has the best radius until then, if any is proved.
        """
        findings = []
        for problem in problems:
            if budget.spent:
                findings.append(Finding(Verdict.UNKNOWN, self.name, reason=Reason(Code.TIMEOUT)))
                continue
            session = self.session(problem, budget, seed)
            findings.append(self.finding(session.result(), problem))
            self.notes.moved(len(findings))
        return findings

    def session(self, problem: Problem, budget: Budget, seed: int) -> Session:
        """Return the problem's session; UsageError for a threat or a property that the noise says nothing about."""
        noise = stated(self.noise, problem.threat, problem.x.size)
        assert problem.threat.size is not None
        if not isinstance(problem.prop, SameClass):
            raise UsageError("property", problem.prop, "SameClass, as smoothing proves")
        smoothed = _smoothed(problem.model, noise, self.precision, self.batch, self.jobs, self.device)
        label = problem.prop.label if self.label_known else None
        x, plan = problem.x.astype(np.float32), self.plan(problem.threat.size)
        return smoothed.session(x, plan, seed=seed, label=label, budget=budget, notes=self.notes)

    def finding(self, result: SmoothedResult, problem: Problem) -> Finding:
        """Return what a session's result says of the problem."""
        verdict, reason = self.verdict(result, problem)
        proved = verdict is Verdict.CERTIFIED
        return Finding(
            verdict,
            self.name,
            evidence=result.evidence if proved else None,
            reason=reason,
            guarantee=Guarantee("g", result.alpha),
            radius=Fraction(result.radius_text) if proved else None,
            margin=result.p_low - result.p_high if proved else None,
            prediction=result.label,
            seconds=result.seconds,
            details=self._details(result)
            | {"f_prediction": answer_of(problem), "loss": loss(stated(self.noise, problem.threat, problem.x.size))},
        )

    def verdict(self, result: SmoothedResult, problem: Problem) -> tuple[Verdict, Reason | None]:
        """Return whether the result certifies the problem, or why not."""
        assert isinstance(problem.prop, SameClass) and problem.threat.size is not None
        if result.abstained:
            code = Code.TIMEOUT if result.stop == DEADLINE else Code.ABSTAINED
            return Verdict.UNKNOWN, Reason(code, result.reason)
        if result.label != problem.prop.label:
            said = f"g answers class {result.label}, not {problem.prop.label}"
            return Verdict.UNKNOWN, Reason(Code.UNPROVED, said)
        if Fraction(result.radius_text) < problem.threat.size:
            short = f"the radius {decimal_down(result.radius, 4)} is below {problem.threat.name}"
            return Verdict.UNKNOWN, Reason(Code.UNPROVED, short, "more samples may give more")
        return Verdict.CERTIFIED, None

    def _details(self, result: SmoothedResult) -> dict[str, Any]:
        family = None
        if self.family is not None:
            alpha, kind = str(self.family.alpha), self.family.kind
            family = {"kind": kind, "inputs": self.family.inputs, "alpha": alpha, "says": self.family.says()}
        return {
            "p_low": result.p_low,
            "p_high": result.p_high,
            "counts": list(result.counts),
            "selection_counts": list(result.selection_counts),
            "top": result.top,
            "samples": result.samples,
            "drawn": result.drawn,
            "n0": result.selection_samples,
            "stop": result.stop,
            "noise": result.noise,
            "sigma": str(result.sigma),
            "alpha": str(result.alpha),
            "family": family,
            "invalid": result.invalid,
            "sample_radius": result.radius if math.isfinite(result.radius) else None,
            "on_grid": result.on_grid,
            "engine": result.engine,
        }


def _told(noise: Noise) -> str:
    return f"{noise.kind} noise of scale {float(noise.scale):g}"


def answer_of(problem: Problem) -> int:
    """Return f's own class at x."""
    return int(np.argmax(Runtime(problem.model.source).run(problem.x.astype(np.float32)[None])[0]))


@lru_cache(maxsize=4)
def classifier(network: Model, precision: str = "float32", batch: int = 0, device: str = "cpu") -> Engine:
    """Return f as a function of float32 rows: what is certified, predicted and attacked alike.

    UsageError when its outputs depend on the place in a batch.
    """
    if not isinstance(network, Network):
        raise UsageError("model", type(network).__name__, "an ir.Network")
    return prepare(network, Setup(precision, batch=batch, device=device))


@lru_cache(maxsize=4)
def _smoothed(network: Model, noise: Noise, precision: str, batch: int, jobs: int, device: str) -> Smoothed:
    """Return g; the last four are kept, with their worker processes."""
    return Smoothed(classifier(network, precision, batch, device), noise, jobs=jobs)
