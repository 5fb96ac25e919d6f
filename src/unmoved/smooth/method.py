"""Randomised smoothing as a method: decides problems about the smoothed model g by sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch

from unmoved import ops
from unmoved.core import (
    Budget,
    Code,
    Finding,
    Guarantee,
    Method,
    Model,
    Problem,
    Reason,
    SameClass,
    UsageError,
    Verdict,
)
from unmoved.core.errors import UnsupportedError
from unmoved.ir import Network
from unmoved.loaders.runtime import Runtime
from unmoved.smooth.gaussian import Gaussian
from unmoved.smooth.sampling import Classify, same_at_every_position
from unmoved.smooth.smoothed import Smoothed, SmoothedResult
from unmoved.smooth.statistics import MAX_RATIO, samples_needed
from unmoved.threats import L2


@dataclass(frozen=True)
class SmoothingMethod(Method):
    """Certifies that g keeps the label within an L2 radius, with probability >= 1 - alpha over the sampling, an input.

    The class and the radius are certified as in `Smoothed.certify`; CERTIFIED means that the certified class is the
    asked label and the radius at least the threat's eps (L2 only; `l2:0` asks for whatever radius there is).
    """

    noise: Gaussian
    samples: int = 10_000
    alpha: Fraction = Fraction(1, 1000)
    selection_samples: int = 100
    bound: str = "two-class"
    batch: int = field(default=500)
    chunk: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """`smoothing`."""
        return "smoothing"

    def settings(self) -> dict[str, str]:
        """Noise, samples, alpha, bound and the batch size (logits may depend on it in the last bit)."""
        return {
            "noise": "gaussian-grid",
            "sigma": str(self.noise.sigma),
            "grid": str(self.noise.grid),
            "samples": str(self.samples),
            "selection_samples": str(self.selection_samples),
            "alpha": str(self.alpha),
            "bound": self.bound,
            "batch": str(self.batch),
        }

    def refuse_impossible(self, eps: Fraction) -> None:
        """Raise UsageError, naming the samples that would do, when not even a unanimous vote could certify `eps`."""
        if isinstance(self.samples, bool) or self.samples < 1:
            raise UsageError("samples", self.samples, "an integer >= 1")
        sigma = float(self.noise.sigma)
        if float(eps) / sigma > MAX_RATIO:
            expected = f"an eps of at most {MAX_RATIO * sigma:g} with sigma {sigma:g}: no sample could certify more"
            raise UsageError("threat", f"l2:{float(eps):g}", expected)
        wanted = samples_needed(self.alpha, float(eps) / sigma, self.bound)
        if self.samples < wanted:
            what = f"an L2 radius of {float(eps):g}" if eps else "anything"
            expected = f"at least {wanted} at alpha {float(self.alpha):g}: fewer could never certify {what}"
            raise UsageError("samples", self.samples, expected)

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem; what the budget leaves no time for is UNKNOWN(timeout)."""
        return [self._decide(problem, budget, seed) for problem in problems]

    def _decide(self, problem: Problem, budget: Budget, seed: int) -> Finding:
        if budget.spent:
            return Finding(Verdict.UNKNOWN, self.name, reason=Reason(Code.TIMEOUT))
        if not isinstance(problem.threat, L2) or problem.threat.clip is not None:
            raise UsageError("threat", problem.threat.name, "an L2 threat without a clip range, as smoothing proves")
        if not isinstance(problem.prop, SameClass):
            raise UsageError("property", problem.prop, "SameClass, as smoothing proves")
        classify = classifier(problem.model)
        smoothed = Smoothed(classify, self.noise, problem.model.outputs, batch=self.batch, model=problem.model.digest)
        x = problem.x.astype(np.float32)
        if (x != problem.x).any():
            raise UsageError("x", "float64 values between float32 numbers", "values that float32 holds exactly")
        if not _same_everywhere(problem.model, self.batch):
            detail = "the model's outputs depend on the place in the batch, so it is no function of the input alone"
            return Finding(Verdict.UNKNOWN, self.name, reason=Reason(Code.UNPROVED, detail, "a batch of 1 may do"))
        result = smoothed.certify(
            x,
            selection_samples=self.selection_samples,
            samples=self.samples,
            alpha=self.alpha,
            seed=seed,
            bound=self.bound,
        )
        details = _details(result) | {"f_prediction": int(np.argmax(Runtime(problem.model.source).run(x[None])[0]))}
        return _finding(self.name, result, problem, details)


@lru_cache(maxsize=4)
def classifier(network: Model) -> Classify:
    """Return f as a function of float32 batches: by our own operators, or by onnxruntime where one has no rule."""
    if not isinstance(network, Network):
        raise UsageError("model", type(network).__name__, "an ir.Network")
    try:
        bound = ops.bind(network)
    except UnsupportedError:
        runtime = Runtime(network.source)
        return lambda z: torch.from_numpy(runtime.run(z.numpy()))
    return lambda z: ops.evaluate(bound, network, z).flatten(1)


@lru_cache(maxsize=4)
def _same_everywhere(network: Model, batch: int) -> bool:
    """Try once a model and batch size, on a fixed input, whether outputs depend on the place in the batch."""
    row = torch.linspace(0, 1, math.prod(network.input_shape)).reshape(network.input_shape)
    return same_at_every_position(classifier(network), row, batch)


def _finding(name: str, result: SmoothedResult, problem: Problem, details: dict[str, Any]) -> Finding:
    asked, radius = problem.prop, Fraction(result.radius_text)
    assert isinstance(asked, SameClass) and problem.threat.size is not None
    common: dict[str, Any] = {
        "method": name,
        "guarantee": Guarantee("g", result.alpha),
        "prediction": result.label,
        "seconds": result.seconds,
        "details": details,
    }
    if result.abstained:
        return Finding(Verdict.UNKNOWN, reason=Reason(Code.ABSTAINED, result.reason), **common)
    if result.label != asked.label:
        reason = Reason(Code.UNPROVED, f"g answers class {result.label}, not {asked.label}")
        return Finding(Verdict.UNKNOWN, reason=reason, **common)
    if radius < problem.threat.size:
        short = f"the radius {result.radius:.4g} is below {problem.threat.name}"
        reason = Reason(Code.UNPROVED, short, "more samples may give more")
        return Finding(Verdict.UNKNOWN, reason=reason, **common)
    margin = result.p_low - result.p_high
    return Finding(Verdict.CERTIFIED, evidence=result.evidence, radius=radius, margin=margin, **common)


def _details(result: SmoothedResult) -> dict[str, Any]:
    return {
        "p_low": result.p_low,
        "p_high": result.p_high,
        "counts": list(result.counts),
        "selection_counts": list(result.selection_counts),
        "top": result.top,
        "samples": result.samples,
        "n0": result.selection_samples,
        "sigma": str(result.sigma),
        "alpha": str(result.alpha),
        "invalid": result.invalid,
        "sample_radius": result.radius if math.isfinite(result.radius) else None,
        "on_grid": result.on_grid,
    }
