"""Facts of the elementwise functions: where they are convex and where concave, on exact knots. Engines derive the rest.

On every piece f is given by one formula, whose closure is meant: at a jump (Sign) f takes all values between the two
limits, and more. Knots that are no rationals are enclosed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from unmoved_check.normal import WORK, exp_bounds, root_two_pi

Bracket = tuple[Fraction, Fraction]
"""A real number between two rationals (equal when the number is rational)."""

Knot = Bracket | None
"""Where a piece ends; None: nowhere."""


def exactly(number: Fraction | int) -> Bracket:
    """A rational as a bracket."""
    return (Fraction(number), Fraction(number))


@dataclass(frozen=True)
class Piece:
    """f(x) = factor * formula(rate * x) on [low, high], convex there (bend 1), concave (-1) or linear (0)."""

    low: Knot
    high: Knot
    bend: int
    formula: str
    parameters: tuple[Bracket, ...] = ()
    factor: Bracket = (Fraction(1), Fraction(1))
    rate: Bracket = (Fraction(1), Fraction(1))


@dataclass(frozen=True)
class Curve:
    """A function of one variable: its pieces from left to right, where it is defined, and which way it goes.

    `domain`: "all", "positive" (x > 0) or "sided" (x > 0 or x < 0, an interval may not hold 0).
    `monotone`: 1 when f never falls, -1 when it never rises, 0 otherwise (sided: on either side).
    """

    name: str
    pieces: tuple[Piece, ...]
    monotone: int = 0
    domain: str = "all"

    @property
    def wave(self) -> bool:
        """Whether f is a sine: no pieces, but |f| <= 1 and |f''| <= 1."""
        return self.name in ("sin", "cos")

    @property
    def linear(self) -> bool:
        """Whether f is linear between its knots."""
        return all(piece.bend == 0 for piece in self.pieces) and not self.wave

    @property
    def knots(self) -> tuple[Bracket, ...]:
        """Where one piece ends and the next begins."""
        return tuple(piece.high for piece in self.pieces if piece.high is not None)


def _chain(name: str, bends: tuple[int, ...], knots: tuple[Bracket, ...], monotone: int = 0, **rest: object) -> Curve:
    ends: tuple[Knot, ...] = (None, *knots, None)
    parameters = rest.pop("parameters", ())
    pieces = tuple(
        Piece(ends[i], ends[i + 1], bend, name, parameters)  # type: ignore[arg-type]
        for i, bend in enumerate(bends)
    )
    return Curve(name, pieces, monotone, **rest)  # type: ignore[arg-type]


ZERO = exactly(0)

SIGMOID = _chain("sigmoid", (1, -1), (ZERO,), 1)
TANH = _chain("tanh", (1, -1), (ZERO,), 1)
ERF = _chain("erf", (1, -1), (ZERO,), 1)
ATAN = _chain("atan", (1, -1), (ZERO,), 1)
EXP = _chain("exp", (1,), (), 1)
SOFTPLUS = _chain("softplus", (1,), (), 1)
LOG = _chain("log", (-1,), (), 1, domain="positive")
GELU = _chain("gelu", (-1, 1, -1), (exactly(-1), exactly(1)))
"""x (1 + erf x) / 2: its second derivative is 2 (1 - x^2) e^(-x^2) / sqrt(pi)."""

_SILU = (Fraction("2.399357280515"), Fraction("2.399357280516"))
SILU = _chain("silu", (-1, 1, -1), ((-_SILU[1], -_SILU[0]), _SILU))
"""x sigmoid(x): f'' = sigmoid' (2 - x tanh(x / 2)); x tanh(x / 2) is even and rises with |x|."""

