"""What is fixed before the first copy of an input is drawn: samples, alpha, looks, and what is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from unmoved.core.errors import UsageError
from unmoved.core.rounding import rational
from unmoved.smooth.statistics.bounds import bound_named
from unmoved.smooth.statistics.looks import LOOKS, Looks

ALPHA = Fraction(1, 1000)
"""The failure probability of the literature, per input."""

MODES = ("radius", "grid", "target", "fixed")
"""radius: the largest radius `samples` copies give. grid: stop when the next multiple of `size` is out of reach.
target: stop when the radius `size` is proved or out of reach. fixed: one look, at all copies."""


@dataclass(frozen=True)
class Plan:
    """A pre-registered plan for one input: at most `samples` copies, wrong with probability <= `alpha` in all.

    `selection_samples` other copies choose the class beforehand. `bound`: see `bounds`. `mode`: see MODES; `size` is
    the target radius, or the step of the grid of radii. Raises UsageError for values that make no sense.
    """

    samples: int = 10_000
    selection_samples: int = 100
    alpha: Fraction = ALPHA
    bound: str = "two-class"
    mode: str = "radius"
    size: Fraction = Fraction(1, 4)

    def __post_init__(self) -> None:
        for name in ("samples", "selection_samples"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(name, value, "an integer >= 1")
        exact = rational(self.alpha, "alpha")
        if not 0 < exact < 1:
            raise UsageError("alpha", self.alpha, "a number strictly between 0 and 1")
        object.__setattr__(self, "alpha", exact)
        bound_named(self.bound)
        if self.mode not in MODES:
            raise UsageError("mode", self.mode, " or ".join(MODES))
        size = rational(self.size, "size")
        if size < 0 or (size == 0 and self.mode == "grid"):
            raise UsageError("size", self.size, "a target radius >= 0, or a step of the grid of radii > 0")
        object.__setattr__(self, "size", size)

    @property
    def schedule(self) -> str:
        """The name of the schedule of looks: `single` for fixed, else `geometric`."""
        return "single" if self.mode == "fixed" else "geometric"

    @cached_property
    def looks(self) -> Looks:
        """The looks."""
        return LOOKS[self.schedule](self.samples)

    def next_goal(self, best: float) -> Fraction | None:
        """Return the least radius worth going on for once `best` is proved (0: any); None: stop, it is enough.

        With mode radius or fixed and something proved, more is always worth it: then this is `best` itself.
        """
        if self.mode == "target":
            return None if best > 0 and best >= self.size else self.size
        if best <= 0:
            return Fraction(0)
        if self.mode == "grid":
            return (Fraction(best) // self.size + 1) * self.size
        return Fraction(best)

    def but(self, **changes: object) -> Plan:
        """Return the plan with other fields; UsageError for a field that there is not."""
        unknown = set(changes) - set(self.__dataclass_fields__)
        if unknown:
            raise UsageError(sorted(unknown)[0], "given", "one of " + ", ".join(self.__dataclass_fields__))
        return replace(self, **changes)  # type: ignore[arg-type]


COHEN = Plan(samples=100_000, selection_samples=100, alpha=ALPHA, bound="one-class", mode="fixed")
"""The plan of Cohen, Rosenfeld and Kolter 2019 and of most published tables."""
