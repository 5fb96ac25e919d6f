"""A model that masks its gradients on purpose must warn, a plain one must not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from unmoved.core.errors import UsageError
from unmoved.evaluate.obfuscation import Obfuscation, keep, kept, obfuscation
from unmoved.evaluate.run import Dataset
from unmoved.loaders.runtime import Runtime
from unmoved.loaders.torch import load_torch
from unmoved.store import open_store
from unmoved.threats import L1, Linf

SHAPE = (1, 1, 6, 6)


class Masked(nn.Module):
    """The plain net behind stairs of 8 steps an element: flat nearly everywhere, and no more robust than stairs are."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(x)
        for k in range(8):
            edge = (x - (k + 0.5) / 8) * 1e4
            total = total + (torch.relu(edge) - torch.relu(edge - 1)) / 8
        return self.inner(total)


def plain() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 4))


def examined(module, threat, inputs=12):
    network = load_torch(module.eval(), SHAPE)
    x = np.random.default_rng(0).random((40, *network.input_shape), np.float32)
    labels = Runtime(network.source).run(x).argmax(1).astype(np.int64)
    return obfuscation(network, Dataset(x, labels), threat, inputs=inputs)


@pytest.mark.parametrize("threat", [Linf(0.05, (0, 1)), L1(1.0, (0, 1))], ids=str)
def test_a_plain_net_gives_no_warning(threat):
    found = examined(plain(), threat)
    assert found.inputs == 12 and found.warnings == (), [sign.text for sign in found.warnings]
    assert {"vanishing", "more-steps", "random", "size", "unbounded"} <= {sign.kind for sign in found.signs}


def test_masked_gradients_are_seen_in_many_ways():
    found = examined(Masked(plain()), Linf(0.1, (0, 1)), inputs=30)
    kinds = {sign.kind for sign in found.warnings}
    assert {"vanishing", "black-box", "unbounded"} <= kinds, [sign.text for sign in found.signs]
    dead = next(sign for sign in found.signs if sign.kind == "vanishing")
    assert dead.value > 0.5 and "%" in dead.text


def test_scores_of_another_scale_are_no_obfuscation():
    """Logits a million times larger: the losses have no scale that underflows."""
    net = plain()
    with torch.no_grad():
        net[-1].weight *= 1e6
        net[-1].bias *= 1e6
    assert examined(net, Linf(0.05, (0, 1)), inputs=6).warnings == ()


def test_what_cannot_be_examined_is_refused():
    for threat in (Linf(0.1), Linf(0, (0, 1))):
        with pytest.raises(UsageError, match="clip"):
            examined(plain(), threat)
    with pytest.raises(UsageError, match="inputs"):
        examined(plain(), Linf(0.1, (0, 1)), inputs=0)


def test_signs_are_kept_beside_their_run(tmp_path, proof):
    found = examined(plain(), Linf(0.05, (0, 1)), inputs=5)
    store = open_store(tmp_path / "store.sqlite")
    keep(store, proof.run, found)
    assert kept(store, [proof.run]) == [found] and Obfuscation.from_json(found.to_json()) == found
