"""What a smoothed classifier answers: predictions and certificates, as data."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from unmoved.core.certificate import Counts

ABSTAIN: Final = None
"""What stands in place of a label when the votes do not settle it."""


@dataclass(frozen=True)
class Prediction:
    """The label of g at the input's grid point, wrong with probability <= `alpha`; or ABSTAIN, with the reason."""

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


@dataclass(frozen=True)
class SmoothedResult:
    """What was certified of g at one input, and everything from which a checker re-derives it.

    With probability >= 1 - `alpha`: g(x') = `label` for all x' with ||x' - x||_2 <= `radius` (noise of another kind: in
    that noise's norm). `label` is ABSTAIN and `radius` 0 when nothing is certified; `reason` then says why.
    `radius` is rounded down, after `grid_distance` was subtracted; `radius_text` is the same number, exactly.
    `on_grid` False: the certified function is g o round_q. `counts` are of `samples` copies; `top` was chosen from
    `selection_counts` alone. `invalid`: copies (of both kinds) on which f gave a NaN or an infinity.
    """

    label: int | None
    radius: float
    counts: tuple[int, ...]
    selection_counts: tuple[int, ...]
    top: int
    invalid: int
    p_low: float
    p_high: float
    alpha: Fraction
    bound: str
    samples: int
    selection_samples: int
    noise: str
    sigma: Fraction
    grid: int
    on_grid: bool
    grid_distance: float
    seed: str
    sampler: str
    seconds: float
    reason: str = ""

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
        """The counts as a certificate's evidence (docs/certificate-format.md, `counts`)."""
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
        )
