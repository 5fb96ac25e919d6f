"""Folding a scaling into the product before it changes no value, drops no gradient, and leaves what others read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unmoved.loaders.torch import load_torch
from unmoved.ops import bind, evaluate
from unmoved.ops.folding import folded


class Shared(nn.Module):
    """The convolution's output has two readers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.conv(x)
        return self.norm(z) + z


def moved(module: nn.Module) -> nn.Module:
    """Give batch norms statistics, gains and shifts worth folding."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for tensor in (part.weight, part.bias, part.running_mean):
                tensor.data.copy_(torch.randn(tensor.shape, generator=generator))
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=generator) + 0.1)
    return module.eval()


CASES = {
    "conv": (nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()), (2, 6, 6), 1),
    "grouped": (nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)), (4, 5, 5), 1),
    "conv1d": (nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4)), (2, 9), 1),
    "dense": (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)), (6,), 1),
    "two readers": (Shared(), (2, 5, 5), 0),
    "batch norm first": (nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3)), (2, 5, 5), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_stay(name: str) -> None:
    module, shape, fewer = CASES[name]
    network = load_torch(moved(module), (1, *shape), trainable=True)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    x = torch.randn(3, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    double = {k: v.detach().double().requires_grad_() for k, v in tensors.items() if v.is_floating_point()}
    plain = bind(network, double, dtype=torch.float64)
    short = folded(plain, {network.output})
    assert len(plain) - len(short) == fewer
    one, other = (evaluate(ops, network, x) for ops in (plain, short))
    assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    leaves = list(double.values())
    for a, b in zip(
        *(torch.autograd.grad(y.sin().sum(), leaves, allow_unused=True, retain_graph=True) for y in (one, other)),
        strict=True,
    ):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-9, atol=1e-9)


def test_what_is_kept_stays() -> None:
    module = moved(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()))
    network = load_torch(module, (1, 1, 5, 5), trainable=True)
    ops = bind(network)
    assert len(folded(ops, {network.output, ops[0].output})) == len(ops)
