"""Random ONNX graphs: where the checker reads one, its exact output is that of onnxruntime."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from graphs import KINDS, Draft
from operators import MORE

from unmoved_check.exact import ExactEngine
from unmoved_check.exact_numbers import times_power
from unmoved_check.model.steps import Graph
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region

GRAPHS = int(os.environ.get("FUZZ", 1500))
BLOCKS = 4
SHAPES = [(1, 4), (1, 2, 5, 4), (1, 1, 6), (1, 3, 4), (2, 3), (1, 2, 3, 3), (3,), (1, 1, 2, 3, 3)]


def theirs(data: bytes, x: np.ndarray) -> np.ndarray | None:
    """What onnxruntime computes, None where it refuses the model; unoptimised, as the operators are defined."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {"x": x})[0])
    except Exception:  # noqa: BLE001 - the runtime raises a dozen types of its own, all of which say "not this model"
        return None


def ours(data: bytes) -> Graph | None:
    try:
        return read_graph(data)
    except Rejection:
        return None


def exact_output(graph: Graph, x: np.ndarray) -> np.ndarray | None:
    """The output at x; None where x lies outside the domain of a function on the way."""
    point = Region(ball=Ball(tuple(map(float, x.ravel())), "inf", Fraction(0)))
    try:
        found = ExactEngine(graph).enclose(point)[graph.output]
    except Rejection as rejection:
        assert "outside its domain" in str(rejection), rejection
        return None
    return np.array([float(times_power(v, found.exp)) for v in found.low])


def examined(seed: int) -> int:
    """How many prefixes of one random graph both read; AssertionError where they differ."""
    rng = np.random.default_rng(seed)
    draft = Draft(rng, int(rng.integers(9, 24)), SHAPES[int(rng.integers(len(SHAPES)))])
    x, at, both = (rng.integers(-8, 9, draft.shape) / 4).astype(np.float32), "x", 0
    for _ in range(int(rng.integers(1, 5))):
        before, constants = list(draft.nodes), dict(draft.constants)
        kind = draft.some(*KINDS, *MORE)
        kind(draft, at, draft.shapes[at])
        name = draft.nodes[-1].output[0]
        data = draft.bytes(name)
        expected, graph = theirs(data, x), ours(data)
        found = None if expected is None or graph is None else exact_output(graph, x)
        if expected is not None and found is not None:
            where = f"seed {seed}, opset {draft.opset}: {draft.nodes[-1].op_type} of {draft.shapes[at]}"
            assert found.shape == (expected.size,), where
            room = 1e-4 * (1 + np.abs(expected).max(initial=0))
            assert np.abs(found - expected.ravel()).max(initial=0) <= room, where
            both += 1
        if expected is not None and expected.size and expected.ndim and found is not None:
            draft.shapes[name], at = expected.shape, name
        else:
            draft.nodes, draft.constants = before, constants
    return both


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_checker_reads_what_onnxruntime_computes(block: int) -> None:
    read = sum(examined(seed) for seed in range(block, GRAPHS, BLOCKS))
    assert read > GRAPHS / BLOCKS / 2
