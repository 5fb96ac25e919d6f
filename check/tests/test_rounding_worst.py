"""The rounding terms against the worst case, not against what happens: chance never adds all roundings up."""

from array import array

import numpy as np
import pytest
from check_kit import F, mlp
from test_rounding import LINEAR, exact, make_box, numbers, select_case

from unmoved_check import exact as integers
from unmoved_check.exact_numbers import Form, Interval, times_power
from unmoved_check.exact_steps import ExactMaximum
from unmoved_check.floating import FloatEngine, Shared, input_hull, least_on, least_on_ball
from unmoved_check.floating_steps import Box, FloatDense, FloatMaximum, FloatScale
from unmoved_check.leaf import Leaf
from unmoved_check.model.steps import Dense, Maximum, Scale
from unmoved_check.onnx_reader import read_graph
from unmoved_check.region import Ball, Cut, Region


def test_errors_of_subnormal_centres_are_not_lost():
    """gamma times a centre of 2^-1040 is zero in float64; large weights would make a visible error of it."""
    rng, plain_fails = np.random.default_rng(19), 0
    for _ in range(50):
        weights, x = rng.normal(size=6) * 2.0**200, rng.normal(size=6) * 2.0**-1040
        found = FloatDense(Dense(0, 1, 6, 1, array("d", weights))).forward([Box(x, x)])
        true = sum(a * b for a, b in zip(exact(weights), exact(x), strict=True))
        plain_fails += abs(F(float(weights @ x)) - true) > 0
        assert F(float(found.low[0])) <= true <= F(float(found.high[0]))
    assert plain_fails > 10


def g(n):
    return F(n, 2**53) / (1 - F(n, 2**53))


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_linear_steps_pay_the_whole_a_priori_bound(name):
    """Real roundings rarely add up to g_n |W| X; a price of half of it would pass every random residual."""
    rng = np.random.default_rng(20)
    step, (matrix, *_), n = LINEAR[name](rng, 0)
    roundings = 17 if name == "dense" else 3 + 6 - 1  # products in a sum of the transposed step, and sums of those
    box = make_box(rng, n)
    sizes = exact(box.size)
    for price, row in zip(exact(step.price([box])), matrix, strict=True):
        assert price >= g(roundings) * sum(abs(a) * x for a, x in zip(row, sizes, strict=True))
    x = numbers(rng, n)
    found = step.forward([Box(x, x)])
    for low, high, row in zip(exact(found.low), exact(found.high), matrix, strict=True):
        terms = [abs(a * v) for a, v in zip(row, exact(x), strict=True)]
        assert high - low >= 2 * g(sum(t > 0 for t in terms)) * sum(terms)


def test_other_steps_pay_the_whole_a_priori_bound():
    rng = np.random.default_rng(21)
    select, _, n = select_case(rng, 0)
    box = make_box(rng, n)
    price, sizes = exact(select.price([box])), exact(box.size)
    for j, place in enumerate([0, 3, 3, None, 3, 1, None, 5, 5]):
        if place in (3, 5):
            assert price[j] >= g(3 if place == 3 else 2) * sizes[place]
    assert price[3] >= g(2) * F(1, 3) and price[6] >= g(2) * 5
    scale = FloatScale(Scale(0, (((F(2), F(2)), (F(7), F(7))),), [0] * 50))
    flat = Box(np.zeros(50), np.zeros(50))
    assert min(exact(scale.price([flat]))) >= g(50) * 7
    greatest = FloatMaximum(Maximum(0, ((0, 1),) * 40), 2)
    for ends, worth in (((-9.0, -9.0), 9), ((-9.0, 5.0), 9 + 5)):
        wide = Box(np.full(2, ends[0]), np.full(2, ends[1]))
        assert min(exact(greatest.price([wide]))) >= g(40) * worth
    rows = numbers(rng, 1, n)
    value = (np.maximum(rows, 0.0) @ box.low + np.minimum(rows, 0.0) @ box.high)[0]
    total = sum(abs(a) * x for a, x in zip(exact(rows), sizes, strict=True))
    assert F(float(least_on(rows, box)[0])) <= F(float(value)) - g(n + 1) * total
    center = tuple(float(v) for v in numbers(rng, n))
    about = sum(abs(a * c) for a, c in zip(exact(rows), exact(center), strict=True))
    low = F(float(least_on_ball(rows, Ball(center, "1", F(0)))[0]))
    assert low <= F(float((rows @ np.array(center))[0])) - g(n) * about


