from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmoved.evaluate import Share
from unmoved.report import words

SHARES = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(SHARES)
def test_percentages_are_rounded_to_the_safe_side_by_less_than_a_tenth(share):
    value = Fraction(*share)
    down, up = (
        Fraction(text.removesuffix(" %")) / 100 for text in (words.percent_down(value), words.percent_up(value))
    )
    assert down <= value <= up and up - down <= Fraction(1, 1000)
    assert (value * 1000).denominator > 1 or down == up == value


@given(SHARES)
def test_the_printed_interval_contains_the_interval(share):
    found = Share(*share)
    low, high = words.interval(found).removesuffix(" %").split(" to ")
    assert Fraction(low) / 100 <= Fraction(found.low) and Fraction(found.high) <= Fraction(high) / 100


@given(st.fractions(0, 100))
def test_radii_are_rounded_down(value):
    assert Fraction(words.radius(value)) <= value < Fraction(words.radius(value)) + Fraction(1, 1000)


@pytest.mark.parametrize(
    ("value", "text"),
    [("1/10", "0.1"), ("8/255", "8/255"), ("2", "2"), ("1/8", "0.125"), ("0", "0"), ("1/4000000", "0.000000")],
)
def test_sizes_are_written_exactly_where_they_can_be(value, text):
    assert words.exact(Fraction(value)) == text


def test_names_lose_what_escaping_leaves_in():
    assert words.plain("a\x1b[31mb‮c\n") == "a�[31mb�c�"
    assert len(words.plain("x" * 1000)) == 120


@pytest.mark.parametrize(
    ("reason", "what", "detail", "remedy"),
    [
        ("timeout", "The time was used up", "", "more seconds"),
        ("unproved: bound -1 (try harder)", "Neither proved nor broken", "bound -1", "try harder"),
        (
            "abstained: a: b",
            "Abstained: no answer is given",
            "a: b",
            "more samples, or a model trained with this noise",
        ),
        ("rejected: f(x) (y)", "The checker rejected the evidence", "f(x)", "y"),
        ("something else", "something else", "", ""),
        (None, "", "", ""),
    ],
)
def test_reasons_in_plain_words(reason, what, detail, remedy):
    found = words.why(reason)
    assert (found.what, found.detail, found.remedy) == (what, detail, remedy)


def test_threats_in_words():
    assert words.change("inf", "0.1", picture=True) == "any change of up to 0.1 to every pixel at once"
    assert (
        words.change("2", "0.5", clip=("0", "1")) == "any change of Euclidean length up to 0.5, staying between 0 and 1"
    )
    assert words.change(None, "") == "any input inside the given box"


@given(st.floats(0, 1e6))
def test_times_are_never_flattered(value):
    number, unit = words.seconds(value).split(" ")
    assert Fraction(number) * {"ms": Fraction(1, 1000), "s": 1, "min": 60}[unit] >= Fraction(value)
