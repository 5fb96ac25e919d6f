"""Rows and runs by hand, for questions whose answers can be counted on one's fingers."""

from dataclasses import replace

import pytest

from unmoved.evaluate import Results
from unmoved.record import Row, Run

RUN = Run("certify", "m", "m.onnx", "d", "d", "linf:1/10", "1/10", "inf", ("0", "1"), "f", "auto", {}, 0, "0")
ROW = Row(0, 0, 0, "UNKNOWN", "unproved", None, None, "linear", 1.0, None, None, None, None, None, "i0")


def make_row(index, label, prediction, verdict, **changes):
    return replace(ROW, index=index, label=label, prediction=prediction, verdict=verdict, input=f"i{index}", **changes)


def make_results(rows, **changes):
    return Results(replace(RUN, **changes), tuple(rows))


@pytest.fixture
def row():
    return make_row


@pytest.fixture
def results():
    return make_results


@pytest.fixture
def proof(results, row):
    """Five inputs at eps 1/10: two certified, one unknown, one wrong, one timeout."""
    return results(
        [
            row(0, 1, 1, "CERTIFIED", reason=None, radius="1/10", check="accepted: x", check_seconds=0.5),
            row(1, 2, 2, "CERTIFIED", reason=None, radius="1/10", check="accepted: x", check_seconds=0.25),
            row(2, 3, 3, "UNKNOWN", reason="unproved: no (try)"),
            row(3, 4, 5, "FALSIFIED", reason=None, check="accepted: x", check_seconds=0.0),
            row(4, 0, None, "UNKNOWN", reason="timeout"),
        ]
    )


@pytest.fixture
def attack(results, row):
    """The same inputs attacked: 2 is broken, 3 wrong at x, the others stand."""
    return results(
        [
            row(0, 1, 1, "UNKNOWN"),
            row(1, 2, 2, "UNKNOWN"),
            row(2, 3, 3, "FALSIFIED", reason=None),
            row(3, 4, 5, "FALSIFIED", reason=None),
            row(4, 0, 0, "UNKNOWN"),
        ],
        kind="attack",
        method="pgd",
    )
