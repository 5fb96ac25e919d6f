from fractions import Fraction

import numpy as np
import pytest

from unmoved.evaluate import Share
from unmoved.evaluate.curves import average_radius, by_eps, by_radius, certified_at


@pytest.fixture
def smoothed(row):
    """40 rows: radii (some alike), wrong answers with and without certificate, abstentions."""
    g = np.random.default_rng(3)
    made = []
    for i in range(40):
        radius = str(Fraction(int(g.integers(1, 30)), 16))
        kind = g.integers(0, 5)
        if kind == 0:
            made.append(row(i, 1, None, "UNKNOWN", reason="abstained"))
        elif kind == 1:
            made.append(row(i, 1, 2, "CERTIFIED", radius=radius))
        else:
            made.append(row(i, 1, 1, "CERTIFIED", radius=radius))
    return made


def test_the_curve_is_the_brute_count_at_every_radius(smoothed):
    points = by_radius(smoothed)
    for r in [p.radius for p in points] + [Fraction(k, 7) for k in range(20)]:
        count = sum(1 for x in smoothed if x.prediction == 1 and x.radius and Fraction(x.radius) >= r)
        assert certified_at(smoothed, r) == Share(count, 40)
    heights = [p.share.count for p in points]
    assert heights == sorted(heights, reverse=True) and points[0].radius == 0
    assert len({p.radius for p in points}) == len(points)


def test_the_average_radius_counts_wrong_and_unanswered_as_zero_and_is_rounded_down(smoothed):
    exact = sum((Fraction(x.radius) for x in smoothed if x.prediction == 1), Fraction(0)) / 40
    assert Fraction(average_radius(smoothed)) <= exact
    assert average_radius(smoothed) == pytest.approx(float(exact), rel=1e-15)


def test_a_third_is_rounded_down(row):
    rows = [row(0, 1, 1, "CERTIFIED", radius="1"), row(1, 1, 1, "UNKNOWN"), row(2, 1, 1, "UNKNOWN")]
    assert Fraction(average_radius(rows)) < Fraction(1, 3)


def test_one_point_an_eps_from_the_larger_run(results, row, proof):
    small = results([row(0, 1, 1, "CERTIFIED", radius="1/10")], seed=9)
    wide = results([row(0, 1, 1, "CERTIFIED", radius="1/5"), row(1, 2, 2, "UNKNOWN")], eps="1/5", threat="linf:1/5")
    points = by_eps([wide, small, proof])
    assert [(p.radius, p.share) for p in points] == [(Fraction(1, 10), Share(2, 5)), (Fraction(1, 5), Share(1, 2))]
