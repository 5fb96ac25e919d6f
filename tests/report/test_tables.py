from fractions import Fraction

import pytest

from unmoved.evaluate import Share, read_results, views
from unmoved.report.tables import both, conversions, focus, lines


def test_conversions_hold_in_exact_arithmetic():
    for norm, other, power in (("2", "inf", Fraction(1, 2)), ("1", "2", Fraction(1, 2)), ("1", "inf", Fraction(1))):
        (found,) = conversions(norm, 784, [Fraction(1, 3)])
        exact_squared = (Fraction(1, 3) ** 2) / Fraction(784) ** int(2 * power)
        assert found.inside[other] ** 2 <= exact_squared
        assert float(found.inside[other] ** 2) == pytest.approx(float(exact_squared))
    (found,) = conversions("inf", 784, [Fraction(1, 3)])
    assert set(found.inside.values()) == {Fraction(1, 3)}
    (found,) = conversions("2", 785, [Fraction(1)])
    assert found.inside["1"] == 1 and found.inside["inf"] ** 2 * 785 < 1


def test_lines_of_f_are_its_runs_with_the_attacks_beside_them(full, world):
    store, rows = full
    view = next(v for v in views(read_results(store)) if v.function == "f")
    for line, eps in zip(lines(view), ("1/20", "1/10", "3/20", "1/5"), strict=True):
        certified = sum(r.verdict == "CERTIFIED" for r in rows["certify", "f", eps])
        standing = sum(r.verdict != "FALSIFIED" for r in rows["attack", "f", eps])
        assert line.radius == Fraction(eps)
        assert line.certified == Share(certified, 60) and line.attacked == Share(standing, 60)
        assert line.gap == Fraction(standing - certified, 60)
        assert line.settled.total == 60


def test_lines_of_g_are_read_off_its_radii(full, world):
    store, rows = full
    view = next(v for v in views(read_results(store)) if v.function == "g")
    found = {line.radius: line for line in lines(view)}
    assert {Fraction(1, 4), Fraction(1, 2), Fraction(1)} <= set(found)
    for radius, line in found.items():
        right = [r for r in rows["certify", "g", "0"] if r.prediction == r.label and r.radius]
        assert line.certified == Share(sum(Fraction(r.radius) >= radius for r in right), 60)


def test_the_first_sentence_is_about_the_size_that_is_asked_for(full):
    store, _ = full
    found = lines(views(read_results(store))[0])
    assert focus(found, Fraction(1, 5)).radius == Fraction(1, 5)
    most = focus(found)
    assert most.certified.value >= Fraction(1, 2)
    assert all(line.certified.value < Fraction(1, 2) for line in found if line.radius > most.radius)


def test_f_stands_beside_g_on_the_same_inputs(full, world):
    store, _ = full
    every = views(read_results(store))
    view = next(v for v in every if v.function == "g")
    found = both(view, every)
    assert found.f == Share(int((world.f == world.y).sum()), 60)
    assert found.abstained == sum(row.prediction is None for row in view.certify[0].rows)
    assert both(next(v for v in every if v.function == "f"), every) is None
