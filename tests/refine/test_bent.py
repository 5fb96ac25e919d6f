"""Splits of whatever bends: proofs beyond chosen lines, accepted, and never against what a net does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from unmoved import Budget, Linf, Problem, SameClass, Verdict, certify
from unmoved.certifier import examine
from unmoved.core.certificate import Finding
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind
from unmoved.refine import BranchMethod, LinearMethod
from unmoved.refine.bent import BentSearch


class Gated(nn.Module):
    """A product of two variables between affine maps."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(12, 9), nn.Linear(12, 9), nn.Linear(9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.one(x) * torch.sigmoid(self.two(x)))


def net(kind: str) -> nn.Module:
    torch.manual_seed(1)
    act = {"tanh": nn.Tanh, "softplus": nn.Softplus}.get(kind)
    made = nn.Sequential(nn.Linear(12, 14), act(), nn.Linear(14, 10), act(), nn.Linear(10, 3)) if act else Gated()
    for parameter in made.parameters():
        parameter.data *= 2
    return made.eval()


@pytest.mark.parametrize("kind", ["tanh", "softplus", "gated"])
def test_splits_prove_what_lines_leave_open(kind: str) -> None:
    module, rng = net(kind), np.random.default_rng(0)
    network = load_torch(module, (1, 12))
    proved = 0
    for _ in range(3):
        x = rng.normal(size=(1, 12)).astype(np.float32)
        label = int(module(torch.tensor(x)).argmax())
        sizes = [0.01 * 1.02**k for k in range(250)]
        problems = [Problem(network, x, Linf(f"{size:.5f}"), SameClass(label)) for size in sizes]
        found = LinearMethod().decide(problems, Budget(), 0)
        open_ = next(i for i, finding in enumerate(found) if finding.verdict is not Verdict.CERTIFIED)
        ops = bind(network, dtype=torch.float64)
        with torch.no_grad():
            search = BentSearch.of(problems[open_], ops, Budget(), dtype=torch.float64, device="cpu")
            while not search.finished and search.nodes < 200:
                search.step()
        if not search.finished:
            continue
        finding = Finding(Verdict.CERTIFIED, "branch", radius=problems[open_].threat.size, evidence=search.proof())
        said = examine(problems[open_], finding)
        assert said.verdict is Verdict.CERTIFIED, said.reason
        proved += search.nodes > 1
        eps = float(problems[open_].threat.size)
        points = x + eps * rng.choice([-1.0, 1.0, 0.3], (500, 12)).astype(np.float32) * 0.999
        assert (module(torch.tensor(points.astype(np.float32))).argmax(1) == label).all()
    assert proved


@pytest.mark.parametrize("kind", ["tanh", "gated"])
def test_the_method_splits_what_bends(kind: str) -> None:
    module = net(kind)
    network = load_torch(module, (1, 12))
    x = np.random.default_rng(0).normal(size=(1, 12)).astype(np.float32)
    label = int(module(torch.tensor(x)).argmax())
    nodes = []
    for eps in np.linspace(0.02, 0.4, 12):
        problem = Problem(network, x, Linf(f"{eps:.4f}"), SameClass(label))
        said = certify(problem, BranchMethod(attack=()), Budget(seconds=1))
        nodes.append(said.finding.details.get("nodes", 0))
    assert max(nodes) > 1
