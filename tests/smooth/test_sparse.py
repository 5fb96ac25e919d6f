"""Sparsity-aware flips against enumeration of all outcomes, the paper's ratio, and every move of tiny binary data."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from unmoved.core.errors import UsageError
from unmoved.smooth.noises.discrete import Discrete
from unmoved.smooth.noises.sparse import Sparse
from unmoved.testing import Law, Move, NoiseContract


def law_at(x, plus, minus):
    """The law of z on {0, 1}^d, exactly, as a dictionary."""
    law = {}
    for z in itertools.product((0, 1), repeat=len(x)):
        flips = (
            (plus if a == 0 else minus) if a != b else 1 - (plus if a == 0 else minus)
            for a, b in zip(x, z, strict=True)
        )
        law[z] = math.prod(flips, start=Fraction(1))
    return law


def least(here, there, p):
    kept, wanted = Fraction(0), p
    for z in sorted((z for z in here if here[z]), key=lambda z: there[z] / here[z]):
        take = min(here[z], wanted)
        kept += take * there[z] / here[z]
        wanted -= take
    return kept


def exactly(noise, p, added, deleted):
    x, moved = (0,) * added + (1,) * deleted, (1,) * added + (0,) * deleted
    return least(law_at(x, noise.add, noise.delete), law_at(moved, noise.add, noise.delete), Fraction(p))


class TestSparse(NoiseContract):
    pairs = ((0.51, 0.49), (0.6, 0.1), (0.4, 0.2), (0.8, 0.2), (0.9, 0.05), (0.97, 0.03))

    def noises(self):
        return [Sparse("0.1", "0.4"), Sparse("0.3", "0.3"), Sparse("0.3", "0.2")]

    def x(self, noise):
        return np.array([0, 1, 1, 0, 0, 1], np.float32)

    def law(self, noise, copies):
        due = law_at((0, 1, 1), noise.add, noise.delete)
        seen = np.bincount((copies[:, :3] @ [4, 2, 1]).astype(int), minlength=8)
        return Law(seen.tolist(), [float(due[z]) for z in sorted(due)])

    def sizes(self, noise):
        return [0.0, 1.0, 2.0, 2.7, 3.0]

    def exact(self, noise, p, r):
        return min(exactly(noise, p, a, int(r) - a) for a in range(int(r) + 1))

    def exact_radius(self, noise, p_low, p_high):
        for r in range(1, 11):
            for a in range(r + 1):
                if exactly(noise, p_low, a, r - a) + exactly(noise, 1 - Fraction(p_high), a, r - a) <= 1:
                    return r - 1
        pytest.fail("the pairs ask for more than enumeration gives")
        return None

    def moves(self, noise):
        x = self.x(noise)
        added, deleted, both = x.copy(), x.copy(), x.copy()
        added[0], deleted[1] = 1, 0
        both[:2] = [1, 0]
        first = exactly(noise, 1 / 2, 1, 0) <= exactly(noise, 1 / 2, 0, 1)
        return [
            Move(x, added, 1, lambda z: z[:, 0] == 0, tight=noise.add == noise.delete),
            Move(x, deleted, 1, lambda z: z[:, 1] == 1, tight=noise.add == noise.delete),
            Move(x, both, 2, lambda z: (z[:, 0] == 0) & (z[:, 1] == 1), tight=False),
            self.tight(noise, x, first),
        ]

    def tight(self, noise, x, first):
        """The worse single flip at the event's own probability: half of it, by a coin of another element."""
        moved = x.copy()
        moved[0 if first else 1] = 1 if first else 0
        coin = 3 if noise.add >= noise.delete else 2

        def event(z):
            return (z[:, 0] == 0 if first else z[:, 1] == 1) & (z[:, coin] == x[coin])

        p = float((1 - noise.add if first else 1 - noise.delete) * (1 - (noise.add if coin == 3 else noise.delete)))
        worse = exactly(noise, p, 1, 0) <= exactly(noise, p, 0, 1)
        return Move(x, moved, 1, event, tight=worse == first)


