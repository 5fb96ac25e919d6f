"""Lines around elementwise functions in float64: any slope, and the intercept as a proved bound of f(x) - slope x.

On [low, high] the least of g(x) = f(x) - s x is bounded piece by piece. Concave or linear: it is at an end. Convex: g
lies above its tangent at any point t, g(x) >= g(t) + (f'(t) - s)(x - t), so that t (where f' is about s) needs no
proof. What lies between the two ends of an enclosed knot is bounded by evaluating f on all of it at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from unmoved_check.floating_rounding import Array, down, float_down, float_up, up
from unmoved_check.floating_spans import FloatKit, PlainKit, Span
from unmoved_check.floating_waves import Arches, slope_at_middle
from unmoved_check.formulas import formula
from unmoved_check.model.curve import Curve, Piece
from unmoved_check.outcome import Rejection

HALVINGS = 50
"""Of a bracket of the point where f' is a given slope."""


@dataclass(frozen=True)
class Lines:
    """below x + below_shift <= f(x) <= above x + above_shift, element by element."""

    below: Array
    below_shift: Array
    above: Array
    above_shift: Array


class Part:
    """One piece with float ends within which its bend is proved."""

    def __init__(self, piece: Piece):
        self.bend = piece.bend
        self.low = -np.inf if piece.low is None else float_up(piece.low[1])
        self.high = np.inf if piece.high is None else float_down(piece.high[0])
        self._formula = formula(piece.formula)
        self._spans = [FloatKit.number(p) for p in piece.parameters]
        self._plain = [PlainKit.number(p) for p in piece.parameters]
        one = (Fraction(1), Fraction(1))
        self._scaled = (piece.factor, piece.rate) != (one, one)
        self._factor, self._rate = FloatKit.number(piece.factor), FloatKit.number(piece.rate)
        self._near = PlainKit.number(piece.factor), PlainKit.number(piece.rate)

    def value(self, low: Array, high: Array | None = None) -> Span:
        """An enclosure of f on [low, high], tight at a point."""
        x = Span(low, low if high is None else high)
        if self._scaled:
            found: Span = self._factor * self._formula.value(FloatKit, self._rate * x, self._spans)
        else:
            found = self._formula.value(FloatKit, x, self._spans)
        return Span(*(np.broadcast_to(end, low.shape) for end in (found.low, found.high)))

    def slope(self, x: Array) -> Span:
        """An enclosure of f'."""
        if self._scaled:
            inner: Span = self._formula.slope(FloatKit, self._rate * Span(x, x), self._spans)
            return self._factor * (self._rate * inner)
        found: Span = self._formula.slope(FloatKit, Span(x, x), self._spans)
        return found

    def near(self, x: Array) -> Array:
        """About f."""
        factor, rate = self._near
        found = np.asarray(self._formula.value(PlainKit, rate * x, self._plain), dtype=np.float64)
        return np.broadcast_to(factor * found, x.shape)

    def near_slope(self, x: Array) -> Array:
        """About f'."""
        factor, rate = self._near
        found = np.asarray(self._formula.slope(PlainKit, rate * x, self._plain), dtype=np.float64)
        return np.broadcast_to(factor * rate * found, x.shape)

    def where(self, sign: float, slope: Array, low: Array, high: Array) -> Array:
        """A point of [low, high] where the least of sign f(x) - slope x is, or nearly: sign f is convex there."""
        found = np.where(sign * self.near_slope(low) >= slope, low, high)
        inside = (sign * self.near_slope(low) < slope) & (sign * self.near_slope(high) > slope) & (low < high)
        if inside.any():
            low, high, slope = (np.broadcast_to(v, inside.shape) for v in (low, high, slope))
            target = slope[inside]
            found[inside] = halved(lambda x: sign * self.near_slope(x) < target, low[inside], high[inside])
        return found


def halved(below, low: Array, high: Array) -> Array:  # type: ignore[no-untyped-def]
    """A point where `below`, true on the left and false on the right, changes."""
    for _ in range(HALVINGS):
        middle = low + (high - low) * 0.5
        left = below(middle)
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return low + (high - low) * 0.5