_MISH = (
    (Fraction("-2.25637639637"), Fraction("-2.25637639636")),
    (Fraction("1.49057117948"), Fraction("1.49057117949")),
)
MISH = _chain("mish", (-1, 1, -1), _MISH)
"""x p / (p + 2), p = y^2 + 2 y, y = e^x: f'' has the sign of A - x D with A = 2 y^3 + 6 y^2 + 8 y + 4 and
D = 2 y^3 + 3 y^2 - 2 y - 2. R = A / D falls with y on either side of D's one root y0 < 1, for
A' D - A D' = -(6 y^4 + 40 y^3 + 72 y^2 + 48 y + 8). Below y0 D < 0, and f'' > 0 where x > R: one change of sign; above
y0 f'' > 0 where x < R: at ln y0 < x <= 0 always, since R > 0, and for x > 0 there is one change of sign.
"""

SIN = Curve("sin", (Piece(None, None, 0, "sin"),))
COS = Curve("cos", (Piece(None, None, 0, "cos"),))
"""Waves: the piece says nothing but the formula."""

SOFTSIGN = Curve(
    "softsign",
    (Piece(None, ZERO, 1, "softsign", (exactly(-1),)), Piece(ZERO, None, -1, "softsign", (exactly(1),))),
    1,
)

SIGN = Curve(
    "sign", (Piece(None, ZERO, 0, "line", (ZERO, exactly(-1))), Piece(ZERO, None, 0, "line", (ZERO, exactly(1)))), 1
)

STEP = Curve("step", (Piece(None, ZERO, 0, "line", (ZERO, ZERO)), Piece(ZERO, None, 0, "line", (ZERO, exactly(1)))), 1)
"""Whether x is above 0, as 0 or 1: at 0 itself both are meant, so that it is no matter whether 0 counts."""

HARD_SWISH = Curve(
    "hard-swish",
    (
        Piece(None, exactly(-3), 0, "line", (ZERO, ZERO)),
        Piece(exactly(-3), exactly(3), 1, "quadratic", (exactly(Fraction(1, 6)), exactly(Fraction(1, 2)))),
        Piece(exactly(3), None, 0, "line", (exactly(1), ZERO)),
    ),
)


def scaled(curve: Curve, factor: Bracket, rate: Bracket) -> Curve:
    """Factor f(rate x); rate > 0, and the factor is not 0."""
    sign = 1 if factor[0] > 0 else -1
    if factor[0] * factor[1] <= 0 or rate[0] <= 0:
        raise ValueError("a factor of 0, or a rate that is not positive")
    pieces = tuple(
        replace(
            piece,
            low=_divided(piece.low, rate),
            high=_divided(piece.high, rate),
            bend=sign * piece.bend,
            factor=_times(piece.factor, factor),
            rate=_times(piece.rate, rate),
        )
        for piece in curve.pieces
    )
    return replace(curve, pieces=pieces, monotone=sign * curve.monotone)


def _divided(knot: Knot, rate: Bracket) -> Knot:
    if knot is None:
        return None
    ends = [k / r for k in knot for r in rate]
    return (min(ends), max(ends))


def _times(a: Bracket, b: Bracket) -> Bracket:
    ends = [x * y for x in a for y in b]
    return (min(ends), max(ends))


def clip(low: Fraction | None, high: Fraction | None) -> Curve:
    """min(max(x, low), high), low <= high; None: no end."""
    pieces = []
    if low is not None:
        pieces.append(Piece(None, exactly(low), 0, "line", (ZERO, exactly(low))))
    middle = (None if low is None else exactly(low), None if high is None else exactly(high))
    pieces.append(Piece(*middle, 0, "line", (exactly(1), ZERO)))
    if high is not None:
        pieces.append(Piece(exactly(high), None, 0, "line", (ZERO, exactly(high))))
    return Curve("clip", tuple(pieces), 1)


def slanted(slope: Fraction) -> Curve:
    """X above 0, slope * x below; |x| for the slope -1."""
    below = Piece(None, ZERO, 0, "line", (exactly(slope), ZERO))
    above = Piece(ZERO, None, 0, "line", (exactly(1), ZERO))
    return Curve("abs" if slope == -1 else "slanted", (below, above), 1 if slope >= 0 else 0)


def elu(gain: Fraction, depth: Fraction, rate: Fraction) -> Curve:
    """Gain x above 0, depth (e^(rate x) - 1) below; gain and rate > 0."""
    below = Piece(None, ZERO, 1 if depth >= 0 else -1, "expm1", (exactly(depth), exactly(rate)))
    above = Piece(ZERO, None, 0, "line", (exactly(gain), ZERO))
    return Curve("elu", (below, above), 1 if depth >= 0 else 0)


