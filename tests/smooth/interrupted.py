"""A certification of one input with a million copies; run as a program, it is there to be killed."""

import sys
from pathlib import Path

import numpy as np

from unmoved.evaluate.run import Dataset, Job, execute
from unmoved.smooth import Gaussian
from unmoved.smooth.methods.method import SmoothingMethod
from unmoved.store import SqliteStore
from unmoved.testing import Perceptron
from unmoved.threats import L2

COPIES = 1_000_000


def job():
    weights = np.array([[4, 0, 0, 0, 0], [-4, 0, 0, 0, 0], [0, 6, 0, 0, 0]], np.float32)
    network = Perceptron(((weights, np.array([0, 1, -3], np.float32)),)).network
    data = Dataset(np.full((1, 1, 5), 200 / 255, np.float32), np.zeros(1, np.int64))
    method = SmoothingMethod(Gaussian("1/2"), samples=COPIES)
    return Job(network, data, L2("0"), method, function="g", note_every=0.02)


if __name__ == "__main__":
    execute(job(), SqliteStore(Path(sys.argv[1])))
