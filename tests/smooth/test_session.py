"""Stopping: looks, futility, targets, grids, labels known, deadlines; families of problems; spot checks."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import norm

from unmoved.certifier import certify_all
from unmoved.core import Budget, Code, Problem, SameClass, UsageError, Verdict
from unmoved.record import encode, read_votes
from unmoved.smooth import Gaussian, Smoothed
from unmoved.smooth.classifiers.resample import spot_check
from unmoved.smooth.methods.holm import HolmMethod
from unmoved.smooth.methods.method import SmoothingMethod, classifier
from unmoved.smooth.statistics import (
    COHEN,
    Family,
    Plan,
    Rule,
    gaussian_radius,
    geometric,
    most_wrong,
    single,
    supported,
)
from unmoved.testing import Perceptron
from unmoved.threats import L2
from unmoved_check import schedule

NOISE = Gaussian("1/2")
# class 1 where the first number is positive: at x0 = t the true radius is t
NET = Perceptron(((np.array([[-1, 0], [1, 0]], np.float32), np.zeros(2, np.float32)),)).network


def side(z):
    return (z.flatten(1)[:, 0] > 0).to(torch.int64)


def at(distance, d=2):
    return np.array([[distance, *[0.0] * (d - 1)]], np.float32)


def problem(distance, eps="0", label=1):
    return Problem(NET, at(round(distance * 255) / 255), L2(eps), SameClass(label))


def test_looks():
    assert geometric(50) == single(50) and geometric(1).shares == (1,)
    assert geometric(51).sizes == (50, 51) and geometric(51).shares == (Fraction(1, 2),) * 2
    sizes = geometric(100_000).sizes
    assert sizes[:6] == (50, 75, 112, 168, 253, 379) and sizes[-2:] == (73_894, 100_000)
    for samples in (2, 50, 51, 75, 76, 999, 10_000, 123_457):
        looks = geometric(samples)
        assert sum(looks.shares) == 1 and looks.last == samples and sorted(set(looks.sizes)) == list(looks.sizes)
        assert (looks.sizes, looks.shares) == schedule.geometric(samples)
        assert (single(samples).sizes, single(samples).shares) == schedule.single(samples)


def test_target_takes_few_copies_where_it_is_easy_and_stops_where_it_is_hopeless():
    smoothed = Smoothed(side, NOISE, 2, batch=10)
    easy = smoothed.certify(at(1.2), samples=100_000, mode="target", size="1/2")
    assert easy.radius >= 0.5 and easy.drawn < 500 and easy.stop == "proved"
    hopeless = smoothed.certify(at(0.1), samples=100_000, mode="target", size="1/2")
    assert hopeless.radius < 0.5 and hopeless.drawn < 500 and hopeless.stop == "futile"


def test_grid_stops_when_the_next_radius_is_out_of_reach():
    result = Smoothed(side, NOISE, 2).certify(at(0.6), samples=100_000, mode="grid", size="1/4")
    assert 0.5 <= result.radius < 0.6 and result.drawn < 10_000 and result.stop == "proved"


def test_radius_goes_on_to_the_end_unless_nothing_is_in_sight():
    smoothed = Smoothed(side, NOISE, 2)
    full = smoothed.certify(at(0.6), samples=20_000)
    assert full.drawn == full.samples == 20_000 and full.stop == "last" and 0.57 < full.radius < 0.6
    none = Smoothed(lambda z: (z[:, 0, 0] > z[:, 0, 1]).to(torch.int64), NOISE, 2).certify(at(0.0), samples=100_000)
    assert none.abstained and none.drawn < 100_000 and ("hardly" in none.reason or none.stop == "last")


def test_cohen_is_one_look_with_all_of_alpha():
    assert (COHEN.samples, COHEN.selection_samples, COHEN.alpha) == (100_000, 100, Fraction(1, 1000))
    result = Smoothed(side, NOISE, 2).certify(at(3.0), COHEN)
    left = Fraction(1, 1000) - NOISE.deviation(100_000, 2)
    # Cohen et al. 2019: a unanimous vote has radius sigma Phi^-1(alpha^(1/n)), 3.8115 sigma
    assert result.counts[1] == 100_000
    assert result.radius == pytest.approx(0.5 * norm.ppf(float(left) ** 1e-5), abs=1e-6) and 1.9 < result.radius < 1.906


def test_label_known_skips_a_wrong_first_guess():
    smoothed = Smoothed(side, NOISE, 2)
    skipped = smoothed.certify(at(1.0), label=0)
    assert skipped.abstained and skipped.drawn == 0 and "skipped" in skipped.reason
    assert smoothed.certify(at(1.0), label=1).counts == smoothed.certify(at(1.0)).counts
    found = SmoothingMethod(NOISE, label_known=True).decide([problem(1.0, label=0)], Budget(), 0)[0]
    assert found.verdict is Verdict.UNKNOWN and found.prediction is None and found.details["drawn"] == 0


class Ticks(Budget):
    """A budget that is spent after so many questions."""

    def __init__(self, ticks):
        super().__init__()
        object.__setattr__(self, "ticks", ticks)

    @property
    def spent(self):
        object.__setattr__(self, "ticks", self.ticks - 1)
        return self.ticks < 0


def test_a_deadline_returns_the_best_radius_of_the_looks_so_far():
    smoothed = Smoothed(side, NOISE, 2, batch=50)
    whole = smoothed.certify(at(0.6), samples=100_000)
    radii = []
    for ticks in (0, 1, 2, 3, 5, 10, 40, 200):
        part = smoothed.certify(at(0.6), samples=100_000, budget=Ticks(ticks))
        assert part.stop == "deadline" and part.seed == whole.seed and part.drawn <= 50 * ticks
        radii.append(part.radius)
    assert radii[:3] == [0, 0, 0] and radii == sorted(radii) and 0 < radii[-1] < whole.radius < 0.6
    early = smoothed.certify(at(0.6), samples=100_000, budget=Ticks(1))
    assert early.abstained and "time" in early.reason


def test_a_deadline_in_a_method():
    method = SmoothingMethod(NOISE, samples=10**8)
    cut = certify_all([problem(1.0)], method, Budget(0.5))[0]
    assert cut.verdict is Verdict.CERTIFIED and 0.5 < cut.radius < 1 and cut.finding.details["stop"] == "deadline"
    late = certify_all([problem(0.05)], method, Ticks(2))[0]
    assert late.verdict is Verdict.UNKNOWN and late.reason.code is Code.TIMEOUT


def test_impossible_targets_name_the_samples_that_would_do():
    smoothed = Smoothed(side, NOISE, 2)
    with pytest.raises(UsageError, match="at least") as caught:
        smoothed.certify(at(1.0), samples=1000, mode="target", size="1.5")
    needed = int(caught.value.expected.split()[2])
    smoothed.certify(at(1.0), samples=needed, mode="target", size="1.5")
    with pytest.raises(UsageError):
        smoothed.certify(at(1.0), samples=needed - 1, mode="target", size="1.5")
    with pytest.raises(UsageError, match="smaller radius"):
        smoothed.certify(at(1.0), mode="target", size="50")


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "best"}, {"mode": "grid", "size": 0}, {"size": -1}, {"sample": 10}, {"bound": ""}, {"samples": True}],
)
def test_plans_that_make_no_sense(wrong):
    with pytest.raises(UsageError):
        Plan().but(**wrong)


# --- families ----------------------------------------------------------------------------------------------------


def family(kind, inputs, **changes):
    return SmoothingMethod(NOISE, family=Family(kind, inputs, Fraction(1, 1000)), **changes)


def test_bonferroni_states_each_certificate_at_its_share():
    problems = [problem(distance) for distance in (0.5, 1.0, 1.5)]
    for found in certify_all(problems, family("bonferroni", 3)):
        assert found.finding.guarantee.alpha == Fraction(1, 3000) and found.check.accepted
        assert found.finding.details["family"]["inputs"] == 3 and "all" in found.finding.details["family"]["says"]


def test_the_largest_radius_of_a_family_of_500():
    """smoothing.md: at 500 inputs the largest radius falls from 3.81 to 3.65 sigma only."""
    single_input, member = (
        Rule(replace(COHEN, alpha=a), a, lambda p, q: gaussian_radius(p, q, Fraction(1)))
        for a in (COHEN.alpha, Family("bonferroni", 500, COHEN.alpha).each)
    )
    radii = [rule.around(rule.bounds((100_000, 0), 0, 0)) for rule in (single_input, member)]
    assert radii == [pytest.approx(3.81, abs=0.005), pytest.approx(3.65, abs=0.015)]


def test_holm_certifies_more_and_says_no_more_than_eps():
    distances = [1.0] * 30 + [0.60] * 10
    problems = [problem(distance, "1/2") for distance in distances]
    common = {"mode": "target", "samples": 600}
    first = certify_all(problems, family("bonferroni", 40, **common))
    second = certify_all(problems, HolmMethod(family("holm", 40, **common)))
    certified = [[c.verdict is Verdict.CERTIFIED for c in found] for found in (first, second)]
    assert all(b for a, b in zip(*certified, strict=True) if a) and sum(certified[1]) >= sum(certified[0]) >= 25
    for c in second:
        if c.verdict is Verdict.CERTIFIED:
            assert c.check.accepted and c.radius == Fraction(1, 2) and c.finding.details["sample_radius"] == 0.5
            assert Fraction(1, 40_000) <= c.finding.guarantee.alpha <= Fraction(1, 1000)


def test_holm_wants_all_inputs_and_one_size():
    with pytest.raises(UsageError, match="mode"):
        HolmMethod(family("holm", 3))
    with pytest.raises(UsageError, match="all 3 inputs"):
        HolmMethod(family("holm", 3, mode="target")).decide([problem(1.0, "1/2")], Budget(), 0)


# --- spot checks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recorded", "redrawn"), [(1000, 200), (1000, 1), (500, 499), (40, 40), (100_000, 20_000)])
@pytest.mark.parametrize("mismatches", [0, 1])
def test_most_wrong_against_exact_binomials(recorded, redrawn, mismatches):
    """w is credible iff P(at most m mismatches | w) > 1/100, hypergeometric, in whole numbers."""
    w = most_wrong(recorded, redrawn, mismatches=mismatches)

    def credible(wrong):
        total = math.comb(recorded, wrong)
        few = sum(
            math.comb(redrawn, m) * math.comb(recorded - redrawn, wrong - m) for m in range(min(mismatches, wrong) + 1)
        )
        return 100 * few >= total  # at equality ours stays on the safe side

    assert w == recorded - redrawn + mismatches or not credible(w + 1)
    assert w == mismatches or credible(w)


def test_what_20000_of_100000_support():
    """smoothing.md: .829 of a claimed .922 (with replacement: 24 wrong records); without replacement 20 are left."""
    assert most_wrong(100_000, 20_000) == 20
    rule = Rule(COHEN, COHEN.alpha, NOISE.radius)
    radii = [2 * rule.around(rule.bounds(c, 0, 0)) / 4 for c in ((99_998, 2), supported((99_998, 2), 0, 20))]
    assert radii == [pytest.approx(0.922, abs=5e-4), pytest.approx(0.837, abs=5e-4)]
    worse = 2 * rule.around(rule.bounds(supported((99_998, 2), 0, 24), 0, 0)) / 4
    assert worse == pytest.approx(0.829, abs=6e-4)


def test_supported_counts():
    assert supported((90, 7, 3), 0, 5) == (85, 12, 3) and supported((2, 7, 3), 0, 5) == (0, 9, 3)


def evidence_of(distance=1.0, samples=4000):
    asked = problem(distance)
    found = SmoothingMethod(NOISE, samples=samples).decide([asked], Budget(), 3)[0]
    return asked, found, read_votes(*encode(asked, found, {}))


def test_an_honest_record_has_no_mismatch_and_loses_little():
    asked, found, voted = evidence_of()
    assert voted.evidence == found.evidence and voted.radius == found.radius
    spot = spot_check(voted.evidence, asked.x, classifier(NET), redraw=1000, seed=5)
    assert (spot.mismatches, spot.redrawn, spot.recorded) == (0, 1000, 4000) and spot.wrong == most_wrong(4000, 1000)
    assert spot.claimed == pytest.approx(float(voted.radius), rel=1e-9) and 0.5 < spot.radius < spot.claimed
    whole = spot_check(voted.evidence, asked.x, classifier(NET), redraw=10**6, seed=5)
    assert whole.redrawn == 4000 and whole.wrong == 0 and whole.radius == whole.claimed


def lying(evidence, lies):
    """The record of a producer who turned some votes for class 0 into votes for class 1, root and counts fitting."""
    import zlib

    from unmoved.smooth.voting import merkle
    from unmoved.smooth.voting.ballots import unpack

    data = bytearray(unpack(evidence.classes, evidence.samples))
    turned = [i for i, label in enumerate(data) if label == 0][:lies]
    for i in turned:
        data[i] = 1
    record = replace(
        evidence.classes,
        packed=zlib.compress(bytes(data)),
        root=merkle.tree(merkle.leaves(bytes(data), 1)).root.hex(),
    )
    counts = (evidence.counts[0] - len(turned), evidence.counts[1] + len(turned))
    return replace(evidence, classes=record, counts=counts)


def test_lies_are_found_as_often_as_the_formula_says():
    """100 lies among 4000: the auditor's bound on the lies holds in 99 of 100 audits, and the truth is supported."""
    asked, _, voted = evidence_of(0.8)
    false = lying(voted.evidence, 100)
    assert false.counts[0] == voted.evidence.counts[0] - 100
    spots = [spot_check(false, asked.x, classifier(NET), redraw=200, seed=seed) for seed in range(100)]
    assert sum(spot.mismatches == 0 for spot in spots) <= 6  # each misses with probability .975^200 = .006
    truth = spot_check(voted.evidence, asked.x, classifier(NET), redraw=1, seed=0).claimed
    assert sum(spot.wrong < 100 for spot in spots) <= 6 and sum(spot.radius > truth for spot in spots) <= 6
    whole = spot_check(false, asked.x, classifier(NET), redraw=4000, seed=0)
    assert whole.mismatches == 100 and whole.radius <= truth < whole.claimed


def test_a_changed_class_is_not_under_the_root():
    asked, _, voted = evidence_of()
    false = replace(
        voted.evidence, classes=replace(voted.evidence.classes, packed=lying(voted.evidence, 1).classes.packed)
    )
    with pytest.raises(UsageError, match="Merkle root"):
        spot_check(false, asked.x, classifier(NET), redraw=4000, seed=0)
    with pytest.raises(UsageError, match="only their root"):
        bare = replace(voted.evidence, classes=replace(voted.evidence.classes, packed=None))
        spot_check(bare, asked.x, classifier(NET), redraw=10, seed=0)
