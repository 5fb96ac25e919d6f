"""Certificates of other sizes than the asked one, each by the name under which a row's details keep it."""

from __future__ import annotations

import time
from dataclasses import replace

from unmoved.attack import suite
from unmoved.certifier import bracket, certify_radius
from unmoved.core import Budget, Certificate, Code, Method, Problem, Verdict
from unmoved.refine import LinearMethod
from unmoved.threats import Lp

ATTACK = "quick"
"""The suite that looks for the least broken size beside a radius."""
LATE = 1.0
"""Seconds, or a tenth of the given ones, that a batch has after a timeout for what can be proved of smaller sizes."""
STEPS = 6

Beside = dict[str, Certificate]


def radius(
    problem: Problem, method: Method, budget: Budget, *, seed: int, steps: int, unchecked: bool
) -> tuple[Certificate, Beside]:
    """Return the certificate of the largest size that is proved, and as "broken" the witness of the least broken.

    Its seconds are those of the whole search, all sizes and the attack, without the checks.
    """
    threat = problem.threat
    assert isinstance(threat, Lp), "whoever asks for a radius has seen to it"
    attack = suite(ATTACK, None if threat.norm == "inf" else threat.norm)
    started = time.monotonic()
    found = bracket(problem, method, budget, seed=seed, steps=steps, attack=attack, unchecked=unchecked)
    beside = {} if found.witness is None else {"broken": found.witness}
    mine = found.certificate
    checks = {id(each): each.check.seconds for each in (mine, *beside.values()) if each.check is not None}
    seconds = max(0.0, time.monotonic() - started - sum(checks.values()))
    return replace(mine, finding=replace(mine.finding, seconds=seconds)), beside


def smaller(problem: Problem, found: Certificate, late: Budget, *, seed: int) -> Beside:
    """Return as "smaller" what linear bounds prove of a smaller size, where the asked one met a timeout."""
    timeout = found.reason is not None and found.reason.code is Code.TIMEOUT and found.finding.guarantee.of == "f"
    if not timeout or not isinstance(problem.threat, Lp) or late.spent:
        return {}
    best = certify_radius(problem, LinearMethod(), Budget(late.left), seed=seed, steps=STEPS)
    return {"smaller": best} if best.verdict is Verdict.CERTIFIED else {}
