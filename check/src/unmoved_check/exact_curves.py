"""Lines around elementwise functions in rationals: any slope, the intercept a proved bound of f(x) - slope x.

The reasoning is that of `floating_curves`, one element at a time: concave or linear pieces at their ends, convex ones
by a tangent at any point, what lies within an enclosed knot by evaluating f on all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import acos, ceil, floor, pi, sin, tau

from unmoved_check.exact_spans import Enclosed, ExactKit, ScalarKit
from unmoved_check.formulas import PI, formula
from unmoved_check.model.curve import Curve, Piece
from unmoved_check.outcome import Rejection

HALVINGS = 50

ARCHES, FARTHEST = 6, 1 << 29
"""Of a wave: intervals of more half turns, or further out, are not cut up."""

STEPS = 40
"""Of the search for a wave's default slope: nothing is claimed of what is found."""


class ExactPart:
    """One piece, its ends those within which its bend is proved."""

    def __init__(self, piece: Piece):
        self.bend = piece.bend
        self.low = None if piece.low is None else piece.low[1]
        self.high = None if piece.high is None else piece.high[0]
        self._formula = formula(piece.formula)
        self._spans = [ExactKit.number(p) for p in piece.parameters]
        self._plain = [ScalarKit.number(p) for p in piece.parameters]
        self._factor, self._rate = ExactKit.number(piece.factor), ExactKit.number(piece.rate)
        self._near = ScalarKit.number(piece.factor), ScalarKit.number(piece.rate)

    def value(self, low: Fraction, high: Fraction | None = None) -> Enclosed:
        """An enclosure of f on [low, high]."""
        x = Enclosed(low, low if high is None else high)
        found: Enclosed = self._factor * self._formula.value(ExactKit, self._rate * x, self._spans)
        return found

    def slope(self, x: Fraction) -> Enclosed:
        """An enclosure of f'."""
        inner = self._formula.slope(ExactKit, self._rate * Enclosed(x, x), self._spans)
        found: Enclosed = self._factor * (self._rate * inner)
        return found

    def near(self, x: float) -> float:
        """About f."""
        factor, rate = self._near
        return float(factor * self._formula.value(ScalarKit, rate * x, self._plain))

    def near_slope(self, x: float) -> float:
        """About f'."""
        factor, rate = self._near
        return float(factor * rate * self._formula.slope(ScalarKit, rate * x, self._plain))

    def within(self, low: Fraction, high: Fraction) -> tuple[Fraction, Fraction] | None:
        """The part of [low, high] that lies on this piece."""
        a = low if self.low is None else max(low, self.low)
        b = high if self.high is None else min(high, self.high)
        return (a, b) if a <= b else None


class ExactCurve:
    """One function's ranges and lines."""

    def __init__(self, curve: Curve):
        self.curve = curve
        self.parts = [ExactPart(piece) for piece in curve.pieces]

    def require(self, low: Fraction, high: Fraction) -> None:
        """Refuse an interval that leaves the domain."""
        domain = self.curve.domain
        if domain != "all" and not low > 0 and (domain == "positive" or not high < 0):
            raise Rejection(f"the input of {self.curve.name} may lie outside its domain")

    def range(self, low: Fraction, high: Fraction) -> tuple[Fraction, Fraction]:
        """Bounds of f on [low, high]."""
        self.require(low, high)
        if self.curve.monotone:
            ends = (low, high) if self.curve.monotone > 0 else (high, low)
            return min(v.low for v in self._values(ends[0])), max(v.high for v in self._values(ends[1]))
        return self.least(1, Fraction(0), low, high), -self.least(-1, Fraction(0), low, high)

    def _values(self, x: Fraction) -> list[Enclosed]:
        """F at x by the formulas of all pieces that may hold it."""
        found = []
        for piece, part in zip(self.curve.pieces, self.parts, strict=True):
            if (piece.low is None or piece.low[0] <= x) and (piece.high is None or x <= piece.high[1]):
                found.append(part.value(x))
        return found

    def near(self, x: float) -> float:
        """About f."""
        best = self.parts[0]
        for part in self.parts[1:]:
            if part.low is not None and x >= part.low:
                best = part
        return best.near(x)

    def least(self, sign: int, slope: Fraction, low: Fraction, high: Fraction) -> Fraction:
        """A lower bound of sign f(x) - slope x on [low, high]."""
        if self.curve.wave:
            return self._under_arches(sign, slope, low, high)
        bounds = []
        for part in self.parts:
            inside = part.within(low, high)
            if inside is None:
                continue
            if sign * part.bend > 0:
                bounds.append(_under_tangent(part, sign, slope, *inside))
            else:
                bounds += [_under_point(part, sign, slope, x) for x in inside]
        for place, (left, right) in enumerate(self.curve.knots):
            a, b = max(low, left), min(high, right)
            if left != right and a <= b:
                for part in self.parts[place : place + 2]:
                    value = part.value(a, b)
                    bounds.append((value.low if sign > 0 else -value.high) - max(slope * a, slope * b))
        return min(bounds)

    def _under_arches(self, sign: int, slope: Fraction, low: Fraction, high: Fraction) -> Fraction:
        """A lower bound of sign f(x) - slope x for a wave: at least -1 - slope x, or what its arches say.

        Between neighbouring multiples of pi (of pi / 2, odd ones, for a cosine) it bends one way.
        """
        flat = -1 - max(slope * low, slope * high)
        ahead = 1 if self.curve.name == "cos" else 0
        place = (floor(low * 2 / PI[0]) + ahead) // 2 - 1
        if high - low > ARCHES * PI[0] or abs(place) > FARTHEST:
            return flat
        (part,), bounds = self.parts, []
        left = _knot(2 * place - ahead)
        if left[0] > low:
            return flat
        while left[0] <= high:
            right = _knot(2 * (place + 1) - ahead)
            a, b = max(low, left[0]), min(high, left[1])
            if a <= b:
                value = part.value(a, b)
                bounds.append((value.low if sign > 0 else -value.high) - max(slope * a, slope * b))
            a, b = max(low, left[1]), min(high, right[0])
            if a <= b and (place % 2 == 0) == (sign > 0):
                bounds += [_under_point(part, sign, slope, x) for x in (a, b)]
            elif a <= b:
                bounds.append(_under_tangent(part, sign, slope, a, b))
            place, left = place + 1, right
        return max(min(bounds), flat)

    def lines(
        self, low: Fraction, high: Fraction, slopes: tuple[float, float] | None
    ) -> tuple[tuple[Fraction, Fraction], tuple[Fraction, Fraction]]:
        """(slope, intercept) of a line below and of one above, of the given slopes or of the default ones."""
        self.require(low, high)
        if slopes is None:
            slopes = self.envelope(1, low, high), -self.envelope(-1, low, high)
        below, above = (Fraction(s) for s in slopes)
        return (below, self.least(1, below, low, high)), (above, -self.least(-1, -above, low, high))

    def envelope(self, sign: int, low: Fraction, high: Fraction) -> float:
        """About the slope at the middle of the convex envelope of sign f on [low, high]."""
        l, u = float(low), float(high)  # noqa: E741 - as in the papers
        middle = l + (u - l) * 0.5
        if not l < u:
            return 0.0
        if self.curve.wave:
            return _wave_slope((0 if sign > 0 else pi) + (pi / 2 if self.curve.name == "cos" else 0), l, u)
        for part in self.parts:
            inside = part.within(low, high)
            if sign * part.bend > 0 and inside is not None and inside[0] < inside[1]:
                return _touching(self, part, sign, (l, u, float(inside[0]), float(inside[1]), middle))
        return self._chord(sign, l, u, middle)

    def _chord(self, sign: int, low: float, high: float, middle: float) -> float:
        """The slope of the lowest chord over the middle between ends and knots."""
        knots = [min(max(float(k[0]), low), high) for k in self.curve.knots]
        points = [(x, sign * self.near(x)) for x in (low, *knots, high)]
        best, slope = float("inf"), 0.0
        for i, (a, fa) in enumerate(points):
            for b, fb in points[i + 1 :]:
                if a <= middle <= b and a < b:
                    rise = (fb - fa) / (b - a)
                    if fa + rise * (middle - a) <= best:
                        best, slope = fa + rise * (middle - a), rise
        return slope


