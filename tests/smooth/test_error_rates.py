"""How often each mode is wrong, counted: at most alpha, at the probabilities where it is hardest to be right.

numpy draws the votes (binomial increments between looks), so nothing of our sampler takes part. p is drawn AT the
boundary, where the claim just holds no longer; every claim is then wrong. The same count convicts repeated looks that
all use the whole of alpha: the negative control.
"""

import math
from dataclasses import replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from unmoved.smooth import statistics
from unmoved.smooth.statistics import COHEN, Looks, Plan, Rule, Standing, geometric, step_down

ALPHA = Fraction(1, 20)
SIGMA = Fraction(1, 2)
RUNS = 3_000
LIMIT = 0.05 + 3.3 * math.sqrt(0.05 * 0.95 / RUNS)  # P(more | rate .05) < 5e-4


def radius(p_low, p_high):
    return statistics.gaussian_radius(p_low, p_high, SIGMA)


class Naive(Plan):
    """The mistake: every look has all of alpha."""

    @cached_property
    def looks(self):
        sizes = geometric(self.samples).sizes
        return Looks(sizes, (Fraction(1),) * len(sizes))


def walk(rule, increments, top=0):
    """Return the standing after a run of the rule over the votes that each look adds, (looks, classes)."""
    standing, counts = Standing(), np.zeros(increments.shape[1], int)
    for at, fresh in enumerate(increments):
        counts = counts + fresh
        standing = rule.look(at, tuple(counts.tolist()), top, standing)
        if standing.stop:
            break
    return standing


def votes(random, sizes, shares):
    steps = np.diff([0, *sizes])
    return np.stack([random.multinomial(step, shares, size=RUNS) for step in steps], axis=1)


def error_rate(plan, shares, seed=0):
    """Return how often a radius > the true one is claimed for class 0, whose rivals have the other shares."""
    truth = float(SIGMA) / 2 * (ndtri(shares[0]) - ndtri(max(shares[1:])))
    rule = Rule(plan, plan.alpha, radius)
    runs = votes(np.random.default_rng(seed), plan.looks.sizes, shares)
    claims = [walk(rule, run).best for run in runs]
    return sum(claim > 0 and claim >= truth for claim in claims) / RUNS


