"""Bounds against answers that are exact otherwise: enumeration with linear programs, closed forms, forward values."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from unmoved.bounds import Bounds, Enclosure, Query, interval, interval_low, linear, margin_low
from unmoved.bounds import linear as linear_bounds
from unmoved.core.threat import Region
from unmoved.ops import bind, evaluate


def query(rows: np.ndarray, batch: int) -> Query:
    owner = torch.arange(batch).repeat_interleave(len(rows))
    return Query(owner, torch.as_tensor(np.tile(rows, (batch, 1))), torch.zeros(batch * len(rows), dtype=torch.float64))


def exact_minimum(weights: list[np.ndarray], row: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """The least row @ f over a box for a net with two ReLU layers: one linear program an activation pattern."""
    (w1, b1), (w2, b2), (w3, b3) = zip(weights[::2], weights[1::2], strict=True)
    best = np.inf
    for pattern in itertools.product([0, 1], repeat=len(b1) + len(b2)):
        on1, on2 = np.array(pattern[: len(b1)]), np.array(pattern[len(b1) :])
        a2 = w2 @ (w1 * on1[:, None])
        c2 = w2 @ (b1 * on1) + b2
        objective = row @ w3 @ (a2 * on2[:, None])
        constant = row @ w3 @ (c2 * on2) + row @ b3
        signs1, signs2 = 1 - 2 * on1, 1 - 2 * on2
        a = np.concatenate([w1 * signs1[:, None], a2 * signs2[:, None]])
        b = -np.concatenate([b1 * signs1, c2 * signs2])
        found = linprog(objective, A_ub=a, b_ub=b, bounds=list(zip(low, high, strict=True)), method="highs")
        if found.status == 0:
            best = min(best, found.fun + constant)
    return best


def test_linear_bounds_lie_below_the_exact_minimum_and_near_it() -> None:
    gaps, plain_gaps = [], []
    for seed in range(2):
        from_rng = np.random.default_rng(seed)
        sizes = [2, 4, 4, 2]
        weights = []
        for a, b in itertools.pairwise(sizes):
            weights += [from_rng.standard_normal((b, a)), from_rng.standard_normal(b) * 0.5]
        network = relu_net(weights)
        ops = bind(network, dtype=torch.float64)
        # The net holds float32 numbers: the oracle takes the same.
        weights = [w.astype(np.float32).astype(np.float64) for w in weights]
        center, eps = from_rng.uniform(-1, 1, 2), 0.15
        low, high = center - eps, center + eps
        enclosure = Enclosure.of_box(*(torch.as_tensor(e)[None, None] for e in (low, high)))
        rows = np.array([[1.0, -1.0], [-1.0, 2.0]])
        asked = query(rows, 1)
        found = linear(ops, network, enclosure).low(asked)
        plain = interval_low(ops, network, enclosure, interval(ops, network, enclosure.box), asked)
        for row, value, loose in zip(rows, found.tolist(), plain.tolist(), strict=True):
            exact = exact_minimum(weights, row, low, high)
            assert value <= exact + 1e-9 and loose <= exact + 1e-9
            gaps.append(exact - value)
            plain_gaps.append(exact - loose)
    assert np.mean(gaps) < 0.5 * np.mean(plain_gaps)
    assert np.median(gaps) < 0.5


def relu_net(weights: list[np.ndarray]):
    from unmoved.ir.network import Network, Node

    nodes, constants, shapes, x = [], {}, {"x": (1, weights[0].shape[1])}, "x"
    for i in range(0, len(weights), 2):
        constants |= {f"w{i}": weights[i].astype(np.float32), f"b{i}": weights[i + 1].astype(np.float32)}
        nodes.append(Node("Gemm", f"z{i}", (x, f"w{i}", f"b{i}"), (f"z{i}",), {"transB": 1}))
        shapes[f"z{i}"] = shapes[f"h{i}"] = (1, len(weights[i]))
        x = f"z{i}"
        if i + 2 < len(weights):
            nodes.append(Node("Relu", f"h{i}", (x,), (f"h{i}",)))
            x = f"h{i}"
    return Network(tuple(nodes), constants, "x", x, shapes, b"", "")


@pytest.mark.parametrize(("norm", "dual"), [("1", np.inf), ("2", 2), (None, 1)])
def test_one_affine_layer_is_exact_for_every_norm(norm: str | None, dual: float) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((4, 6)), rng.standard_normal(4)]
    network = relu_net(weights)
    ops = bind(network, dtype=torch.float64)
    center, eps = rng.standard_normal((5, 1, 6)), 0.25
    enclosure = Enclosure.of_regions([Region(center - eps, center + eps, center, norm, eps)], torch.float64, "cpu")
    rows = np.eye(4)[:2] - np.eye(4)[2:]
    asked = query(rows, 5)
    w, b = (a.astype(np.float32).astype(np.float64) for a in weights)
    closed = rows @ (w @ center[:, 0].T + b[:, None]) - eps * np.linalg.norm(rows @ w, dual, axis=1)[:, None]
    for low in (
        linear(ops, network, enclosure).low(asked),
        interval_low(ops, network, enclosure, interval(ops, network, enclosure.box), asked),
    ):
        np.testing.assert_allclose(low.view(5, 2).numpy(), closed.T, rtol=0, atol=1e-12)


def test_a_ball_that_sticks_out_of_its_box_is_bounded_by_both() -> None:
    weights = [np.ones((1, 2)), np.zeros(1)]
    network = relu_net(weights)
    ops = bind(network, dtype=torch.float64)
    center = np.zeros((1, 1, 2))
    for eps, exact in ((1.0, -np.sqrt(2)), (10.0, -2.0)):
        at = Region(np.full_like(center, -1), np.full_like(center, 1), center, "2", eps)
        enclosure = Enclosure.of_regions([at], torch.float64, "cpu")
        low = linear(ops, network, enclosure).low(query(np.ones((1, 1)), 1))
        assert low.item() == pytest.approx(exact, abs=1e-12)


def test_a_point_gives_the_forward_value(network) -> None:
    ops = bind(network, dtype=torch.float64)
    x = torch.randn(4, *network.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    enclosure = Enclosure.of_box(x, x)
    rows = np.random.default_rng(0).standard_normal((3, network.outputs))
    exact = evaluate(ops, network, x).flatten(1).numpy() @ rows.T
    asked = query(rows, 4)
    known = linear(ops, network, enclosure)
    plain = interval_low(ops, network, enclosure, interval(ops, network, enclosure.box), asked)
    np.testing.assert_allclose(known.low(asked).view(4, 3).numpy(), exact, rtol=0, atol=1e-10)
    np.testing.assert_allclose(plain.view(4, 3).numpy(), exact, rtol=0, atol=1e-10)
    assert all((b.low <= b.high).all() for b in known.bounds.values())


@pytest.mark.parametrize("norm", [None, "1", "2"])
def test_a_batch_equals_its_parts_however_it_is_cut(network, norm, monkeypatch) -> None:
    ops = bind(network, dtype=torch.float64)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, *network.input_shape))
    at = Region(x - 0.2, x + 0.2, x, norm, 0.2)
    asked = query(np.eye(network.outputs)[:1] - np.eye(network.outputs)[1:], 5)
    whole = linear(ops, network, Enclosure.of_regions([at], torch.float64, "cpu")).low(asked).view(5, -1)
    for budget in (1, 3000):
        monkeypatch.setattr(sys.modules["unmoved.bounds.linear"], "CACHE", budget)
        monkeypatch.setattr(sys.modules["unmoved.bounds.linear"], "BLOCK", budget)
        for i in range(0, 5, 2):
            one = Enclosure.of_regions(
                [Region(*(e[i : i + 1] for e in (at.low, at.high, x)), norm, 0.2)], torch.float64, "cpu"
            )
            single = linear(ops, network, one).low(query(asked.rows[: len(asked.rows) // 5].numpy(), 1))
            torch.testing.assert_close(single, whole[i], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["pooled", "residual", "deep_conv"])
def test_cones_give_what_dense_rows_give(nets, name, monkeypatch) -> None:
    network = nets[name]()
    ops = bind(network, dtype=torch.float64)
    x = torch.randn(3, *network.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    enclosure = Enclosure.of_box(x - 0.1, x + 0.1)
    results = []
    for dense in (0.0, 0.5, 1.1):
        monkeypatch.setattr("unmoved.bounds.cones.DENSE", dense)
        known = linear(ops, network, enclosure)
        results.append(torch.cat([torch.stack([b.low, b.high]).flatten() for b in known.bounds.values()]))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-9)
    torch.testing.assert_close(results[0], results[2], rtol=0, atol=1e-9)


def test_gradients_of_interval_margins_are_those_of_finite_differences(network) -> None:
    x = torch.randn(2, *network.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    names = [n for n, a in network.constants.items() if a.dtype.kind == "f"]
    params = {n: torch.as_tensor(network.constants[n].astype(np.float64)).requires_grad_() for n in names}
    rows = torch.ones(2, 1, network.outputs, dtype=torch.float64) * torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)

    def low(values: dict[str, torch.Tensor]) -> torch.Tensor:
        return margin_low(bind(network, values, dtype=torch.float64), network, Bounds(x - 0.1, x + 0.1), rows).sum()

    gradients = torch.autograd.grad(low(params), list(params.values()))
    rng = np.random.default_rng(4)
    for name, gradient in zip(names, gradients, strict=True):
        move = torch.as_tensor(rng.standard_normal(gradient.shape))
        step = 1e-6
        ends = [low({**params, name: params[name] + sign * step * move}).item() for sign in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx((gradient * move).sum().item(), rel=1e-4, abs=1e-6)


def test_float32_rounds_the_region_outward_and_comes_near_float64(network) -> None:
    x = np.random.default_rng(5).standard_normal((3, *network.input_shape))
    at = Region(x - 0.1, x + 0.1, x, "2", 0.1)
    single = Enclosure.of_regions([at], torch.float32, "cpu")
    assert (single.box.low.double().numpy() <= at.low).all() and (single.box.high.double().numpy() >= at.high).all()
    moved = np.sqrt(((single.center.double().numpy() - x) ** 2).reshape(3, -1).sum(1))
    assert (single.eps.double().numpy() >= 0.1 + moved).all()
    asked = query(np.eye(network.outputs)[:1], 3)
    double = linear(bind(network, dtype=torch.float64), network, Enclosure.of_regions([at], torch.float64, "cpu"))
    rough = linear(bind(network), network, single)
    asked32 = Query(asked.owner, asked.rows.float(), asked.offsets.float())
    torch.testing.assert_close(rough.low(asked32).double(), double.low(asked), rtol=0, atol=1e-4)


def test_a_spent_budget_leaves_sound_looser_bounds(nets) -> None:
    from unmoved.core.budget import Budget

    network = nets["relu"]()
    ops = bind(network, dtype=torch.float64)
    x = torch.randn(2, *network.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    enclosure = Enclosure.of_box(x - 0.3, x + 0.3)
    spent = linear_bounds(ops, network, enclosure, budget=Budget(0.0))
    plain = interval(ops, network, enclosure.box)
    assert all(torch.equal(spent.bounds[n].low, plain[n].low) for n in plain)