def _knot(number: int) -> tuple[Fraction, Fraction]:
    """Between which rationals `number` times pi / 2 lies."""
    ends = [end * number / 2 for end in PI]
    return min(ends), max(ends)


def _under_point(part: ExactPart, sign: int, slope: Fraction, x: Fraction) -> Fraction:
    value = part.value(x)
    return (value.low if sign > 0 else -value.high) - slope * x


def _under_tangent(part: ExactPart, sign: int, slope: Fraction, a: Fraction, b: Fraction) -> Fraction:
    """g(t) + min(0, e (b - t), e (a - t)), e all that f'(t) - slope may be, t about where it is 0."""
    low, high, target = float(a), float(b), float(slope)
    if sign * part.near_slope(low) >= target:
        t = a
    elif sign * part.near_slope(high) <= target:
        t = b
    else:
        t = min(max(Fraction(_halved(lambda x: sign * part.near_slope(x) < target, low, high)), a), b)
    steep = part.slope(t)
    steep = steep if sign > 0 else -steep
    drop = min((steep.low - slope) * (b - t), (steep.high - slope) * (a - t), Fraction(0))
    return _under_point(part, sign, slope, t) + drop


def _wave_slope(phase: float, low: float, high: float) -> float:
    """As `floating_waves.slope_at_middle`."""
    middle, least, most = low + (high - low) * 0.5, -1.0, 1.0
    for _ in range(STEPS):
        s = (least + most) * 0.5
        first = ceil((low + phase + acos(s)) / tau) * tau - acos(s) - phase
        points = [low, high, *(min(max(first + k * tau, low), high) for k in range(ARCHES // 2 + 1))]
        lowest = min(points, key=lambda x, s=s: sin(x + phase) - s * (x - middle))  # type: ignore[misc]
        least, most = (s, most) if lowest < middle else (least, s)
    return (least + most) * 0.5


def _halved(below: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(HALVINGS):
        middle = low + (high - low) * 0.5
        low, high = (middle, high) if below(middle) else (low, middle)
    return low + (high - low) * 0.5


def _touching(curve: ExactCurve, part: ExactPart, sign: int, at: tuple[float, float, float, float, float]) -> float:
    """As `floating_curves._touching`."""
    low, high, first, last, middle = at
    left, right = sign * curve.near(low), sign * curve.near(high)
    start, stop = first, last
    if low < first:
        start = _halved(lambda t: sign * (part.near(t) - part.near_slope(t) * (t - low)) > left, first, last)
    if last < high:
        stop = _halved(lambda t: sign * (part.near(t) + part.near_slope(t) * (high - t)) < right, first, last)
    if not start < stop:
        return (right - left) / (high - low)
    if middle < start:
        return (sign * part.near(start) - left) / (start - low)
    if middle > stop:
        return (right - sign * part.near(stop)) / (high - stop)
    return sign * part.near_slope(min(max(middle, first), last))
