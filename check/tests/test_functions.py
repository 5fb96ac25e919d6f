"""The functions' enclosures against mpmath, the lines against their exact extremes, every rounding term alone."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from check_kit import F

from unmoved_check.exact_curves import ExactCurve
from unmoved_check.floating_bent import FloatProduct, Planes, Side, _shift
from unmoved_check.floating_curves import FloatCurve
from unmoved_check.floating_rounding import TINY
from unmoved_check.floating_spans import FARTHEST, FloatKit, Span, _exp
from unmoved_check.floating_steps import Box
from unmoved_check.model import curve
from unmoved_check.model.steps import Product
from unmoved_check.outcome import Rejection

mp = mpmath.mp.clone()
mp.prec = 240
A, B = F(float(np.float32(0.7978846))), F(float(np.float32(0.7978846))) * F(float(np.float32(0.044715)))

ORACLE = {
    "sigmoid": (curve.SIGMOID, lambda x: 1 / (1 + mp.exp(-x))),
    "tanh": (curve.TANH, mp.tanh),
    "erf": (curve.ERF, mp.erf),
    "exp": (curve.EXP, mp.exp),
    "softplus": (curve.SOFTPLUS, lambda x: mp.log1p(mp.exp(x))),
    "log": (curve.LOG, mp.log),
    "atan": (curve.ATAN, mp.atan),
    "sin": (curve.SIN, mp.sin),
    "cos": (curve.COS, mp.cos),
    "softsign": (curve.SOFTSIGN, lambda x: x / (1 + abs(x))),
    "gelu": (curve.GELU, lambda x: x * (1 + mp.erf(x)) / 2),
    "gelu-tanh": (
        curve.gelu_tanh((A, A), (B, B)),
        lambda x: x * (1 + mp.tanh(number(A) * x + number(B) * x**3)) / 2,
    ),
    "silu": (curve.SILU, lambda x: x / (1 + mp.exp(-x))),
    "silu-scaled": (
        curve.scaled(curve.SILU, curve.exactly(-2), curve.exactly(F(17, 10))),
        lambda x: -2 * (mp.mpf(17) / 10 * x) / (1 + mp.exp(-mp.mpf(17) / 10 * x)),
    ),
    "mish": (curve.MISH, lambda x: x * mp.tanh(mp.log1p(mp.exp(x)))),
    "elu": (curve.elu(F(1), F(1), F(1)), lambda x: x if x > 0 else mp.expm1(x)),
    "elu-steep": (curve.elu(F(1), F(3), F(1)), lambda x: x if x > 0 else 3 * mp.expm1(x)),
    "hard-swish": (curve.HARD_SWISH, lambda x: x * min(max(x / 6 + mp.mpf(1) / 2, 0), 1)),
    "clip": (curve.clip(F(-1), F(1, 2)), lambda x: min(max(x, -1), mp.mpf(1) / 2)),
    "ramp": (curve.ramp(F(-1, 3), F(1, 5)), lambda x: min(max(-x / 3 + mp.mpf(1) / 5, 0), 1)),
    "sign": (curve.SIGN, mp.sign),
    "reciprocal": (curve.power(F(-1)), lambda x: 1 / x),
    "root": (curve.power(F(1, 2)), mp.sqrt),
    "inverse-root": (curve.power(F(-1, 2)), lambda x: 1 / mp.sqrt(x)),
    "square": (curve.power(F(2)), lambda x: x * x),
    "cube": (curve.power(F(3)), lambda x: x**3),
    "inverse-square": (curve.power(F(-2)), lambda x: 1 / (x * x)),
    "power": (curve.power(F(13, 10)), lambda x: x ** (mp.mpf(13) / 10)),
}


SLACK = mp.mpf(10) ** -40
"""What the oracle itself rounds, 1 + tanh far out for instance."""


def number(x):
    x = F(x)
    return mp.mpf(x.numerator) / x.denominator


def intervals(rng, given, n=14):
    middle = rng.normal(size=n) * rng.choice([0.1, 1, 5, 25], n)
    radius = np.abs(rng.normal(size=n)) * rng.choice([1e-9, 0.1, 1, 5], n)
    low, high = middle - radius, middle + radius
    if given.domain != "all":
        low = np.abs(low) + 1e-3
        high = low + 2 * radius
    if given.domain == "sided":
        flip = rng.random(n) < 0.5
        low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    return low, high


@pytest.mark.parametrize("name", ORACLE)
def test_lines_hold_and_are_tight(name):
    """No sampled point violates a line or a range of either engine; both engines' intercepts agree."""
    given, f = ORACLE[name]
    rng = np.random.default_rng(len(name))
    fast, exact = FloatCurve(given), ExactCurve(given)
    low, high = intervals(rng, given)
    random = (rng.normal(size=low.size), rng.normal(size=low.size))
    ranges = fast.range(low, high)
    for slopes in (None, random):
        lines = fast.lines(low, high, slopes)
        for i, (a, b) in enumerate(zip(low, high, strict=True)):
            xs = [number(a) + (number(b) - number(a)) * k / 60 for k in range(61)]
            values = [f(x) for x in xs]
            pair = float(lines.below[i]), float(lines.above[i])
            below, above = exact.lines(F(a), F(b), pair)
            for s, least, sign in ((*below, 1), (*above, -1)):
                assert all(
                    sign * (v - number(s) * x - number(least)) >= -SLACK * (1 + abs(v) + abs(x))
                    for x, v in zip(xs, values, strict=True)
                )
            size = 1 + max(abs(float(v)) for v in values) + max(map(abs, pair)) * max(abs(a), abs(b))
            assert F(float(lines.below_shift[i])) <= below[1] + F(1, 10**25)
            assert abs(float(lines.below_shift[i]) - float(below[1])) < 2e-6 * size
            assert abs(float(lines.above_shift[i]) - float(above[1])) < 2e-6 * size
            for s, t, sign in (
                (lines.below[i], lines.below_shift[i], 1),
                (lines.above[i], lines.above_shift[i], -1),
            ):
                assert all(
                    sign * (v - number(float(s)) * x - number(float(t))) >= -SLACK
                    for x, v in zip(xs, values, strict=True)
                )
            ends = exact.range(F(a), F(b))
            for least, most in (ends, (float(ranges[0][i]), float(ranges[1][i]))):
                assert number(least) <= min(values) + SLACK and max(values) <= number(most) + SLACK


