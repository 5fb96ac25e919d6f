"""L0 balls and patches against the definition: which elements differ, by trying every window."""

import itertools

import numpy as np
import pytest

from unmoved.core import UsageError
from unmoved.testing import Edge, ThreatContract
from unmoved.threats import L0, Patch, parse

RNG = np.random.default_rng(5)
IMAGE = (RNG.integers(0, 256, (2, 3, 4)) / np.float32(255)).astype(np.float32)


def clipped(threat, point):
    low, high = threat.clip
    return all(low <= float(v) <= high for v in point.reshape(-1))


class TestL0(ThreatContract):
    def inside(self, threat, x, point):
        moved = sum(float(a) != float(b) for a, b in zip(x.reshape(-1), point.reshape(-1), strict=True))
        return moved <= threat.number and clipped(threat, point)

    def cases(self):
        return [(L0(k, (0, 1)), IMAGE) for k in (0, 1, 3, 24, 100)] + [(L0(2, (-1, 1)), np.zeros(5, np.float32))]

    def edges(self):
        x = np.zeros(4, np.float32)
        moved = [
            np.array(p, np.float32) for p in ([1, 0, 0, 0], [1, 1e-45, 0, 0], [1, 1, 1e-45, 0], [1, 1.0000001, 0, 0])
        ]
        return [Edge(L0(2, (0, 1)), x, p, i < 2) for i, p in enumerate(moved)]


class TestPatch(ThreatContract):
    def inside(self, threat, x, point):
        moved = np.abs(x.astype(np.float64) - point) > 0
        height, width = x.shape[-2:]
        windows = itertools.product(range(-height, height), range(-width, width))
        for top, left in windows:
            rows = slice(max(0, top), max(0, top + threat.number))
            columns = slice(max(0, left), max(0, left + threat.number))
            rest = moved.copy()
            rest[..., rows, columns] = False
            if not rest.any():
                return clipped(threat, point)
        return False

    def cases(self):
        return [(Patch(m, (0, 1)), IMAGE) for m in (0, 1, 2, 5)] + [(Patch(2, (0, 1)), IMAGE[None])]

    def edges(self):
        x = np.zeros((1, 4, 4), np.float32)
        near, far = x.copy(), x.copy()
        near[0, 1, 1] = near[0, 2, 2] = 1
        far[0, 1, 1] = far[0, 2, 3] = 1
        return [Edge(Patch(2, (0, 1)), x, near, True), Edge(Patch(2, (0, 1)), x, far, False)]

    samples = 8


def test_without_a_clip_range_nothing_bounds_it():
    region = L0(1).region(IMAGE[None])
    assert np.isinf(region.low).all() and np.isinf(region.high).all()
    assert L0(1).contains(np.zeros(3, np.float32), np.array([1e30, 0, 0], np.float32))
    assert (L0(0).region(IMAGE[None]).low == IMAGE).all()


def test_by_name():
    assert parse("l0:3") == L0(3) and parse("patch:5", ("0", "1")) == Patch(5, (0, 1))
    assert parse("l0:3").name == "l0:3" and Patch(2).size == 2


@pytest.mark.parametrize("text", ["l0:1.5", "l0:-1", "l0:", "patch:x", "patch:1e99", "l3:1"])
def test_refusals(text):
    with pytest.raises(UsageError, match="threat"):
        parse(text)


def test_a_patch_needs_an_image():
    with pytest.raises(UsageError, match="image"):
        Patch(2).region(np.zeros((1, 5), np.float32))
    with pytest.raises(UsageError, match="clip"):
        L0(2, (0, 0.1)).region(IMAGE[None])
