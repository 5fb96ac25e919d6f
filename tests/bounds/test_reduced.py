"""A reduced network bounds and answers as the whole one does, for every operator and threat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmoved.bounds import Enclosure, Query, linear
from unmoved.core import Budget
from unmoved.ir.network import Network
from unmoved.ops import bind, evaluate, primitives
from unmoved.refine.ascent import Ascent
from unmoved.refine.dual import Choices, Face, Goals, bound
from unmoved.refine.reduced import Functions, Reducer
from unmoved.refine.tighten import Tightening
from unmoved.testing.perceptron import Perceptron
from unmoved.threats import L1, L2, Linf


def asked(reducer: Reducer, rows: torch.Tensor) -> Goals:
    found = reducer.outputs(rows, torch.zeros(len(rows), dtype=rows.dtype))
    stacked = Functions(found.units[:, None], found.inputs[:, None], found.offset[:, None])
    numbers = torch.arange(len(rows))
    return Goals(stacked, torch.ones(len(rows), 1) > 0, numbers, torch.zeros_like(found.units))


@pytest.mark.parametrize("threat", [Linf("0.2"), L2("0.5"), L1("0.7", clip=(-1, 1))], ids=lambda t: t.name)
def test_the_reduced_net_has_the_bounds_of_the_whole_one(network: Network, threat: Linf) -> None:
    ops, rng = bind(network, dtype=torch.float64), np.random.default_rng(0)
    x = rng.uniform(-1, 1, network.input_shape).astype(np.float32)
    region = Enclosure.of_regions([threat.region(x[None])], torch.float64, "cpu")
    rows = torch.as_tensor(rng.standard_normal((4, network.outputs)))
    owner = torch.zeros(4, dtype=torch.int64)
    samples = torch.as_tensor(threat.project(np.repeat(x[None], 50, 0), x + rng.uniform(-0.7, 0.7, (50, *x.shape))))
    with torch.no_grad():
        truth = (evaluate(ops, network, samples.double()).flatten(1) @ rows.mT).amin(0)
        for tightening in (None, Tightening(Ascent(5, 0.4, 0.7), Budget())):
            known = linear(ops, network, region, tighten=tightening)
            reducer = tightening.reducer if tightening else Reducer.of(known, 0)
            reduced, goals = reducer.reduced(), asked(reducer, rows)
            choices = Choices.first(reduced, goals)
            found = bound(reduced, goals, choices, Face.of(reduced, goals.signs))
            whole = known.low(Query(owner, rows, torch.zeros(4, dtype=torch.float64)))
            torch.testing.assert_close(found.low, whole, rtol=1e-9, atol=1e-9)
            # x* and z there give the very bound: the conjuncts' values are the dual's.
            torch.testing.assert_close(found.values[:, 0], found.low, rtol=1e-8, atol=1e-8)
            best, kept = Ascent(15).run(reduced, goals, choices)
            assert (best >= found.low - 1e-6).all() and (best <= truth + 1e-9).all()
            again = bound(reduced, goals, kept, Face.of(reduced, goals.signs), gradient=False)
            assert (again.low >= best).all()
            inner = evaluate(tuple(primitives(ops)), network, samples.double(), keep=known.bounds)
            for name, value in known.bounds.items():
                assert (inner[name] >= value.low - 1e-9).all() and (inner[name] <= value.high + 1e-9).all()


def test_the_gradient_is_that_of_the_bound() -> None:
    """By differences, in slopes and multipliers, on a net with splits."""
    rng = np.random.default_rng(1)
    layers = [(rng.standard_normal((b, a)).astype(np.float32), rng.standard_normal(b).astype(np.float32) / 4)
              for a, b in ((3, 8), (8, 8), (8, 1))]  # fmt: skip
    network = Perceptron(tuple(layers)).network
    ops = bind(network, dtype=torch.float64)
    region = Enclosure.of_regions([Linf(1).region(np.zeros((1, 1, 3), np.float32))], torch.float64, "cpu")
    with torch.no_grad():
        reducer = Reducer.of(linear(ops, network, region), 0)
        reduced, goals = reducer.reduced(), asked(reducer, torch.ones(1, 1, dtype=torch.float64))
        assert len(reduced) > 8
        goals = goals.split(torch.tensor([2]), torch.tensor([1.0], dtype=torch.float64))
        start = Choices.first(reduced, goals)
        slopes = torch.as_tensor(rng.uniform(0.2, 0.8, start.slopes.shape))
        multipliers = torch.zeros_like(slopes)
        multipliers[0, 2] = 0.3
        face = Face.of(reduced, goals.signs)

        def low(s: torch.Tensor, m: torch.Tensor) -> float:
            return float(bound(reduced, goals, Choices(s, m, start.weights), face, gradient=False).low)

        found = bound(reduced, goals, Choices(slopes, multipliers, start.weights), face)
        step = 1e-6
        for i in range(len(reduced)):
            move = torch.zeros_like(slopes)
            move[0, i] = step
            by_slope = (low(slopes + move, multipliers) - low(slopes - move, multipliers)) / (2 * step)
            said = float((found.outer.clamp(min=0) * found.units * face.free)[0, i])
            assert said == pytest.approx(by_slope, abs=1e-5)
            if i == 2:
                by_multiplier = (low(slopes, multipliers + move) - low(slopes, multipliers - move)) / (2 * step)
                assert -float(found.units[0, i]) == pytest.approx(by_multiplier, abs=1e-5)
