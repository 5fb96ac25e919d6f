"""What every smoothing noise must keep: its law, its streams, and worst cases that are true and no worse than true."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import beta, chi2

from unmoved.core.errors import UsageError
from unmoved.smooth import Noise, Purpose, Smoothed, Stream
from unmoved.smooth.radii.search import WHOLE_NORMS, radius_by_search

Copies = npt.NDArray[np.float32]
PROBABILITIES = (0.0, 1e-9, 0.05, 0.3, 0.5, 0.6, 0.8, 0.95, 0.999, 1 - 1e-12, 1.0)
PAIRS = ((0.51, 0.49), (0.6, 0.1), (0.4, 0.2), (0.8, 0.2), (0.9, 0.05), (0.99, 0.01), (0.9999, 1e-5), (0.45, 0.3))
CHANCE = 1e-6
"""How often a correct noise may fail one comparison of frequencies."""


@dataclass(frozen=True, eq=False)
class Move:
    """An input, where it moves to, the size of the move, and an event of copies (rows, *shape) -> bool (rows,).

    `tight`: the event is a worst one: what remains of it is not only no less than worst_case, but no more.
    """

    x: npt.NDArray[np.float32]
    moved: npt.NDArray[np.float32]
    r: float
    event: Callable[[Copies], npt.NDArray[np.bool_]]
    tight: bool = True


@dataclass(frozen=True, eq=False)
class Law:
    """How often each value was seen in independent draws, and the probability of each by another way of computing."""

    seen: Sequence[float]
    probability: Sequence[float]


class NoiseContract(ABC):
    """Inherit, name the class Test..., give the hooks; `exact` and `law` are outside answers, not the noise's own."""

    samples = 20_000
    probabilities = PROBABILITIES
    pairs = PAIRS

    @abstractmethod
    def noises(self) -> Sequence[Noise]:
        """Return noises of several sizes, each of which `x` fits."""

    @abstractmethod
    def x(self, noise: Noise) -> npt.NDArray[np.float32]:
        """Return an input that the noise holds exactly, up to the rounding of float32."""

    @abstractmethod
    def law(self, noise: Noise, copies: Copies) -> Law:
        """Return what `copies` (rows, *shape) of `x` show of the law, in classes each expected 5 times or more."""

    @abstractmethod
    def sizes(self, noise: Noise) -> Sequence[float]:
        """Return sizes of moves, growing, from 0."""

    @abstractmethod
    def exact(self, noise: Noise, p: float, r: float) -> Any:
        """Return the closed form of the worst case, to 30 digits or exactly (mpmath, Fraction)."""

    @abstractmethod
    def exact_radius(self, noise: Noise, p_low: float, p_high: float) -> Any:
        """Return the closed form of the radius, to 30 digits or exactly; <= 0 if nothing is certified."""

    @abstractmethod
    def moves(self, noise: Noise) -> Sequence[Move]:
        """Return moves with events of middling probability; at least one of them tight."""

    def copies(self, noise: Noise, x: npt.NDArray[np.float32], rows: int, *, first: int = 0, seed: int = 0) -> Copies:
        """Return copies number `first` ... `first` + rows - 1 of `x`."""
        point = noise.place(x)
        out = np.full((rows, *point.shape), np.nan, np.float32)
        noise.sample(point, out, stream=Stream(bytes([seed]) * 32), first=first)
        return out

    def test_copies_follow_the_law(self) -> None:
        """Chi-square, once for each noise; a correct one fails once in a million."""
        for noise in self.noises():
            law = self.law(noise, self.copies(noise, self.x(noise), self.samples))
            seen, due = np.array(law.seen, float), np.array(law.probability, float)
            assert due.sum() == pytest.approx(1, abs=1e-9) and (due * seen.sum() >= 5).all() and len(due) > 1
            statistic = ((seen - due * seen.sum()) ** 2 / (due * seen.sum())).sum()
            assert chi2.sf(statistic, len(due) - 1) > CHANCE, (noise.kind, statistic, len(due))

    def test_slices_do_not_depend_on_the_batch(self) -> None:
        """Any copy alone is the one that came out among others; other seeds and purposes give others."""
        for noise in self.noises():
            x = self.x(noise)
            whole = self.copies(noise, x, 67)
            assert np.isfinite(whole).all()
            for first, rows in ((0, 1), (1, 5), (13, 54), (66, 1)):
                assert np.array_equal(self.copies(noise, x, rows, first=first), whole[first : first + rows])
            assert not np.array_equal(self.copies(noise, x, 67, seed=1), whole)
            other = np.empty_like(whole)
            noise.sample(noise.place(x), other, stream=Stream(bytes(32), Purpose.SELECTION), first=0)
            assert not np.array_equal(other, whole)

    def test_refuses(self) -> None:
        """Outputs of another shape or type, inputs that are not finite, probabilities and sizes that are none."""
        for noise in self.noises():
            point, stream = noise.place(self.x(noise)), Stream(bytes(32))
            for bad in (np.empty((2, *point.shape)), np.empty((2, *point.shape, 2), np.float32)):
                with pytest.raises(UsageError):
                    noise.sample(point, bad, stream=stream, first=0)  # type: ignore[arg-type]
            for value in (math.nan, math.inf):
                x = self.x(noise).copy()
                x.reshape(-1)[0] = value
                with pytest.raises(UsageError):
                    noise.place(x)
            for p, r in ((-0.1, 1.0), (1.1, 1.0), (0.5, -1.0), (math.nan, 1.0), (0.5, math.nan)):
                with pytest.raises(UsageError):
                    noise.worst_case(p, r)

    def test_worst_case_is_monotone(self) -> None:
        """It grows with the probability and falls with the size, and is a probability."""
        for noise in self.noises():
            table = np.array([[noise.worst_case(p, r) for r in self.sizes(noise)] for p in self.probabilities])
            assert ((table >= 0) & (table <= 1)).all()
            assert (np.diff(table, axis=0) >= -1e-10).all() and (np.diff(table, axis=1) <= 0).all()

    def test_nothing_is_lost_without_a_move(self) -> None:
        """worst_case(p, 0) is p, rounded down."""
        for noise in self.noises():
            for p in self.probabilities:
                kept = noise.worst_case(p, 0.0)
                assert p - 1e-9 <= kept <= p, (noise.kind, p, kept)

    def test_worst_case_is_the_closed_form_and_never_above(self) -> None:
        """To 1e-8."""
        for noise in self.noises():
            for p in self.probabilities:
                for r in self.sizes(noise):
                    exact, ours = self.exact(noise, p, r), noise.worst_case(p, r)
                    assert Fraction(ours) <= exact if isinstance(exact, Fraction) else ours <= exact, (p, r)
                    assert ours == pytest.approx(float(exact), abs=1e-8), (noise.kind, p, r)

    def test_radius_is_the_closed_form_and_never_above(self) -> None:
        """To 1e-8, relatively; whole radii exactly."""
        for noise in self.noises():
            for p_low, p_high in self.pairs:
                exact, ours = self.exact_radius(noise, p_low, p_high), noise.radius(p_low, p_high)
                # a real radius holds on the closed ball, so that it is strictly below the open one's
                below = ours <= exact if noise.norm in WHOLE_NORMS or exact <= 0 else ours < exact
                assert below, (noise.kind, p_low, p_high)
                assert ours == pytest.approx(float(exact), rel=1e-8, abs=1e-9)
            assert noise.radius(0.5, 0.5) <= 0 and noise.radius(0.2, 0.6) <= 0 and noise.radius(0.0, 1.0) <= 0

    def test_radius_is_what_worst_case_says(self) -> None:
        """By search, with nothing but worst_case."""
        for noise in self.noises():
            for p_low, p_high in self.pairs:
                ours, found = noise.radius(p_low, p_high), radius_by_search(noise, p_low, p_high)
                if noise.norm in WHOLE_NORMS:
                    # rounding worst_case down may hide a tie that whole numbers decide
                    assert ours - 1 <= found <= ours
                else:
                    assert found == pytest.approx(max(ours, -1.0), rel=1e-7, abs=1e-7)

    def test_no_event_keeps_less(self) -> None:
        """Frequencies before and after a move, each with its confidence bound; for tight events from both sides."""
        for noise in self.noises():
            moves = list(self.moves(noise))
            assert any(move.tight for move in moves)
            for number, move in enumerate(moves):
                here = _interval(move.event(self.copies(noise, move.x, self.samples, seed=2 * number + 3)))
                there = _interval(move.event(self.copies(noise, move.moved, self.samples, seed=2 * number + 4)))
                assert here[0] > 0.05 and here[1] < 0.999, "an event nearly certain, or nearly never, tests nothing"
                assert there[1] >= noise.worst_case(here[0], move.r), (noise.kind, number)
                if move.tight:
                    assert there[0] <= noise.worst_case(here[1], move.r) + 1e-6, (noise.kind, number)

    def test_the_engine_certifies_with_it(self) -> None:
        """A constant classifier gets the largest radius of so many samples; too few are refused with a number."""
        for noise in self.noises():
            smoothed = Smoothed(lambda z: (z.reshape(len(z), -1)[:, 0] > -1e9).long(), noise, 3, batch=500)
            x = self.x(noise)
            result = smoothed.certify(x, samples=20_000, alpha="1/1000")
            assert result.label == 1 and result.radius > 0 and result.noise == noise.kind
            around_point = noise.radius(result.p_low, result.p_high)
            assert result.radius <= around_point
            assert result.radius == pytest.approx(around_point, abs=1e-4)
            assert smoothed.predict(x).label == 1
            with pytest.raises(UsageError, match="at least"):
                smoothed.certify(x, samples=1)

    def test_deviation(self) -> None:
        """Positive, tiny, and no smaller for more numbers."""
        for noise in self.noises():
            one, many = noise.deviation(1, 1), noise.deviation(1000, 10)
            assert isinstance(one, Fraction) and 0 < one <= many < Fraction(1, 10**8)


def law_of_integers(values: npt.NDArray[Any], below: Callable[[int], float]) -> Law:
    """Return the law of integers `values`, below(k) = P(E <= k), in neighbouring classes expected 20 times or more."""
    values = np.asarray(values, np.int64).ravel()
    ends, done = [], 0.0
    for k in range(int(values.min()), int(values.max())):
        if (below(k) - done) * values.size >= 20 and (1 - below(k)) * values.size >= 20:
            ends.append(k)
            done = below(k)
    seen = np.bincount(np.searchsorted(ends, values, side="left"), minlength=len(ends) + 1)
    return Law(seen.tolist(), np.diff([0.0, *(below(k) for k in ends), 1.0]).tolist())


def _interval(hits: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return Clopper and Pearson's bounds, each wrong with probability CHANCE."""
    n, k = len(hits), int(hits.sum())
    low = float(beta.ppf(CHANCE, k, n - k + 1)) if k else 0.0
    high = float(beta.isf(CHANCE, k + 1, n - k)) if k < n else 1.0
    return low, high