@pytest.mark.parametrize(
    ("plus", "minus"), [("1/100", "3/5"), ("1/5", "1/5"), ("0", "2/5"), ("2/5", "0"), ("1/2", "1/3")]
)
def test_worst_case_by_enumeration(plus, minus):
    noise = Sparse(plus, minus)
    for added, deleted in itertools.product(range(4), range(4)):
        for p in ("1/10", "1/2", "9/10", "999/1000", "1"):
            ours = noise.exact_worst_case(Fraction(p), added, deleted)
            assert ours == exactly(noise, Fraction(p), added, deleted)


def test_ratio_of_the_paper():
    """(p+/(1 - p-))^(q - r_d) (p-/(1 - p+))^(q - r_a) for each outcome, q the number of changed places that flipped."""
    plus, minus, added, deleted = Fraction(1, 50), Fraction(2, 5), 3, 2
    x, moved = (0,) * added + (1,) * deleted, (1,) * added + (0,) * deleted
    here, there = law_at(x, plus, minus), law_at(moved, plus, minus)
    for z in here:
        q = sum(a != b for a, b in zip(x, z, strict=True))
        ratio = (plus / (1 - minus)) ** (q - deleted) * (minus / (1 - plus)) ** (q - added)
        assert here[z] / there[z] == ratio


def test_equal_flips_are_discrete_noise():
    """p+ = p- = 1 - a is Lee's noise with K = 1: the published thresholds again."""
    noise, other = Sparse("1/5", "1/5"), Discrete("4/5", 1)
    for r, text in enumerate((".875", ".96875", ".9921875"), 1):
        assert noise.exact_worst_case(Fraction(text), r, 0) == Fraction(1, 2)
        assert noise.exact_worst_case(Fraction(text), 0, r) == Fraction(1, 2)
        for p in (0.6, 0.9, 0.99):
            assert noise.worst_case(p, r) == other.worst_case(p, r)


@pytest.mark.parametrize(("plus", "minus"), [("1/20", "2/5"), ("1/5", "1/10")])
def test_no_move_of_the_frontier_changes_the_vote(plus, minus):
    noise, random, d = Sparse(plus, minus), np.random.default_rng(4), 4
    points = list(itertools.product((0, 1), repeat=d))
    table = np.array(points)
    matrix = np.array([[float(law_at(x, noise.add, noise.delete)[z]) for z in points] for x in points])
    added = ((table[:, None] == 0) & (table[None] == 1)).sum(axis=2)
    deleted = ((table[:, None] == 1) & (table[None] == 0)).sum(axis=2)
    certified = 0
    for trial in range(30):
        labels = (
            random.integers(0, 3, len(points)) if trial % 2 else (table.sum(1) >= random.integers(1, d)).astype(int)
        )
        share = np.stack([matrix @ (labels == c) for c in range(3)], axis=1)
        winner = share.argmax(axis=1)
        for k in range(len(points)):
            low = float(share[k, winner[k]] - 1e-12)
            high = float(np.delete(share[k], winner[k]).max() + 1e-12)
            for a, d_most in noise.frontier(low, high, most=4):
                inside = (added[k] <= a) & (deleted[k] <= d_most)
                assert (winner[inside] == winner[k]).all()
                certified = max(certified, a + d_most)
            r = noise.radius(low, high)
            assert (winner[added[k] + deleted[k] <= r] == winner[k]).all()
    assert certified >= 1


def test_sparse_data_allow_more_deletions_than_a_radius_says():
    pairs = Sparse("1/100", "3/5").frontier(0.95, 0.05)
    radius = Sparse("1/100", "3/5").radius(0.95, 0.05)
    assert pairs[0][0] == 0 and pairs[0][1] > radius


@pytest.mark.parametrize(("plus", "minus"), [(0, 0), ("1/2", "1/2"), (-1, "1/2"), ("x", 0), (1, 0)])
def test_refusals(plus, minus):
    with pytest.raises(UsageError):
        Sparse(plus, minus)
    with pytest.raises(UsageError, match="0 or 1"):
        Sparse("1/10", "1/10").place(np.array([0, 0.5, 1], np.float32))
