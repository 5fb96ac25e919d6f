"""Discrete noise for L0 against published thresholds, linear programmes and enumeration of every labelling there is."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

from unmoved.core.errors import UsageError
from unmoved.smooth.noises.discrete import Discrete
from unmoved.testing import Law, Move, NoiseContract


def law_at(x, keep, others):
    """The law of z on all of {0..K}^d, exactly, as a dictionary."""
    law = {}
    for z in itertools.product(range(others + 1), repeat=len(x)):
        p = Fraction(1)
        for a, b in zip(x, z, strict=True):
            p *= keep if a == b else (1 - keep) / others
        law[z] = p
    return law


def least(here, there, p):
    """The least mass under `there` of a part with mass p under `here`: by sorting single outcomes, one by one."""
    kept, wanted = Fraction(0), p
    for z in sorted(here, key=lambda z: there[z] / here[z]):
        take = min(here[z], wanted)
        kept += take * there[z] / here[z]
        wanted -= take
    return kept


class TestDiscrete(NoiseContract):
    pairs = ((0.51, 0.49), (0.6, 0.1), (0.4, 0.2), (0.8, 0.2), (0.9, 0.05), (0.99, 0.01))

    def noises(self):
        return [Discrete("0.8", 1), Discrete("0.7", 3), Discrete("0.3", 255)]

    def x(self, noise):
        return (np.array([0, 1, 1, 0, 1, 1]) / noise.grid).astype(np.float32)

    def law(self, noise, copies):
        if noise.grid > 9:
            return self.law_of_many(noise, copies)
        z = np.rint(copies * noise.grid).astype(int)
        pairs = z[:, 0] * (noise.grid + 1) + z[:, 1]
        due = law_at((0, 1), noise.keep, noise.grid)
        seen = np.bincount(pairs, minlength=(noise.grid + 1) ** 2)
        return Law(seen.tolist(), [float(due[z]) for z in sorted(due)])

    def law_of_many(self, noise, copies):
        """The first element is 0: kept, or in one of sixteen bins of the other values."""
        z = np.rint(copies[:, 0] * noise.grid).astype(int)
        seen = np.bincount(np.where(z == 0, 0, 1 + z % 16), minlength=17)
        size = [sum(1 for value in range(1, 256) if value % 16 == k) for k in range(16)]
        rest = float(1 - noise.keep) / 255
        return Law(seen.tolist(), [float(noise.keep), *(rest * count for count in size)])

    def sizes(self, noise):
        return [0.0, 1.0, 1.5, 2.0, 3.0]

    def exact(self, noise, p, r):
        """Over all 3^r outcomes of the changed elements: x's value, that of x', another one."""
        a, b = noise.keep, (1 - noise.keep) / noise.grid
        here, there = {}, {}
        for z in itertools.product(range(3), repeat=int(r)):
            here[z] = math.prod(((a, b, 1 - a - b)[k] for k in z), start=Fraction(1))
            there[z] = math.prod(((b, a, 1 - a - b)[k] for k in z), start=Fraction(1))
        return least(*({z: law[z] for z in law if here[z] or there[z]} for law in (here, there)), Fraction(p))

    def exact_radius(self, noise, p_low, p_high):
        for r in range(1, 9):
            if self.exact(noise, p_low, r) + self.exact(noise, 1 - Fraction(p_high), r) <= 1:
                return r - 1
        pytest.fail("the pairs ask for more than enumeration gives")
        return None

    def moves(self, noise):
        x = self.x(noise)
        one, two = x.copy(), x.copy()
        one[0], two[:2] = 1 / noise.grid, (1 / noise.grid, 0)
        q = noise.grid

        def stays(z):
            return np.rint(z[:, 0] * q) == 0

        def most_stay(z):
            z = np.rint(z[:, :2] * q)
            kept = (z == [0, 1]).sum(axis=1) - (z == [1, 0]).sum(axis=1)
            return kept >= 1

        return [Move(x, one, 1, stays), Move(x, two, 2, most_stay)]


def test_published_thresholds():
    """Lee et al. 2019, a = .8, K = 1: what p must exceed for r = 1, 2, 3, 4."""
    noise = Discrete("0.8", 1)
    for r, text in enumerate((".875", ".96875", ".9921875", ".99275"), 1):
        p = Fraction(text)
        assert abs(noise.exact_worst_case(p, r) - Fraction(1, 2)) < Fraction(1, 10**3)
        if r <= 3:
            assert noise.exact_worst_case(p, r) == Fraction(1, 2)
            assert noise.radius(float(p), float(1 - p)) == r - 1
        assert noise.radius(float(p) + 1e-4, 1 - float(p) - 1e-4) >= r
        assert noise.radius(float(p) - 1e-4, 1 - float(p) + 1e-4) == r - 1


@pytest.mark.parametrize(("keep", "others", "r"), [("3/5", 2, 2), ("1/2", 3, 2), ("3/10", 4, 2), ("4/5", 1, 4)])
def test_worst_case_is_a_linear_programme(keep, others, r):
    noise = Discrete(keep, others)
    here, there = (law_at((value,) * r, noise.keep, others) for value in (0, 1))
    for p in ("1/10", "1/2", "7/8", "99/100"):
        found = linprog(
            [float(there[z]) for z in here],
            A_eq=[[float(here[z]) for z in here]],
            b_eq=[float(Fraction(p))],
            bounds=(0, 1),
        )
        ours = noise.exact_worst_case(Fraction(p), r)
        assert found.fun == pytest.approx(float(ours), abs=1e-9)
        assert ours == least(here, there, Fraction(p))


@pytest.mark.parametrize(("keep", "others", "d"), [("4/5", 1, 4), ("3/5", 2, 3), ("9/10", 2, 3)])
def test_no_move_within_the_radius_changes_the_vote(keep, others, d):
    """Labellings of a tiny space, with their exact probabilities: all x, all x' within the radius."""
    noise, random = Discrete(keep, others), np.random.default_rng(d)
    points = list(itertools.product(range(others + 1), repeat=d))
    laws = {x: law_at(x, noise.keep, others) for x in points}
    matrix = np.array([[float(laws[x][z]) for z in points] for x in points])
    distance = (np.array(points)[:, None] != np.array(points)[None]).sum(axis=2)
    certified = 0
    for trial in range(40):
        centre = np.array(points[random.integers(len(points))])
        near = (np.array(points) != centre).sum(axis=1) <= random.integers(1, d)
        labels = np.where(near, 0, 1) if trial % 2 else random.integers(0, 3, len(points))
        share = np.stack([matrix @ (labels == c) for c in range(3)], axis=1)
        winner = share.argmax(axis=1)
        for k in range(len(points)):
            low = float(np.nextafter(share[k, winner[k]] - 1e-12, 0))
            high = float(max(share[k, c] for c in range(3) if c != winner[k]) + 1e-12)
            r = noise.radius(low, min(1.0, high))
            if r >= 0:
                certified = max(certified, r)
                assert (winner[distance[k] <= r] == winner[k]).all()
    assert certified >= 1


def test_independent_of_the_dimension_and_quick():
    noise = Discrete("1/5", 255)
    assert noise.radius(0.99, 0.01) >= 1 and noise.worst_case(0.9, 80) < 1e-9
    assert Discrete("0.9").radius(1.0, 0.0) == np.inf


def test_off_the_grid_costs_nothing():
    point = Discrete("1/2").place(np.full(4, 0.001, np.float32))
    assert not point.on_grid and point.distance == 0


@pytest.mark.parametrize(("keep", "grid"), [("1/256", 255), (1, 255), (0, 3), (2, 3), ("1/2", 0), ("1/2", 2**17)])
def test_refusals(keep, grid):
    with pytest.raises(UsageError):
        Discrete(keep, grid)
    with pytest.raises(UsageError, match="0 to 1"):
        Discrete("1/2").place(np.array([1.5], np.float32))
