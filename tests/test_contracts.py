"""Every method x every problem with a known answer, in one table."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from unmoved.attack import FGSM, Pgd, PgdMethod
from unmoved.core import Code, Finding, Method, Reason, Verdict
from unmoved.refine import (
    BranchMethod,
    Cascade,
    IntervalMethod,
    LinearMethod,
    LipschitzMethod,
    MilpMethod,
    OptimisedMethod,
    SdpMethod,
    SmtMethod,
    ZonotopeMethod,
)
from unmoved.smooth import Gaussian
from unmoved.smooth.methods.method import SmoothingMethod
from unmoved.testing import MethodContract, affine_problems
from unmoved.testing.known import known_problems

torch.set_num_threads(1)


class TestInterval(MethodContract):
    def method(self):
        return IntervalMethod()


class TestZonotope(MethodContract):
    def method(self):
        return ZonotopeMethod()


class TestZonotopeInLittleMemory(MethodContract):
    """With hardly any symbols: reduced to boxes."""

    singles = 2

    def method(self):
        return ZonotopeMethod(memory=2000)


class TestLinear(MethodContract):
    def method(self):
        return LinearMethod()


class TestOptimised(MethodContract):
    singles = 2

    def method(self):
        return OptimisedMethod()


class TestLipschitz(MethodContract):
    singles = 2

    def method(self):
        return LipschitzMethod()


class OfFew(MethodContract):
    """For dear methods: ties and boxes (more in tests/refine/test_oracles.py)."""

    singles = 1

    def groups(self):
        return super().groups()[3:5]


class TestMilp(OfFew):
    def method(self):
        return MilpMethod()


class TestSmt(OfFew):
    def method(self):
        return SmtMethod()


class TestSdp(OfFew):
    def groups(self):
        return super().groups()[:1]

    def method(self):
        return SdpMethod()


class TestBranch(MethodContract):
    singles = 2

    def method(self):
        return BranchMethod()


class TestCascade(MethodContract):
    def method(self):
        return Cascade.default()


class TestPgd(MethodContract):
    singles = 2

    def method(self):
        return PgdMethod((FGSM, Pgd(steps=5, restarts=1)))


class TestSmoothing(MethodContract):
    """Affine models of two classes: smoothing leaves the decision as it is, so the answers about g are known."""

    def method(self):
        return SmoothingMethod(Gaussian("1/4"), samples=2000, alpha=Fraction(1, 1000), selection_samples=50)

    def groups(self):
        return [group for group in affine_problems() if group[0].problem.threat.norm == "2"]


class Liar(Method):
    """Certifies everything, with another's evidence where there is some."""

    @property
    def name(self):
        return "liar"

    def settings(self):
        return {}

    def decide(self, problems, budget, seed):
        evidence = next(f.evidence for f in LinearMethod().decide(problems, budget, seed) if f.evidence is not None)
        size = [problem.threat.size for problem in problems]
        return [Finding(Verdict.CERTIFIED, "liar", evidence=evidence, radius=eps) for eps in size]


class Silent(Liar):
    def decide(self, problems, budget, seed):
        return [Finding(Verdict.UNKNOWN, "silent", reason=Reason(Code.TIMEOUT)) for _ in problems]


class Forgetful(LinearMethod):
    def decide(self, problems, budget, seed):
        return super().decide(problems, budget, seed)[::-1]


class AtLiar(MethodContract):
    def method(self):
        return Liar()


def test_the_contract_catches_a_liar():
    """Raw, a false CERTIFIED is caught; after the independent check nothing false is left."""
    with pytest.raises(AssertionError, match="a counterexample exists"):
        AtLiar().test_never_contradicts()
    AtLiar().test_certificates_never_contradict()


def test_the_contract_catches_silence_and_disorder():
    silent, forgetful = AtLiar(), AtLiar()
    silent.method = Silent
    forgetful.method = Forgetful
    with pytest.raises(AssertionError):
        silent.test_decides_something()
    with pytest.raises(AssertionError):
        forgetful.test_batch_is_single()


def test_known_answers_hold_up_to_sampling():
    """The oracle's own check: no sampled member of S(x) breaks a property that is said to hold."""
    rng = np.random.default_rng(3)
    answers = set()
    for known in (k for group in known_problems(seed=5, nets=1) for k in group):
        region = known.problem.threat.region(known.problem.x[None])
        low, high = region.low[0], region.high[0]
        points = [low, high, *(rng.uniform(low, high) for _ in range(30))]
        inside = [p for p in points if known.problem.threat.contains(known.problem.x, p)]
        broken = any(known.breaks(point) for point in inside)
        answers.add(known.holds)
        assert not (known.holds and broken)
    assert answers == {True, False}
