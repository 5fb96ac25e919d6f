"""One input's certification, look by look: choose the class, look at the votes as planned, stop when the rule says so.

Looks fall within batches: the class of a copy depends on its number alone, so the first 50 of a batch of 500 are what a
batch of 50 would have given, and no look costs a batch of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_up
from unmoved.smooth.classifiers.results import ABSTAIN, SmoothedResult
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.statistics import Plan, Rule, Standing
from unmoved.smooth.voting.ballots import Ballots
from unmoved.smooth.voting.sampling import Votes

DEADLINE = "deadline"
SKIPPED = "skipped"
INVALID = "invalid"


@dataclass(frozen=True)
class Outcome:
    """What a session found: the class, the votes that chose it, where things stand, and the votes of that look.

    `votes` are those of the look that proved `standing.best`; with nothing proved, of the latest look. `drawn` copies
    for certification were looked at. `stop` is why it ended: the rule's word, DEADLINE, SKIPPED (the first guess is not
    the label) or INVALID (f gave a NaN).
    """

    top: int | None
    selection: Votes
    standing: Standing
    votes: Votes
    drawn: int
    stop: str


def decide(rule: Rule, ballots: Ballots, label: int | None = None) -> Outcome:
    """Return the outcome: with probability >= 1 - rule.alpha `standing.best` is right, whenever and why ever it ended.

    `label`: if the class chosen is another one, nothing is asked about it.
    """
    if not ballots.reach(0):
        nobody = Votes(())
        return Outcome(None, nobody, Standing(), nobody, 0, DEADLINE)
    selection = ballots.selection()
    top = selection.counts.index(max(selection.counts))
    blank = Votes((0,) * len(selection.counts))
    if label is not None and top != label:
        return Outcome(top, selection, Standing(), blank, 0, SKIPPED)
    standing, votes, drawn = Standing(), blank, 0
    for at, size in enumerate(rule.plan.looks.sizes):
        if not ballots.reach(size):
            return Outcome(top, selection, standing, votes, drawn, DEADLINE)
        seen, drawn = ballots.votes(size), size
        if seen.invalid:
            return Outcome(top, selection, Standing(), seen, drawn, INVALID)
        # no copy fell to nobody; its count of 0 is a rival class's like any other
        standing = rule.look(at, (*seen.counts, 0), top, standing)
        if standing.at in (at, None):
            votes = seen
        if standing.stop:
            break
    return Outcome(top, selection, standing, votes, drawn, standing.stop)


@dataclass(frozen=True)
class Session:
    """One input under one plan, with the copies drawn so far. `number` is the user's seed, `label` as in `decide`."""

    noise: Noise
    point: GridPoint
    plan: Plan
    ballots: Ballots
    seed: bytes
    number: int
    label: int | None = None
    engine: str = ""

    def result(self, alpha: Fraction | None = None) -> SmoothedResult:
        """Return what is certified with probability >= 1 - alpha (the plan's, unless another one is given).

        Draws what the rule asks for. After `ballots.close()` nothing more is drawn: then the same votes can be read at
        other levels, each reading right with its own probability.
        """
        begun = time.perf_counter()
        plan = self.plan if alpha is None else replace(self.plan, alpha=alpha)
        rule = rule_of(plan, self.noise, self.point)
        found = decide(rule, self.ballots, self.label)
        proved = found.standing.best > 0
        nobody = (0,) * self.ballots.classes_in_all
        return SmoothedResult(
            label=found.top if proved else ABSTAIN,
            radius=found.standing.best,
            counts=found.votes.counts or nobody,
            selection_counts=found.selection.counts or nobody,
            top=found.top,
            invalid=found.selection.invalid + found.votes.invalid,
            p_low=found.standing.bounds.p_low,
            p_high=found.standing.bounds.p_high,
            plan=plan,
            at=found.standing.at,
            drawn=found.drawn,
            stop=found.stop,
            noise=self.noise.kind,
            sigma=self.noise.scale,
            grid=self.noise.grid,
            on_grid=self.point.on_grid,
            grid_distance=self.point.distance,
            seed=self.seed.hex(),
            sampler=self.noise.sampler,
            number=self.number,
            classes=self.ballots.classes(found.votes.seen) if proved else None,
            seconds=time.perf_counter() - begun,
            engine=self.engine,
            reason="" if proved else self._reason(rule, found),
        )

    def _reason(self, rule: Rule, found: Outcome) -> str:
        """Return why nothing was certified."""
        if found.stop == INVALID:
            return f"{found.votes.invalid} of {found.votes.seen} noisy copies gave a NaN or an infinity"
        if found.stop == DEADLINE:
            return f"the time was up after {found.drawn} copies"
        if found.stop == SKIPPED:
            return f"the first guess is class {found.top}, not the label: skipped"
        bounds, distance = found.standing.bounds, self.point.distance
        around_point = self.noise.radius(bounds.p_low, bounds.p_high)
        if 0 < around_point <= distance:
            lost = "rounding x to the grid costs" if self.point.on_grid else "x is off the grid, which costs"
            return f"{lost} {distance:.3g}, more than the radius {around_point:.3g}: use a finer grid"
        if found.stop == "futile":
            goal = f"a radius of {float(rule.plan.size):g}" if rule.plan.mode == "target" else "any radius"
            left = f"{rule.plan.samples} copies would hardly prove {goal}"
            return f"the top class is not ahead for certain; stopped after {found.drawn} copies, as {left}"
        return "the top class is not ahead for certain: more samples or a smaller sigma may settle it"


def rule_of(plan: Plan, noise: Noise, point: GridPoint) -> Rule:
    """Return the plan's rule for one input; UsageError when the sampler's deviation leaves nothing of alpha."""
    return Rule(plan, alpha_left(plan.alpha, plan.samples, noise, point), noise.radius, point.distance)


def alpha_left(alpha: Fraction, samples: int, noise: Noise, point: GridPoint) -> Fraction:
    """Return alpha less the distance of the law of `samples` copies, as they are drawn, from the exact one."""
    deviation = noise.deviation(samples, point.integers.size)
    if alpha <= deviation:
        expected = f"more than {float_up(deviation):.3g}, the sampler's deviation over {samples} samples"
        raise UsageError("alpha", float(alpha), expected)
    return alpha - deviation
