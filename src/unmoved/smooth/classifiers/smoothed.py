"""The smoothed classifier g(x) = argmax_c P(f(z) = c), its predictions and its certificates (Cohen et al. 2019).

Nothing here is about f itself: a certificate is for g, for one input, with probability >= 1 - alpha over the sampling,
and void beyond its radius. Abstaining is ABSTAIN (None), never a class.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from unmoved.core.budget import Budget
from unmoved.core.errors import UsageError
from unmoved.core.notes import Notes
from unmoved.core.rounding import rational
from unmoved.smooth import statistics
from unmoved.smooth.classifiers.results import ABSTAIN, Prediction, SmoothedResult
from unmoved.smooth.classifiers.session import Session, alpha_left, rule_of
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.draws.seeds import Purpose, Stream, input_seed
from unmoved.smooth.statistics import ALPHA, Plan, Rule
from unmoved.smooth.voting.adapters import Base, base_of, readable
from unmoved.smooth.voting.ballots import Ballots, Roll
from unmoved.smooth.voting.crew import Crew
from unmoved.smooth.voting.engine import Engine, Setup
from unmoved.smooth.voting.sampling import VoteCounter

__all__ = ["ABSTAIN", "ALPHA", "Prediction", "Smoothed", "SmoothedResult"]


@dataclass(frozen=True)
class Smoothed:
    """A classifier behind noise: g. What is certified is g of the function that `Prediction.engine` names.

    `classifier`: an .onnx file or a Network, a torch module, a fitted scikit-learn classifier (labels are places in its
    classes_), or a function of batches (B, *shape) float32 that gives logits (B, classes) or labels (B,). `classes` 0:
    as many as it says itself. `batch` copies are evaluated at a time; 0: as many as fit. `model` is the model's digest;
    it enters the seeds, so that two models do not share noise. `setup`: how to evaluate it (None: float32, a torch
    module as it is). `jobs`: worker processes; counts do not depend on it. `noise_device`: torch's name of where copies
    are drawn and given to the classifier, the same ones everywhere (see `VoteCounter`); "": where the setup's network
    runs, on the CPU by compiled code. Raises UsageError for a torch module in
    training mode, and for outputs that depend on the place in a batch.
    """

    classifier: Any
    noise: Noise
    classes: int = 0
    batch: int = 0
    model: str = ""
    setup: Setup | None = None
    jobs: int = 1
    noise_device: str = field(default="", compare=False)
    _counters: dict[tuple[int, ...], tuple[Base, VoteCounter]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "classifier", readable(self.classifier))
        for name, least in (("classes", 0), ("batch", 0), ("jobs", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(name, value, f"an integer >= {least}")
        if self.noise_device:
            Setup(device=self.noise_device)  # refuses what is no device here
        if self.classes == 1:
            raise UsageError("classes", self.classes, "an integer >= 2")

    def _prepared(self, point: GridPoint) -> tuple[Base, VoteCounter]:
        """Return the base classifier, and what counts its votes, for copies of a point's shape; made once a shape."""
        known = self._counters.get(point.shape)
        if known is None:
            size, count, how = self.batch, self.classes, self.setup
            base = base_of(self.classifier, point.shape, classes=count, batch=size, setup=how)
            counter = VoteCounter(base.classify, self.noise, base.classes, base.batch, device=self._drawn_on(base))
            if self.jobs > 1:
                counter = replace(counter, crew=Crew(counter, self.jobs))
            known = self._counters[point.shape] = (base, counter)
        return known

    def _drawn_on(self, base: Base) -> str:
        runs_on = base.classify.setup.device if isinstance(base.classify, Engine) else "cpu"
        return self.noise_device or ("" if runs_on == "cpu" else runs_on)

    def counter(self, point: GridPoint) -> VoteCounter:
        """Return what draws and classifies copies of a point."""
        return self._prepared(point)[1]

    def predict(
        self,
        x: npt.NDArray[np.float32],
        samples: int = 1000,
        *,
        alpha: object = ALPHA,
        seed: int = 0,
    ) -> Prediction:
        """Return g(x), wrong with probability <= alpha over the sampling, or ABSTAIN.

        `x` is float32 of one input's shape. The top class is returned if BinomTest(n1, n1 + n2, 1/2) <= alpha
        (two-sided; Hung and Fithian; Cohen et al. 2019, proposition 1), alpha less the sampler's deviation. Raises
        UsageError when not even a unanimous vote of `samples` could pass.
        """
        begun = time.perf_counter()
        point = self.noise.place(x)
        exact = _probability(alpha)
        left = alpha_left(exact, _positive(samples), self.noise, point)
        least = 1
        while statistics.binomial_test(least, 0) > left:
            least += 1
        if samples < least:
            raise UsageError("samples", samples, f"at least {least} at alpha {float(exact):g}")
        asked = {"task": "predict", "samples": samples, "alpha": str(exact)}
        base, counter = self._prepared(point)
        stream = self._stream(seed, x, asked, Purpose.PREDICTION, base)
        votes = counter.count(point, range(samples), stream=stream)
        second, first = sorted(votes.counts)[-2:]
        p_value = statistics.binomial_test(first, max(second, votes.invalid))
        settled = p_value <= left
        return Prediction(
            label=votes.counts.index(first) if settled else ABSTAIN,
            counts=votes.counts,
            invalid=votes.invalid,
            p_value=p_value,
            alpha=exact,
            samples=samples,
            on_grid=point.on_grid,
            seed=stream.seed.hex(),
            sampler=self.noise.sampler,
            seconds=time.perf_counter() - begun,
            engine=base.engine,
            reason="" if settled else f"the two leading classes are too close after {samples} samples",
        )

    def certify(
        self,
        x: npt.NDArray[np.float32],
        plan: Plan | None = None,
        *,
        seed: int = 0,
        label: int | None = None,
        budget: Budget | None = None,
        notes: Notes | None = None,
        **asked: object,
    ) -> SmoothedResult:
        """Return a label and a radius that hold together with probability >= 1 - alpha over the sampling, or ABSTAIN.

        `x` is float32 of one input's shape. The class is chosen from `selection_samples` copies, and its probability
        bounded from up to `samples` others (Cohen et al. 2019, CERTIFY), looked at as `plan` says; `asked` are fields
        of the plan by name (`samples=100_000`, `mode="target"`, `size="1/2"`). `label`: an input whose first guess is
        another class is skipped (ABSTAIN). `budget`: when it is spent, the best radius so far is returned, and is as
        valid. `notes`: where unfinished work is kept. Raises UsageError when not even a unanimous vote could certify
        what is asked, naming the number of samples that could.
        """
        begun = time.perf_counter()
        session = self.session(x, (plan or Plan()).but(**asked), seed=seed, label=label, budget=budget, notes=notes)
        return replace(session.result(), seconds=time.perf_counter() - begun)

    def session(
        self,
        x: npt.NDArray[np.float32],
        plan: Plan,
        *,
        seed: int = 0,
        label: int | None = None,
        budget: Budget | None = None,
        notes: Notes | None = None,
    ) -> Session:
        """Return what `certify` runs, before it draws anything: its copies can be read at several levels of alpha."""
        point = self.noise.place(x)
        _require(rule_of(plan, self.noise, point), self.noise, point)
        base, counter = self._prepared(point)
        stream = self._stream(seed, x, question(plan), Purpose.CERTIFICATION, base)
        roll = Roll(stream.seed, plan.selection_samples, plan.samples)
        ballots = Ballots(counter, point, roll, budget=budget or Budget(), notes=notes)
        return Session(self.noise, point, plan, ballots, stream.seed, seed, label, base.engine)

    def _stream(
        self, seed: int, x: npt.NDArray[np.float32], asked: dict[str, object], purpose: Purpose, base: Base
    ) -> Stream:
        noise = {"kind": self.noise.kind, "scale": str(self.noise.scale), "grid": self.noise.grid}
        parameters = {**asked, **noise, "sampler": self.noise.sampler, "classes": base.classes}
        return Stream(input_seed(seed, self.model or base.model, x=x, parameters=parameters), purpose)


