"""Random certificates, not only those that a method would write: no tree, slope or multiplier proves too much."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest
from nets import least, random_net
from test_certify import region

from unmoved_check.exact import ExactEngine
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Leaf, Split
from unmoved_check.model.steps import Graph
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Cut, Region

F = Fraction
TREES = int(os.environ.get("FUZZ", 250))
BLOCKS = 4
Path = tuple[tuple[Cut, ...], tuple[Split, ...]]


def planted(rng: np.random.Generator, graph: Graph, centre: list[Fraction], depth: int) -> list[Path]:
    """The paths to the leaves of a random tree of input splits and ReLU splits."""
    kind = rng.integers(3) if depth else 0
    if kind == 1:
        index = int(rng.integers(len(centre)))
        point = centre[index] + F(int(rng.integers(-3, 4)), 7) * F(10) ** int(rng.integers(-6, 1))
        sides = [(b, planted(rng, graph, centre, depth - 1)) for b in (True, False)]
        return [((Cut(index, point, below), *cuts), splits) for below, paths in sides for cuts, splits in paths]
    if kind == 2 and graph.relu_inputs:
        value = int(rng.choice(list(graph.relu_inputs.values())))
        index, found = int(rng.integers(graph.sizes[value])), []
        for positive in (True, False):
            for cuts, splits in planted(rng, graph, centre, depth - 1):
                multiplier = float(np.float32(abs(rng.normal()) * 2.0 ** rng.integers(-30, 31) * rng.integers(0, 2)))
                found.append((cuts, (Split(value, index, positive, multiplier), *splits)))
        return found
    return [((), ())]


def leaf(rng: np.random.Generator, graph: Graph, number: int, row: dict[int, Fraction], path: Path) -> Leaf:
    slopes = {
        value: bytes(rng.integers(0, 256, graph.sizes[value], dtype=np.uint8))
        for value in graph.relu_inputs.values()
        if rng.random() < 0.5
    }
    return Leaf(number, row, F(0), path[1], slopes)


def examined(seed: int) -> int:
    """How many trees bound the row at all; AssertionError when one is above the exact minimum."""
    rng = np.random.default_rng([seed, 2])
    wild = bool(rng.random() < 0.5)
    net = random_net(rng, int(rng.integers(1, 3)), wild=wild)
    x, threat, corners = region(rng, net.inputs, wild)
    graph = read_graph(net.bytes())
    numbers = rng.normal(size=net.widths[net.at])
    row = {j: F(float(a)) for j, a in enumerate(numbers)}
    truth = least(net.pieces(corners), net.at, list(row.values()))
    centre = [F(float(v)) for v in x[0]]
    paths = planted(rng, graph, centre, 3)
    whole = _region(threat, x)
    bounded = 0
    for engine in (ExactEngine(graph), FloatEngine(graph)):
        for mode in ("interval", "linear"):
            margins: list[Fraction] = []
            try:
                for k, (cuts, splits) in enumerate(paths):
                    part = Region(whole.ball, whole.clip, whole.box, cuts)
                    found = engine.margins(part, [leaf(rng, graph, k, row, (cuts, splits))], mode)
                    margins += [F(m) if np.isfinite(float(m)) else F(-(10**300)) for m in found if m is not None]
            except Rejection:
                continue
            assert margins, f"seed {seed}: every leaf is empty"
            assert min(margins) <= truth, f"seed {seed}: {type(engine).__name__} {mode} is above the minimum"
            bounded += 1
    return bounded


def _region(threat: object, x: np.ndarray) -> Region:
    if hasattr(threat, "low"):
        low, high = (tuple(map(float, np.ravel(end))) for end in (threat.low, threat.high))
        return Region(box=(low, high))
    return Region(ball=Ball(tuple(map(float, x.ravel())), threat.norm, threat.eps), clip=threat.clip)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_tree_proves_more_than_the_minimum(block: int) -> None:
    assert sum(examined(seed) for seed in range(block, TREES, BLOCKS))
