"""Numbers and ids as plain words: what flatters is rounded down, what bounds is rounded up, and no name is trusted."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from unmoved.core import Code, decimal_down, decimal_up
from unmoved.evaluate import Share
from unmoved.evaluate.comparison.estimate import Estimate
from unmoved.record import Run

LONGEST_NAME = 120
NORMS = {"inf": "L∞", "2": "L2", "1": "L1", "0": "L0"}

REASONS = {
    Code.UNPROVED: "Neither proved nor broken",
    Code.WEAKER: "Broken in one arithmetic only, a near tie",
    Code.ABSTAINED: "Abstained: no answer is given",
    Code.UNSUPPORTED: "The method has no rule for a layer",
    Code.UNCHECKED: "Proved, but the checker cannot re-check it",
    Code.REJECTED: "The checker rejected the evidence",
    Code.TIMEOUT: "The time was used up",
    Code.MEMORY: "The memory was used up",
}
REMEDIES = {
    Code.UNPROVED: "a tighter method, a smaller threat, or training for it",
    Code.WEAKER: "take it as broken: nothing can be proved so near to a tie",
    Code.ABSTAINED: "more samples, or a model trained with this noise",
    Code.UNSUPPORTED: "another method; smoothing needs no rules",
    Code.UNCHECKED: "another method, or --unchecked, which every output then says",
    Code.REJECTED: "do not rely on it; report the case",
    Code.TIMEOUT: "more seconds",
    Code.MEMORY: "a smaller threat",
}


def plain(name: object) -> str:
    """Return a name for people: control and direction characters replaced, at most 120 characters.

    HTML is escaped elsewhere (the template does it for everything); this is for what escaping leaves in.
    """
    text = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in str(name))
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def exact(value: Fraction) -> str:
    """Write a rational without loss: as a decimal where it has a short one, else as a quotient."""
    for digits in range(7):
        if (value * 10**digits).denominator == 1:
            return decimal_down(value, digits)
    if max(value.numerator, value.denominator) < 10**6:
        return f"{value.numerator}/{value.denominator}"
    return decimal_down(value, 6)


def radius(value: Fraction | float, digits: int = 3) -> str:
    """Write a radius, rounded down."""
    return decimal_down(value, digits)


def percent_down(value: Fraction | float) -> str:
    """Write a share as a percentage, rounded down to a tenth."""
    return decimal_down(Fraction(value) * 100, 1) + " %"


def percent_up(value: Fraction | float) -> str:
    """Write a share as a percentage, rounded up to a tenth."""
    return decimal_up(Fraction(value) * 100, 1) + " %"


def interval(share: Share) -> str:
    """Write the 95 % interval of a share, both ends rounded outward."""
    return f"{decimal_down(Fraction(share.low) * 100, 1)} to {percent_up(share.high)}"


def figure(found: Estimate | None, *, up: bool = False, digits: int = 3) -> str:
    """Write an estimate, rounded down (`up`: rounded up, for what is better small)."""
    if found is None:
        return "–"
    return decimal_up(found.value, digits) if up else decimal_down(found.value, digits)


def span(found: Estimate | None, digits: int = 3) -> str:
    """Write an estimate's interval, both ends rounded outward."""
    if found is None:
        return ""
    return f"{decimal_down(found.low, digits)} to {decimal_up(found.high, digits)}"


def count(number: int) -> str:
    """Write a whole number with thousands apart."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def seconds(value: float) -> str:
    """Write a time to about three figures, rounded up."""
    if value >= 120:
        return f"{math.ceil(Fraction(value) / 60)} min"
    for limit, digits in ((10, 1), (0.1, 2)):
        if value >= limit:
            return decimal_up(value, digits) + " s"
    return decimal_up(Fraction(value) * 1000, 1) + " ms"


def threat(run: Run) -> str:
    """Write the threat as a formula: `L∞ ≤ 0.1`."""
    if run.norm is None or run.eps is None:
        return plain(run.threat)
    return f"{norm(run.norm)} ≤ {exact(Fraction(run.eps))}"


def norm(name: str | None) -> str:
    """Write a norm's name: `L∞`."""
    return "the box" if name is None else NORMS.get(name, plain(name))


def change(norm_name: str | None, size: str, *, picture: bool = False, clip: tuple[str, str] | None = None) -> str:
    """Say a threat in words: "any change of up to 0.1 to every pixel at once"."""
    one = "pixel" if picture else "input value"
    text = {
        "inf": f"any change of up to {size} to every {one} at once",
        "2": f"any change of Euclidean length up to {size}",
        "1": f"any changes that add up to at most {size} over all {one}s",
        "0": f"any changes of at most {size} input values, by however much",
        "patch": f"any content of any one square patch of side {size}",
    }.get(norm_name or "", "any input inside the given box")
    if clip is None:
        return text
    return f"{text}, staying between {exact(Fraction(clip[0]))} and {exact(Fraction(clip[1]))}"


@dataclass(frozen=True)
class Why:
    """A reason in plain words: what happened, the method's own detail, what can be done."""

    what: str
    detail: str
    remedy: str


def why(reason: str | None) -> Why:
    """Return a row's reason (`code: detail (remedy)`) in plain words."""
    if not reason:
        return Why("", "", "")
    found = re.fullmatch(r"(\w+)(?:: (.*?))?(?: \(([^()]*)\))?", reason, flags=re.DOTALL)
    if found is None or found[1] not in set(Code):
        return Why(plain(reason), "", "")
    code = Code(found[1])
    return Why(REASONS[code], plain(found[2] or ""), plain(found[3] or REMEDIES[code]))
