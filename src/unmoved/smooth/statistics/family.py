"""Claims about a whole data set: with probability >= 1 - alpha, ALL of them hold.

Alpha is per input otherwise: of m certificates alpha m may be expected to be wrong. Two ways to a statement about all
m inputs at once, both valid whatever the dependence between inputs:

* Bonferroni: each input is asked at alpha / m. Then all radii hold together, as they stand.
* Holm (Scandinavian Journal of Statistics 1979): for one size eps fixed beforehand, the same for all. What Bonferroni
  certifies is certified, and leaves its share of alpha to the others: with j certified they are asked at alpha /
  (m - j). It never certifies fewer than Bonferroni at eps, but it proves eps and no more: not the larger radii.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from unmoved.core.errors import UsageError

FAMILIES = ("bonferroni", "holm")


@dataclass(frozen=True)
class Family:
    """The claim is about `inputs` inputs together, all right with probability >= 1 - `alpha`; `kind`: see FAMILIES."""

    kind: str
    inputs: int
    alpha: Fraction

    def __post_init__(self) -> None:
        if self.kind not in FAMILIES:
            raise UsageError("family", self.kind, " or ".join(FAMILIES))
        if isinstance(self.inputs, bool) or not isinstance(self.inputs, int) or self.inputs < 1:
            raise UsageError("family", self.inputs, "a number of inputs >= 1")

    @property
    def each(self) -> Fraction:
        """The alpha of each input, before any step-down."""
        return self.alpha / self.inputs

    def says(self) -> str:
        """Return what is claimed, in one sentence."""
        what = "certificates hold as far as they say" if self.kind == "bonferroni" else "certified inputs hold at eps"
        return f"with probability >= 1 - {self.alpha} all {what}, over {self.inputs} inputs ({self.kind})"


def step_down(inputs: int, alpha: Fraction, proves: Callable[[int, Fraction], bool]) -> list[Fraction | None]:
    """Return, for each input, the level at which Holm's procedure certifies it, or None where it does not.

    `proves(i, level)` says whether input i's claim is proved at `level`; it must stay true as the level grows, and be
    wrong with probability <= level. Then P(any wrong claim) <= alpha, whatever the dependence. Inputs proved at
    alpha / m are certified at that; with j of them gone the others are asked at alpha / (m - j), and so on. The same
    inputs as in Holm's own order, one by one: those who pass a level pass the larger ones after it.
    """
    levels: list[Fraction | None] = [None] * inputs
    waiting = list(range(inputs))
    while waiting:
        level = alpha / len(waiting)
        passed = [i for i in waiting if proves(i, level)]
        if not passed:
            break
        for i in passed:
            levels[i] = level
        waiting = [i for i in waiting if levels[i] is None]
    return levels
