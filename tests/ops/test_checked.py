"""Every operator that the producer bounds, as the independent checker reads it: what onnxruntime computes.

The checker's exact engine on a point against onnxruntime, on models that its own reader is given as bytes.
"""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from operator_cases import AFFINE, COMPOSED, OTHER, PRODUCTS, Case, title

from unmoved_check.exact import ExactEngine
from unmoved_check.exact_numbers import times_power
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region


def model(case: Case) -> bytes:
    """The case's node on slices of one flat input."""
    nodes, constants, at = [], dict(case.constants), 0
    for name, shape in case.variables.items():
        size = prod(shape)
        constants[f"{name}.shape"] = np.array(shape, np.int64)
        constants[f"{name}.places"] = np.arange(at, at + size, dtype=np.int64)
        nodes.append(helper.make_node("Gather", ["flat", f"{name}.places"], [f"{name}.flat"]))
        nodes.append(helper.make_node("Reshape", [f"{name}.flat", f"{name}.shape"], [name]))
        at += size
    nodes.append(helper.make_node(case.op, case.inputs, ["y"], **case.attributes))
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("flat", TensorProto.FLOAT, [at])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    version = 8 if case.opset < 21 else 10
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=version)
    return made.SerializeToString()


REFUSED = ("a window behind the padding", "at a place that rounding decides")
"""What a checker must not read: runtimes differ (average pools that count padding and overhang it), or may."""

CASES = [*AFFINE, *PRODUCTS, *COMPOSED, *OTHER]


@pytest.mark.parametrize("case", CASES, ids=title)
def test_the_checker_computes_what_onnxruntime_does(case: Case) -> None:
    data, rng = model(case), np.random.default_rng(5)
    try:
        engine = ExactEngine(read_graph(data))
    except Rejection as error:
        assert str(error).startswith(f"unchecked operator {case.op} ") and str(error).endswith(REFUSED)
        return
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    for _ in range(2):
        x = rng.normal(size=engine.graph.sizes[0]).astype(np.float32)
        expected = session.run(None, {"flat": x})[0].ravel()
        bounds = engine.enclose(Region(ball=Ball(tuple(map(float, x)), "inf", Fraction(0))))
        assert bounds is not None
        found = bounds[engine.graph.output]
        low, high = ([float(times_power(n, found.exp)) for n in end] for end in (found.low, found.high))
        assert np.allclose(low, high, rtol=1e-9, atol=1e-9)
        assert np.allclose(low, expected, rtol=1e-4, atol=1e-5)
