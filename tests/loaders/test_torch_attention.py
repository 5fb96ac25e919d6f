"""Small transformers and gates as torch exports them: read, evaluated as torch does, bounded soundly, and lowered."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from unmoved.bounds import Enclosure, linear
from unmoved.loaders import load_torch
from unmoved.ops import bind, evaluate, primitives

torch.set_num_threads(1)


class Attention(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.into, self.out = kind, nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, width = x.shape
        q, k, v = (t.reshape(count, tokens, 2, 4).transpose(1, 2) for t in self.into(x).chunk(3, -1))
        if self.kind == "sdpa":
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            weights = (torch.einsum("bhid,bhjd->bhij", q, k) * 0.5).softmax(-1)
            y = torch.einsum("bhij,bhjd->bhid", weights, v)
        return x + self.out(y.transpose(1, 2).reshape(count, tokens, width))


class Vit(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.patches, self.cls = nn.Conv2d(1, 8, 2, 2), nn.Parameter(torch.randn(1, 1, 8))
        self.first, self.second = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = Attention(kind)
        self.mlp = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        t = self.patches(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.cls.expand(t.shape[0], -1, -1), t], 1)
        t = t + self.attention(self.first(t))
        return self.head((t + self.mlp(self.second(t)))[:, 0])


class Gates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        z = functional.silu(z) + functional.gelu(z, approximate="tanh") - functional.mish(z)
        return self.last(functional.softplus(z))


def checked(module: nn.Module, shape: tuple[int, ...]) -> list[str]:
    """Load, compare with torch, and sample within the bounds; return the kinds of the primitive operators."""
    network = load_torch(module, shape)
    ops = bind(network, dtype=torch.float64)
    x = torch.randn(2, *shape, dtype=torch.float64)
    with torch.no_grad():
        ours = evaluate(ops, network, x).flatten(1)
        theirs = torch.stack([module(one.float()).flatten() for one in x]).double()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        known = linear(ops, network, Enclosure.of_box(x - 0.02, x + 0.02))
        for _ in range(50):
            points = x + 0.02 * (2 * torch.rand_like(x) - 1)
            values = evaluate(ops, network, points, keep=[op.output for op in ops])
            for name, value in values.items():
                assert not (value < known.bounds[name].low - 1e-9).any()
                assert not (value > known.bounds[name].high + 1e-9).any()
    return [op.kind for op in primitives(ops)]


@pytest.mark.parametrize("kind", ["sdpa", "einsum"])
def test_a_small_vision_transformer(kind: str) -> None:
    torch.manual_seed(0)
    kinds = checked(Vit(kind).eval(), (1, 1, 4, 4))
    assert kinds.count("MatMul") >= 2 and {"Exp", "Reciprocal", "Pow", "Gelu"} <= set(kinds)


def test_gates_and_softplus_are_single_functions() -> None:
    torch.manual_seed(0)
    kinds = checked(Gates().eval(), (1, 4))
    assert {"Silu", "Mish", "Softplus"} <= set(kinds) and "Mul" not in kinds
