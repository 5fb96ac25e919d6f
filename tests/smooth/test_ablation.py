"""Randomised ablation against counting all subsets, and every change of tiny inputs."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chi2

from unmoved.core.errors import UsageError
from unmoved.smooth import Stream
from unmoved.smooth.draws import inversion
from unmoved.smooth.noises.ablation import Ablation
from unmoved.testing import Law, Move, NoiseContract


def changed_share(pixels, keep, r):
    """The share of the subsets that hold one of the first r pixels, by listing them all."""
    chosen = list(itertools.combinations(range(pixels), keep))
    return Fraction(sum(any(i < r for i in subset) for subset in chosen), len(chosen))


class TestAblation(NoiseContract):
    def noises(self):
        return [Ablation(1, 12), Ablation(2, 9, blank=0.5), Ablation(3, 10)]

    def x(self, noise):
        return np.linspace(0.1, 0.9, noise.pixels).astype(np.float32)

    def law(self, noise, copies):
        """Which subset is kept, all of them alike."""
        if noise.blank is None:
            assert copies.shape[1:] == (2, noise.pixels)
            kept = copies[:, 1] == 1
            assert np.array_equal(copies[:, 0], np.where(kept, self.x(noise), 0))
        else:
            kept = copies != noise.blank
            kept[:, np.flatnonzero(self.x(noise) == noise.blank)] = True
            kept &= ~((copies == noise.blank) & (kept.sum(axis=1, keepdims=True) > noise.keep))
        assert (kept.sum(axis=1) == noise.keep).all()
        names = {subset: k for k, subset in enumerate(itertools.combinations(range(noise.pixels), noise.keep))}
        seen = np.bincount([names[tuple(np.flatnonzero(row))] for row in kept], minlength=len(names))
        return Law(seen.tolist(), [1 / len(names)] * len(names))

    def sizes(self, noise):
        return [0.0, 1.0, 2.0, 3.9, float(noise.pixels), 100.0]

    def exact(self, noise, p, r):
        return max(Fraction(0), Fraction(p) - changed_share(noise.pixels, noise.keep, int(r)))

    def exact_radius(self, noise, p_low, p_high):
        gap = Fraction(p_low) - Fraction(p_high)
        return max(r for r in range(noise.pixels + 1) if gap > 2 * changed_share(noise.pixels, noise.keep, r))

    def moves(self, noise):
        """The worst event: a changed pixel is seen as it was, or none is seen but one of three others is."""
        x = self.x(noise)
        moved = x.copy()
        moved[:2] += np.float32(0.01)

        def event(z):
            values = z.reshape(len(z), -1)[:, : noise.pixels]
            was, now = np.abs(values - x) < 1e-3, np.abs(values - moved) < 1e-3
            return was[:, :2].any(axis=1) | (~(was | now)[:, :2].any(axis=1) & was[:, 5:8].any(axis=1))

        def loose(z):
            return np.abs(z.reshape(len(z), -1)[:, 3] - x[3]) < 1e-3

        return [Move(x, moved, 2, event), Move(x, moved, 2, loose, tight=False)]


@pytest.mark.parametrize(("pixels", "keep"), [(5, 1), (5, 2), (6, 3), (4, 4)])
def test_change_is_counted_exactly(pixels, keep):
    for r in range(pixels + 1):
        assert Ablation(keep, pixels).exact_change(r) == changed_share(pixels, keep, r)


def test_a_tie_is_not_ahead():
    """One of four pixels: D = 1/4, and .75 against .25 becomes .5 against .5."""
    assert Ablation(1, 4).radius(0.75, 0.25) == 0 and Ablation(1, 4).radius(0.76, 0.24) == 1
    assert Ablation(1, 4).radius(0.5, 0.5) == -1


def test_published_bound():
    """MNIST, k = 45 of 784 (Levine and Feizi 2020): D is below 1/2 up to r = 11."""
    noise = Ablation(45, 784)
    assert noise.exact_change(11) < Fraction(1, 2) < noise.exact_change(12)
    assert noise.radius(1.0, 0.0) == 11 and noise.radius(0.99, 0.01) == 11 and noise.radius(0.9, 0.1) == 8


@pytest.mark.parametrize(("pixels", "keep"), [(4, 1), (4, 2), (5, 2)])
def test_no_change_within_the_radius_changes_the_vote(pixels, keep):
    """Binary inputs, random labels for each (subset, values seen), exact probabilities: every x and every x'."""
    noise, random = Ablation(keep, pixels), np.random.default_rng(keep)
    subsets = list(itertools.combinations(range(pixels), keep))
    points = np.array(list(itertools.product((0, 1), repeat=pixels)))
    distance = (points[:, None] != points[None]).sum(axis=2)
    certified, moved = 0, False
    for bias in (0.0, 0.6, 0.9, 0.95):
        labels = {}
        counts = np.zeros((len(points), 3), int)
        for k, x in enumerate(points):
            for subset in subsets:
                seen = (subset, tuple(x[list(subset)]))
                if seen not in labels:
                    labels[seen] = 0 if random.random() < bias else int(random.integers(3))
                counts[k, labels[seen]] += 1
        winner = counts.argmax(axis=1)
        for k in range(len(points)):
            low, high = counts[k].max() / len(subsets), np.delete(counts[k], winner[k]).max() / len(subsets)
            r = noise.radius(np.nextafter(low, 0), np.nextafter(high, 2))
            assert (winner[distance[k] <= r] == winner[k]).all()
            certified = max(certified, r)
            moved |= bool((winner != winner[k]).any())
    assert moved and (certified >= 1 or keep > 1)


