"""Certify: ask the method, run the independent check, add provenance; nothing else.

CERTIFIED and FALSIFIED leave this file only after `unmoved_check` has accepted the evidence. What it does not accept is
UNKNOWN, with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import version

from unmoved.core import (
    REAL,
    Budget,
    Certificate,
    Check,
    Code,
    Finding,
    Method,
    Problem,
    Reason,
    Semantics,
    UsageError,
    Verdict,
)
from unmoved.record import encode
from unmoved.refine.radius import largest
from unmoved_check.check import Checker
from unmoved_check.outcome import Accepted, Rejection
from unmoved_check.witness import REAL_ONLY, RUNTIME_ONLY

UNCHECKED_OPERATOR = "unchecked operator"


@lru_cache(maxsize=4)
def _checker(model: bytes) -> Checker:
    return Checker(model)


def refusal(model: bytes, semantics: Semantics = REAL) -> str | None:
    """Return why the independent checker cannot follow this model, so that no claim about it can pass; else None."""
    try:
        checker = _checker(model)
        _ = checker.graph if semantics.profile is None else checker.deployed(semantics.profile)
    except Rejection as rejection:
        return str(rejection)
    return None


def certify(
    problem: Problem, method: Method, budget: Budget | None = None, *, seed: int = 0, unchecked: bool = False
) -> Certificate:
    """Return the certificate of one problem: CERTIFIED or FALSIFIED only if the independent checker accepted it.

    `unchecked=True` lets a claim through whose only fault is an operator that the checker does not know yet; it is
    marked (`Certificate.unchecked`), and every output says so.
    """
    return certify_all([problem], method, budget, seed=seed, unchecked=unchecked)[0]


def certify_all(
    problems: Sequence[Problem],
    method: Method,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    unchecked: bool = False,
) -> list[Certificate]:
    """Return one certificate a problem, in order; the problems share one model and one kind of threat."""
    findings = method.decide(problems, budget or Budget(), seed)
    return [examine(problem, found, unchecked=unchecked) for problem, found in zip(problems, findings, strict=True)]


@dataclass(frozen=True)
class Bracket:
    """Between what the largest radius lies: a proof of one size, and a witness of a larger one, both checked.

    `certificate` is CERTIFIED for the problem of the largest size that was proved; where none was, FALSIFIED with the
    witness, or UNKNOWN. `broken` is the least size that contains the witness, None where none was accepted.
    """

    certificate: Certificate
    broken: Fraction | None
    witness: Certificate | None


def bracket(
    problem: Problem,
    method: Method,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    steps: int = 10,
    attack: Method | None = None,
    unchecked: bool = False,
) -> Bracket:
    """Return the largest size, up to the problem's own, that the method proves, and the least that is broken.

    Both are multiples of eps / 2^steps. See `unmoved.refine.radius.largest`.
    """
    found = largest(problem, method, budget, seed=seed, steps=steps, attack=attack)
    witness = None if found.breaking is None else examine(*found.breaking, unchecked=unchecked)
    if witness is None or witness.verdict is not Verdict.FALSIFIED:
        return Bracket(examine(found.problem, found.finding, unchecked=unchecked), None, None)
    mine = examine(found.problem, found.finding, unchecked=unchecked) if found.proved else witness
    return Bracket(mine, found.broken, witness)


def certify_radius(
    problem: Problem, method: Method, budget: Budget | None = None, *, seed: int = 0, steps: int = 10
) -> Certificate:
    """Return the certificate of the largest size, up to the problem's own, that the method proves (see `bracket`)."""
    return bracket(problem, method, budget, seed=seed, steps=steps).certificate


def examine(problem: Problem, finding: Finding, *, unchecked: bool = False) -> Certificate:
    """Write the finding as a bundle, have the independent checker read it, and keep only what it accepts."""
    if finding.verdict is Verdict.UNKNOWN:
        return Certificate(problem, finding, Verdict.UNKNOWN, finding.reason, None)
    if finding.evidence is None:
        reason = Reason(Code.UNCHECKED, f"{finding.method} gave no evidence that a checker could replay")
        return Certificate(problem, finding, Verdict.UNKNOWN, reason, None)
    try:
        manifest, payload = encode(problem, finding, _provenance(finding))
    except UsageError as error:
        # a threat, property or proof that the format has no words for: nobody could check it
        return Certificate(problem, finding, Verdict.UNKNOWN, Reason(Code.UNCHECKED, str(error)), None)
    outcome = _checker(problem.model.source).check(manifest, payload)
    if isinstance(outcome, Accepted):
        check = Check(True, outcome.mode, str(outcome), outcome.seconds)
        return Certificate(problem, finding, finding.verdict, None, check, manifest, payload)
    check = Check(False, "", str(outcome), outcome.seconds)
    if outcome.reason.startswith(UNCHECKED_OPERATOR):
        if unchecked:
            return Certificate(problem, finding, finding.verdict, None, check, manifest, payload, unchecked=True)
        remedy = "--unchecked lets it through, marked as unchecked; --method smoothing needs no such operator"
        reason = Reason(
            Code.UNCHECKED, f"the checker does not know the {outcome.reason.removeprefix('unchecked ')}", remedy
        )
    elif outcome.reason.endswith((REAL_ONLY, RUNTIME_ONLY)):
        reason = Reason(Code.WEAKER, outcome.reason)
    else:
        reason = Reason(Code.REJECTED, outcome.reason)
    return Certificate(problem, finding, Verdict.UNKNOWN, reason, check)


def _provenance(finding: Finding) -> dict[str, str]:
    engine = finding.details.get("engine")
    said = {"tool": "unmoved", "version": _version(), "method": finding.method}
    return said if engine is None else said | {"engine": str(engine)}


@lru_cache(maxsize=1)
def _version() -> str:
    return version("unmoved")
