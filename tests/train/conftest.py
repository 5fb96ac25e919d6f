from __future__ import annotations

import pytest
import torch

from unmoved.loaders.torch import load_torch
from unmoved.train.certified import box

EXPORTS = {}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def exports(monkeypatch):
    """Export each architecture once: losses bind a module's own parameters anew at every step anyway."""

    def once(module, shape, *, trainable):
        key = (repr(module), shape)
        if key not in EXPORTS:
            EXPORTS[key] = load_torch(module, shape, trainable=trainable)
        return EXPORTS[key]

    monkeypatch.setattr(box, "load_torch", once)