def test_pixels_have_all_their_channels():
    noise = Ablation(3, 20)
    x = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    point = noise.place(x)
    assert point.shape == (4, 4, 5) and point.on_grid and point.distance == 0
    out = np.empty((50, 4, 4, 5), np.float32)
    noise.sample(point, out, stream=Stream(bytes(32)), first=0)
    for copy in out:
        kept = copy[3] == 1
        assert kept.sum() == 3 and np.array_equal(copy[:3, kept], x[:, kept]) and (copy[:, ~kept] == 0).all()
    assert Ablation(3, 20, blank=0.5).place(x).shape == (3, 4, 5)
    assert Ablation(3, 20).place(x[0]).shape == (2, 4, 5)


def test_zeros_of_either_sign_are_one_value():
    noise = Ablation(1, 2)
    points = [noise.place(np.array([zero, 1], np.float32)).integers for zero in (0.0, -0.0)]
    assert np.array_equal(*points)


def test_equal_keys_are_settled(monkeypatch):
    """With all keys equal the first elements win, and every mask still keeps k."""
    monkeypatch.setattr(inversion, "draw", lambda law, rows, elements, **_: np.zeros((rows, elements), np.float32))
    masks = inversion.subsets(4, 7, 3, stream=Stream(bytes(32)), first=0)
    assert np.array_equal(masks, np.tile(np.arange(7) < 3, (4, 1)))


def test_large_inputs_in_parts():
    """Slices of a large input are drawn in several parts: the same masks, each pixel as often as any other."""
    stream = Stream(b"p" * 32)
    whole = inversion.subsets(60, 40_000, 9000, stream=stream, first=5)
    assert (whole.sum(axis=1) == 9000).all()
    assert np.array_equal(inversion.subsets(3, 40_000, 9000, stream=stream, first=35), whole[30:33])
    seen = whole.reshape(60, 100, 400).sum(axis=(0, 2))
    due = 60 * 9000 / 100
    spread = due * (1 - 9000 / 40_000)
    assert chi2.sf(((seen - due) ** 2 / spread).sum(), 99) > 1e-6


@pytest.mark.parametrize("arguments", [(0, 5), (6, 5), (1.0, 5), (True, 5), (1, 5, float("nan"))])
def test_refusals(arguments):
    with pytest.raises(UsageError):
        Ablation(*arguments)
    with pytest.raises(UsageError, match="12 pixels"):
        Ablation(3, 12).place(np.zeros(13, np.float32))
