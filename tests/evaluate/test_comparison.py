from fractions import Fraction

import numpy as np
import pytest

from unmoved.core import UsageError
from unmoved.evaluate.accuracy import Checks
from unmoved.evaluate.comparison.board import Defence, sections
from unmoved.evaluate.comparison.calibration import calibration
from unmoved.evaluate.comparison.measures import measure
from unmoved.evaluate.comparison.profile import profile
from unmoved.evaluate.comparison.selective import answered, aurc, curve
from unmoved.evaluate.comparison.separation import separation

TENTH, FIFTH = Fraction(1, 10), Fraction(1, 5)


@pytest.fixture
def wide(results, row):
    """The proofs at 1/5 beside `proof`: input 0 is certified, 1 no longer."""
    return results(
        [
            row(0, 1, 1, "CERTIFIED", radius="1/5"),
            row(1, 2, 2, "UNKNOWN"),
            row(2, 3, 3, "UNKNOWN"),
            row(3, 4, 5, "FALSIFIED"),
            row(4, 0, 0, "UNKNOWN"),
        ],
        eps="1/5",
        threat="linf:1/5",
    )


@pytest.fixture
def wrong(results, row):
    """Input 3, whose answer is 5 and label 4, asked about its own answer: certified at 1/10."""
    from dataclasses import replace

    return results([replace(row(0, 5, 5, "CERTIFIED", radius="1/10"), input="i3")])


@pytest.fixture
def made(proof, wide, attack, wrong):
    sure = {f"i{k}": value for k, value in enumerate((0.9, 0.8, 0.7, 0.95, 0.6))}
    return profile([proof, wide], [attack], [wrong], sure)


def defence(part, results, **changes):
    return Defence("here", results([], **changes).run, part, None, (), (), Checks(0, 0, 0))


def test_columns_are_what_the_rows_say(made):
    assert made.radii == (FIFTH, TENTH, 0, TENTH, 0)
    assert made.answers.tolist() == [1, 2, 3, 5, 0] and made.right.tolist() == [True, True, True, False, True]
    assert made.breaks == (None, None, TENTH, 0, None)
    assert made.sizes == (TENTH, FIFTH) and made.attacked == (TENTH,)
    assert (made.clean().count, made.certified(TENTH).count, made.certified(FIFTH).count) == (4, 2, 1)
    assert made.standing(TENTH).count == 3 and made.standing(FIFTH) is None
    assert made.gap(TENTH).count == 1 and made.contradicted() == 0


def test_a_break_inside_a_certificate_is_a_contradiction(proof, results, row):
    against = results([row(0, 1, 1, "FALSIFIED")], kind="attack", eps="1/20")
    assert profile([proof], [against]).contradicted() == 1
    beyond = results([row(0, 1, 1, "FALSIFIED")], kind="attack", eps="1/8")
    assert profile([proof], [beyond]).contradicted() == 0


def test_coverage_and_accuracy_of_what_is_answered(made):
    free, near, far = (answered(made, r) for r in (Fraction(0), TENTH, FIFTH))
    assert (free.coverage.count, free.right.count) == (5, 4)
    assert (near.coverage.count, near.right.count, near.right.total) == (3, 2, 3)
    assert (far.coverage.count, far.right.count) == (1, 1)
    assert [p.radius for p in curve(made)] == [0, TENTH, FIFTH]
    # 1/5 at risk 0, then two more at 1/3, then two more at 1/5
    assert aurc(made).value == pytest.approx(0.4 * (1 / 3) + 0.4 * 0.2)


def test_unknown_wrong_answers_count_as_given(proof, wide):
    part = profile([proof, wide])
    assert part.radii[3] is None and answered(part, FIFTH).coverage.count == 2
    assert answered(part, Fraction(9)).coverage.count == 1


def test_calibration_bins(made):
    found = calibration(made, TENTH)
    assert sum(b.right.total for b in found.by_confidence) == 5 == sum(b.right.total for b in found.by_radius)
    assert [(b.low, b.right.total, b.right.count) for b in found.by_radius] == [(0, 2, 2), (0.1, 2, 1), (0.2, 1, 1)]
    top = found.by_confidence[-1]
    assert (top.low, top.right.total, top.right.count, top.certified.count) == (0.9, 2, 1, 1)
    assert top.confidence == pytest.approx(0.925)
    off = [0.6 - 1, 0.7 - 1, 0.8 - 1, (0.9 + 0.95) - 1]
    assert found.ece.value == pytest.approx(np.abs(off).sum() / 5)
    assert calibration(made.only(made.keys[:0]), TENTH) is None


def test_foreign_inputs(made, results, row):
    foreign = profile(
        [
            results(
                [row(k, 1, 1, "CERTIFIED" if k < 2 else "UNKNOWN", radius="1/10" if k < 2 else None) for k in range(4)]
            )
        ]
    )
    found = separation(made, foreign, (TENTH, FIFTH))
    pairs = [(a > b) + (a == b) / 2 for a in (0.2, 0.1, 0, 0.1, 0) for b in (0.1, 0.1, 0, 0)]
    assert found.radius.value == pytest.approx(np.mean(pairs)) and found.unknown == 0
    assert [share.count for _, share in found.certified] == [2, 0]
    assert found.confidence is None


def test_smoothing_runs_have_their_own_radii_and_votes(results, row):
    part = profile(
        [
            results(
                [
                    row(
                        0, 1, 1, "CERTIFIED", radius="3/4", details={"counts": [5, 95], "top": 1, "sample_radius": 0.75}
                    ),
                    row(1, 1, 0, "UNKNOWN", details={"counts": [80, 20], "top": 0, "sample_radius": 0.5}),
                    row(2, 1, None, "UNKNOWN", details={"counts": [50, 50], "top": 0, "sample_radius": None}),
                ],
                function="g",
                norm="2",
                eps="0",
            )
        ]
    )
    assert part.radii == (Fraction(3, 4), Fraction(1, 2), 0) and part.confidences.tolist() == [0.95, 0.8, 0.5]
    assert part.abstained().count == 1 and part.sizes == ()
    assert answered(part, Fraction(0)).coverage.count == 2


def test_only_common_inputs_are_compared(made, results, proof, wide, attack):
    short = profile([proof, wide], [attack]).only(made.keys[1:4])
    (section,) = sections([defence(made, results), defence(short, results, model="other")])
    assert section.common == 3 and section.restricted
    assert sorted(section.whole) == [3, 5] and all(len(d.profile.keys) == 3 for d in section.defences)
    assert section.sizes == (TENTH, FIFTH)
    (alone,) = sections([defence(made, results)])
    assert not alone.restricted and alone.main == TENTH
    with pytest.raises(UsageError, match="none"):
        sections([defence(made.only(made.keys[:2]), results), defence(made.only(made.keys[2:]), results)])


def test_norms_have_sections_of_their_own(made, results):
    found = sections([defence(made, results), defence(made, results, norm="2")])
    assert [section.norm for section in found] == ["inf", "2"]
    measured = measure(found[0], found[0].defences[0])
    assert measured.at(TENTH).certified.count == 2 and measured.damage == () and measured.contradicted == 0
