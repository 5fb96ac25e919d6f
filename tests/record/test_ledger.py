"""Runs and rows: round trips, and what a run's identity is made of."""

import json
from dataclasses import fields, replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmoved.record import Row, Run

RUN = Run(
    kind="certify",
    model="m" * 64,
    model_name="mnist",
    data="d" * 64,
    data_name="test",
    threat="linf:8/255",
    eps="8/255",
    norm="inf",
    clip=("0", "1"),
    function="f",
    method="auto",
    settings={"precision": "float64", "batch": "500"},
    seed=0,
    tool="0.1.0",
)
OTHER = {
    "kind": "attack",
    "model": "n" * 64,
    "data": "e" * 64,
    "threat": "l2:8/255",
    "eps": None,
    "norm": "2",
    "clip": None,
    "function": "g",
    "method": "linear",
    "settings": {"precision": "float32", "batch": "500"},
    "seed": 1,
    "tool": "0.1.1",
    "unchecked": True,
}
ROW = Row(
    *(3, 7, None, "CERTIFIED", None, "1/10", 0.25, "linear", 0.1, "accepted", "exact", 0.01, "c" * 64, "p" * 64),
    input="i" * 64,
)


def test_run_round_trip():
    for run in (RUN, replace(RUN, clip=None, eps=None, norm=None), replace(RUN, model_name="é \n")):
        again = Run.from_json(run.to_json())
        assert again == run and again.id == run.id and again.to_json() == run.to_json()


def test_names_for_people_do_not_matter():
    assert replace(RUN, model_name="other", data_name="train").id == RUN.id
    assert replace(RUN, settings=dict(reversed(RUN.settings.items()))).id == RUN.id


@pytest.mark.parametrize("name", sorted({f.name for f in fields(Run)} - {"model_name", "data_name"}))
def test_everything_else_does(name):
    assert replace(RUN, **{name: OTHER[name]}).id != RUN.id


@pytest.mark.parametrize("settings", [{}, {"precision": "float64"}, {"precision": "float64", "batch": "500", "x": ""}])
def test_every_setting_matters(settings):
    assert replace(RUN, settings=settings).id != RUN.id


def test_fields_do_not_run_together():
    assert replace(RUN, model="a", data="bc").id != replace(RUN, model="ab", data="c").id
    assert replace(RUN, clip=("0", "11")).id != replace(RUN, clip=("01", "1")).id


optional = st.none() | st.text(max_size=5)
number = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.integers(0, 10**6),
    st.none() | st.integers(0, 9),
    optional,
    st.none() | number,
    number,
    st.dictionaries(st.text(max_size=3), st.none() | st.integers() | number | st.lists(st.integers()), max_size=3),
)
def test_row_round_trip(index, prediction, reason, margin, seconds, details):
    row = replace(
        ROW, index=index, prediction=prediction, reason=reason, margin=margin, seconds=seconds, details=details
    )
    data = row.to_json()
    assert Row.from_json(data) == row and b"\n" not in data and json.loads(data)["index"] == index


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_row_refuses_what_json_has_not(bad):
    with pytest.raises(ValueError, match="JSON"):
        replace(ROW, margin=bad).to_json()


def test_certified_means_proved_and_right():
    right = replace(ROW, prediction=7)
    assert right.certified
    assert not ROW.certified  # abstained
    assert not replace(right, prediction=6).certified
    assert not replace(right, verdict="UNKNOWN").certified and not replace(right, verdict="FALSIFIED").certified


@given(st.fractions(0, 10))
def test_radius_as_a_float_is_rounded_down(radius):
    near = replace(ROW, radius=str(radius)).radius_float
    assert near is not None and Fraction(near) <= radius
    assert replace(ROW, radius=None).radius_float is None
