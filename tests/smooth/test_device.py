"""The sampler in torch's integers against the compiled one and a plain rewriting: every bit of every copy.

All of it on torch's CPU device; a GPU, where there is one, has to pass the same tests.
"""

import bisect

import numpy as np
import pytest
import torch
from tests.smooth.test_philox import VECTORS, philox, words

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian, InNorm, Laplace, Purpose, Smoothed, Splitting, Stream, Uniform, VoteCounter
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.inversion import draw
from unmoved.smooth.draws.inversion import tables as law_of
from unmoved.smooth.voting import device as drawn
from unmoved.smooth.voting.adapters import Base
from unmoved.smooth.voting.engine import Engine, Setup

SEED = bytes(range(32))
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
NOISES = [
    Gaussian("1/4"),
    Gaussian("1/50", 255),
    Gaussian("0.3", 7),
    Gaussian("1/4", 1024),
    Laplace("1/4", 255),
    Uniform("1/3", 100),
]


def point_of(noise, *shape):
    return noise.place(np.random.default_rng(3).random(shape, np.float32))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_random123_vectors(counter, key, expected, device):
    columns = tuple(torch.tensor([word], device=device) for word in words(counter))
    assert tuple(int(word) for word in drawn.philox(columns, words(key))) == words(expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("noise", NOISES, ids=repr)
@pytest.mark.parametrize(
    ("shape", "first", "rows", "purpose"),
    [
        ((1,), 0, 300, 0),
        ((3, 5, 7), 12_345, 9, 1),
        ((1029,), 2**32 - 2, 4, 2),  # the number's second word begins
        ((8, 3), 2**63 - 1, 2, 0),
    ],
)
def test_every_bit_of_every_copy(noise, shape, first, rows, purpose, device):
    point, stream = point_of(noise, *shape), Stream(SEED, Purpose(purpose))
    expected = np.empty((rows, *shape), np.float32)
    noise.sample(point, expected, stream=stream, first=first)
    out = torch.empty((rows, *shape), device=device)
    drawn.write(noise, point, out, stream=stream, first=first)
    assert np.array_equal(out.cpu().numpy().view(np.int32), expected.view(np.int32))
    whole = draw(noise.law, rows, point.integers.size, stream=stream, first=first) - noise.reach
    law = drawn.tables(noise.law, torch.device(device))
    found = drawn.numbers(law, point.integers.size, range(first, first + rows), stream=stream)
    assert np.array_equal(found.cpu().numpy(), whole)


def test_a_slice_does_not_depend_on_how_it_is_cut(monkeypatch):
    noise, stream = NOISES[0], Stream(SEED)
    point, whole, parts = point_of(noise, 2, 11), torch.empty(50, 2, 11), torch.empty(50, 2, 11)
    drawn.write(noise, point, whole, stream=stream, first=7)
    monkeypatch.setattr(drawn, "_AT_ONCE", 100)
    for start, stop in ((0, 1), (1, 18), (18, 50)):
        drawn.write(noise, point, parts[start:stop], stream=stream, first=7 + start)
    assert torch.equal(whole, parts)


def test_numbers_next_to_thresholds():
    """u = T_k - 1 is still k and u = T_k the next, at the ends and in the middle of 64 bits; by bisection in Python."""
    noise = NOISES[0]
    limits = [int(value) + 1 for value in noise.law.last]
    near = {limit + step for limit in (*limits, 2**63, 2**48) for step in (-1, 0, 1)}
    asked = sorted(u for u in near | {0, 2**64 - 1} if 0 <= u < 2**64)
    piece, rest = (torch.tensor(column) for column in zip(*(divmod(u, 2**48) for u in asked), strict=True))
    found = drawn.invert(drawn.tables(noise.law, torch.device("cpu")), piece, rest)
    assert found.tolist() == [bisect.bisect_right(limits, u) - noise.reach for u in asked]


def test_ties_within_a_stream():
    """Thresholds put on the very numbers that are drawn, and on the ones after them: what no sampling would meet."""
    stream, d = Stream(SEED), 41
    key = tuple(int(word) for word in stream.key)
    numbers = []
    for j in range(d):
        block, more = philox((j // 8, 0, 5, 0), key), philox((j, 256, 5, 0), key)
        piece = (block[j % 8 // 2] >> (16 * (j % 2))) % 2**16
        numbers.append(2**48 * piece + more[0] + 2**32 * (more[1] % 2**16))
    limits = sorted([*numbers[::2], *(number + 1 for number in numbers[1::2]), 2**64])
    law = law_of(limits)
    found = drawn.numbers(drawn.tables(law, torch.device("cpu")), d, range(5, 6), stream=stream)[0]
    assert found.tolist() == [bisect.bisect_right(limits, number) - law.reach for number in numbers]
    assert (found + law.reach).tolist() == draw(law, 1, d, stream=stream, first=5)[0].tolist()


def test_a_law_whose_guide_needs_32_bits():
    law, stream = law_of([1] * 70_000 + [2**63, 2**63 + 2**40, 2**64]), Stream(SEED)
    assert law.guide.dtype == np.int32
    found = drawn.numbers(drawn.tables(law, torch.device("cpu")), 77, range(40), stream=stream) + law.reach
    assert np.array_equal(found.numpy(), draw(law, 40, 77, stream=stream, first=0)) and len(found.unique()) == 2


@pytest.mark.parametrize("q", [3, 255, 4097, 2**24 - 1, 2**24])
def test_quotients_are_float32_s_own(q):
    """Without noise (a law of one value) z is m/q: the largest m and random ones, against numpy's division."""

    class Still:
        grid, sampler, law = q, NOISES[0].sampler, law_of([2**64])

    chance = np.random.default_rng(q).integers(-(2**24), 2**24, 20_000)
    integers = np.concatenate([chance, np.arange(2**24 - 500, 2**24 + 1), [0, 1, -1]]).astype(np.int32)
    out = torch.empty(1, len(integers))
    drawn.write(Still(), GridPoint(integers, (len(integers),), True, 0.0), out, stream=Stream(SEED), first=0)
    expected = integers.astype(np.float32) / np.float32(q)
    assert np.array_equal(out[0].numpy().view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("noise", [NOISES[0], Laplace("1/4"), InNorm(NOISES[0], "inf", 6), Splitting("1/2")], ids=repr)
def test_a_certificate_is_the_same(noise, device):
    """Splitting noise has a sampler of its own: the CPU draws it, wherever it is wanted."""
    x = np.array([200, 90, 0, 255, 31, 128], np.float32) / np.float32(255)

    def classify(z):
        return (z[:, 0] + z[:, 1] > z[:, 3]).to(torch.int64) + (z[:, 5] > 2).to(torch.int64)

    usual, forced = (Smoothed(classify, noise, 3, batch=64, noise_device=where) for where in ("", device))
    results = [smoothed.certify(x, samples=1000, seed=1) for smoothed in (usual, forced)]
    assert len({(r.counts, r.selection_counts, r.radius, r.seed, r.sampler, r.classes) for r in results}) == 1
    assert sum(results[0].counts) > 100 and min(sorted(results[0].counts)[1:]) > 0


def test_the_device_draws_where_it_is_asked(monkeypatch):
    """The device's sampler is really the one that draws, for noise of the grid alone; indices are drawn again too."""
    calls, write = [], drawn.write
    monkeypatch.setattr("unmoved.smooth.voting.sampling.write", lambda *a, **k: calls.append(1) or write(*a, **k))
    for noise, expected in ((NOISES[0], 3), (InNorm(NOISES[0], "1", 4), 3), (Splitting("1/2"), 0)):
        calls.clear()
        counters = [VoteCounter(lambda z: z[:, :2], noise, 2, 8, device=device) for device in ("", "cpu")]
        point, asked = point_of(noise, 4), np.array([3, 900, 901])
        there, here = (counter.classes_of(point, asked, stream=Stream(SEED)) for counter in counters)
        assert np.array_equal(there, here) and len(calls) == expected


def test_the_setup_s_device_draws():
    """No network is needed to tell where; "cuda" is only a name here."""
    engine, setup = object.__new__(Engine), object.__new__(Setup)
    object.__setattr__(setup, "device", "cuda:1")
    engine.setup = setup
    base = Base(engine, 2, 8, "", "")
    assert Smoothed(engine, NOISES[0])._drawn_on(base) == "cuda:1"
    object.__setattr__(setup, "device", "cpu")
    assert Smoothed(engine, NOISES[0])._drawn_on(base) == ""
    assert Smoothed(engine, NOISES[0], noise_device="cpu")._drawn_on(base) == "cpu"


def test_refusals():
    noise, stream = NOISES[0], Stream(SEED)
    for out, first in ((torch.empty(2, 3), 0), (torch.empty(2, 4, dtype=torch.float64), 0), (torch.empty(2, 4), -1)):
        with pytest.raises(UsageError):
            drawn.write(noise, point_of(noise, 4), out, stream=stream, first=first)
    with pytest.raises(UsageError, match="device"):
        Smoothed(lambda z: z, noise, 2, noise_device="abacus")
