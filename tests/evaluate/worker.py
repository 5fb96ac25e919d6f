"""A run in a process of its own, slow enough to be killed in the middle: argv are the store, and the limit."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from unmoved.evaluate.run import Job, dataset, execute
from unmoved.refine import LinearMethod
from unmoved.store import SqliteStore
from unmoved.testing import Perceptron
from unmoved.threats import Linf

torch.set_num_threads(1)
INPUTS = 14


@dataclass(frozen=True)
class Slow(LinearMethod):
    """Linear bounds, three inputs at a time, with a rest before each three."""

    chunk: ClassVar[int] = 3
    rest: float = 0.0

    def decide(self, problems, budget, seed):
        """Rest, then decide."""
        time.sleep(self.rest)
        return super().decide(problems, budget, seed)


def job(rest: float = 0.0, **changes) -> Job:
    """Return a run over inputs of which some are certified, some falsified and some open."""
    rng = np.random.default_rng(8)
    layers = [(rng.integers(-8, 9, s) / 8, rng.integers(-8, 9, s[0]) / 8) for s in ((6, 4), (3, 6))]
    net = Perceptron(tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers))
    x = rng.random((INPUTS, 4)).astype(np.float32)
    y = np.array([int(np.argmax(net.exact([float(v) for v in row]))) for row in x])
    y[::5] = (y[::5] + 1) % 3
    data = dataset(net.network, x, y)
    return Job(net.network, data, Linf("1/3", (0, 1)), Slow(rest=rest), **changes)


if __name__ == "__main__":
    asked = job(rest=0.05)
    store = SqliteStore(Path(sys.argv[1]))

    def tell(done: int, total: int, fresh: object) -> None:
        """Say how many inputs are answered."""
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()

    execute(asked, store, limit=int(sys.argv[2]), progress=tell)
