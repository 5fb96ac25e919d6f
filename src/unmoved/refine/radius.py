"""The largest size of a threat that a method proves, by bisection on exact rationals, rounded down.

A proof at one size holds at every smaller one, and a witness breaks every size that contains it: both move the bracket.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from fractions import Fraction

from unmoved.core.budget import Budget
from unmoved.core.certificate import Finding, Witness
from unmoved.core.errors import UsageError
from unmoved.core.method import Method
from unmoved.core.problem import Problem
from unmoved.core.verdict import Verdict
from unmoved.refine.methods import LinearMethod
from unmoved.threats import Lp


@dataclass(frozen=True)
class Largest:
    """The largest problem that was proved, with its finding; `broken` is the least size known to be unsafe, or None.

    When nothing was proved the problem is the one that was asked, with what the method says of it.
    """

    problem: Problem
    finding: Finding
    broken: Fraction | None


def largest(
    problem: Problem,
    method: Method,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    steps: int = 10,
    first: Method | None = None,
) -> Largest:
    """Return the largest multiple of eps / 2^steps, up to the problem's own eps, at which the method proves it.

    `first` (linear bounds unless said) is bisected before, being cheap: the method then looks above its answer only, in
    doubling steps and by bisection. Every question has an equal share of the seconds that are left. Sizes between the
    answer and eps may hold too: unproved, unless `broken` says that they do not. Raises UsageError for a box.
    """
    threat, limit = problem.threat, budget or Budget()
    if not isinstance(threat, Lp):
        raise UsageError("threat", threat.name, "a threat with one size: linf, l2 or l1")
    if steps < 1:
        raise UsageError("steps", steps, "a whole number >= 1")
    search = _Bracket(problem, threat, 2**steps, seed)
    search.ask(2**steps, method, Budget(limit.left / (2 * steps)))
    for asked, gallop in ((first or LinearMethod(), False), (method, True)):
        search.narrow(asked, limit, gallop=gallop)
    broken = None if search.witness is None else Fraction(search.witness, 2**steps) * threat.eps
    if search.best is None:
        return Largest(problem, search.asked, broken)
    return Largest(search.at(search.low), search.best, broken)


class _Bracket:
    """Sizes in units of eps / count: proved up to `low` (0: nothing is), given up from `high` on."""

    def __init__(self, problem: Problem, threat: Lp, count: int, seed: int):
        self.problem, self.threat, self.count, self.seed = problem, threat, count, seed
        self.low, self.high, self.top = 0, count + 1, count + 1
        self.best: Finding | None = None
        self.witness: int | None = None
        self.asked: Finding

    def at(self, size: int) -> Problem:
        """The problem with another size of its threat."""
        if size == self.count:
            return self.problem
        eps = self.threat.eps * Fraction(size, self.count)
        return replace(self.problem, threat=type(self.threat)(eps, self.threat.clip))

    def ask(self, size: int, method: Method, budget: Budget) -> None:
        """Move one end of the bracket to `size`, or the upper one to where a witness lies."""
        found = method.decide([self.at(size)], budget, self.seed)[0]
        if size == self.count:
            self.asked, self.top = found, size
        if found.verdict is Verdict.CERTIFIED:
            self.low, self.best = size, found
            return
        self.high = size
        if isinstance(found.evidence, Witness):
            point = found.evidence.point
            least = bisect_left(range(size), True, key=lambda k: self.at(k).threat.contains(self.problem.x, point))
            self.high = self.top = self.witness = least

    def narrow(self, method: Method, limit: Budget, *, gallop: bool) -> None:
        """Bisect between what is proved and what is broken; from below in doubling steps first where told."""
        self.high, stride = self.top, 1
        while self.high - self.low > 1 and not limit.spent:
            middle = (self.low + self.high) // 2
            size = min(middle, self.low + stride) if gallop else middle
            before = self.low
            self.ask(size, method, Budget(limit.left / max(1, (self.high - self.low).bit_length())))
            gallop, stride = gallop and self.low > before, 2 * stride
