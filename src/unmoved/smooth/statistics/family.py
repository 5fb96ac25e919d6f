"""Claims about a whole data set: with probability >= 1 - alpha, ALL of them hold.

Alpha is per input otherwise: of m certificates alpha m may be expected to be wrong. Two ways to a statement about all
m inputs at once, both valid whatever the dependence between inputs:

* Bonferroni: each input is asked at alpha / m. Then all radii hold together, as they stand.
* Holm (Scandinavian Journal of Statistics 1979): for one size eps fixed beforehand, the same for all. Sort the inputs
  by p-value; the j-th (j = 0, 1, ...) is certified while its p-value is <= alpha / (m - j). It never certifies fewer
  than Bonferroni at eps, but it proves eps and no more: not the larger radii.

The p-value of an input is the least alpha at which its looks prove eps: min over looks of the look's own p-value over
its share. P(p <= u) <= u for a wrong claim, because the shares add up to one.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def holm_levels(p_values: Sequence[Fraction], alpha: Fraction) -> list[Fraction | None]:
    """Return, for each hypothesis, the level at which Holm's procedure rejects it, or None where it does not.

    P(any true hypothesis is rejected) <= alpha if P(p <= u) <= u for each true one, whatever their dependence. Each
    rejected p-value is at most its level: alpha / (m - j) at the j-th step.
    """
    levels: list[Fraction | None] = [None] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for step, i in enumerate(order):
        level = alpha / (len(p_values) - step)
        if p_values[i] > level:
            break
        levels[i] = level
    return levels