MODES = {
    "radius": Plan(2000, alpha=ALPHA),
    "radius one-class": Plan(2000, alpha=ALPHA, bound="one-class"),
    "grid": Plan(2000, alpha=ALPHA, mode="grid", size=Fraction(1, 10)),
    "target": Plan(2000, alpha=ALPHA, mode="target", size=Fraction(1, 4)),
    "target one-class": Plan(2000, alpha=ALPHA, bound="one-class", mode="target", size=Fraction(1, 4)),
    "fixed": Plan(2000, alpha=ALPHA, mode="fixed"),
    "cohen": replace(COHEN, samples=2000, alpha=ALPHA),
}
# the true radius is then .25, the target; with three classes the rival is not the complement
BOUNDARY = float(ndtr(0.5))
LAWS = {
    "two classes": (BOUNDARY, 1 - BOUNDARY),
    "no radius at all": (0.5, 0.5),
    "three classes": (float(ndtr(0.25)), float(ndtr(-0.75)), 1 - float(ndtr(0.25)) - float(ndtr(-0.75))),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("mode", MODES)
def test_no_mode_is_wrong_more_often_than_it_says(mode, law):
    assert error_rate(MODES[mode], LAWS[law]) <= LIMIT


@pytest.mark.parametrize("mode", ["radius", "target one-class"])
def test_naive_repetition_fails_the_same_test(mode):
    plan = MODES[mode]
    naive = Naive(**{name: getattr(plan, name) for name in plan.__dataclass_fields__})
    assert error_rate(naive, LAWS["two classes"]) > LIMIT


def test_the_fixed_look_uses_most_of_its_alpha():
    """The count can find an error: at the boundary one look is wrong nearly as often as it may be."""
    assert error_rate(MODES["cohen"], LAWS["two classes"]) > 0.035


def test_a_class_chosen_by_other_votes_is_right_as_often():
    """Selection, also with a label known: among near-equal classes whatever was chosen is tested."""
    random, plan = np.random.default_rng(5), MODES["radius"]
    shares = np.array([0.36, 0.34, 0.3])
    truth = [float(SIGMA) / 2 * (ndtri(p) - ndtri(max(np.delete(shares, i)))) for i, p in enumerate(shares)]
    rule = Rule(plan, plan.alpha, radius)
    tops = random.multinomial(100, shares, size=RUNS).argmax(axis=1)
    runs = votes(random, plan.looks.sizes, shares)
    claims = [walk(rule, run, int(top)).best for run, top in zip(runs, tops, strict=True)]
    wrong = sum(claim > max(truth[top], 0) for claim, top in zip(claims, tops, strict=True))
    known = sum(claim > max(truth[0], 0) for claim, top in zip(claims, tops, strict=True) if top == 0)
    assert wrong / RUNS <= LIMIT and known / RUNS <= LIMIT


def test_a_deadline_that_knows_the_votes_changes_nothing():
    """Stopped at the look with the largest radius of all: still right, as all looks are right together."""
    plan = MODES["radius"]
    rule, law = Rule(plan, plan.alpha, radius), LAWS["two classes"]
    truth, wrong = 0.25, 0
    for run in votes(np.random.default_rng(2), plan.looks.sizes, law):
        counts = np.cumsum(run, axis=0)
        best = max(rule.around(rule.bounds(tuple(c.tolist()), 0, at)) for at, c in enumerate(counts))
        wrong += best > truth
    assert wrong / RUNS <= LIMIT


def test_predictions():
    """Two classes of nearly the same probability: an answer is the wrong class at most alpha of the time."""
    first = np.random.default_rng(3).binomial(200, 0.5 + 1e-9, size=RUNS)
    said = [k for k in first if statistics.binomial_test(max(k, 200 - k), min(k, 200 - k)) <= 0.05]
    assert sum(k < 100 for k in said) / RUNS <= LIMIT and len(said) / RUNS > 0.03


M = 20


def family_run(random, nulls, rule_at, decide):
    """Return whether any of `nulls` inputs at the boundary, among M, is certified."""
    sizes = MODES["target"].looks.sizes
    shares = [BOUNDARY - 1e-6] * nulls + [0.95] * (M - nulls)
    steps = np.diff([0, *sizes])
    runs = [np.array([[k := random.binomial(n, p), n - k] for n in steps]) for p in shares]
    return any(decide(runs, rule_at)[:nulls])


def bonferroni(runs, rule_at):
    return [walk(rule_at(ALPHA / M), run).best >= 0.25 for run in runs]


def holm(runs, rule_at):
    levels = step_down(M, ALPHA, lambda i, level: walk(rule_at(level), runs[i]).best >= 0.25)
    return [level is not None for level in levels]


def each_alone(runs, rule_at):
    return [walk(rule_at(ALPHA), run).best >= 0.25 for run in runs]


@pytest.mark.parametrize(
    ("decide", "nulls", "honest"),
    [(bonferroni, M, True), (holm, M, True), (holm, M // 2, True), (holm, 1, True), (each_alone, M, False)],
)
def test_the_whole_family_is_right(decide, nulls, honest):
    random, tries = np.random.default_rng(11), 200
    plan = replace(MODES["target"], bound="one-class")
    wrong = sum(family_run(random, nulls, lambda level: Rule(plan, level, radius), decide) for _ in range(tries))
    limit = 0.05 + 3.3 * math.sqrt(0.05 * 0.95 / tries)
    assert (wrong / tries <= limit) == honest


def test_holm_certifies_what_bonferroni_does_and_more():
    random = np.random.default_rng(4)
    plan = replace(MODES["target"], bound="one-class")
    steps = np.diff([0, *plan.looks.sizes])
    more = 0
    for _ in range(40):
        shares = random.uniform(BOUNDARY, 0.78, M)
        runs = [np.array([[k := random.binomial(n, p), n - k] for n in steps]) for p in shares]

        def rule_at(level):
            return Rule(plan, level, radius)

        first, second = bonferroni(runs, rule_at), holm(runs, rule_at)
        assert all(b for a, b in zip(first, second, strict=True) if a)
        more += sum(second) - sum(first)
    assert more > 20


def test_step_down_is_holm():
    """Against Holm's own order, one hypothesis at a time, on random p-values."""
    random = np.random.default_rng(9)
    for _ in range(300):
        p = [Fraction(float(v)) for v in random.uniform(0, 1, 12) ** 4 / 8]
        rejected, waiting = set(), sorted(range(12), key=p.__getitem__)
        for step, i in enumerate(waiting):
            if p[i] > ALPHA / (12 - step):
                break
            rejected.add(i)
        levels = step_down(12, ALPHA, lambda i, level, p=p: p[i] <= level)
        assert {i for i, level in enumerate(levels) if level is not None} == rejected
        assert all(level is None or p[i] <= level for i, level in enumerate(levels))
