"""Properties: which outputs are unsafe, and what is refused at the door."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmoved.core import Disjunct, LinearProperty, SameClass, UsageError

numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(numbers, min_size=2, max_size=6), st.data())
def test_same_class_is_strictly_largest(y, data):
    label = data.draw(st.integers(0, len(y) - 1))
    safe = all(y[label] > v for j, v in enumerate(y) if j != label)
    with np.errstate(over="ignore"):
        assert SameClass(label).violated(y) is not safe


@pytest.mark.parametrize("y", [[1.0, 1.0], [0.0, -0.0], [5e-324, 5e-324], [1.0, np.nextafter(1.0, 2)]])
def test_ties_and_less_are_violations(y):
    assert SameClass(0).violated(y)


def test_the_least_lead_is_safe():
    assert not SameClass(0).violated([5e-324, 0.0])
    assert not SameClass(1).violated(np.array([[1.0, np.nextafter(1.0, 2)]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_number_is_a_violation(bad, place):
    y = np.array([9.0, 1.0, 1.0])
    y[place] = bad
    assert SameClass(0).violated(y)
    assert LinearProperty((Disjunct(np.eye(3), np.full(3, -100.0)),)).violated(y)


def test_disjuncts_in_order():
    disjuncts = SameClass(1).disjuncts(3)
    assert [d.rows.tolist() for d in disjuncts] == [[[-1, 1, 0]], [[0, 1, -1]]]
    assert all(d.bounds.tolist() == [0] and d.rows.dtype == np.float64 for d in disjuncts)


@pytest.mark.parametrize("label", [-1, 3, 10, True, False, np.True_, 1.0, 0.5, "1", None, float("nan")], ids=repr)
def test_label_out_of_range(label):
    with pytest.raises(UsageError, match=r"^label: .*from 0 to 2"):
        SameClass(label).disjuncts(3)


def test_numpy_labels_are_labels():
    assert len(SameClass(np.int64(2)).disjuncts(3)) == 2


def test_one_output_has_no_classes():
    """With a single output nothing could ever be violated: a proof of nothing, for every input."""
    with pytest.raises(UsageError, match="two outputs or more"):
        SameClass(0).disjuncts(1)


def test_linear_property_is_a_union_of_intersections():
    band = Disjunct(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 0.0]))  # 0 <= y0 <= 1
    low = Disjunct(np.array([[0.0, 1.0]]), np.array([-3.0]))  # y1 <= -3
    prop = LinearProperty((band, low))
    answers = {y: prop.violated(y) for y in [(0.5, 0), (0, 0), (1, 0), (1.5, 0), (-0.5, 0), (1.5, -3), (1.5, -2.9)]}
    assert answers == {
        (0.5, 0): True,
        (0, 0): True,
        (1, 0): True,
        (1.5, 0): False,
        (-0.5, 0): False,
        (1.5, -3): True,
        (1.5, -2.9): False,
    }
    assert not LinearProperty(()).violated([0.0, 0.0])


@pytest.mark.parametrize(
    ("rows", "bounds"),
    [
        (np.ones((1, 3)), np.zeros(2)),
        (np.ones((2, 3)), np.zeros((2, 1))),
        (np.ones(3), np.zeros(3)),
        (np.ones((0, 3)), np.zeros(0)),
        (np.full((1, 3), np.nan), np.zeros(1)),
        (np.ones((1, 3)), np.array([np.inf])),
        (np.ones((1, 3), int), np.zeros(1)),
        ([[1.0, 1.0, 1.0]], [0.0]),
    ],
)
def test_disjunct_refuses(rows, bounds):
    """A NaN would make its polyhedron empty, and so everything safe."""
    with pytest.raises(UsageError, match=r"rows|bounds"):
        Disjunct(rows, bounds)


def test_linear_property_wants_one_coefficient_an_output():
    with pytest.raises(UsageError, match=r"^unsafe: .*\(k, 2\)"):
        LinearProperty((Disjunct(np.ones((1, 3)), np.zeros(1)),)).disjuncts(2)


def test_float32_is_widened_exactly():
    d = Disjunct(np.array([[0.1]], np.float32), np.array([0.2], np.float32))
    assert Fraction(float(d.rows[0, 0])) == Fraction(float(np.float32(0.1))) and d.bounds.dtype == np.float64
