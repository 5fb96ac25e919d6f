"""The door of a problem, budgets, reasons and errors."""

import math
import time
from dataclasses import dataclass

import numpy as np
import pytest

from unmoved.core import (
    Budget,
    Code,
    Guarantee,
    LinearProperty,
    Problem,
    Reason,
    SameClass,
    UnmovedError,
    UnsupportedError,
    UsageError,
)
from unmoved.threats import L2, Box, Linf


@dataclass(frozen=True)
class Fake:
    digest: str = "0" * 64
    source: bytes = b""
    input: str = "x"
    output: str = "y"
    input_shape: tuple[int, ...] = (1, 2)
    outputs: int = 3


X = np.array([[0.25, 0.5]], np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_accepts(dtype):
    Problem(Fake(), X.astype(dtype), Linf("0.1", (0, 1)), SameClass(2))
    Problem(Fake(), X.astype(dtype), Box(X - 3, X - 2), LinearProperty(()))


@pytest.mark.parametrize(
    ("x", "threat", "prop", "argument"),
    [
        (X.tolist(), Linf(0), SameClass(0), "x"),
        (X.astype(np.float16), Linf(0), SameClass(0), "x"),
        (X.astype(int), Linf(0), SameClass(0), "x"),
        (X.astype(">f4"), Linf(0), SameClass(0), "x"),
        (X[0], Linf(0), SameClass(0), "x"),
        (X.T, Linf(0), SameClass(0), "x"),
        (X * np.float32("nan"), Linf(0), SameClass(0), "x"),
        (X + np.float32("inf"), Linf(0), SameClass(0), "x"),
        (X + 1, Linf("0.1", (0, 1)), SameClass(0), "x"),
        (X - 1, L2("0.1", ("-0.1", 1)), SameClass(0), "x"),
        (X, Box(np.zeros((1, 3)), np.ones((1, 3))), SameClass(0), "threat"),
        (X, Box(np.zeros(2), np.ones(2)), SameClass(0), "threat"),
        (X, "linf:0.1", SameClass(0), "threat"),
        (X, Linf(0), SameClass(3), "label"),
        (X, Linf(0), 0, "prop"),
    ],
)
def test_refuses_by_name(x, threat, prop, argument):
    with pytest.raises(UsageError) as caught:
        Problem(Fake(), x, threat, prop)
    assert caught.value.argument == argument and caught.value.expected in str(caught.value)


def test_budget():
    assert Budget().left == math.inf and not Budget().spent
    assert Budget(0).spent and Budget(0).left == 0
    small = Budget(0.02)
    assert not small.spent
    time.sleep(0.03)
    assert small.spent and small.left == 0


@pytest.mark.parametrize("seconds", [-1, math.nan, -math.inf])
def test_budget_refuses(seconds):
    with pytest.raises(UsageError, match=r"^seconds: "):
        Budget(seconds)


def test_texts():
    assert str(Reason(Code.TIMEOUT)) == "timeout"
    assert str(Reason(Code.UNSUPPORTED, "Mish", "try smoothing")) == "unsupported: Mish (try smoothing)"
    assert (Guarantee().kind, Guarantee("g", alpha=1).kind) == ("deterministic", "probabilistic")
    error = UsageError("eps", "x" * 500, "a number >= 0")
    assert isinstance(error, UnmovedError) and len(str(error)) < 200 and str(error).startswith("eps: got 'xxx")
    assert "Mish" in str(UnsupportedError("Mish", "linear bounds"))
