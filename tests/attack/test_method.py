from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from unmoved.attack import FGSM, Pgd, PgdMethod
from unmoved.attack.method import groups
from unmoved.core import Budget, Code, Problem, SameClass, UsageError, Verdict, Witness
from unmoved.ir import Node
from unmoved.loaders.runtime import Runtime
from unmoved.loaders.torch import load_torch
from unmoved.threats import L1, L2, Box, Linf


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4)).eval()
    return load_torch(net, (1, 1, 4, 4))


def problems(network, threat, n=6):
    x = np.random.default_rng(0).random((n, *network.input_shape), np.float32)
    labels = Runtime(network.source).run(x).argmax(1)
    return [Problem(network, x[i], threat, SameClass(int(labels[i]))) for i in range(n)]


@pytest.mark.parametrize("threat", [Linf("0.9", (0, 1)), L2("3", (0, 1)), L1("12", (0, 1)), Linf(1)], ids=str)
def test_witnesses_hold_exactly_in_exact_arithmetic_and_in_onnxruntime(network, threat):
    asked = problems(network, threat)
    found = PgdMethod().decide(asked, Budget(), 0)
    assert any(finding.verdict is Verdict.FALSIFIED for finding in found)
    for problem, finding in zip(asked, found, strict=True):
        assert finding.verdict is not Verdict.CERTIFIED and finding.radius is None
        assert finding.prediction == problem.prop.label
        if finding.verdict is Verdict.UNKNOWN:
            assert finding.evidence is None and finding.reason.code is Code.UNPROVED and finding.margin > 0
            continue
        witness = finding.evidence
        assert isinstance(witness, Witness) and witness.point.dtype == np.float32
        assert witness.point.shape == network.input_shape and finding.margin <= 0
        assert threat.contains(problem.x, witness.point)
        again = Runtime(network.source).run(witness.point[None])[0]
        assert np.array_equal(again, witness.runtime_output) and problem.prop.violated(again)
        exact = forward(network, witness.point)
        assert any(exact[problem.prop.label] <= y for j, y in enumerate(exact) if j != problem.prop.label)


def forward(network, point):
    """The network in rational arithmetic, written for this one architecture."""
    first, second = (
        [(network.constants[f"{i}.weight"].astype(float), network.constants[f"{i}.bias"].astype(float))] for i in (1, 3)
    )
    value = [Fraction(float(v)) for v in point.reshape(-1)]
    for weight, bias in first:
        value = [max(Fraction(0), dot(row, value) + Fraction(b)) for row, b in zip(weight, bias, strict=True)]
    for weight, bias in second:
        value = [dot(row, value) + Fraction(b) for row, b in zip(weight, bias, strict=True)]
    return value


def dot(row, value):
    return sum((Fraction(a) * b for a, b in zip(row, value, strict=True)), Fraction(0))


def test_nothing_is_falsified_where_nothing_can_be(network):
    for threat in (Linf(0), L2("0.0001"), L1("0.0001")):
        for finding in PgdMethod().decide(problems(network, threat), Budget(), 0):
            assert finding.verdict is Verdict.UNKNOWN and finding.evidence is None


def test_a_misclassified_input_is_its_own_witness(network):
    problem = problems(network, Linf(0), 1)[0]
    wrong = replace(problem, prop=SameClass((problem.prop.label + 1) % 4))
    finding = PgdMethod().decide([wrong], Budget(), 0)[0]
    assert finding.verdict is Verdict.FALSIFIED and np.array_equal(finding.evidence.point, problem.x)


def test_the_runtime_has_the_last_word(network, monkeypatch):
    asked = problems(network, Linf("0.9", (0, 1)))
    monkeypatch.setattr(Runtime, "run", lambda self, x: np.eye(4, dtype=np.float32)[[asked[0].prop.label] * len(x)])
    assert PgdMethod().decide(asked[:1], Budget(), 0)[0].verdict is Verdict.UNKNOWN


def test_findings_do_not_depend_on_the_batch(network):
    asked = problems(network, L2("0.6", (0, 1)))
    together = PgdMethod().decide(asked, Budget(), 5)
    small = PgdMethod(batch=2).decide(asked, Budget(), 5)
    alone = [PgdMethod().decide([problem], Budget(), 5)[0] for problem in asked]
    for a, b, c in zip(together, small, alone, strict=True):
        assert a.verdict is b.verdict is c.verdict
        assert a.margin == pytest.approx(b.margin, abs=1e-4) and a.margin == pytest.approx(c.margin, abs=1e-4)


def test_the_dearer_stage_finds_no_less(network):
    asked = problems(network, Linf("0.2", (0, 1)))
    cheap = PgdMethod(stages=(FGSM,)).decide(asked, Budget(), 0)
    dear = PgdMethod(stages=(FGSM, Pgd(steps=30, restarts=3))).decide(asked, Budget(), 0)
    assert all(b.margin <= a.margin + 1e-6 for a, b in zip(cheap, dear, strict=True))


def test_a_spent_budget_is_a_timeout(network):
    found = PgdMethod().decide(problems(network, Linf("0.0001")), Budget(0), 0)
    assert all(f.verdict is Verdict.UNKNOWN and f.reason.code is Code.TIMEOUT for f in found)


def test_an_unknown_operator_is_a_finding_not_an_exception(network):
    problem = problems(network, Linf(1), 1)[0]
    last = network.nodes[-1]
    odd = replace(network, nodes=(*network.nodes[:-1], Node("Floor", "odd", last.inputs[:1], last.outputs)))
    finding = PgdMethod().decide([replace(problem, model=odd)], Budget(), 0)[0]
    assert (
        finding.verdict is Verdict.UNKNOWN
        and finding.reason.code is Code.UNSUPPORTED
        and "Floor" in str(finding.reason)
    )


def test_mixed_norms_and_boxes_keep_their_order(network):
    base = problems(network, Linf("0.1"), 4)
    box = Box(np.zeros(network.input_shape), np.ones(network.input_shape))
    threats = [L2("0.1"), Linf("0.1"), L1("0.1"), box]
    asked = [replace(problem, threat=threat) for problem, threat in zip(base, threats, strict=True)]
    assert sorted(i for rows in groups(asked, 10) for i in rows) == [0, 1, 2, 3]
    found = PgdMethod().decide(asked, Budget(), 0)
    assert [f.prediction for f in found] == [p.prop.label for p in asked]
    assert found[3].verdict is Verdict.FALSIFIED and box.contains(asked[3].x, found[3].evidence.point)


def test_settings_say_all_and_are_checked():
    assert PgdMethod().settings() != PgdMethod(stages=(FGSM,)).settings()
    assert PgdMethod().decide([], Budget(), 0) == []
    with pytest.raises(UsageError):
        PgdMethod(stages=())
