"""Certified radii against closed forms, and the attack that breaks smoothing with floating-point noise."""

import numpy as np
import pytest
import torch
from scipy.stats import binom

from unmoved.smooth import Gaussian, Smoothed, Stream, VoteCounter
from unmoved.smooth.statistics import one_class

SEEDS = 200


def violations_allowed(alpha):
    """Most violations in SEEDS runs at rate alpha, exceeded with probability 1e-5."""
    return binom.ppf(1 - 1e-5, SEEDS, alpha)


@pytest.mark.parametrize("bound", ["one-class", "two-class"])
def test_half_space_between_grid_points(bound):
    """f = [z_1 > (k + 1/2)/q]: P(f = 1) at m/q is Phi((m - k - 1/2)/(q sigma)) exactly, the radius (m - k - 1/2)/q."""
    noise, k, m = Gaussian("1/4"), 80, 130
    x = np.full(3, m / 255, np.float32)
    smoothed = Smoothed(lambda z: (z[:, 0] > (k + 0.5) / 255).to(torch.int64), noise, 2, batch=1000)
    truth = (m - k - 0.5) / 255
    radii = []
    for seed in range(SEEDS):
        result = smoothed.certify(x, samples=1000, selection_samples=10, alpha="1/5", seed=seed, bound=bound)
        radii.append(result.radius if result.label == 1 else 0.0)
    assert np.mean(np.array(radii) > truth) * SEEDS <= violations_allowed(0.2)
    assert np.mean(radii) > 0.85 * truth
    precise = smoothed.certify(x, samples=200_000, seed=1, bound=bound)
    assert 0.97 * truth < precise.radius < truth


def test_half_space_in_general_position():
    """f = [w z + b > 0] in 40 dimensions: radius (w x + b)/||w||, both bounds, failing no more often than alpha."""
    random = np.random.default_rng(2)
    w = torch.tensor(random.normal(size=40), dtype=torch.float32)
    x = (random.integers(0, 256, 40) / 255).astype(np.float32)
    b = 0.3 * float(w.norm()) - float(w @ torch.tensor(x))
    truth = float(w.double() @ torch.tensor(x).double() + b) / float(w.double().norm())

    def classify(z):
        score = z @ w + b
        return torch.stack([-score, score], dim=1)

    smoothed = Smoothed(classify, Gaussian("1/2"), 2, batch=500)
    results = [smoothed.certify(x, samples=500, alpha="1/5", seed=seed) for seed in range(SEEDS)]
    over = sum(result.radius > truth for result in results if result.label == 1)
    wrong = sum(result.label == 0 for result in results)
    assert over + wrong <= violations_allowed(0.2)
    assert np.mean([result.radius for result in results]) > 0.6 * truth


def reachable(z, x):
    """Whether some float32 n gives fl(x + n) = z, elementwise: the nearest n and its two neighbours are tried."""
    nearest = (z - x).astype(np.float32)
    steps = (nearest, *(np.nextafter(nearest, np.float32(side)) for side in (np.inf, -np.inf)))
    return np.logical_or.reduce([(x + n).astype(np.float32) == z for n in steps])


class Reachability:
    """The classifier of Voracek and Hein (ICLR 2023): class 1 iff every z_i is a float32 sum x_i + n."""

    def __init__(self, x):
        self.x = x

    def __call__(self, z):
        return torch.from_numpy(reachable(z.numpy(), self.x).all(axis=1).astype(np.int64))


class TorchNoise(Gaussian):
    """The negative control: what every other smoothing code does, x + sigma * randn in float32."""

    def sample(self, point, out, *, stream, first):
        generator = torch.Generator().manual_seed(first + 7)
        x = torch.from_numpy((point.integers / 255).astype(np.float32))
        out[:] = (x + float(self.sigma) * torch.randn(len(out), x.numel(), generator=generator)).numpy()


def attacked_pair():
    """A 32 x 32 colour image of 8 bits, and the same one level brighter: 0.217 apart in L2."""
    levels = np.random.default_rng(0).integers(0, 255, 3072)
    return (levels / 255).astype(np.float32), ((levels + 1) / 255).astype(np.float32)


def votes(noise, x, classify):
    counter = VoteCounter(classify, noise, 2, 250)
    return counter.count(noise.place(x), range(2000), stream=Stream(b"r" * 32)).counts


def test_reachability_breaks_floating_point_noise():
    x, moved = attacked_pair()
    noise, attack = TorchNoise("1/4"), Reachability(x)
    at_x, at_moved = votes(noise, x, attack), votes(noise, moved, attack)
    assert at_x == (0, 2000) and at_moved == (2000, 0)
    distance = float(np.linalg.norm(moved.astype(np.float64) - x))
    low = one_class(at_x, 1, noise.sigma / 250).p_low
    assert noise.radius(low, 1 - low) > 0.67 > 3 * distance  # "certified", and false a third of the way out


def test_reachability_does_not_break_the_grid():
    x, moved = attacked_pair()
    noise = Gaussian("1/4")
    distance = float(np.linalg.norm(moved.astype(np.float64) - x))
    for centre in (x, moved):
        smoothed = Smoothed(Reachability(centre), noise, 2, batch=250)
        here, there = (smoothed.certify(place, samples=2000, alpha="1/1000") for place in (x, moved))
        assert here.radius > distance and there.label == here.label
        # a count that the theorem forbids would show here: P at the neighbour lies within the worst case
        assert there.counts[here.label] / 2000 >= noise.worst_case(here.p_low, distance)


def test_copies_of_different_inputs_live_on_one_lattice():
    """Why the attack fails: each multiple of 1/q is the same float32 wherever it is reached from."""
    noise, lattice = Gaussian("1/4"), np.arange(-3000, 3001).astype(np.float32) / np.float32(255)
    for x in attacked_pair():
        out = np.empty((50, 3072), np.float32)
        noise.sample(noise.place(x), out, stream=Stream(bytes(32)), first=0)
        assert np.isin(out, lattice).all()
