"""The one place where numbers are rounded, always to the safe side.

`float_up(q) >= q >= float_down(q)` for every rational q; a rational is written and read as text without loss.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError

Floats = npt.NDArray[np.float64]

_LONG_EXPONENT = re.compile(r"[eE][+-]?[0-9_]{5}")


def rational(value: object, argument: str = "value") -> Fraction:
    """Return the exact rational that `value` denotes: "8/255", "0.1" (one tenth), 3, or a float as it is.

    Raises UsageError, naming `argument`, for anything that is not a finite number, or is past the range of float64.
    """
    expected = 'a finite number, such as 0.1, "0.1" or "8/255"'
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction | np.floating | np.integer):
        raise UsageError(argument, value, expected)
    try:
        if isinstance(value, np.floating | np.integer):
            value = value.item()
        # an exponent of more than four digits would be written out in full: minutes, then no memory
        if isinstance(value, str) and _LONG_EXPONENT.search(value):
            raise UsageError(argument, value, expected)
        exact = Fraction(value)
        float(exact)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(argument, value, expected) from error
    return exact


def float_down(value: Fraction) -> float:
    """Return the largest float64 that is <= value; -inf below all of them."""
    near = _nearest(value)
    return near if near <= value else math.nextafter(near, -math.inf)


def float_up(value: Fraction) -> float:
    """Return the smallest float64 that is >= value; inf above all of them."""
    near = _nearest(value)
    return near if near >= value else math.nextafter(near, math.inf)


def _nearest(value: Fraction) -> float:
    """Return the float64 nearest to value, an infinity past the largest. Comparing the two is exact in Python."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def sum_down(a: Floats, b: Floats | float) -> Floats:
    """Return float64 numbers <= the exact a + b, elementwise (one step below round-to-nearest)."""
    return np.asarray(np.nextafter(a + b, -np.inf))


def sum_up(a: Floats, b: Floats | float) -> Floats:
    """Return float64 numbers >= the exact a + b, elementwise (one step above round-to-nearest)."""
    return np.asarray(np.nextafter(a + b, np.inf))


def decimal_down(value: float | Fraction, digits: int) -> str:
    """Write a number with `digits` decimals, never above its value: a radius is rounded down in print too."""
    if not math.isfinite(value):
        return str(value)
    return _decimal(math.floor(Fraction(value) * 10**digits), digits)


def decimal_up(value: float | Fraction, digits: int) -> str:
    """Write a number with `digits` decimals, never below its value: an upper bound is rounded up in print too."""
    if not math.isfinite(value):
        return str(value)
    return _decimal(math.ceil(Fraction(value) * 10**digits), digits)


def _decimal(whole: int, digits: int) -> str:
    sign = "-" if whole < 0 else ""
    head, tail = divmod(abs(whole), 10**digits)
    return f"{sign}{head}.{tail:0{digits}d}" if digits else f"{sign}{head}"
