"""Each rounding term of the floating engine alone, against the exact residual of its own step.

End to end the slack of the other terms would hide a dropped one. Every test also shows that the residual it bounds
is not zero, and that the bound is not idle: within a factor of what it bounds for sums that round badly.
"""

from array import array
from fractions import Fraction

import numpy as np
import pytest
from check_kit import F

from unmoved_check import floating
from unmoved_check.exact_numbers import Form, Interval, times_power
from unmoved_check.exact_steps import ExactScale
from unmoved_check.floating import Shared, Walk, least_on, least_on_ball
from unmoved_check.floating_leaves import multiplied
from unmoved_check.floating_rounding import TINY, dots, down, float_down, float_up, gamma, raised, up, weighed
from unmoved_check.floating_scope import Pulls
from unmoved_check.floating_steps import (
    Box,
    FloatConv,
    FloatDense,
    FloatMaximum,
    FloatRelu,
    FloatScale,
    FloatSelect,
    FloatSum,
)
from unmoved_check.leaf import Split
from unmoved_check.model.steps import Conv, Dense, Maximum, Relu, Scale, Select, Sum
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region

SCALES = [0, 60, 200, -200]


def exact(values):
    return [F(float(v)) for v in np.ravel(values)]


def numbers(rng, *shape, power=0):
    """Numbers of widely different sizes, and cancelling pairs."""
    return rng.normal(size=shape) * 2.0 ** (rng.integers(-20, 21, size=shape) + power)


def make_box(rng, n, power=0):
    center, radius = numbers(rng, n, power=power), np.abs(numbers(rng, n, power=power))
    return Box(center - radius, center + radius)


def dense_case(rng, power):
    inner, outer = 23, 17
    step = Dense(0, 2, inner, outer, array("d", numbers(rng, outer * inner, power=power)))
    matrix = [exact(step.weights)[n * inner : (n + 1) * inner] for n in range(outer)]
    full = [[F(0)] * r * inner + row + [F(0)] * (1 - r) * inner for r in range(2) for row in matrix]
    return FloatDense(step), [full], 2 * inner


