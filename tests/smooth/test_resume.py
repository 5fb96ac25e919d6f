"""Killed in the middle of one input: the same certificate, byte for byte, without drawing again what was kept."""

import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from unmoved.core import Budget
from unmoved.evaluate.notes import KIND
from unmoved.evaluate.run import execute
from unmoved.smooth import Gaussian, Smoothed
from unmoved.smooth.voting.ballots import Ballots, Roll
from unmoved.smooth.voting.sampling import VoteCounter
from unmoved.store import SqliteStore

PROGRAM = Path(__file__).with_name("interrupted.py")
COPIES, job = (runpy.run_path(str(PROGRAM))[name] for name in ("COPIES", "job"))


@pytest.fixture
def drawn(monkeypatch):
    """The numbers of copies that are drawn from here on."""
    numbers, sample = [], Gaussian.sample

    def listen(self, point, out, *, stream, first):
        numbers.append(len(out))
        sample(self, point, out, stream=stream, first=first)

    monkeypatch.setattr(Gaussian, "sample", listen)
    return numbers


def test_sigkill_inside_an_input(tmp_path, drawn):
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(tmp_path / "a")])
    while process.poll() is None:
        if (tmp_path / "a").exists() and len(_notes(tmp_path / "a")) >= 4:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL
    store = SqliteStore(tmp_path / "a")
    kept = len(store.keys(KIND))
    assert kept >= 4 and not store.keys("row")
    resumed = execute(job(), store)[0]
    again = sum(drawn)
    drawn.clear()
    straight = execute(job(), SqliteStore(tmp_path / "b"))[0]
    assert sum(drawn) == COPIES + 100
    assert 0 < again < COPIES
    assert resumed.certificate is not None
    assert (resumed.certificate, resumed.payload) == (straight.certificate, straight.payload)
    assert resumed.details == straight.details and resumed.check.startswith("accepted")


def _notes(path):
    try:
        store = SqliteStore(path, create=False)
    except Exception:  # noqa: BLE001 - the other process is just making it
        return []
    names = store.keys(KIND)
    store.close()
    return names


class Pages:
    """A notebook in memory."""

    every = 0.0

    def __init__(self):
        self.notes = {}

    def read(self, key):
        return list(reversed(self.notes.get(key, [])))

    def add(self, key, note):
        self.notes.setdefault(key, []).append(note)

    def moved(self, done):
        pass


def sign(z):
    return (z[:, 0] > 100.5 / 255).to(torch.int64)


def test_notes_in_any_order_doubled_or_with_holes(drawn):
    x, pages = np.full(6, 120 / 255, np.float32), Pages()
    smoothed = Smoothed(sign, Gaussian("1/2"), 2, batch=64)
    straight = smoothed.certify(x, samples=3000, notes=pages)
    (key,) = pages.notes
    whole = pages.notes[key]
    assert len(whole) == -(-3100 // 64)
    for kept in ([], whole[:1], whole[:20], whole[:20] + whole[5:9], whole[:7] + whole[9:], whole[3:], whole):
        pages.notes[key] = list(kept)
        drawn.clear()
        resumed = smoothed.certify(x, samples=3000, notes=pages)
        for name in ("counts", "radius", "classes", "selection_counts", "at"):
            assert getattr(resumed, name) == getattr(straight, name)
        prefix = next((i for i, note in enumerate(whole) if note not in kept), len(whole))
        assert sum(drawn) == max(0, 3100 - 64 * prefix)


def test_two_byte_classes_are_kept_as_well():
    noise, pages = Gaussian("1/2"), Pages()

    def classify(z):
        return (z[:, 0].abs() * 255).round().long() % 300

    counter = VoteCounter(classify, noise, 300, 50)
    point, roll = noise.place(np.full(3, 0.4, np.float32)), Roll(bytes(32), 10, 500)
    first = Ballots(counter, point, roll, budget=Budget(), notes=pages)
    first.reach(200)
    second = Ballots(counter, point, roll, budget=Budget(), notes=pages)
    assert second.seen == first.seen == 250
    second.reach(500)
    alone = Ballots(counter, point, roll, budget=Budget())
    alone.reach(500)
    assert second.classes(500) == alone.classes(500) and second.classes(500).bits == 16
    assert second.votes(500) == alone.votes(500) and max(alone.votes(500).counts[256:]) > 0
