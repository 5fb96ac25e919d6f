"""Cheapest first: methods one after the other, each on what is still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unmoved.core.budget import Budget
from unmoved.core.certificate import Finding
from unmoved.core.errors import UsageError
from unmoved.core.method import Method
from unmoved.core.problem import Problem
from unmoved.core.verdict import Code, Reason, Verdict
from unmoved.refine.complete import BranchMethod
from unmoved.refine.methods import IntervalMethod
from unmoved.refine.optimise import OptimisedMethod


@dataclass(frozen=True)
class Cascade(Method):
    """Stops, for each problem, at the first proof or witness; what stays open carries every method's reason."""

    methods: tuple[Method, ...]

    def __post_init__(self) -> None:
        """Refuse an empty cascade."""
        if not self.methods:
            raise UsageError("methods", self.methods, "at least one method")

    @classmethod
    def default(cls, *, precision: str = "float64", device: str = "cpu") -> Cascade:
        """Interval bounds, linear ones, then optimised slopes (which start from linear bounds)."""
        return cls((IntervalMethod(precision, device), OptimisedMethod(precision, device)))

    @classmethod
    def complete(cls, *, precision: str = "float64", device: str = "cpu") -> Cascade:
        """Interval bounds, linear ones, an attack, optimised slopes, then splits: for whoever sets a time."""
        return cls((IntervalMethod(precision, device), BranchMethod(precision, device)))

    @property
    def name(self) -> str:
        """`auto`."""
        return "auto"

    def settings(self) -> dict[str, str]:
        """Every method's name and settings, numbered in order."""
        own = {f"{i}": method.name for i, method in enumerate(self.methods)}
        return own | {f"{i}.{k}": v for i, method in enumerate(self.methods) for k, v in method.settings().items()}

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem, in order, under the name of the method that made it."""
        findings: list[Finding] = []
        open_ = list(range(len(problems)))
        for method in self.methods:
            found = method.decide([problems[i] for i in open_], budget, seed)
            findings = _joined(findings, dict(zip(open_, found, strict=True))) if findings else found
            open_ = [i for i in open_ if findings[i].verdict is Verdict.UNKNOWN]
            if not open_:
                break
        return findings


def _joined(before: list[Finding], after: dict[int, Finding]) -> list[Finding]:
    return [_merged(finding, after[i]) if i in after else finding for i, finding in enumerate(before)]


def _merged(first: Finding, second: Finding) -> Finding:
    """Return the later finding, with both times; while it is UNKNOWN also the better margin and both reasons."""
    merged = replace(second, seconds=first.seconds + second.seconds)
    if second.prediction is None:
        merged = replace(merged, prediction=first.prediction)
    if second.verdict is not Verdict.UNKNOWN:
        return merged
    margins = [m for m in (first.margin, second.margin) if m is not None]
    return replace(merged, margin=max(margins, default=None), reason=_both(first.reason, second.reason))


def _both(first: Reason | None, second: Reason | None) -> Reason | None:
    """Join two reasons: the later one's code and remedy, each detail once; where only one says more, that one."""
    if first is None or second is None or first == second:
        return second or first
    if second.code is Code.UNSUPPORTED and first.code is not Code.UNSUPPORTED:
        first, second = second, first
    details = dict.fromkeys(d for d in (first.detail, second.detail) if d)
    return Reason(second.code, "; ".join(details), second.remedy or first.remedy)
