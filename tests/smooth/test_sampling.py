"""Counting: the same votes however the range is cut, in memory of one batch, and never a vote from a NaN."""

import resource
import tracemalloc

import numpy as np
import pytest
import torch

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian, Stream, VoteCounter, Votes, same_at_every_position

NOISE = Gaussian("1/2")
STREAM = Stream(b"s" * 32)


def image(*shape):
    values = np.random.default_rng(0).integers(0, 256, shape)
    return NOISE.place((values / 255).astype(np.float32))


def brightest(z):
    """A classifier of four labels, exact on every machine: which of four numbers is the largest."""
    return z.reshape(len(z), -1)[:, :4].argmax(dim=1)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 14 * 14, 10),
    ).eval()


def reference(samples):
    """The votes of `brightest`, from all copies drawn at once."""
    point = image(2, 3)
    out = np.empty((samples, 2, 3), np.float32)
    NOISE.sample(point, out, stream=STREAM, first=0)
    return tuple(np.bincount(out.reshape(samples, 6)[:, :4].argmax(axis=1), minlength=4).tolist())


@pytest.mark.parametrize("batch", [1, 7, 256, 1000, 4096])
def test_counts_do_not_depend_on_the_batch(batch):
    votes = VoteCounter(brightest, NOISE, 4, batch).count(image(2, 3), range(1000), stream=STREAM)
    assert votes == Votes(reference(1000)) and votes.seen == 1000


def test_every_batch_has_the_same_shape():
    shapes = []
    VoteCounter(lambda z: shapes.append(tuple(z.shape)) or brightest(z), NOISE, 4, 64).count(
        image(2, 3), range(150), stream=STREAM
    )
    assert shapes == [(64, 2, 3)] * 3


def test_killed_anywhere_and_resumed_counts_are_identical():
    whole, seen = VoteCounter(brightest, NOISE, 4, 64), []
    total = whole.count(image(2, 3), range(1000), stream=STREAM, after_batch=seen.append)
    assert total == Votes(reference(1000)) == seen[-1] and len(seen) == 16
    for votes in seen:
        rest = whole.count(image(2, 3), range(votes.seen, 1000), stream=STREAM, start=votes)
        assert rest == total

    class KilledError(Exception):
        pass

    saved = []

    def die(votes):
        saved.append(votes)
        if len(saved) == 5:
            raise KilledError

    with pytest.raises(KilledError):
        whole.count(image(2, 3), range(1000), stream=STREAM, after_batch=die)
    assert whole.count(image(2, 3), range(saved[-1].seen, 1000), stream=STREAM, start=saved[-1]) == total


def test_shards_add_up():
    counter = VoteCounter(brightest, NOISE, 4, 64)
    parts = [counter.count(image(2, 3), range(a, b), stream=STREAM) for a, b in ((0, 10), (10, 700), (700, 1000))]
    assert tuple(map(sum, zip(*(part.counts for part in parts), strict=True))) == reference(1000)


def test_a_nan_never_votes():
    """NaN and infinities of either sign, in any class, on a third of the copies each: all invalid, none counted."""

    def classify(z):
        logits = torch.zeros(len(z), 3)
        logits[:, 1] = 1
        wrong = z.reshape(len(z), -1)[:, 0] > 0.5
        logits[wrong, 0] = next(values)
        return logits

    for bad in (float("nan"), float("inf"), -float("inf")):
        values = iter([bad] * 100)
        votes = VoteCounter(classify, NOISE, 3, 100).count(image(2, 3), range(1000), stream=STREAM)
        assert votes.counts[0] == votes.counts[2] == 0
        assert votes.invalid > 100 and votes.counts[1] + votes.invalid == 1000


def test_identical_logits_at_every_position():
    torch.set_num_threads(1)
    row = torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(1))
    assert same_at_every_position(network(), row, 64)


def test_position_dependence_is_noticed():
    row = torch.rand(4)
    assert not same_at_every_position(lambda z: z + torch.arange(len(z))[:, None], row, 8)
    assert not same_at_every_position(lambda z: z - z.mean(0), row, 8)


def test_inference_mode_and_no_autocast():
    def classify(z):
        assert torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
        assert z.dtype == torch.float32
        return torch.nn.functional.linear(z.reshape(len(z), -1), torch.ones(2, 6))

    with torch.autocast("cpu", torch.bfloat16):
        VoteCounter(classify, NOISE, 2, 8).count(image(2, 3), range(8), stream=STREAM)


def test_memory_is_one_batch():
    """20,000 copies of 3 x 64 x 64 would be 983 MB; one buffer of 32 of them is 1.6 MB, whatever the number."""
    point, pointers = image(3, 64, 64), set()

    def classify(z):
        pointers.add(z.data_ptr())
        return z[:, 0, 0, :2]

    counter = VoteCounter(classify, NOISE, 2, 32)
    counter.count(point, range(64), stream=STREAM)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pointers.clear()
    tracemalloc.start()
    votes = counter.count(point, range(20_000), stream=STREAM)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert votes.seen == 20_000 and len(pointers) == 1
    assert peak < 5e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_refusals():
    point = image(2, 3)
    with pytest.raises(UsageError, match="training mode"):
        VoteCounter(torch.nn.Sequential(torch.nn.Dropout(0.5)), NOISE, 2)
    for classes, batch in ((1, 8), (2, 0)):
        with pytest.raises(UsageError):
            VoteCounter(brightest, NOISE, classes, batch)
    outputs = {
        "logits": lambda z: torch.zeros(len(z), 5),
        "label out of range": lambda z: torch.full((len(z),), 4),
        "integer labels": lambda z: torch.zeros(len(z)),
        "outputs": lambda z: torch.zeros(len(z), 4, dtype=torch.int64),
    }
    for message, classify in outputs.items():
        with pytest.raises(UsageError, match=message):
            VoteCounter(classify, NOISE, 4).count(point, range(8), stream=STREAM)
    with pytest.raises(UsageError, match="counts of 4"):
        VoteCounter(brightest, NOISE, 4).count(point, range(8), stream=STREAM, start=Votes((1, 2)))
    with pytest.raises(UsageError, match="step 1"):
        VoteCounter(brightest, NOISE, 4).count(point, range(0, 8, 2), stream=STREAM)