def power(exponent: Fraction) -> Curve:
    """x^p for p other than 0 and 1: p (p - 1) > 0 is convex for x > 0; below 0, for whole p, by its parity."""
    name, above = f"power {exponent}", 1 if exponent * (exponent - 1) > 0 else -1
    if exponent.denominator != 1:
        return Curve(name, (Piece(None, None, above, name),), 1 if exponent > 0 else -1, "positive")
    even, domain = exponent % 2 == 0, "all" if exponent > 0 else "sided"
    if even and exponent > 0:
        return Curve(name, (Piece(None, None, 1, name),), 0)
    below = Piece(None, ZERO, above if even else -above, name)
    monotone = 0 if even else (1 if exponent > 0 else -1)
    return Curve(name, (below, Piece(ZERO, None, above, name)), monotone, domain)


def ramp(alpha: Fraction, beta: Fraction) -> Curve:
    """max(0, min(1, alpha x + beta)), alpha not 0."""
    flat = (Piece(None, None, 0, "line", (ZERO, ZERO)), Piece(None, None, 0, "line", (ZERO, exactly(1))))
    left, right = flat if alpha > 0 else flat[::-1]
    ends = sorted((-beta / alpha, (1 - beta) / alpha))
    low, high = exactly(ends[0]), exactly(ends[1])
    middle = Piece(low, high, 0, "line", (exactly(alpha), exactly(beta)))
    return Curve("ramp", (replace(left, high=low), middle, replace(right, low=high)), 1 if alpha > 0 else -1)


def gelu_tanh(a: Bracket, b: Bracket) -> Curve:
    """X (1 + tanh(a x + b x^3)) / 2 with a, b > 0.

    With v = a x + b x^3 and q = 3 b / a: f'' / sigmoid'(2 v) = 2 a (2 (1 + 2 q x^2) - 2 a x (1 + q x^2)^2 tanh v). Over
    1 + 2 q x^2 the last term is 2 a x (1 + q^2 x^4 / (1 + 2 q x^2)) tanh v, which rises with x > 0: one change of sign,
    and f'' is even. Between a point where f'' > 0 is proved and one where f'' < 0 is lies the knot.
    """
    low, high = Fraction(0), Fraction(1)
    while _bends(high, a, b) > 0:
        low, high = high, 2 * high
    while high - low > Fraction(1, 1 << 34):
        middle = (low + high) / 2
        sign = _bends(middle, a, b)
        if sign == 0:
            break
        low, high = (middle, high) if sign > 0 else (low, middle)
    return _chain("gelu-tanh", (-1, 1, -1), ((-high, -low), (low, high)), parameters=(a, b))


def _bends(x: Fraction, a: Bracket, b: Bracket) -> int:
    """The sign of f'' at x > 0: 1 or -1 where it is proved, else 0.

    tanh v = (e^2v - 1) / (e^2v + 1) rises with v. Compared are 1 + 2 q x^2 and a x (1 + q x^2)^2 tanh v.
    """
    q = (3 * b[0] / a[1], 3 * b[1] / a[0])
    tanh = []
    for k in (0, 1):
        e = Fraction(exp_bounds(2 * x * (a[k] + b[k] * x * x))[k], 1 << WORK)
        tanh.append((e - 1) / (e + 1))
    square = x * x
    least = 1 + 2 * q[0] * square - a[1] * x * (1 + q[1] * square) ** 2 * tanh[1]
    most = 1 + 2 * q[1] * square - a[0] * x * (1 + q[0] * square) ** 2 * tanh[0]
    return 1 if least > 0 else (-1 if most < 0 else 0)


def root_of_two_over_pi() -> Bracket:
    """sqrt(2 / pi) = 2 / sqrt(2 pi)."""
    low, high = root_two_pi()
    return (Fraction(2 << WORK, high), Fraction(2 << WORK, low))
