"""Random variants of operators: the checker computes what onnxruntime does, or refuses."""

from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from check_kit import model
from variants import VARIANTS

from unmoved_check.exact import ExactEngine
from unmoved_check.exact_numbers import times_power
from unmoved_check.floating import FloatEngine, input_hull
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region

SEEDS = 40


def runtime(data):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("make", VARIANTS, ids=lambda make: make.__name__)
def test_agrees_with_onnxruntime_or_refuses(make):
    read = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        nodes, constants, shape, opset = make(rng)
        data = model(nodes, constants, shape, opset=opset)
        try:
            graph = read_graph(data)
        except Rejection:
            continue
        x = rng.normal(size=shape).astype(np.float32)
        try:
            expected = runtime(data).run(None, {"x": x})[0].ravel()
        except Exception:  # noqa: BLE001 - nobody can run it: whatever the checker makes of it is harmless
            continue
        point = Region(ball=Ball(tuple(map(float, x.ravel())), "inf", Fraction(0)))
        found = ExactEngine(graph).enclose(point)[graph.output]
        exact = [float(times_power(v, found.exp)) for v in found.low]
        assert np.allclose(exact, expected, rtol=1e-3, atol=1e-4), (seed, nodes[-1], opset)
        with np.errstate(all="ignore"):
            fast = FloatEngine(graph)._intervals(input_hull(point), ())[graph.output]
        assert (fast.low <= np.array(exact) + 1e-9).all() and np.allclose(fast.low, exact, rtol=1e-6, atol=1e-6)
        read += 1
    assert read > SEEDS // 4, "most variants are read"
