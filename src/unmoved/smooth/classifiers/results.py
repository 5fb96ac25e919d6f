"""What a smoothed classifier answers: predictions and certificates, as data."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from unmoved.core.certificate import Classes, Counts
from unmoved.core.errors import UsageError
from unmoved.smooth.statistics import Plan

ABSTAIN: Final = None
"""What stands in place of a label when the votes do not settle it."""


@dataclass(frozen=True)
class Prediction:
    """The label of g at the input's grid point, wrong with probability <= `alpha`; or ABSTAIN, with the reason.

    g is the smoothed version of the function that `engine` names: precision, batch and who computes it.
    """

    label: int | None
    counts: tuple[int, ...]
    invalid: int
    p_value: float
    alpha: Fraction
    samples: int
    on_grid: bool
    seed: str
    sampler: str
    seconds: float
    reason: str = ""
    engine: str = ""


@dataclass(frozen=True)
class SmoothedResult:
    """What was certified of g at one input, and everything from which a checker re-derives it.

    With probability >= 1 - `alpha`: g(x') = `label` for all x' with ||x' - x||_2 <= `radius` (noise of another kind: in
    that noise's norm). `label` is ABSTAIN and `radius` 0 when nothing is certified; `reason` then says why.
    `radius` is rounded down, after `grid_distance` was subtracted; `radius_text` is the same number, exactly.
    `on_grid` False: the certified function is g o round_q. `counts` are of the first `samples` copies, at look `at` of
    `plan`, which proved the most (None: nothing was proved); `drawn` copies were looked at in all. `top` was chosen
    from `selection_counts` alone. `invalid`: copies (of both kinds) on which f gave a NaN or an infinity. `stop`: why
    it ended (`smooth.classifiers.session`). `classes` is the record of the `samples` copies, `number` the user's seed.
    `engine` names the function that was evaluated, whose smoothed version g is.
    """

    label: int | None
    radius: float
    counts: tuple[int, ...]
    selection_counts: tuple[int, ...]
    top: int | None
    invalid: int
    p_low: float
    p_high: float
    plan: Plan
    at: int | None
    drawn: int
    stop: str
    noise: str
    sigma: Fraction
    grid: int
    on_grid: bool
    grid_distance: float
    seed: str
    sampler: str
    number: int
    classes: Classes | None
    seconds: float
    reason: str = ""
    engine: str = ""

    @property
    def alpha(self) -> Fraction:
        """The probability, over the sampling, that the result is wrong."""
        return self.plan.alpha

    @property
    def bound(self) -> str:
        """The bound's name."""
        return self.plan.bound

    @property
    def samples(self) -> int:
        """The number of copies that `counts` are of."""
        return sum(self.counts)

    @property
    def selection_samples(self) -> int:
        """The number of copies that chose the class."""
        return self.plan.selection_samples

    @property
    def radius_text(self) -> str:
        """The radius as a rational, exactly the number `radius`."""
        return str(Fraction(self.radius))

    @property
    def abstained(self) -> bool:
        """Whether nothing is certified."""
        return self.label is ABSTAIN

    @property
    def evidence(self) -> Counts:
        """The counts as a certificate's evidence (docs/certificate-format.md, `counts`).

        UsageError when nothing was proved.
        """
        if self.at is None or self.top is None:
            raise UsageError("result", self.reason, "one that proves a radius")
        return Counts(
            sigma=self.sigma,
            grid=self.grid,
            on_grid=self.on_grid,
            bound=self.bound,
            samples=self.samples,
            selection_samples=self.selection_samples,
            counts=self.counts,
            top=self.top,
            alpha=self.alpha,
            seed=self.seed,
            sampler=self.sampler,
            sizes=self.plan.looks.sizes,
            shares=self.plan.looks.shares,
            at=self.at,
            classes=self.classes,
            number=self.number,
            noise=self.noise,
        )
