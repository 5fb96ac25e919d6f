from fractions import Fraction

import numpy as np

from unmoved.evaluate.risk import aurc, by_eps, by_radius, point


def test_without_ties_aurc_is_the_mean_of_the_selective_risks(row):
    g = np.random.default_rng(5)
    wrong = g.random(30) < 0.3
    radii = g.permutation(30) + 1
    rows = [row(i, 1, 2 if wrong[i] else 1, "CERTIFIED", radius=str(int(radii[i]))) for i in range(30)]
    order = np.argsort(-radii)
    risks = [Fraction(int(wrong[order[: k + 1]].sum()), k + 1) for k in range(30)]
    assert aurc(by_radius(rows)) == sum(risks) / 30


def test_coverage_falls_and_ends_at_the_largest_radius(row):
    rows = [row(i, 1, 1, "CERTIFIED", radius=f"{i + 1}/8") for i in range(8)]
    points = by_radius(rows)
    coverage = [p.coverage for p in points]
    assert coverage == sorted(coverage, reverse=True) and coverage[0] == 1 and coverage[-1] == Fraction(1, 8)
    assert all(p.risk == 0 for p in points) and aurc(points) == 0


def test_a_certified_wrong_answer_is_a_risk_as_far_as_it_holds(row):
    rows = [row(0, 1, 2, "CERTIFIED", radius="1/2"), row(1, 1, 1, "CERTIFIED", radius="1")]
    assert point(rows, Fraction(1, 4)).risk == Fraction(1, 2)
    assert point(rows, Fraction(3, 4)).risk == 0


def test_smoothing_tells_how_far_a_wrong_answer_holds_though_it_is_not_certified(row):
    rows = [row(0, 1, 2, "UNKNOWN", details={"sample_radius": 0.5}), row(1, 1, 1, "CERTIFIED", radius="1")]
    near, far = point(rows, Fraction(1, 4)), point(rows, Fraction(3, 4))
    assert (near.coverage, near.risk, near.maybe) == (1, Fraction(1, 2), 0)
    assert (far.coverage, far.risk) == (Fraction(1, 2), 0)


def test_where_nobody_asked_the_risk_is_bounded_from_both_sides(row):
    rows = [row(0, 1, 2, "FALSIFIED"), row(1, 1, 1, "CERTIFIED", radius="1"), row(2, 1, 1, "UNKNOWN")]
    found = point(rows, Fraction(1))
    assert (found.maybe, found.risk, found.least_risk, found.coverage) == (1, Fraction(1, 2), 0, Fraction(2, 3))


def test_nothing_answered_is_no_risk_and_no_crash(row):
    rows = [row(0, 1, None, "UNKNOWN", reason="abstained")]
    assert point(rows, Fraction(0)).risk is None and aurc(by_radius(rows)) == 0


def test_one_point_an_eps(proof, results, row):
    wide = results([row(0, 1, 1, "CERTIFIED", radius="1/5"), row(1, 2, 2, "UNKNOWN")], eps="1/5")
    points = by_eps([wide, proof])
    assert [p.radius for p in points] == [Fraction(1, 10), Fraction(1, 5)]
    assert points[0].right == 2 and points[0].maybe == 1 and points[1].coverage == Fraction(1, 2)