class FloatCurve:
    """One function's values, ranges and lines."""

    def __init__(self, curve: Curve):
        self.curve = curve
        self.parts = [Part(piece) for piece in curve.pieces]
        self.knots = [(float_down(k[0]), float_up(k[1])) for k in curve.knots]
        self.simple = len({(p.formula, p.parameters, p.factor, p.rate) for p in curve.pieces}) == 1

    def require(self, low: Array, high: Array) -> None:
        """Refuse intervals that leave the domain."""
        domain = self.curve.domain
        inside = low > 0.0 if domain == "positive" else (low > 0.0) | (high < 0.0)
        if domain != "all" and not bool(inside.all()):
            raise Rejection(f"the input of {self.curve.name} may lie outside its domain")

    def range(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Bounds of f on [low, high]."""
        self.require(low, high)
        if self.curve.monotone:
            ends = (low, high) if self.curve.monotone > 0 else (high, low)
            return self.least_value(ends[0]), self.most_value(ends[1])
        zero = np.zeros_like(low)
        return self.least(1.0, zero, low, high), -self.least(-1.0, zero, low, high)

    def least_value(self, x: Array) -> Array:
        """A lower bound of f(x), of either side's limit at a knot."""
        return self._at(x, np.minimum, lambda span: span.low, np.inf)

    def most_value(self, x: Array) -> Array:
        """An upper bound."""
        return self._at(x, np.maximum, lambda span: span.high, -np.inf)

    def _at(self, x: Array, best, end, neutral: float) -> Array:  # type: ignore[no-untyped-def]
        if self.simple:
            return np.asarray(end(self.parts[0].value(x)))
        found = np.full_like(x, neutral)
        lows = [-np.inf, *(k[0] for k in self.knots)]
        highs = [*(k[1] for k in self.knots), np.inf]
        for part, low, high in zip(self.parts, lows, highs, strict=True):
            here = (low <= x) & (x <= high)
            found = np.where(here, best(found, end(part.value(np.where(here, x, np.clip(x, low, high))))), found)
        return found

    def near(self, x: Array) -> Array:
        """About f."""
        found = self.parts[0].near(x)
        for part in self.parts[1:] if not self.simple else ():
            found = np.where(x >= part.low, part.near(np.maximum(x, part.low)), found)
        return found

    def least(self, sign: float, slope: Array, low: Array, high: Array, touch: Array | None = None) -> Array:
        """A lower bound of sign f(x) - slope x on [low, high]; `touch`: where to lay tangents."""
        if self.curve.wave:
            return self._under_arches(sign, slope, low, high)
        best = np.full(np.broadcast_shapes(low.shape, slope.shape), np.inf)
        for part in self.parts:
            a, b = np.maximum(low, part.low), np.minimum(high, part.high)
            here = a <= b
            if not here.any():
                continue
            a, b = np.where(here, a, np.nan), np.where(here, b, np.nan)
            if sign * part.bend > 0:
                bound = _under_tangent(part, sign, slope, a, b, touch)
            else:
                bound = np.minimum(_under_point(part, sign, slope, a), _under_point(part, sign, slope, b))
            best = np.where(here, np.minimum(best, bound), best)
        for place, (left, right) in enumerate(self.knots):
            a, b = np.maximum(low, left), np.minimum(high, right)
            here = a <= b
            if left == right or not here.any():
                continue
            for part in self.parts[place : place + 2]:
                bound = _within(part, sign, slope, np.where(here, a, left), np.where(here, b, left))
                best = np.where(here, np.minimum(best, bound), best)
        return best

    @property
    def ahead(self) -> int:
        """Quarter turns that a wave is ahead of a sine."""
        return 1 if self.curve.name == "cos" else 0

    def _under_arches(self, sign: float, slope: Array, low: Array, high: Array) -> Array:
        """A lower bound of sign f(x) - slope x for a wave: at least -1 - slope x, or what its arches say."""
        (part,), arches = self.parts, Arches(self.ahead, low, high)
        flat = down(-1.0 - np.maximum(up(slope * low), up(slope * high)))
        best = np.full(flat.shape, np.inf)
        for a, b, concave in arches.parts():
            here = (a <= b) & arches.covered
            if not here.any():
                continue
            a, b = np.where(here, a, np.nan), np.where(here, b, np.nan)
            ends = np.minimum(_under_point(part, sign, slope, a), _under_point(part, sign, slope, b))
            bound = np.where(concave == (sign > 0), ends, _under_tangent(part, sign, slope, a, b, None))
            best = np.where(here, np.minimum(best, bound), best)
        for a, b in arches.knots():
            here = (a <= b) & arches.covered
            if here.any():
                bound = _within(part, sign, slope, np.where(here, a, low), np.where(here, b, low))
                best = np.where(here, np.minimum(best, bound), best)
        return np.where(arches.covered, np.maximum(best, flat), flat)

    def lines(self, low: Array, high: Array, slopes: tuple[Array, Array] | None) -> Lines:
        """Lines with the given slopes, or with the default ones."""
        self.require(low, high)
        if slopes is not None:
            below, above = slopes
            return Lines(below, self.least(1.0, below, low, high), above, -self.least(-1.0, -above, low, high))
        middle = low + (high - low) * 0.5
        below, above = self.envelope(1.0, low, high, middle), self.envelope(-1.0, low, high, middle)
        return Lines(
            below,
            self.least(1.0, below, low, high),
            -above,
            -self.least(-1.0, above, low, high),
        )

    def envelope(self, sign: float, low: Array, high: Array, middle: Array) -> Array:
        """About the slope at the middle of the convex envelope of sign f on [low, high]."""
        if self.curve.wave:
            return slope_at_middle(self.ahead, sign, low, high)
        convex = [part for part in self.parts if sign * part.bend > 0]
        active = [(part, np.maximum(low, part.low), np.minimum(high, part.high)) for part in convex]
        chords = self._chords(sign, low, high, middle)
        for part, first, last in active:
            here = first < last
            if here.any():
                chosen = _touching(self, part, sign, (low[here], high[here], first[here], last[here], middle[here]))
                chords[here] = chosen
        return np.where(np.isfinite(chords), chords, 0.0)

    def _chords(self, sign: float, low: Array, high: Array, middle: Array) -> Array:
        """The slope of the lowest chord over the middle between ends and knots."""
        points = [low, *(np.clip(k[0], low, high) for k in self.knots), high]
        heights = [sign * self.near(x) for x in points]
        best, slope = np.full_like(middle, np.inf), np.zeros_like(middle)
        for i in range(len(points)):
            for j in range(i + 1, len(points)):
                width = points[j] - points[i]
                rise = (heights[j] - heights[i]) / np.where(width > 0.0, width, 1.0)
                there = heights[i] + rise * (middle - points[i])
                better = (width > 0.0) & (points[i] <= middle) & (middle <= points[j]) & (there <= best)
                best, slope = np.where(better, there, best), np.where(better, rise, slope)
        return slope


def _under_point(part: Part, sign: float, slope: Array, x: Array) -> Array:
    """Sign f(x) - slope x, rounded down."""
    value = part.value(x)
    return down((value.low if sign > 0 else -value.high) - up(slope * x))


def _under_tangent(part: Part, sign: float, slope: Array, a: Array, b: Array, touch: Array | None) -> Array:
    """g(t) + min(0, e (b - t), e (a - t)), e all that f'(t) - slope may be."""
    t = part.where(sign, slope, a, b) if touch is None else np.clip(touch, a, b)
    steep = part.slope(t)
    steep = steep if sign > 0 else -steep
    least, most = down(steep.low - slope), up(steep.high - slope)
    drop = np.minimum(down(least * up(b - t)), down(most * down(a - t)))
    return down(_under_point(part, sign, slope, t) + np.minimum(drop, 0.0))


def _within(part: Part, sign: float, slope: Array, a: Array, b: Array) -> Array:
    """A lower bound between a and b, which are so near that f is evaluated on all of [a, b]."""
    value = part.value(a, b)
    return down((value.low if sign > 0 else -value.high) - np.maximum(up(slope * a), up(slope * b)))


def _touching(curve: FloatCurve, part: Part, sign: float, at: tuple[Array, Array, Array, Array, Array]) -> Array:
    """The slope at the middle where sign f is convex on [first, last] only: tangents from both ends, and between them.

    From the left end: f(t) - f(low) - f'(t)(t - low) falls with t; from the right one likewise.
    """
    low, high, first, last, middle = at
    left, right = sign * curve.near(low), sign * curve.near(high)

    def from_left(t: Array) -> NDArray[np.bool_]:
        return np.asarray(sign * part.near(t) - left - sign * part.near_slope(t) * (t - low) > 0.0)

    def from_right(t: Array) -> NDArray[np.bool_]:
        return np.asarray(right - sign * part.near(t) - sign * part.near_slope(t) * (high - t) > 0.0)

    start = np.where(low < first, halved(from_left, first, last), first)
    stop = np.where(last < high, halved(from_right, first, last), last)
    tangent = sign * part.near_slope(np.clip(middle, first, last))
    before = (sign * part.near(start) - left) / np.where(start > low, start - low, 1.0)
    after = (right - sign * part.near(stop)) / np.where(high > stop, high - stop, 1.0)
    chord = (right - left) / np.where(high > low, high - low, 1.0)
    between = np.where(middle < start, before, np.where(middle > stop, after, tangent))
    return np.where(start < stop, between, chord)
