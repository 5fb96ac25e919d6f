"""HiGHS, z3 and Clarabel beside one another and beside branch and bound, on nets small enough for all."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from unmoved.certifier import certify_all
from unmoved.core import Budget, Code, Problem, SameClass, Verdict
from unmoved.ir import Network
from unmoved.loaders.onnx import load_onnx
from unmoved.ops import bind, evaluate
from unmoved.refine import BranchMethod, MilpMethod, SdpMethod, SmtMethod
from unmoved.refine.milp import minimised
from unmoved.refine.oracle import PLAIN, Program
from unmoved.refine.root import Root
from unmoved.refine.sdp import relaxed_low
from unmoved.refine.smt import satisfied
from unmoved.threats import Linf


def model(seed: int = 0, sizes: tuple[int, ...] = (3, 8, 6, 3)) -> Network:
    rng, nodes, initial, x = np.random.default_rng(seed), [], [], "x"
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        weight = (rng.standard_normal((b, a)) / a**0.5).astype(np.float32)
        bias = (rng.standard_normal(b) * 0.3).astype(np.float32)
        initial += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        last = i == len(sizes) - 2
        nodes.append(helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], ["y" if last else f"z{i}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"z{i}"], [f"h{i}"]))
            x = f"h{i}"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("x", sizes[0]), ("y", sizes[-1]))]
    graph = helper.make_graph(nodes, "net", [ends[0]], [ends[1]], initial)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return load_onnx(made.SerializeToString())


def problems(network: Network, eps: str, count: int) -> list[Problem]:
    xs = np.random.default_rng(1).uniform(-1, 1, (count, *network.input_shape)).astype(np.float32)
    labels = evaluate(bind(network), network, torch.as_tensor(xs)).flatten(1).argmax(1).tolist()
    return [Problem(network, x, Linf(eps), SameClass(label)) for x, label in zip(xs, labels, strict=True)]


def programs(network: Network, eps: str, count: int) -> list[Program]:
    ops = bind(network, dtype=torch.float64)
    roots = [
        Root.of(ops, problem, Budget(), ascent=PLAIN, dtype=torch.float64, device="cpu")
        for problem in problems(network, eps, count)
    ]
    return [program for root in roots for program in Program.each(root)]


def test_highs_and_z3_agree_and_the_sdp_never_says_more() -> None:
    said = set()
    with torch.no_grad():
        asked = [program for seed in (4, 5, 6) for program in programs(model(seed, (2, 5, 4, 3)), "1", 1)]
    for program in asked:
        milp, smt = minimised(program, Budget()), satisfied(program, Budget())
        assert milp.safe == smt.safe
        said.add(smt.safe)
        if relaxed_low(program) > 1e-4:
            assert smt.safe
    assert said == {True, None}


@pytest.mark.parametrize("method", [MilpMethod(), SmtMethod(), SdpMethod()], ids=lambda m: m.name)
def test_they_agree_with_branch_and_bound_and_their_proofs_are_checked(method) -> None:
    asked = [problem for seed in (4, 5, 6) for problem in problems(model(seed, (2, 5, 4, 3)), "1", 1)]
    ours = [made for problem in asked for made in certify_all([problem], BranchMethod())]
    theirs = [made for problem in asked for made in certify_all([problem], method)]
    assert {c.verdict for c in ours} == {Verdict.CERTIFIED, Verdict.FALSIFIED}
    for own, other in zip(ours, theirs, strict=True):
        if method.name != "sdp":
            assert own.verdict is other.verdict
        if other.verdict is not Verdict.UNKNOWN:
            assert own.verdict is other.verdict and other.check is not None and other.check.accepted
            assert other.finding.method == method.name


def test_the_solvers_word_alone_is_unchecked() -> None:
    from unmoved.refine import Settings

    asked = problems(model(3), "0.2", 6)
    weak = BranchMethod(search=Settings(nodes=0), attack=())
    found = MilpMethod(weak).decide(asked, Budget(), 0)
    codes = {f.reason.code for f in found if f.reason is not None}
    assert codes <= {Code.UNCHECKED, Code.UNPROVED}
