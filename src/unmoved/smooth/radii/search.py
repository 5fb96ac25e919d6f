"""Radii by search: the largest size at which a condition on worst cases was seen to hold.

Worst cases only fall as the size grows, so a condition that holds at r holds below r; and the search returns a size at
which it evaluated the condition itself, with worst cases rounded to the safe side. So no closed form is needed, and no
tolerance enters: the end of the search decides only how much is given away (2^-40 of the radius).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from unmoved.core.errors import UsageError
from unmoved.smooth.draws.noise import Noise

WHOLE_NORMS = ("0", "patch")
"""Norms whose sizes are whole numbers."""

_STEPS = 200


def largest_size(holds: Callable[[float], bool], start: float) -> float:
    """Return a size r >= 0 with holds(r), within 2^-40 of the largest, relatively; -1 if holds(0) is false.

    `start` > 0 sets the scale. `inf` if it holds at 2^200 times that: then nothing depends on the size.
    """
    if not holds(0.0):
        return -1.0
    low, high = 0.0, start
    for _ in range(_STEPS):
        if not holds(high):
            break
        low, high = high, 2 * high
    else:
        return math.inf
    while high - low > high * 2.0**-40 and high > start * 2.0**-60:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def largest_whole(holds: Callable[[int], bool], most: int) -> int:
    """Return the largest whole number r <= `most` with holds(r), -1 if holds(0) is false."""
    if not holds(0):
        return -1
    low, high = 0, 1
    while high <= most and holds(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def stays_ahead(noise: Noise, p_low: float, p_high: float, r: float) -> bool:
    """Return True only if a class of probability >= p_low is ahead of one <= p_high after any move of size <= r.

    The rival's probability is 1 minus that of its complement, which keeps at least worst_case(1 - p_high, r).
    """
    ours = noise.worst_case(p_low, r)
    others = Fraction(noise.worst_case(one_minus_down(p_high), r))
    return Fraction(ours) > 1 - others


def radius_by_search(noise: Noise, p_low: float, p_high: float, most: int = 10_000) -> float:
    """Return the radius that follows from `worst_case` alone; for noises without a closed form, and to test one.

    Rounded down; -1 when the class is not ahead without any move. Sizes are whole in L0, then at most `most`.
    """
    if not (0 <= p_low <= 1 and 0 <= p_high <= 1):
        raise UsageError("p_low, p_high", (p_low, p_high), "numbers from 0 to 1")
    if noise.norm in WHOLE_NORMS:
        return float(largest_whole(lambda r: stays_ahead(noise, p_low, p_high, r), most))
    return largest_size(lambda r: stays_ahead(noise, p_low, p_high, r), float(noise.scale))


def one_minus_down(p: float) -> float:
    """Return a float <= 1 - p."""
    return max(0.0, math.nextafter(1 - p, -math.inf)) if Fraction(1 - p) != 1 - Fraction(p) else 1 - p


def one_minus_up(p: float) -> float:
    """Return a float >= 1 - p, at most 1."""
    return min(1.0, math.nextafter(1 - p, math.inf)) if Fraction(1 - p) != 1 - Fraction(p) else 1 - p


def check_size(p: float, r: float) -> None:
    """Raise UsageError unless p is a probability and r a size."""
    if not (0 <= p <= 1 and r >= 0):
        raise UsageError("p, r", (p, r), "0 <= p <= 1 and r >= 0")
