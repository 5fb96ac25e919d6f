"""Smoothing without chance: all copies of a finite noise are evaluated, so votes are exact and certificates certain.

A finite noise states one fact: how many copies a move of a given size can change. Let class A have n_A of the votes and
B n_B, ties going to the smaller label. A changed copy takes at most one vote from A and gives at most one to B; so A
stays the answer as long as 2 affected(size) <= n_A - n_B - [B < A] for every B != A (Levine and Feizi 2020, arXiv
2002.10733, theorem 1; Levine and Feizi 2021, arXiv 2103.10834). All of it is whole numbers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from unmoved.core.rounding import float_down
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.noise import Copies
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.radii.search import largest_whole
from unmoved.smooth.voting.sampling import Classify, VoteCounter

_NO_CHANCE = Stream(bytes(32))


class FiniteNoise(Copies, Protocol):
    """A noise of finitely many copies, each with the same weight, all of which are evaluated."""

    @property
    def kind(self) -> str:
        """The noise's name in a certificate."""

    @property
    def norm(self) -> str:
        """How a move is measured: "1" (L1), "patch" (the side of a square)."""

    @property
    def step(self) -> Fraction:
        """The size of one step in that norm."""

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the point that stands for the input `x`, and what a radius loses by the move."""

    def copies(self, point: GridPoint) -> int:
        """Return how many copies there are."""

    def affected(self, point: GridPoint, size: int) -> int:
        """Return the most copies that a move by `size` steps can change; 0 for 0, never falling, in the end all."""


@dataclass(frozen=True)
class EnumeratedResult:
    """What the votes of all copies prove, for certain: g(x') = `label` for all x' within `radius`, `steps` whole steps.

    `radius` is exact, after what the grid costs; `margin` is the least n_A - n_B - [B < A]. `invalid`: copies on which
    f gave a NaN or an infinity; they vote for nobody, and have the class `len(counts)` in `classes`, the classes of all
    copies in order.
    """

    label: int
    radius: Fraction
    steps: int
    margin: int
    counts: tuple[int, ...]
    invalid: int
    copies: int
    noise: str
    norm: str
    on_grid: bool
    seconds: float
    classes: tuple[int, ...] = ()

    @property
    def radius_float(self) -> float:
        """The radius as a float, rounded down."""
        return float_down(self.radius)


@dataclass(frozen=True)
class Enumerated:
    """A classifier behind a finite noise: `classifier` maps (B, *shape) float32 to logits (B, classes) or labels (B,).

    g(x) is the class with most votes among all copies, the smaller label of equal ones. There is no alpha, no seed and
    no abstention. Raises UsageError for a torch module in training mode.
    """

    classifier: Classify
    noise: FiniteNoise
    classes: int
    batch: int = 256

    def __post_init__(self) -> None:
        self._counter()

    def _counter(self) -> VoteCounter:
        return VoteCounter(self.classifier, self.noise, self.classes, self.batch)

    def predict(self, x: npt.NDArray[np.float32]) -> int:
        """Return g(x), exactly; `x` is float32 of one input's shape."""
        return self.certify(x).label

    def certify(self, x: npt.NDArray[np.float32]) -> EnumeratedResult:
        """Return g(x) and the radius within which it is certain not to change (0: nothing is certified).

        For noises on a grid the radius is between grid points when x is one; else what both roundings cost is taken
        off. `x` is float32 of one input's shape.
        """
        begun = time.perf_counter()
        point = self.noise.place(x)
        copies = self.noise.copies(point)
        batches = self._counter().ballots(point, ((_NO_CHANCE, range(copies)),))
        classes = tuple(label for labels in batches for label in labels.tolist())
        counts = tuple(classes.count(label) for label in range(self.classes))
        label = counts.index(max(counts))
        margin = least_margin(counts, label)
        steps = largest_whole(lambda size: 2 * self.noise.affected(point, size) <= margin, 2**40)
        radius = max(Fraction(0), steps * self.noise.step - Fraction(point.distance))
        return EnumeratedResult(
            label=label,
            radius=radius,
            steps=int(radius / self.noise.step),
            margin=margin,
            counts=counts,
            invalid=classes.count(self.classes),
            classes=classes,
            copies=copies,
            noise=self.noise.kind,
            norm=self.noise.norm,
            on_grid=point.on_grid,
            seconds=time.perf_counter() - begun,
        )


def least_margin(counts: tuple[int, ...], label: int) -> int:
    """Return the least n_A - n_B - [B < A] over the other classes B; not negative when `label` is the answer."""
    ours = counts[label]
    return min(ours - count - (other < label) for other, count in enumerate(counts) if other != label)