def test_a_ball_holds_its_box():
    rng, rounded = np.random.default_rng(22), False
    for _ in range(50):
        box = make_box(rng, 40)
        for low, high, centre, radius in zip(*map(exact, (box.low, box.high, *box.ball())), strict=True):
            assert high - centre <= radius and centre - low <= radius
            rounded |= F(max(float(high) - float(centre), float(centre) - float(low))) < max(
                high - centre, centre - low
            )
    assert rounded


def test_many_underflows_are_paid_for():
    """A thousand products that are each rounded to zero add up to hundreds of the least float64."""
    step = FloatDense(Dense(0, 1, 1000, 1, array("d", [0.65 * 2.0**-537] * 1000)))
    x = np.full(1000, 0.7 * 2.0**-537)
    found = step.forward([Box(x, x)])
    true = sum(F(a) * F(float(b)) for a, b in zip(step.weights.ravel().tolist(), x, strict=True))
    assert true > 400 * F(2) ** -1074 and F(float(found.high[0])) >= true


@pytest.mark.parametrize("point", [F(1, 3), F(2, 3), F(-1, 3), F(-2, 3)])
def test_both_sides_of_a_cut_hold_the_cut(point):
    """A child that ends before a point which is no float would leave a gap between the children."""
    for below in (True, False):
        region = Region(ball=Ball((0.0,), "inf", F(1)), cuts=(Cut(0, point, below),))
        box, exactly = input_hull(region), integers.input_hull(region)
        for low, high in (
            (F(float(box.low[0])), F(float(box.high[0]))),
            (times_power(exactly.low[0], exactly.exp), times_power(exactly.high[0], exactly.exp)),
        ):
            assert low <= point <= high and (high - point if below else point - low) < F(1, 2**50)


@pytest.mark.parametrize("gap", [2.0**-50, 1e-7])
def test_what_wins_almost_always_does_not_win(gap):
    """x0 in [1, 2] against x1 in [0, 1 + gap]: -max(x0, x1) is -(1 + gap) at the worst of x0 = 1."""
    step = FloatMaximum(Maximum(0, ((0, 1),)), 2)
    box = Box(np.array([1.0, 0.0]), np.array([2.0, 1.0 + gap]))
    parts, constant = step.backward(np.array([[-1.0]]), [box])
    a, b = exact(parts[0][1])
    assert a + b * F(1.0 + gap) + F(float(np.asarray(constant).ravel()[0])) <= -F(1.0 + gap)
    form, top = Form(), int(F(1.0 + gap) * 2**52)
    ExactMaximum(Maximum(0, ((0, 1),)), 2).backward(form, [-1], 0, [Interval([2**52, 0], [2**53, top], 52)])
    coefs, _ = form.coefs[0]
    assert coefs[0] + coefs[1] * F(1.0 + gap) + form.constant <= -F(1.0 + gap)


def test_an_objective_that_is_no_float_is_paid_for():
    graph = read_graph(mlp([(np.eye(2), np.zeros(2))]))
    boxes = [Box(np.full(size, -1000.0), np.full(size, 1000.0)) for size in graph.sizes]
    walk = FloatEngine(graph)._start(Shared(boxes), [Leaf(0, {0: 1 + F(2) ** -60, 1: F(1)}, F(0))])
    assert F(float(walk.constant[0])) <= -1000 * F(2) ** -60


def test_the_integer_norm_is_no_smaller_than_the_norm():
    for row in ([1, 1], [3, 4], [1, 2, 7]):
        low = integers.least_on_ball(row, 3, Ball((0.0,) * len(row), "2", F(1)))
        assert (low * 8) ** 2 >= sum(a * a for a in row)
