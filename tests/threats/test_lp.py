"""Balls against the definition in exact rationals: membership, regions, projections, edges."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmoved.core import UsageError
from unmoved.testing import Edge, ThreatContract
from unmoved.threats import L1, L2, Linf, Lp

KINDS = {"inf": Linf, "1": L1, "2": L2}
UP, DOWN = np.inf, -np.inf


def exact(values):
    return [Fraction(float(v)) for v in np.asarray(values).reshape(-1)]


def within(threat, x, point):
    """The definition."""
    moves = [abs(a - b) for a, b in zip(exact(x), exact(point), strict=True)]
    if threat.clip is not None and not all(threat.clip[0] <= v <= threat.clip[1] for v in exact(point)):
        return False
    match threat.norm:
        case "inf":
            return max(moves) <= threat.eps
        case "1":
            return sum(moves) <= threat.eps
    return sum(m * m for m in moves) <= threat.eps**2


class BallContract(ThreatContract):
    kind: type[Lp]

    def inside(self, threat, x, point):
        return within(threat, x, point)

    def cases(self):
        rng = np.random.default_rng(5)
        digits = (rng.integers(0, 256, (1, 3, 2)) / np.float32(255)).astype(np.float32)
        ends = np.array([[0, 1, 0.5, 1 / 3]], np.float32)
        wide = (rng.normal(size=(2, 5)) * 1e4).astype(np.float32)
        tiny = np.array([1e-40, -1e-30, 0.0], np.float32)
        return [
            (self.kind("8/255", (0, 1)), digits),
            (self.kind("0.1"), digits),
            (self.kind("0.1", ("0", "1")), ends),
            (self.kind(0, (0, 1)), ends),
            (self.kind(0), wide),
            (self.kind("1e-9"), wide),
            (self.kind(3000, (-50000, 50000)), wide),
            (self.kind("1e-35"), tiny),
            (self.kind("2"), tiny),
        ]


class TestLinf(BallContract):
    kind = Linf

    def edges(self):
        x = np.array([0.5, -0.25], np.float32)
        at = np.array([0.75, -0.25], np.float32)
        tenth = Linf("0.1")  # neither end of 1/2 +- 1/10 is a float
        near = np.array([0.6, -0.25], np.float64)
        return [
            Edge(Linf("0.25"), x, at, True),
            Edge(Linf("1/4"), x, np.nextafter(at, np.float32(UP)), False),
            Edge(Linf("1/4"), x.astype(np.float64), np.nextafter(at.astype(np.float64), UP), False),
            Edge(Linf("1/4", (-1, "3/4")), x, at, True),
            Edge(Linf("1/4", (-1, "0.7499999999")), x, at, False),
            Edge(tenth, x, near, Fraction(0.6) - Fraction(1, 2) <= Fraction(1, 10)),
            Edge(tenth, x, np.nextafter(near, DOWN), True),
            Edge(tenth, x, np.nextafter(near, UP), False),
            Edge(Linf(0), x, x, True),
            Edge(Linf(0), x, np.nextafter(x, np.float32(UP)), False),
            Edge(Linf(0), np.zeros(1, np.float32), np.array([5e-324]), False),
        ]


class TestL2(BallContract):
    kind = L2

    def edges(self):
        x = np.zeros(2, np.float32)
        at = np.array([3, 4], np.float32)
        return [
            Edge(L2(5), x, at, True),
            Edge(L2(5), x, np.nextafter(at, np.float32(UP)), False),
            Edge(L2(5), x, np.nextafter(at.astype(np.float64), UP), False),
            # the excess is far below the rounding of the squares
            Edge(L2(5), x, np.array([5, 1e-30]), False),
            Edge(L2(5, (0, 5)), x, np.array([5.0, 0.0]), True),
            Edge(L2(5, ("-1/2", 5)), x, np.array([4.0, -1.0]), False),
            Edge(L2(0), at, at, True),
            Edge(L2(0), at, np.nextafter(at, np.float32(DOWN)), False),
        ]


class TestL1(BallContract):
    kind = L1

    def edges(self):
        x = np.array([1, 1, 1], np.float32)
        at = np.array([1.5, 0.75, 1.25], np.float32)
        return [
            Edge(L1(1), x, at, True),
            Edge(L1(1), x, np.nextafter(at, np.float32(UP)), False),
            Edge(L1(1), x, np.array([2, 1, np.nextafter(1, 2)]), False),
            Edge(L1(1), x, np.array([2.0, 1.0, 1.0]), True),
            Edge(L1("1", (0, "1.25")), x, at, False),
            Edge(L1(0), x, x, True),
            Edge(L1(0), x, np.nextafter(x, np.float32(UP)), False),
        ]


singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
vectors = st.lists(st.tuples(singles, singles), min_size=1, max_size=5)
near = st.floats(-2, 2, width=32).map(np.float32)


@given(vectors, st.sampled_from(list(KINDS)), st.integers(-1, 1))
def test_membership_at_the_exact_distance(pairs, norm, nudge):
    """The exact distance of two float32 vectors as eps: in; the least bit less: out."""
    x, point = (np.array(v, np.float32) for v in zip(*pairs, strict=True))
    moves = [abs(a - b) for a, b in zip(exact(x), exact(point), strict=True)]
    if norm == "2":
        moves = [max(moves)]  # along one axis, where the distance is rational
        axis = int(np.argmax([abs(a - b) for a, b in zip(exact(x), exact(point), strict=True)]))
        keep = np.arange(len(x)) == axis
        point = np.where(keep, point, x)
    distance = max(moves) if norm == "inf" else sum(moves, Fraction(0))
    eps = distance + nudge * Fraction(1, 2**1100)
    if eps >= 0:
        assert KINDS[norm](eps).contains(x, point) is (nudge >= 0)


@given(st.lists(st.tuples(near, near), min_size=1, max_size=5), st.fractions(0, 3), st.sampled_from(list(KINDS)))
def test_membership_is_the_definition(pairs, eps, norm):
    x, point = (np.array(v, np.float32) for v in zip(*pairs, strict=True))
    threat = KINDS[norm](eps)
    assert threat.contains(x, point) is within(threat, x, point)


@given(st.lists(near, min_size=1, max_size=4), st.fractions(0, 3), st.sampled_from(list(KINDS)), st.booleans())
def test_region_is_outward_and_tight(values, eps, norm, clipped):
    x = np.array([values], np.float32)
    threat = KINDS[norm](eps, ("-2", Fraction(7, 3)) if clipped else None)
    region = threat.region(x)
    for c, low, high in zip(exact(x), exact(region.low), exact(region.high), strict=True):
        ends = (c - eps, c + eps)
        if clipped:
            ends = (max(ends[0], Fraction(-2)), min(ends[1], Fraction(7, 3)))
        assert low <= ends[0] <= ends[1] <= high
        assert ends[0] - low <= Fraction(1, 2**48) and high - ends[1] <= Fraction(1, 2**48)
    assert Fraction(region.eps) >= eps and region.norm == (None if norm == "inf" else norm)
    assert np.array_equal(region.center, x.astype(np.float64))


def test_the_centre_must_be_in_the_clip_range_exactly():
    """The float just below 1/10 is outside [1/10, 1], though it is what 1/10 rounds down to."""
    below = np.nextafter(np.float64(0.1), 0)
    assert Fraction(float(below)) < Fraction(1, 10)
    for x in (np.array([[below]]), np.array([[1.5]]), np.array([[-0.5], [0.5]])):
        with pytest.raises(UsageError, match=r"^x: .*clip range \[1/10, 1\]"):
            Linf("0.2", ("1/10", 1)).region(x)
    Linf("0.2", ("1/10", 1)).region(np.array([[0.1]]))


@pytest.mark.parametrize("norm", list(KINDS))
def test_a_long_double_is_not_rounded_into_the_set(norm):
    x = np.array([0.5])
    point = np.array([np.longdouble(0.75) + np.longdouble(2) ** -60])
    assert not KINDS[norm]("1/4").contains(x, point)


@pytest.mark.parametrize("eps", [-1, "-1/255", float("nan"), "nan", float("inf"), "abc", None, True, "1e400"], ids=str)
@pytest.mark.parametrize("norm", list(KINDS))
def test_refuses_eps(eps, norm):
    with pytest.raises(UsageError, match=r"^eps: "):
        KINDS[norm](eps)


@pytest.mark.parametrize(
    "clip",
    [(1, 0), ("1/2", "0.49"), (0, float("nan")), (0,), (0, 1, 2), 5, "01", (None, 1), (0, float("inf"))],
    ids=str,
)
def test_refuses_clip(clip):
    with pytest.raises(UsageError, match=r"^clip: "):
        Linf("0.1", clip)


def test_a_clip_range_of_one_point():
    threat = L2("0.5", ("1/2", "1/2"))
    x = np.full((1, 2), 0.5, np.float32)
    assert threat.contains(x[0], x[0]) and not threat.contains(x[0], np.array([0.5, 0.75], np.float32))
    assert np.array_equal(threat.region(x).low, threat.region(x).high)


def test_a_ball_of_no_norm_cannot_be_made():
    with pytest.raises(TypeError):
        Lp("0.1")


def test_names_and_equality():
    assert [k("8/255").name for k in (Linf, L2, L1)] == ["linf:8/255", "l2:8/255", "l1:8/255"]
    assert [Linf(e).name for e in (0.5, 2, Fraction(1, 10), Fraction(8, 255), 8 / 255, 0)] == [
        *("linf:0.5", "linf:2", "linf:0.1", "linf:8/255", "linf:0.03137254901960784", "linf:0"),
    ]
    assert Linf("0.1") == Linf("1/10") and hash(Linf("0.1")) == hash(Linf("1/10"))
    assert Linf("0.1") != L2("0.1") and Linf("0.1") != Linf(0.1) and Linf("0.1") != Linf("0.1", (0, 1))
    # names of different floats differ: six digits would not tell these apart
    assert Linf(0.12345678).name != Linf(0.12345679).name


def test_projection_of_an_input_that_float32_cannot_hold():
    """Where S(x) has no float32 point, what comes back is near x; `contains` refuses it."""
    x = np.array([[0.1]])
    landed = Linf(0).project(x, np.array([[9.0]]))
    assert landed.dtype == np.float32 and landed[0, 0] == np.float32(0.1) and not Linf(0).contains(x[0], landed[0])
