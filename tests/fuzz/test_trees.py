"""Random certificates, not only those that a method would write: no tree, slope or multiplier proves too much."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnxruntime
import pytest
from nets import Point, at, combined, least, random_net
from test_certify import region

from unmoved_check.exact import ExactEngine
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Leaf, Split
from unmoved_check.model.deployed import deployed
from unmoved_check.model.lowering import lower
from unmoved_check.model.profile import PROFILES
from unmoved_check.model.reader import read_model
from unmoved_check.model.steps import Graph
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
    data = net.bytes()
    source = read_model(data)
    numbers = rng.normal(size=net.widths[net.at])
    row = {j: F(float(a)) for j, a in enumerate(numbers)}
    pieces = net.pieces(corners)
    truth = least(pieces, net.at, list(row.values()))
    worst = min((at(combined(list(row.values()), p.tensors[net.at]), c), c) for p in pieces for c in p.corners)[1]
    executed = least_execution(data, (threat, x), [worst, *corners[:2]], row)
    whole, centre = _region(threat, x), [F(float(v)) for v in x[0]]
    bounded = 0
    for graph, limit in ((lower(source), truth), (deployed(source, PROFILES["float32"]), min(truth, executed))):
        paths = planted(rng, graph, centre, 3)
        bounded += _bounded(rng, graph, whole, [(row, path) for path in paths], (limit, seed))
    return bounded


def least_execution(data: bytes, problem: Any, near: Sequence[Point], row: Mapping[int, Fraction]) -> Fraction:
    """The least row . y that onnxruntime gives, optimised or not, at float32 points of the set near these and at x."""
    threat, x = problem
    middle, least_ = x.astype(np.float32), F(10**300)
    points = [middle, *(np.array([[float(v) for v in p]]).astype(np.float32) for p in near)]
    points += [np.nextafter(p, middle) for p in points[1:]]
    inside = [p for p in points if threat.contains(x, p)]
    for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for point in inside:
            y = session.run(None, {"x": point})[0][0]
            if np.isfinite(y).all():
                least_ = min(least_, sum((a * F(float(y[j])) for j, a in row.items()), F(0)))
    return least_


def _bounded(
    rng: np.random.Generator, graph: Graph, whole: Region, leaves: list[Any], known: tuple[Fraction, int]
) -> int:
    bounded, (limit, seed) = 0, known
    for engine in (ExactEngine(graph), FloatEngine(graph)):
        for mode in ("interval", "linear"):
            margins: list[Fraction] = []
            try:
                for k, (row, (cuts, splits)) in enumerate(leaves):
                    part = Region(whole.ball, whole.clip, whole.box, cuts)
                    found = engine.margins(part, [leaf(rng, graph, k, row, (cuts, splits))], mode)
                    margins += [F(m) if np.isfinite(float(m)) else F(-(10**300)) for m in found if m is not None]
            except Rejection:
                continue
            assert margins, f"seed {seed}: every leaf is empty"
            assert min(margins) <= limit, f"seed {seed}: {type(engine).__name__} {mode} is above the minimum"
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
