"""Every operator end to end: a small net with it is CERTIFIED, by a certificate that the checker accepts.

A box around x goes through an affine map into the operator, and from there into three scores.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from math import prod
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from unmoved import Budget, LinearMethod, Linf, Problem, SameClass, Verdict, certify
from unmoved.core import FLOAT32, Certificate
from unmoved.loaders.onnx import load_onnx
from unmoved.loaders.runtime import Runtime
from unmoved.ops import supported
from unmoved.refine import BranchMethod
from unmoved_check.exact import ExactEngine
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Leaf
from unmoved_check.model.deployed import COVERED
from unmoved_check.onnx_reader import read_graph
from unmoved_check.region import Ball, Region

sys.path.insert(0, str(Path(__file__).parent / "ops"))

from operator_cases import AFFINE, COMPOSED, OTHER, PRODUCTS, Case, one

AWAY = {"Log", "Sqrt", "Reciprocal", "Div", "Pow"}
"""Operators that are asked for positive numbers only."""

MORE = [
    one("Log", (2, 3)),
    one("Sqrt", (2, 3)),
    one("Reciprocal", (2, 3)),
    Case("Split", {"x": (2, 5)}, {"n": np.array([5], np.int64)}, ("x", "n"), {"axis": 1}),
    one("Swish", (2, 3), 24, alpha=1.5),
    Case("Einsum", {"a": (2, 3), "b": (3, 2)}, {}, ("a", "b"), {"equation": "ij,jk->ik"}),
]


def net(case: Case, ahead: float = 0.5) -> tuple[bytes, np.ndarray]:
    """A model with the case's node between two affine maps, and an x at which class 0 is `ahead` of both others."""
    rng = np.random.default_rng(11)
    size, middle = sum(prod(s) for s in case.variables.values()), prod(case.network().shapes["y"])
    constants = {
        "in.W": (rng.normal(size=(3, size)) * 0.5).astype(np.float32),
        "in.b": (rng.normal(size=size) * 0.3 + (3.0 if case.op in AWAY else 0.0)).astype(np.float32),
        "out.W": (rng.normal(size=(middle, 3)) / np.sqrt(middle)).astype(np.float32),
        "out.b": np.zeros(3, np.float32),
        "flat": np.array([1, -1], np.int64),
        **case.constants,
    }
    nodes, at = [helper.make_node("Gemm", ["image", "in.W", "in.b"], ["h"])], 0
    for name, shape in case.variables.items():
        constants[f"{name}.shape"] = np.array(shape, np.int64)
        constants[f"{name}.places"] = np.arange(at, at + prod(shape), dtype=np.int64)
        nodes.append(helper.make_node("Gather", ["h", f"{name}.places"], [f"{name}.flat"], axis=1))
        nodes.append(helper.make_node("Reshape", [f"{name}.flat", f"{name}.shape"], [name]))
        at += prod(shape)
    nodes += [
        helper.make_node(case.op, case.inputs, ["y"], **case.attributes),
        helper.make_node("Reshape", ["y", "flat"], ["row"]),
        helper.make_node("Gemm", ["row", "out.W", "out.b"], ["scores"]),
    ]
    x = rng.normal(size=(1, 3)).astype(np.float32)
    scores = Runtime(_bytes(nodes, constants, case.opset)).run(x[None])[0]
    constants["out.b"] = np.array([ahead, 0, 0], np.float32) - scores
    return _bytes(nodes, constants, case.opset), x


def _bytes(nodes: list, constants: dict[str, np.ndarray], opset: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    version = 8 if opset < 21 else 10
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)
    return made.SerializeToString()


def asked(case: Case, eps: str) -> Problem:
    data, x = net(case)
    return Problem(load_onnx(data), x, Linf(eps), SameClass(0))


def accepted(certificate: Certificate) -> bool:
    assert certificate.verdict is Verdict.CERTIFIED, certificate.reason
    return certificate.check is not None and certificate.check.accepted and not certificate.unchecked


EVERY = {case.op: case for case in reversed([*AFFINE, *PRODUCTS, *COMPOSED, *OTHER, *MORE])}
"""One case an operator."""


def test_every_operator_that_is_bounded_has_a_case() -> None:
    compared = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual"}  # these end to end: ops/test_comparison.py
    assert supported() | {"Einsum"} == set(EVERY) | compared


@pytest.mark.parametrize("op", sorted(EVERY))
def test_linear_bounds_become_an_accepted_certificate(op: str) -> None:
    assert accepted(certify(asked(EVERY[op], "1/100"), LinearMethod(), Budget(seconds=60), seed=0))


@pytest.mark.parametrize("op", sorted(COVERED & set(EVERY) - {"Sum"}))
def test_claims_about_every_float32_execution_are_accepted(op: str) -> None:
    """(The case of a Sum has four terms, of which this semantics knows no order.)"""
    data, x = net(EVERY[op])
    problem = Problem(load_onnx(data), x, Linf("1/100"), SameClass(0), semantics=FLOAT32)
    assert accepted(certify(problem, LinearMethod(), Budget(seconds=60), seed=0))


BEYOND = {
    "Abs": "0.565",
    "Clip": "0.235",
    "Exp": "0.4",
    "HardSwish": "0.82",
    "LayerNormalization": "0.113",
    "LeakyRelu": "0.625",
    "LogSoftmax": "0.45",
    "Max": "0.325",
    "Min": "0.275",
    "Relu": "0.625",
    "Softmax": "0.57",
    "Softplus": "0.9",
}
"""Sizes that default lines do not prove."""


@pytest.mark.parametrize("op", sorted(BEYOND))
def test_chosen_lines_and_splits_become_an_accepted_certificate(op: str) -> None:
    problem = asked(EVERY[op], BEYOND[op])
    assert certify(problem, LinearMethod(), Budget(seconds=60), seed=0).verdict is Verdict.UNKNOWN
    assert accepted(certify(problem, BranchMethod(), Budget(seconds=60), seed=0))


@pytest.mark.parametrize("op", sorted(EVERY))
def test_what_the_engines_bound_no_point_of_the_box_leaves(op: str) -> None:
    """Wide boxes, both arithmetics and both kinds of intermediate bounds, onnxruntime on points of the box."""
    data, x = net(EVERY[op])
    graph, eps = read_graph(data), 0.15
    rng = np.random.default_rng(2)
    steps = np.concatenate([rng.uniform(-eps, eps, (60, *x.shape)), rng.choice([-eps, eps], (40, *x.shape))])
    outputs = Runtime(data).run((x + steps).astype(np.float32)).reshape(len(steps), -1)
    region = Region(ball=Ball(tuple(map(float, x.ravel())), "inf", Fraction(3, 20) + Fraction(1, 10**6)))
    leaves = [Leaf(k, {k % 3: Fraction(1 - k // 3 * 2)}, Fraction(0)) for k in range(6)]
    least = [(outputs[:, k % 3] * (1 - k // 3 * 2)).min() for k in range(6)]
    for mode in ("interval", "linear"):
        fast = [float(m) for m in FloatEngine(graph).margins(region, leaves, mode)]
        slow = [float(m) for m in ExactEngine(graph).margins(region, leaves, mode)]
        assert np.allclose(fast, slow, rtol=1e-6, atol=1e-6)
        assert all(bound <= y + 1e-4 * (1 + abs(y)) for bound, y in zip(fast, least, strict=True))
        assert all(np.isfinite(fast))