def question(plan: Plan) -> dict[str, object]:
    """Return what of a plan enters the seed: all that decides which copies are looked at when.

    Not alpha and not the mode: they only say what is read off the same votes.
    """
    named = {"samples": plan.samples, "selection": plan.selection_samples, "bound": plan.bound}
    return {"task": "certify", "looks": plan.schedule, **named}


def _require(rule: Rule, noise: Noise, point: GridPoint) -> None:
    """Raise UsageError when a unanimous vote would not certify what is asked around the input."""
    plan = rule.plan
    goal = plan.size if plan.mode == "target" else Fraction(0)
    if rule.reaches(goal):
        return
    needed = rule.samples_needed(goal)
    if needed is None and goal > 0:
        raise UsageError("size", float(goal), f"a smaller radius: no sample of {noise.kind} noise proves as much")
    if needed is None:
        where = "rounding to the grid" if point.on_grid else "an input off the grid"
        expected = f"a finer grid or a larger {noise.kind} noise: {where} costs {point.distance:.3g}"
        raise UsageError("grid", noise.grid, expected)
    less = f"fewer never certify a radius of {float(goal):g}" if goal else "fewer certify nothing"
    raise UsageError("samples", plan.samples, f"at least {needed} at alpha {float(rule.alpha):g}: {less}")


def _probability(alpha: object) -> Fraction:
    exact = rational(alpha, "alpha")
    if not 0 < exact < 1:
        raise UsageError("alpha", alpha, "a number strictly between 0 and 1")
    return exact


def _positive(samples: object) -> int:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise UsageError("samples", samples, "an integer >= 1")
    return samples
