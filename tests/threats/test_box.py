"""Boxes against the definition, and texts as threats."""

from fractions import Fraction

import numpy as np
import pytest

from unmoved.core import UsageError
from unmoved.testing import Edge, ThreatContract
from unmoved.threats import L1, L2, Box, Linf, as_threat, parse


class TestBox(ThreatContract):
    def inside(self, threat, x, point):
        ends = zip(threat.low.reshape(-1), point.reshape(-1), threat.high.reshape(-1), strict=True)
        return all(Fraction(float(a)) <= Fraction(float(v)) <= Fraction(float(b)) for a, v, b in ends)

    def cases(self):
        rng = np.random.default_rng(6)
        x = rng.normal(size=(1, 2, 3)).astype(np.float32)
        low, high = x - rng.random(x.shape), x + rng.random(x.shape)
        flat = x.astype(np.float64).copy()
        return [
            (Box(low, high), x),
            (Box(np.where(rng.random(x.shape) < 0.5, flat, low), high), x),
            (Box(flat, flat), x),
            (Box(flat + 5, flat + 6), x),  # x itself is outside
            (Box(np.full(x.shape, -1e-300), np.full(x.shape, 1e-300)), x),
        ]

    def edges(self):
        x = np.zeros(2, np.float32)
        box = Box(np.array([0.1, -1.0]), np.array([0.2, 1.0]))
        low, high = np.array([0.1, -1.0]), np.array([0.2, 1.0])
        return [
            Edge(box, x, low, True),
            Edge(box, x, high, True),
            Edge(box, x, np.nextafter(low, -np.inf), False),
            Edge(box, x, np.nextafter(high, np.inf), False),
            Edge(box, x, np.array([0.2, 1.0], np.float32), Fraction(float(np.float32(0.2))) <= Fraction(0.2)),
            Edge(box, x, np.array([0.1, 0.0], np.float32), Fraction(float(np.float32(0.1))) >= Fraction(0.1)),
        ]


def test_the_centre_of_the_least_box_is_inside():
    least = np.full(1, 5e-324)
    region = Box(least, least).region(np.zeros((1, 1), np.float32))
    assert region.low[0] == region.center[0] == region.high[0]


@pytest.mark.parametrize(
    ("low", "high", "argument"),
    [
        (np.zeros(2), np.zeros(3), "high"),
        (np.zeros(2), np.full(2, np.nan), "low, high"),
        (np.full(2, -np.inf), np.zeros(2), "low, high"),
        (np.array([0.0, 1.0]), np.array([1.0, 0.0]), "low"),
        (np.array([0, 2**60 + 1]), np.full(2, 2.0**61), "low"),
        (np.zeros(1), np.array([np.longdouble(1) / 3]), "high"),
        (np.array(["a"]), np.array(["b"]), "low"),
    ],
)
def test_refuses(low, high, argument):
    with pytest.raises(UsageError) as caught:
        Box(low, high)
    assert caught.value.argument == argument


def test_ends_are_the_box_s_own():
    """Changing the arrays afterwards changes no threat."""
    low, high = np.zeros(1), np.ones(1)
    box = Box(low, high)
    high[0] = 9
    assert box.high[0] == 1 and not box.contains(low, np.array([9.0]))


def test_names_tell_boxes_apart():
    assert Box(np.zeros(1), np.ones(1)).name != Box(np.zeros(1), np.full(1, 2.0)).name
    assert Box(np.zeros(1), np.ones(1)).name == Box(np.zeros(1), np.ones(1)).name


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("linf:8/255", Linf("8/255")),
        (" LINF : 0.1 ", None),
        ("l2:0.5", L2("1/2")),
        ("L1: 2", L1(2)),
        ("l2", L2(0)),
        ("linf:1e-3", Linf("0.001")),
    ],
)
def test_parse(text, wanted):
    if wanted is None:
        with pytest.raises(UsageError):
            parse(text)
    else:
        assert parse(text) == wanted and as_threat(text) == wanted
        assert parse(text, (0, 1)).clip == (0, 1)


@pytest.mark.parametrize(
    "text", ["", "linf:", "l2: ", "linf:-1", "linf:nan", "linf:inf", "linf:abc", "linf:0.1:2", "l3:1", "linf 0.1", ":1"]
)
def test_parse_refuses(text):
    """`linf:` is what is left of `linf:$EPS` when EPS is unset: never an eps of 0."""
    with pytest.raises(UsageError, match=r"^threat: got ") as caught:
        parse(text)
    assert caught.value.value == text


def test_parse_names_the_clip_when_that_is_wrong():
    with pytest.raises(UsageError, match=r"^clip: "):
        parse("linf:0.1", (1, 0))


@pytest.mark.parametrize("value", [0.1, None, ("linf", 0.1), Linf])
def test_as_threat_refuses(value):
    with pytest.raises(UsageError, match=r"^threat: "):
        as_threat(value)


def test_as_threat_returns_a_threat_as_it_is():
    box = Box(np.zeros(1), np.ones(1))
    assert as_threat(box) is box