def conv_case(rng, power):
    step = Conv(
        0, 4, (5, 4), 6, (3, 2), (3, 2), (2, 2), (1, 2), (1, 1), 2, array("d", numbers(rng, 6 * 2 * 6, power=power))
    )
    weights, full = exact(step.weights), []
    for o in range(6):
        for r in range(3):
            for c in range(2):
                row = [F(0)] * 80
                for i in range(2):
                    for a in range(3):
                        for b in range(2):
                            y, x = 2 * r - 1 + a, 2 * c - 1 + 2 * b
                            if 0 <= y < 5 and 0 <= x < 4:
                                row[(o // 3 * 2 + i) * 20 + y * 4 + x] += weights[o * 12 + i * 6 + a * 2 + b]
                full.append(row)
    return FloatConv(step), [full], 80


def select_case(rng, power):
    which = [0, 3, 3, -1, 3, 1, -2, 5, 5]
    fill = (F(1, 3) * 2**power, F(5))
    step = FloatSelect(Select((0,), which, fill), (6,))
    full = [[F(int(j == w)) for j in range(6)] for w in which]
    return step, [full, [fill[-1 - w] if w < 0 else F(0) for w in which]], 6


LINEAR = {"dense": dense_case, "conv": conv_case, "select": select_case}


@pytest.mark.parametrize("power", SCALES)
@pytest.mark.parametrize("name", LINEAR)
def test_linear_rows_lose_no_more_than_their_price(name, power):
    rng = np.random.default_rng(len(name) * 1000 + power)
    worst = F(0)
    for _ in range(10):
        step, (matrix, *shift), n = LINEAR[name](rng, power)
        box = make_box(rng, n)
        rows = numbers(rng, 2, len(matrix))
        parts, constant = step.backward(rows, [box])
        price = step.price([box])
        paid = weighed(rows, price) + box.floor
        for r in range(2):
            coefs, found = exact(rows[r]), exact(parts[0][1][r])
            true = [sum(a * row[j] for a, row in zip(coefs, matrix, strict=True)) for j in range(n)]
            lost = sum(abs(a - b) * x for a, b, x in zip(found, true, exact(box.size), strict=True))
            if shift:
                lost += abs(F(float(constant[r])) - sum(a * t for a, t in zip(coefs, shift[0], strict=True)))
            assert lost <= F(float(paid[r]))
            worst = max(worst, lost / F(float(paid[r])))
    assert worst > F(1, 2000), "the bound is of the size of what it bounds"


@pytest.mark.parametrize("power", SCALES)
@pytest.mark.parametrize("name", LINEAR)
def test_linear_boxes_hold_every_point(name, power):
    """Corners of the input box, the adversarial ones too, stay inside; and the box is not needlessly large."""
    rng = np.random.default_rng(len(name) * 1000 + power + 1)
    for _ in range(5):
        step, (matrix, *shift), n = LINEAR[name](rng, power)
        box = make_box(rng, n)
        found, lows, highs = step.forward([box]), exact(box.low), exact(box.high)
        for k, row in enumerate(matrix):
            t = shift[0][k] if shift else F(0)
            least = sum(a * (lo if a > 0 else hi) for a, lo, hi in zip(row, lows, highs, strict=True)) + t
            most = sum(a * (hi if a > 0 else lo) for a, lo, hi in zip(row, lows, highs, strict=True)) + t
            assert F(float(found.low[k])) <= least and most <= F(float(found.high[k]))
            size = sum(abs(a * x) for a, x in zip(row, exact(box.size), strict=True)) + abs(t)
            assert least - F(float(found.low[k])) <= size * F(1, 10**12) + F(1, 10**280)


@pytest.mark.parametrize("power", SCALES)
def test_scale(power):
    rng = np.random.default_rng(power + 300)
    nonzero = False
    for _ in range(20):
        n, k = 9, 4
        thirds = [F(float(v)) / 3 for v in numbers(rng, 2 * k, power=power)]
        gap = F(2) ** (power - 80)
        pairs = tuple(((s, s + gap), (t, t + gap)) for s, t in zip(thirds[:k], thirds[k:], strict=True))
        which = [int(v) for v in rng.integers(0, k, size=n)]
        step, box = FloatScale(Scale(0, pairs, which)), make_box(rng, n)
        rows = numbers(rng, 2, n)
        parts, constant = step.backward(rows, [box])
        paid = weighed(rows, step.price([box])) + box.floor
        ends = [[pairs[w][0][e] for w in which] for e in (0, 1)]
        shifts = [[pairs[w][1][e] for w in which] for e in (0, 1)]
        found = step.forward([box])
        for s, t in zip((ends[0], ends[1]), (shifts[1], shifts[0]), strict=True):
            for r in range(2):
                coefs, got = exact(rows[r]), exact(parts[0][1][r])
                lost = sum(abs(g - a * v) * x for g, a, v, x in zip(got, coefs, s, exact(box.size), strict=True))
                lost += abs(F(float(constant[r])) - sum(a * v for a, v in zip(coefs, t, strict=True)))
                nonzero |= lost > 0
                assert lost <= F(float(paid[r]))
            for j, (lo, hi) in enumerate(zip(exact(box.low), exact(box.high), strict=True)):
                values = [s[j] * lo + t[j], s[j] * hi + t[j]]
                assert F(float(found.low[j])) <= min(values) and max(values) <= F(float(found.high[j]))
    assert nonzero


@pytest.mark.parametrize("which", [0, 1])
def test_scale_pays_for_wide_brackets(which):
    """A bracket much wider than any rounding, of s or of t alone."""
    narrow, wide = (F(1, 4), F(1, 4)), (F(1, 4), F(3, 4))
    step = FloatScale(Scale(0, ((wide, narrow) if which == 0 else (narrow, wide),), [0]))
    box = Box(np.array([-2.0]), np.array([2.0]))
    paid = float((weighed(np.ones((1, 1)), step.price([box])) + box.floor)[0])
    assert paid >= (0.5 if which == 0 else 0.25)
    found = step.forward([box])
    assert found.low[0] <= (-1.25 if which == 0 else -0.25) and found.high[0] >= (1.75 if which == 0 else 1.25)


def test_sum_box_and_join():
    rng = np.random.default_rng(5)
    rounded = False
    for sign in (1, -1):
        a, b = make_box(rng, 40), make_box(rng, 40, 10)
        found = FloatSum(Sum(0, 1, sign)).forward([a, b])
        low, high = (b.low, b.high) if sign > 0 else (-b.high, -b.low)
        for x, y, z in zip(exact(a.low), exact(low), exact(found.low), strict=True):
            assert z <= x + y
        for x, y, z in zip(exact(a.high), exact(high), exact(found.high), strict=True):
            assert x + y <= z
    for _ in range(20):
        box, first, second = make_box(rng, 30), numbers(rng, 2, 30), numbers(rng, 2, 30)
        walk = Walk({0: first}, np.zeros(2), Shared([box]))
        walk.add(0, second)
        for r in range(2):
            true = [x + y for x, y in zip(exact(first[r]), exact(second[r]), strict=True)]
            got = exact(walk.coefs[0][r])
            lost = sum(abs(x - y) * s for x, y, s in zip(got, true, exact(box.size), strict=True))
            rounded |= lost > 0
            assert lost <= -F(float(walk.constant[r]))
    assert rounded


def test_pay_only_lowers():
    rng = np.random.default_rng(6)
    for _ in range(200):
        start, more, loss = numbers(rng, 3), numbers(rng, 3), np.abs(numbers(rng, 3))
        walk = Walk({}, start, Shared([]))
        walk.pay(more, loss)
        for got, a, b, c in zip(exact(walk.constant), exact(start), exact(more), exact(loss), strict=True):
            assert got <= a + b - c


@pytest.mark.parametrize("power", [0, 60, -1000])
def test_relu_lines_hold_at_the_ends_and_the_kink(power):
    """The row and the constant are below a * relu(x) at low, 0 and high: enough, both sides are linear between."""
    rng = np.random.default_rng(power + 2000)
    for slopes in (None, rng.random((1, 50)), rng.choice([0.0, 1.0], (1, 50))):
        for _ in range(20):
            box = make_box(rng, 50, power)
            step = FloatRelu(Relu(0))
            rows = numbers(rng, 1, 50) * (rng.random((1, 50)) < 0.9)
            for i in range(50):
                one = np.zeros((1, 50))
                one[0, i] = rows[0, i]
                found, constant = step.lines(one, box.low[None], box.high[None], slopes)
                a, c, k = F(rows[0, i]), F(found[0, i]), F(float(constant[0])) - F(box.floor)
                assert not found[0, np.arange(50) != i].any()
                low, high = F(box.low[i]), F(box.high[i])
                for x in {low, high, min(max(F(0), low), high)}:
                    assert c * x + k <= a * max(x, F(0))


def test_relu_chord_is_steep_enough_without_help_of_the_constant():
    """|c| >= |a| high / (high - low) in exact numbers, for awkward ends; a chord rounded down would cut the corner."""
    rng = np.random.default_rng(8)
    plain_fails = 0
    for _ in range(4000):
        low, high, a = -abs(rng.normal()), abs(rng.normal()) * 2.0 ** rng.integers(-30, 30), -abs(rng.normal())
        found, _ = FloatRelu(Relu(0)).lines(np.array([[a]]), np.array([[low]]), np.array([[high]]), None)
        true = F(a) * F(high) / (F(high) - F(low))
        assert F(found[0, 0]) <= true
        plain_fails += F(a * (high / (high - low))) > true
    assert plain_fails > 500


def test_relu_constant_covers_its_sum():
    rng = np.random.default_rng(9)
    for _ in range(50):
        box, step, rows = make_box(rng, 60), FloatRelu(Relu(0)), -np.abs(numbers(rng, 2, 60))
        found, constant = step.lines(rows, box.low[None], box.high[None], None)
        for r in range(2):
            unstable = [
                (c, lo) for c, lo, hi in zip(*map(exact, (found[r], box.low, box.high)), strict=True) if lo < 0 < hi
            ]
            assert F(float(constant[r])) <= sum((-c * lo for c, lo in unstable), F(0))


def test_maximum():
    rng = np.random.default_rng(10)
    for _ in range(30):
        windows = tuple(tuple(int(v) for v in rng.permutation(12)[: rng.integers(1, 5)]) for _ in range(20))
        step, box = FloatMaximum(Maximum(0, windows), 12), make_box(rng, 12)
        rows = numbers(rng, 2, 20)
        parts, constant = step.backward(rows, [box])
        paid = weighed(rows, step.price([box])) + box.floor
        points = [exact(box.low), exact(box.high)]
        points += [
            [rng_pick(rng, lo, hi) for lo, hi in zip(*map(exact, (box.low, box.high)), strict=True)] for _ in range(5)
        ]
        for r in range(2):
            for x in points:
                true = sum(a * max(x[j] for j in w) for a, w in zip(exact(rows[r]), windows, strict=True))
                bound = sum(c * v for c, v in zip(exact(parts[0][1][r]), x, strict=True)) + F(float(constant[r]))
                assert bound - F(float(paid[r])) <= true


def test_maximum_pays_for_collected_coefficients():
    """Inputs that win in many windows, with highs of 0, so that no other term of the price is at work."""
    rng, rounded = np.random.default_rng(16), False
    step = FloatMaximum(Maximum(0, ((0,),) * 15), 1)
    box = Box(np.array([-1000.0]), np.array([0.0]))
    for _ in range(50):
        rows = numbers(rng, 1, 15)
        parts, _ = step.backward(rows, [box])
        lost = abs(F(float(parts[0][1][0, 0])) - sum(exact(rows))) * 1000
        rounded |= lost > 0
        assert lost <= F(float((weighed(rows, step.price([box])) + box.floor)[0]))
    assert rounded


def test_maximum_pays_for_its_constant():
    """The greatest low and the greatest high belong to different inputs: only the constant is large."""
    rng, rounded = np.random.default_rng(17), False
    step = FloatMaximum(Maximum(0, ((0, 1),) * 40), 2)
    box = Box(np.array([-1e-12, -999.7]), np.array([1e-12, 999.7]))
    for _ in range(50):
        rows = -np.abs(numbers(rng, 1, 40))
        parts, constant = step.backward(rows, [box])
        assert not parts[0][1].any()
        lost = abs(F(float(np.asarray(constant)[0])) - sum(exact(rows)) * F(999.7))
        rounded |= lost > 0
        assert lost <= F(float((weighed(rows, step.price([box])) + box.floor)[0]))
    assert rounded


@pytest.mark.parametrize("positive", [True, False])
def test_multipliers_of_splits_take_no_more_than_the_split_says(positive):
    """What is taken off a row is some m' >= 0 times z, and the constant gains at most m' p: for leaves and scopes."""
    rng, sign, rounded = np.random.default_rng(18), 1 if positive else -1, 0
    for _ in range(150):
        n = 6
        points = [F(int(rng.integers(-(10**9), 10**9)), int(rng.integers(1, 10**9))) for _ in range(n)]
        points = [p * F(2) ** int(rng.integers(-40, 41)) if rng.random() < 0.9 else F(0) for p in points]
        splits = [Split(1, i, positive, 0.0, p) for i, p in enumerate(points)]
        multipliers = np.abs(numbers(rng, 3, n)).astype(np.float32).astype(float)
        rows = numbers(rng, 3, n) * (rng.random((3, n)) < 0.9)
        # a split that takes all of a coefficient leaves only the product with the point to be rounded
        rows = np.where(rng.random((3, n)) < 0.3, sign * multipliers, rows)
        before, which = exact(rows), np.array([2, 0, 1])
        coefs = {1: rows[which].copy()}
        gain = Pulls(splits, multipliers).add(coefs, which, [None, Box(np.zeros(n), np.ones(n))])
        for r, k in enumerate(which):
            taken = [sign * (a - c) for a, c in zip(before[k * n : k * n + n], exact(coefs[1][r]), strict=True)]
            assert min(taken) >= 0
            rounded += sum(m != F(float(v)) for m, v in zip(taken, multipliers[k], strict=True))
            true = sign * sum((m * p for m, p in zip(taken, points, strict=True)), F(0))
            size = sum((abs(m * p) + abs(F(float(c)) * p) for m, p, c in zip(taken, points, coefs[1][r], strict=True)))
            assert true - size / 2**48 - F(1, 2**300) <= F(float(gain[r])) <= true
            for i, split in enumerate(splits):
                row = rows[k].copy()
                alone = multiplied(row, Split(1, i, positive, float(multipliers[k, i]), split.point))
                assert F(float(alone)) <= (F(float(rows[k, i])) - F(float(row[i]))) * split.point
                one = {1: rows[k : k + 1].copy()}
                single = Pulls([split], multipliers[k : k + 1, i : i + 1]).add(one, np.array([0]), [None])
                assert float(single[0]) <= float(np.nextafter(alone, np.inf)) and one[1][0, i] == row[i]
                assert F(float(single[0])) <= (F(float(rows[k, i])) - F(float(row[i]))) * split.point
    assert rounded > 100


def rng_pick(rng, low, high):
    return low + (high - low) * F(int(rng.integers(0, 9)), 8)


@pytest.mark.parametrize("power", SCALES)
def test_least_on_box_and_balls(power):
    rng = np.random.default_rng(power + 400)
    for _ in range(30):
        box, rows = make_box(rng, 25, power), numbers(rng, 2, 25)
        center = tuple(float(v) for v in numbers(rng, 25, power=power))
        for r in range(2):
            row = exact(rows[r])
            least = sum(
                a * (lo if a > 0 else hi) for a, lo, hi in zip(row, *map(exact, (box.low, box.high)), strict=True)
            )
            assert F(float(least_on(rows, box)[r])) <= least
            middle = sum(a * F(c) for a, c in zip(row, center, strict=True))
            eps = F(7, 255)
            one = F(float(least_on_ball(rows, Ball(center, "1", eps))[r]))
            assert one <= middle - eps * max(map(abs, row))
            two = F(float(least_on_ball(rows, Ball(center, "2", eps))[r]))
            gap = (middle - two) / eps
            assert gap > 0 and gap * gap >= sum(a * a for a in row)


def test_euclidean_norm_is_rounded_up():
    """About the origin only the norm is left. Squares of just under half a unit next to 1 are lost in every sum."""
    rows = np.full((1, 128), np.sqrt(0.95 * 2.0**-53))
    rows[0, 0] = 1.0
    true = sum(a * a for a in exact(rows))
    naive = np.sqrt((rows * rows).sum(axis=1))[0]
    assert F(float(naive) * (1 + 2.0**-51)) ** 2 < true, "two units in the last place would not do"
    norm = -least_on_ball(rows, Ball((0.0,) * 128, "2", F(1)))
    assert F(float(norm[0])) ** 2 >= true


@pytest.mark.parametrize("which", [0, 1])
def test_exact_scale_pays_for_wide_brackets(which):
    narrow, wide = (F(1, 4), F(1, 4)), (F(1, 4), F(3, 4))
    step = ExactScale(Scale(0, ((wide, narrow) if which == 0 else (narrow, wide),), [0]))
    box = Interval([-2], [2], 0)
    found = step.forward([box])
    for s in (F(1, 4), F(3, 4)) if which == 0 else (F(1, 4),):
        for t in (F(1, 4), F(3, 4)) if which == 1 else (F(1, 4),):
            for x in (-2, 2):
                assert times_power(found.low[0], found.exp) <= s * x + t <= times_power(found.high[0], found.exp)
                for a in (3, -3):
                    form = Form()
                    step.backward(form, [a], 0, [box])
                    coefs, exp = form.coefs[0]
                    assert times_power(coefs[0], exp) * x + form.constant <= a * (s * x + t)


def test_hull_holds_the_region():
    rng = np.random.default_rng(11)
    for eps in (F(1, 10), F(8, 255), F(1, 3), F(0)):
        center = tuple(float(v) for v in numbers(rng, 50).astype(np.float32))
        box = floating.input_hull(Region(ball=Ball(center, "inf", eps)))
        for c, lo, hi in zip(exact(center), exact(box.low), exact(box.high), strict=True):
            assert lo <= c - eps and c + eps <= hi
        clip = (F(-1, 3), F(1, 3))
        inside = tuple(float(v) for v in rng.uniform(-0.3, 0.3, 50))
        box = floating.input_hull(Region(ball=Ball(inside, "inf", eps), clip=clip))
        for c, lo, hi in zip(exact(inside), exact(box.low), exact(box.high), strict=True):
            assert lo <= max(c - eps, clip[0]) and min(c + eps, clip[1]) <= hi


def test_directed_conversions():
    rng = np.random.default_rng(12)
    for _ in range(2000):
        number = F(int(rng.integers(-(10**9), 10**9)), int(rng.integers(1, 10**9))) * F(2) ** int(rng.integers(-90, 90))
        low, high = float_down(number), float_up(number)
        assert F(low) <= number <= F(high) and high <= np.nextafter(low, np.inf)
    with pytest.raises(Rejection):
        float_up(F(10) ** 400)


def test_raised_and_weighed():
    """Sums of like-signed products rounded against us stay below `raised`; gamma is at least g_n and not far above."""
    rng = np.random.default_rng(13)
    for n in (1, 2, 5, 100, 3000):
        a, b = np.abs(numbers(rng, 2, n)), np.abs(numbers(rng, n))
        for r, bound in enumerate(raised(dots(a, b), n)):
            assert F(float(bound)) >= sum(x * y for x, y in zip(exact(a[r]), exact(b), strict=True))
        g = Fraction(n, 2**53) / (1 - Fraction(n, 2**53))
        assert g / (1 - g) < F(gamma(n)) < 10 * g
    ones = np.full((1, 4096), 1.0 + 2.0**-52)
    naive = 0.0
    for v in ones[0]:
        naive += v * (1.0 + 2.0**-52)
    true = 4096 * F(1.0 + 2.0**-52) ** 2
    assert F(naive) != true
    assert F(float(raised(np.array([naive]), 4096)[0])) >= true
    with pytest.raises(Rejection):
        gamma(1 << 31)
    assert TINY > 2.0**30 * 2.0**-1022


def test_underflow_is_paid_for():
    """Weights, rows and inputs whose products vanish: 1e-200 * 1e-200 * 1e150 ... are lost, but not for free."""
    step = FloatDense(Dense(0, 1, 3, 2, array("d", [1e-200] * 6)))
    box = Box(np.full(3, -1e150), np.full(3, 1e150))
    rows = np.full((1, 2), 1e-200)
    parts, _ = step.backward(rows, [box])
    assert not parts[0][1].any()
    paid = float((weighed(rows, step.price([box])) + box.floor)[0])
    assert F(paid) >= 2 * 3 * F(1e-200) * F(1e-200) * F(1e150)


def test_overflow_is_refused():
    rows = np.full((1, 2), 1e200)
    walk = Walk({0: rows}, np.zeros(1), Shared([Box(np.full(2, 1e199), np.full(2, 1e199))]))
    with np.errstate(all="ignore"):
        walk.pay(rows @ np.full(2, 1e200), 0.0)
        assert not np.isfinite(walk.constant).any()
        for infinite in (np.inf, -np.inf, np.nan):
            assert np.isnan(down(np.array([infinite]))).all() and np.isnan(up(np.array([infinite]))).all()
    with pytest.raises(Rejection, match="too large"):
        floating.checked(Box(np.zeros(1), np.full(1, 1e201)))
    with pytest.raises(Rejection, match="too large"):
        floating.checked(Box(np.zeros(1), np.full(1, np.nan)))


def test_ieee_is_tested_for():
    floating.require_ieee()
