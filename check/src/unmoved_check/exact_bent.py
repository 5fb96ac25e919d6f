"""Elementwise functions and products in integers: planes below and above, rows pulled through them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from unmoved_check.exact_curves import ExactCurve
from unmoved_check.exact_numbers import KEPT_BITS, Form, Interval, ceil_at, floor_at, times_power
from unmoved_check.exact_steps import Bounds
from unmoved_check.model.steps import Elementwise, Product

FINE = 256
"""Results of functions, intercepts and slopes are rounded outward to multiples of 2^-FINE."""

WIDE = Fraction(1, 10**6)
"""A smooth function's interval narrower than this is not worth a backward row."""

SHARES = 32
"""Shares of planes are multiples of 2^-SHARES."""

Plane = tuple[tuple[Fraction, ...], Fraction]
"""Coefficients, one a source, and a constant."""


class ExactElementwise:
    """y = f(x)."""

    def __init__(self, step: Elementwise):
        self.sources = (step.source,)
        self.curve = ExactCurve(step.curve)
        self._seen: dict[tuple[int, int, int, tuple[float, float] | None], tuple[Plane, Plane]] = {}

    def forward(self, bounds: Bounds) -> Interval:
        """The range of f."""
        x = bounds[self.sources[0]]
        ranges = [
            self.curve.range(times_power(a, x.exp), times_power(b, x.exp)) for a, b in zip(x.low, x.high, strict=True)
        ]
        return Interval([floor_at(a, FINE) for a, _ in ranges], [ceil_at(b, FINE) for _, b in ranges], FINE)

    def backward(
        self, form: Form, coefs: list[int], exp: int, bounds: Bounds, given: Sequence[float] | None = None
    ) -> None:
        """Lines of the given slopes, or of the default ones."""
        (x,), n = [bounds[v] for v in self.sources], len(coefs)
        chosen: list[Plane | None] = []
        for i, a in enumerate(coefs):
            slopes = None if given is None else (given[i], given[n + i])
            chosen.append(self._lines(x.low[i], x.high[i], x.exp, slopes)[0 if a > 0 else 1] if a else None)
        pulled(form, coefs, exp, bounds, self.sources, chosen)

    def _lines(self, low: int, high: int, exp: int, slopes: tuple[float, float] | None) -> tuple[Plane, Plane]:
        key = (low, high, exp, slopes)
        if key not in self._seen:
            below, above = self.curve.lines(times_power(low, exp), times_power(high, exp), slopes)
            self._seen[key] = ((below[0],), below[1]), ((above[0],), above[1])
        return self._seen[key]

    def open(self, bounds: Bounds) -> list[list[int]]:
        """Which elements' better bounds could matter, for each source."""
        x = bounds[self.sources[0]]
        pairs = list(zip(x.low, x.high, strict=True))
        if not self.curve.curve.linear:
            return [[i for i, (a, b) in enumerate(pairs) if times_power(b - a, x.exp) > WIDE]]
        knots = self.curve.curve.knots
        ends = [(times_power(a, x.exp), times_power(b, x.exp)) for a, b in pairs]
        return [[i for i, (a, b) in enumerate(ends) if any(a < k[1] and b > k[0] for k in knots)]]


class ExactProduct:
    """y = left * right."""

    def __init__(self, step: Product):
        self.sources = (step.left, step.right)

    def forward(self, bounds: Bounds) -> Interval:
        """The least and the greatest product of ends."""
        x, y = (bounds[v] for v in self.sources)
        ends = [
            [p * q for p in (a, b) for q in (c, d)] for a, b, c, d in zip(x.low, x.high, y.low, y.high, strict=True)
        ]
        return Interval([min(e) for e in ends], [max(e) for e in ends], x.exp + y.exp)

    def backward(
        self, form: Form, coefs: list[int], exp: int, bounds: Bounds, given: Sequence[float] | None = None
    ) -> None:
        """Planes by the given shares, halves by default (McCormick 1976)."""
        (x, y), n = [bounds[v] for v in self.sources], len(coefs)
        chosen: list[Plane | None] = []
        for i, a in enumerate(coefs):
            if not a:
                chosen.append(None)
                continue
            at = i if a > 0 else n + i
            half = 1 << SHARES - 1
            share = Fraction(half if given is None else (int(given[at]) << SHARES) // 255, 1 << SHARES)
            ends = [times_power(v, z.exp) for z in (x, y) for v in (z.low[i], z.high[i])]
            chosen.append(_plane(ends, share, a > 0))
        pulled(form, coefs, exp, bounds, self.sources, chosen)

    def open(self, bounds: Bounds) -> list[list[int]]:
        """Elements that are wide and meet a wide one."""
        ends = [bounds[v] for v in self.sources]
        which = [
            i for i in range(len(ends[0].low)) if all(times_power(x.high[i] - x.low[i], x.exp) > WIDE for x in ends)
        ]
        return [which, which]


def _plane(ends: Sequence[Fraction], share: Fraction, below: bool) -> Plane:
    """A mixture of two planes; whatever the coefficients are, x y - p x - q y is extreme at a corner."""
    lx, ux, ly, uy = ends
    q = ux + share * (lx - ux)
    p = uy + share * (ly - uy) if below else ly + share * (uy - ly)
    corners = [x * y - p * x - q * y for x in (lx, ux) for y in (ly, uy)]
    return (p, q), min(corners) if below else max(corners)


def pulled(
    form: Form, coefs: list[int], exp: int, bounds: Bounds, sources: Sequence[int], planes: Sequence[Plane | None]
) -> None:
    """Each coefficient times its plane, which lies on the right side of y; then rounded down to KEPT_BITS.

    A coefficient c that becomes c - d loses d x >= d low.
    """
    constant = Fraction(0)
    for place, source in enumerate(sources):
        x, rows = bounds[source], [Fraction(0)] * len(coefs)
        for i, (a, plane) in enumerate(zip(coefs, planes, strict=True)):
            if plane is not None:
                rows[i] = a * plane[0][place]
        largest = max(map(abs, rows), default=Fraction(0))
        if not largest:
            form.add(source, [0] * len(rows), exp)
            continue
        fine = KEPT_BITS + largest.denominator.bit_length() - largest.numerator.bit_length()
        found = [floor_at(r, fine) for r in rows]
        for i, (r, n) in enumerate(zip(rows, found, strict=True)):
            if r:
                constant += (r - times_power(n, fine)) * times_power(x.low[i], x.exp)
        form.add(source, found, exp + fine)
    constant += sum((a * plane[1] for a, plane in zip(coefs, planes, strict=True) if plane is not None), Fraction(0))
    form.charge(floor_at(constant, FINE), exp + FINE)
