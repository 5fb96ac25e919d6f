"""Splitting noise: its law, its Lipschitz bound, and the derandomised form against every move there is."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from unmoved.core.errors import UsageError
from unmoved.smooth import Stream
from unmoved.smooth.classifiers.enumeration import Enumerated
from unmoved.smooth.noises.splitting import DerandomizedSplitting, Splitting
from unmoved.testing import Law, Move, NoiseContract


class TestSplitting(NoiseContract):
    def noises(self):
        return [Splitting(1), Splitting("1/2", 10), Splitting("3/4", 2), Splitting(2, 3)]

    def x(self, noise):
        return (np.array([1, 0, 2, 1]) / noise.grid).astype(np.float32)

    def law(self, noise, copies):
        """The pair (threshold, side) of the first element, from the definition with s on the middles of cells."""
        levels, q = noise.levels, noise.grid
        value = 2 * copies[:, 0].astype(np.float64)
        due = {}
        for v in range(levels):
            s = (v + 0.5) / q
            seen = round(min(s, 1.0) + (1.0 if 1 / q > s else 0.0), 5)
            due[seen] = due.get(seen, 0) + 1 / levels
        names = sorted(due)
        seen = [int((np.abs(value - name) < 1e-4).sum()) for name in names]
        assert sum(seen) == len(copies)
        return Law(seen, [due[name] for name in names])

    def sizes(self, noise):
        return [float(noise.lam) * share for share in (0.0, 0.001, 0.3, 1.0, 1.9, 2.0, 5.0)]

    def exact(self, noise, p, r):
        return max(Fraction(0), Fraction(p) - min(Fraction(1), Fraction(r) / (2 * noise.lam)))

    def exact_radius(self, noise, p_low, p_high):
        return noise.lam * (Fraction(p_low) - Fraction(p_high))

    def moves(self, noise):
        """x_2 = 2/q down to 1/q: [x > s] turns from true to false with probability 1/L, no more and no less."""
        x = self.x(noise)
        moved, far = x.copy(), x.copy()
        moved[2] = np.float32(1 / noise.grid)
        far[:3] = [np.float32(k / noise.grid) for k in (0, 1, 1)]
        exact = {}
        for v in range(noise.levels):
            s = np.float32(min((v + 0.5) / noise.grid, 1))
            exact[round(float(s + np.float32(v < 2)) / 2, 6)] = v
        kept = np.array([name for name, v in exact.items() if v == 1 or v > noise.levels // 2])

        def event(z):
            return (np.abs(z[:, 2:3] - kept[None, :]) < 1e-5).any(axis=1)

        def joint(z):
            return event(z) | (z[:, 0] > 0.4)

        return [Move(x, moved, 1 / noise.grid, event), Move(x, far, 3 / noise.grid, joint, tight=False)]


def lookup(noise, d, classes, random):
    """A random classifier of copies: each pattern of halves gets a class of its own."""
    table = random.integers(0, classes, 4096)
    weights = random.integers(1, 10**6, d)

    def classify(z):
        key = (np.rint(z.reshape(len(z), -1).numpy() * 2 * noise.grid * 2).astype(np.int64) @ weights) % 4096
        return torch.from_numpy(table[key])

    return classify


@pytest.mark.parametrize(
    ("lam", "grid", "d"), [("1", 3, 3), ("1/2", 4, 2), ("3/2", 3, 2), ("7/2", 4, 2), ("1/6", 3, 3)]
)
def test_derandomised_exhaustively(lam, grid, d):
    """Every input of the grid, every move within the radius, random and smooth classifiers: g never moves."""
    random = np.random.default_rng(grid + d)
    noise = DerandomizedSplitting(lam, grid, offsets=5)
    points = [(np.array(k) / grid).astype(np.float32) for k in itertools.product(range(grid + 1), repeat=d)]
    integers = np.array(list(itertools.product(range(grid + 1), repeat=d)))
    certified, tight = 0, False
    classifiers = [lookup(noise, d, 3, random) for _ in range(3)]
    classifiers += [lambda z: (z[:, 0] >= 0.5).long(), lambda z: (z.sum(1) * 1.7).long() % 3]
    for classify in classifiers:
        results = [Enumerated(classify, noise, 3, batch=7).certify(x) for x in points]
        labels = np.array([result.label for result in results])
        for k, result in enumerate(results):
            assert sum(result.counts) == result.copies == int(2 * Fraction(lam) * grid)
            steps = np.abs(integers - integers[k]).sum(axis=1)
            assert (labels[steps <= result.steps] == result.label).all()
            certified += result.steps
            tight |= bool((labels[steps == result.steps + 1] != result.label).any())
    assert certified > 0 or noise.copies(noise.place(points[0])) < 4
    assert tight or noise.lam > 1, "beyond lam = 1 a threshold above 1 keeps its vote whatever x is"


def test_derandomised_formula_and_order_of_labels():
    """R = floor((n_A - n_B - [B < A])/2)/q, from counts that a classifier of one element gives."""
    noise, x = DerandomizedSplitting(1, 10), np.array([0.5], np.float32)
    for want in (0, 1):
        result = Enumerated(lambda z, w=want: torch.where(z[:, 0] > 0.6, w, 1 - w), noise, 2).certify(x)
        (a, b), label = result.counts, result.label
        assert a + b == 20 and label == int(b > a)
        gap = abs(a - b) - (label == 1)
        assert result.radius == Fraction(gap // 2, 10) and result.margin == gap
    tie = Enumerated(lambda z: torch.arange(len(z)) % 2, noise, 2, batch=20).certify(x)
    assert tie.counts == (10, 10) and tie.label == 0 and tie.radius == 0


def test_every_threshold_is_met_once():
    """For each element the copies show each of the L thresholds once: what makes one step change one copy."""
    noise = DerandomizedSplitting("1/2", 8, offsets=3)
    point = noise.place(np.array([0.0, 0.25, 1.0], np.float32))
    out = np.empty((8, 3), np.float32)
    noise.sample(point, out, stream=Stream(bytes(32)), first=0)
    for column, m in zip(out.T, (0, 2, 8), strict=True):
        due = sorted((min((v + 0.5) / 8, 1) + (m > v)) / 2 for v in range(8))
        assert np.allclose(sorted(column), due, atol=1e-7)
    again = np.empty((3, 3), np.float32)
    noise.sample(point, again, stream=Stream(b"x" * 32), first=4)
    assert np.array_equal(again, out[4:7])
    moved = np.empty_like(out)
    noise.sample(noise.place(np.array([0.125, 0.25, 1.0], np.float32)), moved, stream=Stream(bytes(32)), first=0)
    assert (moved != out).any(axis=1).sum() == 1


def test_off_the_grid_costs_d_steps():
    noise = DerandomizedSplitting(4, 10)

    def classify(z):
        return (z[:, 0] > 10).long()

    on, off = (Enumerated(classify, noise, 2).certify(np.full(3, value, np.float32)) for value in (0.5, 0.52))
    assert on.on_grid and not off.on_grid and on.radius == Fraction(on.steps, 10)
    assert Fraction(3, 10) <= on.radius - off.radius <= Fraction(3, 10) * (1 + Fraction(1, 10**12))


@pytest.mark.parametrize("noise", [Splitting, DerandomizedSplitting])
def test_refusals(noise):
    for lam, grid in ((0, 255), ("1/7", 255), (1, 0), (10**9, 255)):
        with pytest.raises(UsageError):
            noise(lam, grid)
    for x in (-0.1, 1.2):
        with pytest.raises(UsageError, match="0 to 1"):
            noise(1).place(np.array([x], np.float32))
    with pytest.raises(UsageError):
        DerandomizedSplitting(1, offsets=-1)
