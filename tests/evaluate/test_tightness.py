from dataclasses import replace
from fractions import Fraction

import pytest

from unmoved.evaluate import Results, Share, agreement, contradictions, settled, upper_bound, views


def test_attacks_outside_every_certificate_contradict_nothing(proof, attack):
    assert contradictions(proof, attack) == ()
    (view,) = views([proof, attack])
    found = agreement(view)
    assert (found.tested, found.agreed) == (2, 2)
    assert upper_bound(view, Fraction(1, 10)) == Share(3, 5)


def breaking(attack, row, **changes):
    """The attack, but input 0, which is certified, is broken."""
    return Results(replace(attack.run, **changes), (row(0, 1, 1, "FALSIFIED"), *attack.rows[1:]))


@pytest.mark.parametrize("eps", ["1/10", "1/20"])
def test_a_break_inside_a_certificate_is_found(proof, attack, row, eps):
    bad = breaking(attack, row, eps=eps)
    assert [c.index for c in contradictions(proof, bad)] == [0]
    (view,) = views([proof, bad])
    found = agreement(view)
    assert (found.tested, found.agreed) == (2, 1)
    assert found.contradictions[0].radius == Fraction(1, 10)


def test_a_break_farther_out_is_none(proof, attack, row):
    assert contradictions(proof, breaking(attack, row, eps="1/5")) == ()


def test_a_near_witness_of_a_wide_attack_is_one(proof, attack, row):
    wide = Results(replace(attack.run, eps="1/5"), (row(0, 1, 1, "FALSIFIED", details={"distance": 0.05}),))
    assert len(contradictions(proof, wide)) == 1
    wide = Results(replace(attack.run, eps="1/5"), (row(0, 1, 1, "FALSIFIED", details={"distance": 0.15}),))
    assert contradictions(proof, wide) == ()


@pytest.mark.parametrize(
    "changes",
    [{"model": "n"}, {"data": "e"}, {"function": "g"}, {"norm": "2"}, {"clip": None}, {"clip": ("-1", "1")}],
)
def test_another_question_contradicts_nothing(proof, attack, row, changes):
    assert contradictions(proof, breaking(attack, row, **changes)) == ()


def test_an_attack_in_a_narrower_range_does(proof, attack, row):
    assert len(contradictions(proof, breaking(attack, row, clip=("0", "1/2")))) == 1


def test_another_input_under_the_same_number_is_not_compared(proof, attack, row):
    other = replace(row(0, 1, 1, "FALSIFIED"), input="elsewhere")
    assert contradictions(proof, Results(attack.run, (other,))) == ()


def test_an_answer_that_differs_at_x_itself_is_a_contradiction(proof, attack, row):
    assert len(contradictions(proof, Results(attack.run, (row(0, 1, 7, "FALSIFIED"),)))) == 1


def test_boxes_are_compared_by_name(results, row):
    box = {"norm": None, "eps": None, "clip": None}
    inside = results([row(0, 1, 1, "CERTIFIED", radius=None)], threat="box:a", **box)
    hit = results([row(0, 1, 1, "FALSIFIED")], threat="box:a", kind="attack", **box)
    elsewhere = results([row(0, 1, 1, "FALSIFIED")], threat="box:b", kind="attack", **box)
    assert len(contradictions(inside, hit)) == 1 and contradictions(inside, elsewhere) == ()
    assert len(views([inside, hit, elsewhere])) == 2


def test_every_input_is_settled_once(proof, attack):
    (view,) = views([proof, attack])
    found = settled(view, Fraction(1, 10))
    assert (found.proved, found.open, found.broken, found.wrong, found.abstained) == (2, 1, 1, 1, 0)
    assert found.total == 5


def test_both_proved_and_broken_counts_as_broken(proof, attack, row):
    (view,) = views([proof, breaking(attack, row)])
    assert settled(view, Fraction(1, 10)).proved == 1


def test_smoothing_runs_of_two_noises_are_two_questions(results, row):
    one = results([row(0, 1, 1, "CERTIFIED", radius="1")], function="g", norm="2", settings={"sigma": "1/2"})
    two = results([row(0, 1, 1, "CERTIFIED", radius="1")], function="g", norm="2", settings={"sigma": "1/4"})
    assert len(views([one, two])) == 2


def test_an_attack_alone_is_a_view_of_its_own(attack):
    (view,) = views([attack])
    assert view.certify == () and settled(view, Fraction(1, 10)).total == 5
