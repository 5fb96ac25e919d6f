from fractions import Fraction

import pytest
from scipy.stats import binomtest

from unmoved.core import UsageError
from unmoved.evaluate import Share, attacked, broken, checks, summarise
from unmoved.evaluate.accuracy import accepted, code_of, proved


@pytest.mark.parametrize(("count", "total"), [(0, 1), (1, 1), (0, 200), (185, 200), (200, 200), (1, 3), (500, 1000)])
def test_the_interval_contains_scipys_exact_one_and_hardly_more(count, total):
    share, outside = Share(count, total), binomtest(count, total).proportion_ci(0.95, method="exact")
    assert share.low <= outside.low + 1e-12 and share.low == pytest.approx(outside.low, abs=1e-9)
    assert share.high >= outside.high - 1e-12 and share.high == pytest.approx(outside.high, abs=1e-9)
    assert share.low <= share.value <= share.high


@pytest.mark.parametrize(("count", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_an_impossible_share_is_refused(count, total):
    with pytest.raises(UsageError, match="count"):
        Share(count, total)


def test_unknown_counts_as_not_certified(proof):
    found = summarise(proof.rows)
    assert (found.clean.count, found.certified.count, found.total) == (3, 2, 5)
    assert found.falsified == 1 and found.unknown == {"timeout": 1, "unproved": 1}
    assert found.seconds == 5.0 and found.check_seconds == 0.75
    assert (found.checks.accepted, found.checks.total, found.checks.unchecked) == (3, 3, 0)


def test_a_certified_wrong_answer_is_not_certified_accuracy(row):
    found = summarise([row(0, 1, 2, "CERTIFIED", radius="1/10", check="accepted: x"), row(1, 1, 1, "UNKNOWN")])
    assert found.certified.count == 0 and found.clean.count == 1


def test_abstentions_are_counted_and_are_no_right_answers(row):
    found = summarise(
        [row(0, 0, None, "UNKNOWN", reason="abstained: too close (more samples)"), row(1, 0, 0, "UNKNOWN")]
    )
    assert found.abstained == 1 and found.clean.count == 1


def test_an_unchecked_or_rejected_claim_is_not_accepted(row):
    unchecked = row(0, 1, 1, "CERTIFIED", radius="1", check="rejected: unchecked operator Mish", unchecked=True)
    rejected = row(1, 1, 1, "UNKNOWN", check="rejected: no", reason="rejected: no")
    sly = row(2, 1, 1, "CERTIFIED", radius="1", check="accepted: x", unchecked=True)
    assert not any(accepted(each) for each in (unchecked, rejected, sly))
    found = checks([unchecked, rejected, sly])
    assert (found.accepted, found.total, found.unchecked) == (0, 3, 2) and not found.clean


def test_what_is_broken(row):
    assert broken(row(0, 1, 1, "FALSIFIED"))
    assert broken(row(0, 1, 2, "UNKNOWN"))
    assert not broken(row(0, 1, 1, "UNKNOWN"))
    assert not broken(row(0, 1, None, "UNKNOWN"))
    assert broken(row(0, 1, 1, "UNKNOWN", details={"broken": True, "answer": 3, "distance": 0.5}))
    # an abstention of the smoothed model is no break, whatever the attack's row calls it
    assert not broken(row(0, 1, None, "UNKNOWN", details={"broken": True, "answer": -1, "distance": 0.0}))
    assert not broken(row(0, 1, 1, "UNKNOWN", details={"broken": True, "answer": None, "distance": 0.5}))


def test_attacked_accuracy_is_what_all_attacks_leave_standing(proof, attack, results, row):
    assert attacked([attack]) == Share(3, 5)
    second = results([row(0, 1, 1, "FALSIFIED"), row(1, 2, 2, "UNKNOWN")], kind="attack", seed=1)
    assert attacked([attack, second]) == Share(2, 5)
    assert attacked([second]) == Share(1, 2)
    assert attacked([second], [proof]) == Share(1, 2)
    assert attacked([]) is None


def test_proved_compares_exact_rationals(row):
    each = row(0, 1, 1, "CERTIFIED", radius="1/10")
    assert proved(each, Fraction(1, 10)) and proved(each, Fraction(0)) and proved(each, None)
    assert not proved(each, Fraction(0.1))  # the float 0.1 is a little more than a tenth
    assert not proved(row(0, 1, 1, "CERTIFIED", radius=None), Fraction(0))
    assert proved(row(0, 1, 1, "CERTIFIED", radius=None), None)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("timeout", "timeout"),
        ("abstained: a: b (c)", "abstained"),
        (None, "no reason given"),
        ("timeout (x)", "timeout"),
    ],
)
def test_the_code_of_a_reason(row, reason, code):
    assert code_of(row(0, 0, 0, "UNKNOWN", reason=reason)) == code
