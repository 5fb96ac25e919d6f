"""The generator against Random123's published vectors, the stream layout against a plain reimplementation."""

import hashlib
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian, Purpose, Stream
from unmoved.smooth.draws.grid import thresholds
from unmoved.smooth.draws.philox import _settle, philox4x32_10

SEED = bytes(range(32))

VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return tuple(int(word, 16) for word in text.split())


def philox(counter, key):
    """Philox4x32-10 in Python integers, from the paper."""
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k0, q % 2**32, (p >> 32) ^ d ^ k1, p % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return a, b, c, d


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_random123_vectors(counter, key, expected):
    assert philox4x32_10(words(counter), words(key)) == words(expected)
    assert philox(words(counter), words(key)) == words(expected)


def cumulative(sigma, q, reach):
    """T_k for k = -reach..reach, each from the normal distribution function at 300 bits."""
    with mpmath.workprec(300):
        width = mpmath.mpf(sigma.numerator * q) / sigma.denominator
        return [
            int(mpmath.ceil(mpmath.ldexp(mpmath.erfc(-(k + 0.5) / width / mpmath.sqrt(2)) / 2, 64)))
            for k in range(-reach, reach + 1)
        ]


@pytest.mark.parametrize(("sigma", "first", "purpose"), [("1/2", 0, 0), ("1/50", 2**32 - 1, 1), ("2", 7, 2)])
def test_layout_as_documented(sigma, first, purpose):
    """Every number of three copies, redrawn one at a time in Python integers from the text of the page alone."""
    noise, d = Gaussian(sigma, 255), 1029
    integers = np.random.default_rng(1).integers(0, 256, d)
    point = noise.place((integers / 255).astype(np.float32))
    out = np.empty((3, d), np.float32)
    noise.sample(point, out, stream=Stream(SEED, Purpose(purpose)), first=first)
    digest = hashlib.sha256(b"philox4x32-10/grid/1" + SEED).digest()
    key = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
    limits = cumulative(Fraction(sigma), 255, noise.reach)
    for row in range(3):
        s = first + row
        for j in range(d):
            block = philox((j // 8, purpose, s % 2**32, s // 2**32), key)
            t = (block[j % 8 // 2] >> (16 * (j % 2))) % 2**16
            more = philox((j, purpose + 256, s % 2**32, s // 2**32), key)
            u = 2**48 * t + more[0] + 2**32 * (more[1] % 2**16)
            e = int(np.searchsorted(np.array(limits, dtype=object), u, side="right")) - noise.reach
            assert out[row, j] == np.float32(integers[j] + e) / np.float32(255)


def test_a_number_equal_to_a_threshold_belongs_to_the_next_integer():
    """E = min{k: u < T_k}: u = T_k - 1 gives k, u = T_k the next; 64-bit coincidences no sampling would ever meet."""
    law = thresholds(Fraction(1, 2), 255)
    limits = [int(value) + 1 for value in law.last]
    for m in (0, 300, 900, 1275, 1276, 1700, 2000):
        for u in (limits[m] - 1, limits[m]):
            expected = next(index for index, limit in enumerate(limits) if u < limit)
            piece, noise = u >> 48, np.zeros(8, np.int32)
            words = np.array([[piece << 16], [0], [0], [0]], np.uint32)  # element 1: upper half of r0
            further = np.array([[u % 2**32], [(u >> 32) % 2**16 + 2**16]], np.uint32)
            doubtful = np.array([1], np.int32)
            _settle(words, further, noise, doubtful, 1, law.first, law.last, law.reach)
            assert noise[1] == expected - law.reach


def test_any_slice_redrawn_alone():
    noise, stream = Gaussian(1), Stream(SEED)
    point = noise.place(np.zeros((3, 11, 7), np.float32))
    whole = np.empty((40, 3, 11, 7), np.float32)
    noise.sample(point, whole, stream=stream, first=5)
    for first, rows in ((5, 1), (6, 7), (44, 1), (20, 25)):
        part = np.empty((rows, 3, 11, 7), np.float32)
        noise.sample(point, part, stream=stream, first=first)
        assert np.array_equal(part, whole[first - 5 : first - 5 + rows])


def test_element_does_not_depend_on_the_size_of_the_input():
    noise, stream = Gaussian("1/4"), Stream(SEED)
    long, short = np.empty((4, 5000), np.float32), np.empty((4, 13), np.float32)
    noise.sample(noise.place(np.zeros(5000, np.float32)), long, stream=stream, first=0)
    noise.sample(noise.place(np.zeros(13, np.float32)), short, stream=stream, first=0)
    assert np.array_equal(long[:, :13], short)


def test_streams_differ():
    noise = Gaussian(1)
    point = noise.place(np.zeros(4096, np.float32))
    drawn = []
    for stream in [Stream(SEED, purpose) for purpose in Purpose] + [Stream(bytes(32))]:
        out = np.empty((1, 4096), np.float32)
        noise.sample(point, out, stream=stream, first=0)
        drawn.append(out.ravel())
    correlation = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(correlation).max() < 5 / 64


def test_refusals():
    noise = Gaussian(1)
    point = noise.place(np.zeros(4, np.float32))
    with pytest.raises(UsageError, match="32 bytes"):
        Stream(b"short")
    with pytest.raises(UsageError, match="first"):
        noise.sample(point, np.empty((1, 4), np.float32), stream=Stream(SEED), first=-1)
    for out in (np.empty((1, 5), np.float32), np.empty((1, 4)), np.empty((4, 1), np.float32).T[:, ::2]):
        with pytest.raises(UsageError, match="out"):
            noise.sample(point, out, stream=Stream(SEED), first=0)
