"""`--require "certified>=0.8"`: a criterion fixed before the run, decided on its figures."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from unmoved.core import UsageError, rational

_COMPARE: dict[str, Callable[[Fraction, Fraction], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Criterion:
    """A figure by name, a comparison, and a limit."""

    figure: str
    sign: str
    limit: Fraction

    def met(self, figures: Mapping[str, Fraction]) -> bool:
        """Whether the figure meets the limit; a figure that is not there does not."""
        return self.figure in figures and _COMPARE[self.sign](figures[self.figure], self.limit)

    def __str__(self) -> str:
        return f"{self.figure} {self.sign} {float(self.limit):g}"


def parse(text: str, known: tuple[str, ...]) -> Criterion:
    """Return the criterion that `text` writes; UsageError when it is not FIGURE>=NUMBER with a known figure."""
    found = re.fullmatch(r"\s*([a-z_]+)\s*(>=|<=|>|<)\s*(\S+)\s*", text)
    expected = 'a criterion such as "certified>=0.8", its figure one of ' + ", ".join(known)
    if found is None or found[1] not in known:
        raise UsageError("require", text, expected)
    try:
        return Criterion(found[1], found[2], rational(found[3], "require"))
    except UsageError as error:
        raise UsageError("require", text, expected) from error
