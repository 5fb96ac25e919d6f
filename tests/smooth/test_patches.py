"""Column and block smoothing: every patch at every place, with every content, on small binary images."""

import itertools

import numpy as np
import pytest
import torch

from unmoved.core.errors import UsageError
from unmoved.smooth import Stream
from unmoved.smooth.classifiers.enumeration import Enumerated, least_margin
from unmoved.smooth.noises.patches import Blocks, Columns


def copies(noise, x):
    point = noise.place(x)
    out = np.empty((noise.copies(point), *point.shape), np.float32)
    noise.sample(point, out, stream=Stream(bytes(32)), first=0)
    return out


def patched(x, m):
    """Every image that differs from `x` within one square of side m, all contents of zeros and ones."""
    height, width = x.shape
    for i, j in itertools.product(range(height - m + 1), range(width - m + 1)):
        for content in itertools.product((0.0, 1.0), repeat=m * m):
            moved = x.copy()
            moved[i : i + m, j : j + m] = np.reshape(content, (m, m))
            yield moved


def majority(z):
    """The class of a copy: whether more ones than zeros are seen."""
    values, mask = z[:, 0].flatten(1), z[:, -1].flatten(1)
    return (2 * (values * mask).sum(1) > mask.sum(1)).long()


def hashed(z):
    weights = torch.arange(1, z[0].numel() + 1, dtype=torch.float32)
    return ((z.flatten(1) @ weights) % 3).long()


@pytest.mark.parametrize(
    ("noise", "shape"),
    [(Columns(1), (2, 7)), (Columns(2), (2, 9)), (Columns(1), (1, 5)), (Blocks(1), (4, 4)), (Blocks(2), (5, 5))],
)
def test_no_patch_within_the_radius_changes_the_vote(noise, shape):
    random, certified, broken = np.random.default_rng(3), 0, 0
    images = [np.zeros(shape, np.float32), np.ones(shape, np.float32)]
    images += [(random.random(shape) < share).astype(np.float32) for share in (0.15, 0.85, 0.5)]
    for x, classify in itertools.product(images, (majority, hashed)):
        g = Enumerated(classify, noise, 3, batch=32)
        result = g.certify(x)
        for m in range(1, min(2, *shape) + 1):
            answers = {g.predict(moved) for moved in patched(x, m)}
            if m <= result.radius:
                assert answers == {result.label}
                certified += 1
            else:
                broken += answers != {result.label}
    assert certified > 0 and broken > 0


@pytest.mark.parametrize(
    ("noise", "shape"), [(Columns(2), (3, 6)), (Columns(3), (2, 5)), (Blocks(2), (5, 6)), (Blocks(1), (4, 3))]
)
def test_affected_is_the_largest_number_of_changed_copies(noise, shape):
    x = np.zeros(shape, np.float32)
    clean, point = copies(noise, x), noise.place(x)
    for m in range(1, min(shape) + 1):
        changed = []
        for i, j in itertools.product(range(shape[0] - m + 1), range(shape[1] - m + 1)):
            moved = x.copy()
            moved[i : i + m, j : j + m] = 1
            changed.append(int((copies(noise, moved) != clean).reshape(len(clean), -1).any(axis=1).sum()))
        assert max(changed) == noise.affected(point, m)
    assert noise.affected(point, 0) == 0


def test_formula_of_the_paper():
    """n_c >= max(n_c' + [c > c']) + 2 (m + b - 1), on counts set by hand, for both orders of the labels."""
    width, band = 40, 4
    x = np.zeros((1, width), np.float32)
    x[0, :14] = 1

    def classify(z, flip):
        centre = z[:, 0, 0].sum(1) > 0
        return torch.where(centre, 1 - flip, flip)

    for flip in (0, 1):
        result = Enumerated(lambda z, f=flip: classify(z, f), Columns(band), 2).certify(x)
        n = {1 - flip: 17, flip: 23}
        assert result.counts == (n[0], n[1]) and result.label == flip
        margin = 23 - 17 - (1 - flip < flip)
        due = max([0] + [m for m in range(1, 10) if 2 * (m + band - 1) <= margin])
        assert result.margin == margin and result.radius == due == 0
    result = Enumerated(lambda z: classify(z, 1), Columns(1), 2).certify(x)
    assert result.counts == (14, 26) and result.radius == 5  # 26 >= 14 + 1 + 2 * 5 < 14 + 1 + 2 * 6
    assert least_margin((26, 14), 0) == 12 and least_margin((14, 26), 1) == 11
    first = Enumerated(lambda z: classify(z, 0), Columns(1), 2).certify(x)
    assert first.counts == (26, 14) and first.radius == 6
    block = Enumerated(lambda z: torch.zeros(len(z), dtype=torch.int64), Blocks(3), 2).certify(
        np.zeros((12, 12), np.float32)
    )
    assert block.counts == (144, 0) and block.radius == 6  # 144 >= 2 (6 + 2)^2 = 128 < 2 (7 + 2)^2


def test_bands_wrap_and_show_the_image():
    x = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
    out = copies(Columns(2), x)
    assert out.shape == (4, 3, 3, 4)
    for t, copy in enumerate(out):
        shown = np.isin(np.arange(4), [t, (t + 1) % 4])
        assert np.array_equal(copy[:2], np.where(shown, x, 0)) and (copy[2] == shown).all()
    grey = copies(Blocks(2, blank=0.5), x)
    assert grey.shape == (12, 2, 3, 4)
    rows, columns = np.isin(np.arange(3), [2, 0]), np.isin(np.arange(4), [1, 2])
    assert np.array_equal(grey[4 * 2 + 1], np.where(rows[:, None] & columns, x, np.float32(0.5)))


def test_votes_of_nobody_are_counted_and_sound():
    def classify(z):
        logits = torch.stack([torch.zeros(len(z)), torch.ones(len(z))], dim=1)
        logits[z[:, -1, 0, 0] == 1] = float("nan")
        return logits

    result = Enumerated(classify, Columns(1), 2).certify(np.zeros((2, 9), np.float32))
    assert result.counts == (0, 8) and result.invalid == 1 and result.margin == 7 and result.radius == 3


def test_refusals():
    for bad in (0, 1.5, True):
        with pytest.raises(UsageError):
            Columns(bad)
        with pytest.raises(UsageError):
            Blocks(bad)
    for noise, shape in ((Columns(5), (3, 4)), (Blocks(4), (3, 8)), (Columns(1), (4,)), (Blocks(1), (2, 1, 4, 4))):
        with pytest.raises(UsageError, match="image"):
            noise.place(np.zeros(shape, np.float32))


@pytest.mark.parametrize("noise", [Columns(2), Blocks(2)])
@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (8, 8, 1), (8, 8, 4)])
def test_channels_at_the_end_are_no_image(noise, shape):
    with pytest.raises(UsageError, match="channels first"):
        noise.place(np.zeros(shape, np.float32))
