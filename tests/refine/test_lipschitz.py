"""Lipschitz constants against Jacobians; nets that were made 1-Lipschitz are certified, and the checker agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmoved.bounds import Bounds, Query, interval
from unmoved.bounds.lipschitz import lipschitz, local_slopes
from unmoved.certifier import certify_all
from unmoved.core import Lipschitz, Problem, SameClass, Verdict
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind, evaluate
from unmoved.refine import LipschitzMethod
from unmoved.threats import L2, Linf
from unmoved.train.lipschitz import baked, lipschitz_bound, lipschitz_cnn, margin_radii


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    net = lipschitz_cnn(side=8, classes=3, width=4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net, load_torch(baked(net), (1, 1, 8, 8))


def test_a_1_lipschitz_net_is_certified_and_the_checker_accepts(trained) -> None:
    net, network = trained
    xs = np.random.default_rng(0).random((6, *network.input_shape)).astype(np.float32)
    ops = bind(network, dtype=torch.float64)
    labels = evaluate(ops, network, torch.as_tensor(xs).double()).flatten(1).argmax(1).numpy()
    radii = margin_radii(net, xs[:, 0], labels).radii
    whole = lipschitz(ops, network, "2")
    assert whole.value <= lipschitz_bound(net) * (1 + 1e-9)
    for share, wanted in ((0.99, Verdict.CERTIFIED), (50.0, Verdict.UNKNOWN)):
        asked = [
            Problem(network, x, L2(str(round(float(r) * share, 9))), SameClass(int(label)))
            for x, r, label in zip(xs, radii, labels, strict=True)
        ]
        for made in certify_all(asked, LipschitzMethod()):
            assert made.verdict is wanted, made.reason
            if made.verdict is Verdict.CERTIFIED:
                assert isinstance(made.finding.evidence, Lipschitz) and made.check.accepted


def test_global_constants_are_above_every_jacobian_and_local_ones_below_them(trained) -> None:
    _, network = trained
    ops = bind(network, dtype=torch.float64)
    rows = torch.as_tensor([[1.0, -1.0, 0.0], [0.5, 1.0, -2.0]], dtype=torch.float64)
    x = torch.rand(1, *network.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    query = Query(torch.zeros(2, dtype=torch.int64), rows, torch.zeros(2, dtype=torch.float64))
    near = interval(ops, network, Bounds(x - 1e-4, x + 1e-4))
    for norm, dual in (("2", 2.0), ("inf", 1.0), ("1", torch.inf)):
        constants = lipschitz(ops, network, norm).slopes(rows)
        local = local_slopes(ops, network, near, query, norm)
        for seed in range(3):
            move = 2e-4 * torch.rand(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1e-4
            jacobian = torch.autograd.functional.jacobian(
                lambda z: evaluate(ops, network, z).flatten(1)[0] @ rows.mT, x + move
            ).flatten(1)
            size = torch.linalg.vector_norm(jacobian, dual, dim=1)
            assert (size <= local * (1 + 1e-9)).all() and (size <= constants * (1 + 1e-9)).all()


def test_a_claim_about_a_wide_linf_ball_is_not_made(trained) -> None:
    _, network = trained
    x = np.full(network.input_shape, 0.5, np.float32)
    (made,) = certify_all([Problem(network, x, Linf("10"), SameClass(0))], LipschitzMethod())
    assert made.verdict is not Verdict.CERTIFIED
