"""Smoothing under Holm's procedure: a claim about all inputs of a data set at one size, stronger than Bonferroni's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from unmoved.core import Budget, Finding, Method, Notes, Problem, UsageError, Verdict, float_down
from unmoved.smooth.methods.method import SmoothingMethod
from unmoved.smooth.statistics import step_down


@dataclass(frozen=True)
class HolmMethod(Method):
    """With probability >= 1 - alpha all CERTIFIED inputs of one call hold at eps; the radius said is eps, no more.

    `smoothing` has mode target (Holm is about one size) and a family of kind holm, whose alpha it is. Every input is
    sampled for alpha / m; what that leaves open is read again, from the same votes, at the levels that Holm's procedure
    frees. Each certificate is stated, and checked, at the level at which it was given.
    """

    smoothing: SmoothingMethod
    chunk: ClassVar[int] = 2**31

    def __post_init__(self) -> None:
        if self.smoothing.family is None or self.smoothing.family.kind != "holm":
            raise UsageError("family", self.smoothing.family, "a family of kind holm")
        if self.smoothing.mode != "target":
            raise UsageError("mode", self.smoothing.mode, "target with --family holm: it proves one size, the eps")

    @property
    def name(self) -> str:
        """`smoothing`."""
        return self.smoothing.name

    def settings(self) -> dict[str, str]:
        """The settings of `smoothing`."""
        return self.smoothing.settings()

    def resuming(self, notes: Notes) -> HolmMethod:
        """Return the method with a place for unfinished work."""
        return replace(self, smoothing=self.smoothing.resuming(notes))

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem. UsageError unless they are all inputs of the family."""
        family, smoothing = self.smoothing.family, self.smoothing
        assert family is not None
        if len(problems) != family.inputs:
            raise UsageError("family", len(problems), f"all {family.inputs} inputs of the family in one call")
        sessions, seconds = [], []
        for problem in problems:
            session = smoothing.session(problem, budget, seed)
            seconds.append(session.result().seconds)
            session.ballots.close()
            sessions.append(session)
            smoothing.notes.moved(len(sessions))

        def proves(i: int, level: Fraction) -> bool:
            return smoothing.verdict(sessions[i].result(level), problems[i])[0] is Verdict.CERTIFIED

        levels = step_down(len(problems), family.alpha, proves)
        findings = []
        for i, level in enumerate(levels):
            found = smoothing.finding(sessions[i].result(level), problems[i])
            eps = problems[i].threat.size
            if level is not None and eps is not None:
                found = replace(found, radius=eps, details={**found.details, "sample_radius": float_down(eps)})
            findings.append(replace(found, seconds=seconds[i]))
        return findings
