"""The largest size: exact thresholds are met from below, witnesses close the bracket, certificates are accepted."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from unmoved.certifier import certify_radius
from unmoved.core import Budget, Problem, SameClass, UsageError, Verdict
from unmoved.refine import BranchMethod, LinearMethod
from unmoved.refine.radius import largest
from unmoved.testing.perceptron import Perceptron
from unmoved.threats import L1, L2, Box, Linf

torch.set_num_threads(1)

TIE = Perceptron(((np.array([[1], [-1]], np.float32), np.zeros(2, np.float32)),))
"""The outputs (x, -x): at x = 1/2 every size below 1/2 holds, and 1/2 does not."""


@pytest.mark.parametrize("kind", [Linf, L2, L1])
@pytest.mark.parametrize("eps", ["1/4", "1", "3"])
def test_an_exact_threshold_is_met_from_below(kind: type[Linf], eps: str) -> None:
    problem = Problem(TIE.network, np.full((1, 1), 0.5, np.float32), kind(eps), SameClass(0))
    found = largest(problem, BranchMethod(), steps=8)
    unit = Fraction(eps) / 256
    size = found.problem.threat.size
    assert found.finding.verdict is Verdict.CERTIFIED and found.finding.radius == size
    assert min(Fraction(eps), Fraction(1, 2) - unit) <= size
    assert size < Fraction(1, 2)
    if Fraction(eps) > Fraction(1, 2):
        assert found.broken is not None and Fraction(1, 2) <= found.broken
    certificate = certify_radius(problem, BranchMethod(), steps=8)
    assert certificate.verdict is Verdict.CERTIFIED and certificate.radius == size


def test_a_better_method_and_finer_steps_never_end_lower() -> None:
    rng = np.random.default_rng(0)
    layers = [((rng.integers(-16, 17, s) / 8).astype(np.float32), (rng.integers(-8, 9, s[0]) / 8).astype(np.float32))
              for s in ((5, 1), (5, 5), (2, 5))]  # fmt: skip
    net = Perceptron(tuple(layers))
    for x in (-0.75, 0.125, 0.5):
        y = net.exact([Fraction(x)])
        problem = Problem(net.network, np.full((1, 1), x, np.float32), Linf(4), SameClass(y.index(max(y))))
        sizes = [largest(problem, m, steps=s).problem for m, s in ((LinearMethod(), 6), (BranchMethod(), 6))]
        finer = largest(problem, BranchMethod(), steps=8)
        eps = [p.threat.size for p in (*sizes, finer.problem)]
        if finer.finding.verdict is Verdict.CERTIFIED:
            assert eps[0] <= eps[1] <= eps[2] or eps[0] == 4
            assert finer.broken is None or eps[2] < finer.broken
            # Complete: between the proved and the broken size lies no more than one step.
            assert finer.broken is None or finer.broken - eps[2] <= Fraction(4, 64)


def test_nothing_proved_is_the_problem_as_asked() -> None:
    problem = Problem(TIE.network, np.full((1, 1), 0.5, np.float32), Linf(2), SameClass(1))
    found = largest(problem, BranchMethod(), steps=4)
    assert found.problem is problem and found.finding.verdict is Verdict.FALSIFIED and found.broken == 0
    spent = Problem(TIE.network, np.full((1, 1), 0.5, np.float32), Linf(2), SameClass(0))
    assert largest(spent, BranchMethod(), Budget(0), steps=4).finding.verdict is not Verdict.CERTIFIED


def test_misuse() -> None:
    x = np.full((1, 1), 0.5, np.float32)
    with pytest.raises(UsageError):
        largest(Problem(TIE.network, x, Box(x, x), SameClass(0)), LinearMethod())
    with pytest.raises(UsageError):
        largest(Problem(TIE.network, x, Linf(1), SameClass(0)), LinearMethod(), steps=0)
