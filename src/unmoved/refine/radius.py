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

AT_ONCE = 16
"""Sizes that an attack is asked about in one batch."""


@dataclass(frozen=True)
class Largest:
    """The largest problem that was proved, with its finding; `broken` is the least size known to be unsafe, or None.

    When nothing was proved the problem is the one that was asked, with what the method says of it. `breaking` is the
    problem of the broken size and the finding whose witness lies in it.
    """

    problem: Problem
    finding: Finding
    broken: Fraction | None
    proved: bool
    breaking: tuple[Problem, Finding] | None = None


def largest(
    problem: Problem,
    method: Method,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    steps: int = 10,
    first: Method | None = None,
    attack: Method | None = None,
) -> Largest:
    """Return the largest multiple of eps / 2^steps, up to the problem's own eps, at which the method proves it.

    `first` (linear bounds unless said) is bisected before, being cheap: the method then looks above its answer only, in
    doubling steps and by bisection. `attack` is bisected before both, for the least size that it breaks: above that
    nothing is asked. Every question has an equal share of the seconds that are left. Sizes between the
    answer and eps may hold too: unproved, unless `broken` says that they do not. Raises UsageError for a box.
    """
    threat, limit = problem.threat, budget or Budget()
    if not isinstance(threat, Lp):
        raise UsageError("threat", threat.name, "a threat with one size: linf, l2 or l1")
    if steps < 1:
        raise UsageError("steps", steps, "a whole number >= 1")
    search = _Bracket(problem, threat, 2**steps, seed)
    if attack is not None:
        search.attacked(attack, Budget(limit.left / 4))
    if search.top > search.count:
        search.ask(2**steps, method, Budget(limit.left / (2 * steps)))
    for asked, gallop in ((first or LinearMethod(), False), (method, True)):
        search.narrow(asked, limit, gallop=gallop)
    broken = None if search.witness is None else Fraction(search.witness, 2**steps) * threat.eps
    breaking = None if search.witness is None else (search.at(search.witness), search.breaking)
    if search.best is None:
        return Largest(problem, search.asked, broken, False, breaking)
    return Largest(search.at(search.low), search.best, broken, True, breaking)


class _Bracket:
    """Sizes in units of eps / count: proved up to `low` (0: nothing is), given up from `high` on."""

    def __init__(self, problem: Problem, threat: Lp, count: int, seed: int):
        self.problem, self.threat, self.count, self.seed = problem, threat, count, seed
        self.low, self.high, self.top = 0, count + 1, count + 1
        self.best: Finding | None = None
        self.witness: int | None = None
        self.asked: Finding
        self.breaking: Finding

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
            self.broke(size, found, found.evidence)
            self.high = min(size, self.top)

    def broke(self, size: int, found: Finding, witness: Witness) -> None:
        """Keep a witness that lies in the problem of this size, if it lies nearer than what there is."""
        point, reach = witness.point, size if self.witness is None else min(size, self.witness - 1)

        def inside(unit: int) -> bool:
            return self.at(unit).threat.contains(self.problem.x, point)

        if reach >= 0 and (reach == size or inside(reach)):
            self.top = self.witness = bisect_left(range(reach), True, key=inside)
            self.breaking = found

    def attacked(self, attack: Method, limit: Budget) -> None:
        """Find the least size that an attack breaks, AT_ONCE sizes in a batch; what it leaves is not proved."""
        standing = -1
        while self.top - standing > 1 and not limit.spent:
            last = min(self.top - 1, self.count)
            parts = min(AT_ONCE, last - standing)
            sizes = [standing + (last - standing) * k // parts for k in range(1, parts + 1)]
            found = attack.decide([self.at(size) for size in sizes], Budget(limit.left), self.seed)
            for size, each in zip(sizes, found, strict=True):
                if isinstance(each.evidence, Witness):
                    self.broke(size, each, each.evidence)
                    self.asked = self.breaking
            standing = max([standing, *(size for size in sizes if size < self.top)])

    def narrow(self, method: Method, limit: Budget, *, gallop: bool) -> None:
        """Bisect between what is proved and what is broken; from below in doubling steps first where told."""
        self.high, stride = self.top, 1
        while self.high - self.low > 1 and not limit.spent:
            middle = (self.low + self.high) // 2
            size = min(middle, self.low + stride) if gallop else middle
            before = self.low
            self.ask(size, method, Budget(limit.left / max(1, (self.high - self.low).bit_length())))
            gallop, stride = gallop and self.low > before, 2 * stride