@pytest.mark.parametrize("name", [n for n in ORACLE if n not in ("sign",)])
def test_values_and_slopes_hold_mpmaths(name):
    """f and f' at awkward points: huge, tiny, next to knots; the spans hold the truth and are narrow."""
    given, f = ORACLE[name]
    rng = np.random.default_rng(3)
    points = rng.normal(size=60) * 10.0 ** rng.integers(-12, 2, size=60)
    for left, right in FloatCurve(given).knots:
        points = np.concatenate([points, [left, right, np.nextafter(left, -np.inf), np.nextafter(right, np.inf)]])
    points = points[np.abs(points) > 1e-100] if given.domain == "sided" else points
    points = np.abs(points) + 1e-12 if given.domain == "positive" else points[points != 0]
    fast = FloatCurve(given)
    low, high = fast.least_value(points), fast.most_value(points)
    for x, a, b in zip(points, low, high, strict=True):
        true = f(number(float(x)))
        assert number(float(a)) <= true + SLACK and true <= number(float(b)) + SLACK
        assert float(b) - float(a) <= 1e-12 * max(1.0, abs(float(true)), abs(float(x)))
    for part in fast.parts:
        inside = points[(points > part.low) & (points < part.high)][:25]
        if not inside.size:
            continue
        steep = part.slope(inside)
        for x, a, b in zip(
            inside, np.broadcast_to(steep.low, inside.shape), np.broadcast_to(steep.high, inside.shape), strict=True
        ):
            with mp.workprec(400):
                true = mp.diff(f, number(float(x)), h=mp.mpf(2) ** -160)
            slack = mp.mpf(10) ** -30 * (1 + abs(true))
            assert number(float(a)) - slack <= true <= number(float(b)) + slack


@pytest.mark.parametrize("name", ["gelu", "gelu-tanh", "silu", "silu-scaled", "mish"])
def test_bends_are_as_said(name):
    """The second derivative's sign on every piece, near the knots too, and that it changes within them."""
    given, f = ORACLE[name]
    for piece in given.pieces:
        low = number(piece.low[1]) if piece.low else mp.mpf(-14)
        high = number(piece.high[0]) if piece.high else mp.mpf(14)
        for k in range(41):
            x = low + (high - low) * mp.mpf(k) / 40
            with mp.workprec(500):
                second = mp.diff(f, x, 2, h=mp.mpf(2) ** -120)
            assert piece.bend * second >= -(mp.mpf(10) ** -18)


def test_exp_is_within_its_loss():
    """Worst points: the ends of the reduced range, and where rounding k ln 2 matters most."""
    rng = np.random.default_rng(4)
    near = (rng.integers(-1000, 1001, size=1500) + rng.choice([0.5, 0.49999, 0.0], 1500)) * np.log(2)
    points = np.concatenate([near, rng.uniform(-FARTHEST, FARTHEST, 1500), rng.normal(size=500) * 1e-9])
    points = points[np.abs(points) <= FARTHEST]
    low, high = _exp(points)
    worst = 0.0
    for x, a, b in zip(points, low, high, strict=True):
        true = mp.exp(number(float(x)))
        assert number(float(a)) < true < number(float(b))
        middle = (number(float(a)) + number(float(b))) / 2
        worst = max(worst, float(abs(middle - true) / true) * 2.0**53)
    assert 0.3 < worst < 32, "the bound of 64 u is not idle, and not near"
    low, high = _exp(np.array([-800.0, 800.0, np.nan]))
    assert low[0] == 0.0 and 0 < high[0] < 1e-300 and np.isnan(low[1:]).all() and np.isnan(high[1:]).all()


