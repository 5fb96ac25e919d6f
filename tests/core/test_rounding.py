"""Rationals read without loss; floats and decimals always on the stated side, against Fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmoved.core import UsageError, decimal_down, float_down, float_up, rational
from unmoved.core.rounding import decimal_up, sum_down, sum_up

finite = st.floats(allow_nan=False, allow_infinity=False)
# around doubles, between doubles, far below and past them
quotients = st.one_of(
    st.fractions(),
    st.builds(lambda f, n: Fraction(f) + Fraction(n, 2**1100), finite, st.integers(-3, 3)),
    st.builds(lambda f, n, d: Fraction(f) * Fraction(n, d), finite, st.integers(-9, 9), st.integers(1, 9)),
    st.builds(lambda n, e: Fraction(n) * Fraction(2) ** e, st.integers(-(2**60), 2**60), st.integers(-1200, 1200)),
)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("8/255", Fraction(8, 255)),
        ("0.1", Fraction(1, 10)),
        (" 1e-3 ", Fraction(1, 1000)),
        ("-3", Fraction(-3)),
        (3, Fraction(3)),
        (0.1, Fraction(3602879701896397, 36028797018963968)),
        (Fraction(1, 3), Fraction(1, 3)),
        (np.float32(0.1), Fraction(13421773, 134217728)),
        (np.float64(0.5), Fraction(1, 2)),
        (np.float16(0.25), Fraction(1, 4)),
        (np.int64(7), Fraction(7)),
        (np.uint8(255), Fraction(255)),
        (5e-324, Fraction(1, 2**1074)),
    ],
)
def test_rational_is_exact(value, wanted):
    assert rational(value) == wanted


@pytest.mark.parametrize(
    "value",
    [
        *("abc", "", "nan", "inf", "-Infinity", "1/0", "8/255/1", "0x10", "1e99999999", "1e400", "1E-123456789", "½"),
        *(math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf"), 10**400),
        *(True, False, np.True_, None, [1], (1,), 1j, np.array(1.0), np.array([1.0]), b"1", object()),
    ],
    ids=lambda v: repr(v)[:20],
)
def test_no_number_is_refused_by_name(value):
    with pytest.raises(UsageError, match=r"^size: got .*, expected a finite number") as caught:
        rational(value, "size")
    assert caught.value.argument == "size"
    assert isinstance(caught.value, ValueError)


def test_long_double_is_never_rounded():
    value = np.longdouble(1) / 3
    try:
        exact = rational(value)
    except UsageError:
        return
    assert exact == Fraction(*value.as_integer_ratio())


@given(quotients)
def test_float_ends_are_tight(value):
    low, high = float_down(value), float_up(value)
    assert low <= value <= high
    above, below = math.nextafter(low, math.inf), math.nextafter(high, -math.inf)
    # the largest below, the least above: nothing between them and the value
    assert above == math.inf or Fraction(above) > value
    assert below == -math.inf or Fraction(below) < value
    assert (low == high) == (math.isfinite(low) and Fraction(low) == value)


@pytest.mark.parametrize("huge", [Fraction(10) ** 400, Fraction(2) ** 1024, Fraction(1.7976931348623157e308) + 1])
def test_float_ends_past_the_largest(huge):
    largest = 1.7976931348623157e308
    assert (float_down(huge), float_up(huge)) == (largest, math.inf)
    assert (float_down(-huge), float_up(-huge)) == (-math.inf, -largest)


@given(st.lists(finite, min_size=1, max_size=8), st.lists(finite, min_size=1, max_size=8))
def test_sums_enclose(a, b):
    n = min(len(a), len(b))
    first, second = np.array(a[:n]), np.array(b[:n])
    with np.errstate(over="ignore"):
        low, high = sum_down(first, second), sum_up(first, second)
    for i in range(n):
        exact = Fraction(a[i]) + Fraction(b[i])
        assert float(low[i]) <= exact <= float(high[i]) or not math.isfinite(low[i] * 0 + high[i])
        assert low[i] == -math.inf or Fraction(float(low[i])) <= exact
        assert high[i] == math.inf or Fraction(float(high[i])) >= exact


@given(st.one_of(finite, quotients), st.integers(0, 12))
def test_decimals_are_on_their_side(value, digits):
    if isinstance(value, Fraction) and abs(value) > 10**300:
        return
    exact, step = Fraction(value), Fraction(1, 10**digits)
    down, up = decimal_down(value, digits), decimal_up(value, digits)
    assert exact - step < Fraction(down) <= exact <= Fraction(up) < exact + step
    for text in (down, up):
        assert len(text.partition(".")[2]) == digits and not text.startswith("-0" if digits == 0 else "--")


def test_decimals_of_a_negative():
    assert (decimal_down(-0.05, 1), decimal_up(-0.05, 1)) == ("-0.1", "0.0")
    assert (decimal_down(-1.0, 2), decimal_down(0.999, 2), decimal_down(-0.0, 1)) == ("-1.00", "0.99", "0.0")
    assert (decimal_down(0.3, 1), decimal_down(Fraction("0.3"), 1)) == ("0.2", "0.3")  # the float 0.3 is below 3/10
    assert (decimal_down(math.inf, 3), decimal_down(math.nan, 3)) == ("inf", "nan")
