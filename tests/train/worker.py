"""One training run that others interrupt: python worker.py FOLDER SECONDS_AFTER_EACH_EPOCH."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unmoved.train import Checkpoints, GaussianNoise, Plan, Stopping, default_init, fit

PLAN = Plan(epochs=6, batch=20, seed=3)


def net():
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3)
    )
    default_init(module, 0)
    return module


def data():
    rng = np.random.default_rng(0)
    x = rng.random((100, 1, 4, 4), np.float32)
    return x, (x.reshape(100, -1)[:, :3].argmax(1)).astype(np.int64)


def spread(module):
    """Something to watch: it rises, falls and depends on the weights."""
    return float(module[1].weight.detach().abs().sum() % 1)


def run(folder, *, pause=0.0):
    module = net()
    checkpoints = None if folder is None else Checkpoints(Path(folder))
    history = fit(
        module,
        *data(),
        GaussianNoise(0.2),
        PLAN,
        lambda epoch: time.sleep(pause),
        stopping=Stopping(spread, patience=4),
        checkpoints=checkpoints,
    )
    return module, history


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(sys.argv[1], pause=float(sys.argv[2]))