def test_spans_are_rounded_outward():
    rng = np.random.default_rng(5)
    ends = [np.sort(rng.normal(size=(2, 40)) * 2.0 ** rng.integers(-30, 30, size=40), axis=0) for _ in range(2)]
    a, b = (Span(*e) for e in ends)
    for found, op in ((a + b, "+"), (a - b, "-"), (a * b, "*")):
        for i in range(40):
            for x in (F(a.low[i]), F(a.high[i])):
                for y in (F(b.low[i]), F(b.high[i])):
                    true = {"+": x + y, "-": x - y, "*": x * y}[op]
                    assert F(found.low[i]) < true < F(found.high[i])
    assert np.isnan((a / Span(-np.ones(40), np.ones(40))).low).all()
    root = FloatKit.sqrt(Span(np.full(1, 2.0), np.full(1, 2.0)))
    assert F(root.low[0]) ** 2 < 2 < F(root.high[0]) ** 2


@pytest.mark.parametrize("given", [curve.LOG, curve.power(F(-1)), curve.power(F(1, 2))], ids=lambda c: c.name)
def test_domains_are_kept(given):
    for low, high in ((-1.0, 1.0), (0.0, 1.0)):
        with pytest.raises(Rejection, match="domain"):
            FloatCurve(given).range(np.array([low]), np.array([high]))
        with pytest.raises(Rejection, match="domain"):
            ExactCurve(given).lines(F(low), F(high), None)


def test_planes_below_products():
    """Whatever the coefficients: the constant makes planes of them, at corners and within, and little is lost."""
    rng = np.random.default_rng(6)
    for _ in range(40):
        ends = [np.sort(rng.normal(size=(2, 1, 5)) * 2.0 ** rng.integers(-20, 20), axis=0) for _ in range(2)]
        plane = tuple(rng.normal(size=(1, 5)) * 2.0 ** rng.integers(-20, 20) for _ in range(2))
        for sign in (1, -1):
            shift = _shift([tuple(e) for e in ends], plane, float(sign))
            for i in range(5):
                corners = [
                    sign * (F(x) * F(y) - F(plane[0][0, i]) * F(x) - F(plane[1][0, i]) * F(y))
                    for x in ends[0][:, 0, i]
                    for y in ends[1][:, 0, i]
                ]
                size = sum(
                    abs(F(p[0, i])) * max(map(abs, map(F, e[:, 0, i]))) for p, e in zip(plane, ends, strict=True)
                )
                size += max(abs(F(x) * F(y)) for x in ends[0][:, 0, i] for y in ends[1][:, 0, i])
                assert F(shift[0, i]) < min(corners)
                assert min(corners) - F(shift[0, i]) <= size * F(1, 10**14) + F(1, 10**280)


def test_pulled_rows_lose_no_more_than_they_pay():
    """The price of coefficients alone, and of the constant alone, against exact residuals."""
    rng, rounded = np.random.default_rng(7), [False, False]
    n = 30
    for which in (0, 1):
        for _ in range(20):
            size = np.abs(rng.normal(size=n)) if which == 0 else np.zeros(n)
            below, above = (rng.normal(size=(1, n)) for _ in range(2))
            shifts = [rng.normal(size=(1, n)) if which else np.zeros((1, n)) for _ in range(2)]
            planes = Planes((Side(0, below, above, size),), *shifts)
            rows = rng.normal(size=(2, n))
            ((_, found),), constant, loss = planes.pull(rows, planes.price)
            for r in range(2):
                lost = F(0)
                total = F(0)
                for i in range(n):
                    a = F(rows[r, i])
                    s, t = (below, shifts[0]) if a > 0 else (above, shifts[1])
                    lost += abs(F(found[r, i]) - a * F(s[0, i])) * F(size[i])
                    total += a * F(t[0, i])
                lost += abs(F(constant[r]) - total)
                rounded[which] |= lost > 0
                assert lost <= F(loss[r])
                assert F(loss[r]) < F(1, 10**12)
    assert all(rounded)


def test_product_boxes():
    rng = np.random.default_rng(8)
    low, high = np.sort(rng.normal(size=(2, 2, 30)), axis=0)
    boxes = [Box(low[0], high[0]), Box(low[1], high[1])]
    found = FloatProduct(Product(0, 1)).forward(boxes)
    for i in range(30):
        ends = [F(x) * F(y) for x in (low[0, i], high[0, i]) for y in (low[1, i], high[1, i])]
        assert F(found.low[i]) < min(ends) and max(ends) < F(found.high[i])
    assert TINY > 0 and Fraction(TINY) > 0
