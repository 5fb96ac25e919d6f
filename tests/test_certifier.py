"""Lying methods: whatever they claim, only what the independent checker re-derives leaves the certifier."""

import json
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import beta, norm

from unmoved import certifier
from unmoved.certifier import certify, certify_all, examine
from unmoved.core import (
    Budget,
    Code,
    Counts,
    DualTree,
    Finding,
    Guarantee,
    Method,
    Problem,
    Reason,
    SameClass,
    Threat,
    Verdict,
    Witness,
)
from unmoved.core.threat import Region
from unmoved.loaders.onnx import load_onnx
from unmoved.refine import LinearMethod
from unmoved.testing import Perceptron
from unmoved.threats import L2, Box, Linf
from unmoved_check.check import Checker

# y = (x0 - x1, x1 - x0, -1): class 0 at (3/4, 1/4) until the moves add up to 1/2, that is eps 1/4
NET = Perceptron(((np.array([[1, -1], [-1, 1], [0, 0]], np.float32), np.array([0, 0, -1], np.float32)),))
X = np.array([[0.75, 0.25]], np.float32)
TREE = DualTree("linear", (("leaf", 0), ("leaf", 1)))
VOTES = Counts(
    *(Fraction(1, 2), 255, False, "two-class", 1000, 10, (990, 8, 2), 0, Fraction(1, 1000), "ab" * 32),
    sampler="philox4x32-10/grid/1",
)

OF_G = Guarantee("g", VOTES.alpha)
SURER = Guarantee("g", VOTES.alpha / 1000)
ROUND = L2("1/8")
HALF = ("input", 0, "3/4", ("leaf", 0))
ELSEWHERE = {"center": np.array([[9, 0]], np.float32)}


def ask(eps="1/8", label=0, net=NET, threat=None):
    return Problem(net.network, X, threat or Linf(eps), SameClass(label))


def proof(eps="1/8", **changes):
    return replace(Finding(Verdict.CERTIFIED, "m", evidence=TREE, radius=Fraction(eps)), **changes)


def witness(point, output=(0.0, 0.0, 0.0), **changes):
    evidence = Witness(np.array([point], np.float32), "1.20", np.array([output], np.float32))
    return replace(Finding(Verdict.FALSIFIED, "m", evidence=evidence), **changes)


@dataclass(frozen=True)
class Says(Method):
    """Says what it is told to."""

    findings: tuple[Finding, ...]

    @property
    def name(self):
        return "says"

    def settings(self):
        return {}

    def decide(self, problems, budget, seed):
        return list(self.findings)


def test_an_honest_proof_is_certified():
    certificate = certify(ask(), Says((proof(),)))
    assert certificate.verdict is Verdict.CERTIFIED and certificate.radius == Fraction(1, 8)
    assert certificate.check.accepted and certificate.reason is None and not certificate.unchecked
    assert json.loads(certificate.manifest)["provenance"]["method"] == "m"
    # and a stranger comes to the same
    assert Checker(NET.network.source).check(certificate.manifest, certificate.payload, "exact").accepted


def test_an_honest_witness_is_falsified():
    found = witness((0.5, 0.5))
    certificate = certify(ask("1/4"), Says((found,)))
    assert certificate.verdict is Verdict.FALSIFIED and certificate.check.mode == "exact"
    assert certificate.radius is None


def test_honest_votes_are_certified_of_g():
    certificate = certify(ask(threat=ROUND), Says((proof("1/4", evidence=VOTES, guarantee=OF_G),)))
    assert certificate.verdict is Verdict.CERTIFIED and certificate.radius == Fraction(1, 4)


def test_votes_speak_of_linf_by_norm_inequality_only():
    """L_inf r lies in L2 r sqrt(2): what the L2 radius covers is certified, a thousandth more is not."""
    low, high = beta.ppf(0.0005, 990, 11), beta.ppf(0.9995, 9, 992)
    l2 = 0.25 * (norm.ppf(low) - norm.ppf(min(high, 1 - low))) - 2**0.5 / 255
    for factor, verdict in ((0.999, Verdict.CERTIFIED), (1.001, Verdict.UNKNOWN)):
        eps = Fraction(l2 / 2**0.5 * factor)
        claim = proof(eps, evidence=VOTES, guarantee=OF_G)
        assert certify(ask(eps), Says((claim,))).verdict is verdict


LIES = {
    "a counterexample exists": (ask("1/4"), proof("1/4")),
    "one float too large": (ask(Fraction(1, 4) + Fraction(1, 2**80)), proof(Fraction(1, 4) + Fraction(1, 2**80))),
    "far too large": (ask("100"), proof("100")),
    "wrong label": (ask(label=1), proof()),
    "another wrong label": (ask(label=2), proof()),
    "larger radius than eps": (ask(), proof(radius=Fraction(1, 7))),
    "radius of a smaller question": (ask("1/4"), proof("1/8")),
    "no radius": (ask(), proof(radius=None)),
    "negative radius": (ask(), proof(radius=Fraction(-1, 8))),
    "a radius for a box": (ask(threat=Box(X, X)), proof()),
    "no trees": (ask(), proof(evidence=replace(TREE, trees=()))),
    "a tree too few": (ask(), proof(evidence=replace(TREE, trees=(("leaf", 0),)))),
    "a tree too many": (ask(), proof(evidence=replace(TREE, trees=(*TREE.trees, ("leaf", 2))))),
    "one leaf twice": (ask(), proof(evidence=replace(TREE, trees=(("leaf", 0), ("leaf", 0))))),
    "empty trees": (ask(), proof(evidence=replace(TREE, trees=((), ())))),
    "half a split": (ask("1/4"), proof("1/4", evidence=replace(TREE, trees=(HALF, ("leaf", 1))))),
    "no tree at all": (ask(), proof(evidence=replace(TREE, trees=(None, object())))),
    "trees of floats": (ask(), proof(evidence=replace(TREE, trees=(("leaf", 0.0), ("leaf", 1.0))))),
    "unknown intermediate": (ask(), proof(evidence=replace(TREE, intermediate="magic"))),
    "another centre": (ask("1/4"), proof("1/4", evidence=replace(TREE, choices=ELSEWHERE))),
    "unused tensor": (ask(), proof(evidence=replace(TREE, choices={"slopes/9/z": np.zeros(1, np.uint8)}))),
    "no weight": (ask(), proof(evidence=replace(TREE, choices={"weights/0": np.zeros(1)}))),
    "negative weight": (ask("1/4"), proof("1/4", evidence=replace(TREE, choices={"weights/0": -np.ones(1)}))),
    "NaN weight": (ask("1/4"), proof("1/4", evidence=replace(TREE, choices={"weights/0": np.full(1, np.nan)}))),
    "objects as weights": (ask(), proof(evidence=replace(TREE, choices={"weights/0": np.array([None])}))),
    "no evidence": (ask(), proof(evidence=None)),
    "no evidence of a break": (ask("1/4"), witness((0.5, 0.5), evidence=None)),
    "of the wrong function": (ask(), proof(guarantee=Guarantee("g"))),
    "with a probability": (ask(), proof(guarantee=Guarantee("f", Fraction(1, 1000)))),
    "a proof as a break": (ask(), proof(verdict=Verdict.FALSIFIED)),
    "a witness as a proof": (ask("1/4"), witness((0.5, 0.5), verdict=Verdict.CERTIFIED, radius=Fraction(1, 4))),
    "votes about f": (ask("1/8", threat=ROUND), proof(evidence=VOTES)),
    "votes without alpha": (ask(threat=ROUND), proof(evidence=VOTES, guarantee=Guarantee("g"))),
    "votes with a smaller alpha": (ask(threat=ROUND), proof(evidence=VOTES, guarantee=SURER)),
    "votes against a large linf": (ask("3"), proof("3", evidence=VOTES, guarantee=OF_G)),
    "votes for another class": (ask(label=1, threat=ROUND), proof(evidence=VOTES, guarantee=OF_G)),
    "votes that prove less": (ask(threat=L2("3")), proof("3", evidence=VOTES, guarantee=OF_G)),
    "a witness outside S": (ask("1/8"), witness((0.5, 0.5))),
    "a witness one float outside": (ask("1/4"), witness((np.nextafter(np.float32(0.5), np.float32(0)), 0.5))),
    "a safe witness": (ask("1/8"), witness((0.75, 0.25))),
    "a witness safe by a float": (ask("1/4"), witness((np.nextafter(np.float32(0.5), np.float32(1)), 0.5))),
    "a witness of NaN": (ask("1/4"), witness((np.nan, np.nan))),
    "a witness that the runtime finds safe": (ask("1/4"), witness((0.5, 0.5), (1.0, 0.0, 0.0))),
    "a witness of another shape": (ask("1/4"), witness((0.5, 0.5, 0.5))),
    "a witness with a radius": (ask("1/4"), witness((0.5, 0.5), radius=Fraction(1, 4))),
}  # fmt: skip

ONE_ARITHMETIC = ("a safe witness", "a witness safe by a float", "a witness that the runtime finds safe")
"""Witnesses that break the property in the recorded output alone, or in exact arithmetic alone."""


@pytest.mark.parametrize("unchecked", [False, True])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_unknown(lie, unchecked):
    """`unchecked` lets no lie through either: it is for operators, and for nothing else."""
    problem, finding = LIES[lie]
    (certificate,) = certify_all([problem], Says((finding,)), unchecked=unchecked)
    assert certificate.verdict is Verdict.UNKNOWN and certificate.radius is None
    said = (Code.WEAKER,) if lie in ONE_ARITHMETIC else (Code.REJECTED, Code.UNCHECKED)
    assert certificate.reason is not None and certificate.reason.code in said
    assert certificate.manifest is certificate.payload is None and not certificate.unchecked
    assert certificate.check is None or not certificate.check.accepted


def test_unknown_keeps_its_reason():
    reason = Reason(Code.TIMEOUT, "too slow")
    certificate = certify(ask(), Says((Finding(Verdict.UNKNOWN, "m", evidence=TREE, reason=reason),)))
    assert (certificate.verdict, certificate.reason, certificate.check) == (Verdict.UNKNOWN, reason, None)


def test_answers_keep_their_order_and_number():
    problems = [ask("1/8"), ask("1/4"), ask("1/8", 1)]
    made = certify_all(problems, Says((proof("1/8"), proof("1/4"), witness((0.75, 0.25)))))
    assert [c.verdict for c in made] == [Verdict.CERTIFIED, Verdict.UNKNOWN, Verdict.FALSIFIED]
    assert [c.problem for c in made] == problems
    with pytest.raises(ValueError, match=r"shorter|longer"):
        certify_all(problems, Says((proof(),)))


def test_a_proof_of_another_model_is_unknown():
    """The same shape, other weights: what the checker reads is the model that was asked about."""
    other = Perceptron(((NET.layers[0][0][[1, 0, 2]], NET.layers[0][1]),))
    assert certify(ask(net=other), Says((proof(),))).verdict is Verdict.UNKNOWN


class Ring(Threat):
    """A threat that the format has no words for."""

    name, size = "ring:1/8", Fraction(1, 8)

    def contains(self, x, point):
        return True

    def region(self, x):
        return Region(x - 1.0, x + 1.0, x + 0.0)

    def project(self, x, points):
        return points


def test_a_threat_without_words_is_unknown():
    certificate = certify(ask(threat=Ring()), Says((proof(),)))
    assert certificate.verdict is Verdict.UNKNOWN and certificate.reason.code is Code.UNCHECKED
    assert "threat" in certificate.reason.detail


def strange(op="Tan", **attributes):
    """A model with an operator that the checker does not know."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1),
        helper.make_node(op, ["z"], ["y"], **attributes),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("x", 2), ("y", 3))]
    constants = [numpy_helper.from_array(a, n) for a, n in zip(NET.layers[0], "wb", strict=True)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    return load_onnx(model.SerializeToString())


@pytest.mark.parametrize("op", ["Tan", "Floor", "Cosh"])
def test_an_unknown_operator_is_unchecked(op):
    problem = Problem(strange(op), X, Linf("1/8"), SameClass(0))
    certificate = certify(problem, Says((proof(),)))
    assert certificate.verdict is Verdict.UNKNOWN and certificate.reason.code is Code.UNCHECKED
    assert op in certificate.reason.detail and "--unchecked" in certificate.reason.remedy
    assert certificate.manifest is None and not certificate.unchecked


def test_unchecked_is_marked():
    problem = Problem(strange(), X, Linf("1/8"), SameClass(0))
    certificate = certify(problem, Says((proof(),)), unchecked=True)
    assert certificate.verdict is Verdict.CERTIFIED and certificate.unchecked
    assert certificate.check is not None and not certificate.check.accepted
    # known operators are checked all the same, and then nothing is marked
    assert not certify(ask(), Says((proof(),)), unchecked=True).unchecked


class Breaks:
    def check(self, manifest, payload):
        raise RuntimeError("a fault in the checker")


def test_a_fault_of_the_checker_certifies_nothing(monkeypatch):
    monkeypatch.setattr(certifier, "_checker", lambda model: Breaks())
    with pytest.raises(RuntimeError):
        examine(ask(), proof())


def test_a_fault_inside_the_checker_is_a_rejection(monkeypatch):
    monkeypatch.setattr("unmoved_check.check.parse", Breaks().check)
    certificate = examine(ask(), proof())
    assert certificate.verdict is Verdict.UNKNOWN and "internal error" in certificate.reason.detail


def test_one_bit_of_the_bundle():
    """Each flipped bit of manifest or payload is rejected, however it falls."""
    certificate = certify(ask(), Says((proof(),)))
    checker = Checker(NET.network.source)
    for name in ("manifest", "payload"):
        good = getattr(certificate, name)
        for place in range(0, len(good), 7):
            bad = bytearray(good)
            bad[place] ^= 1 << place % 8
            parts = {"manifest": certificate.manifest, "payload": certificate.payload, name: bytes(bad)}
            outcome = checker.check(parts["manifest"], parts["payload"])
            changed_meaning = name == "payload" or b'"provenance"' not in good[: place + 1]
            assert not outcome.accepted or not changed_meaning, (name, place)


def test_with_a_real_method():
    """On both sides of the exact threshold 1/4."""
    problems = [ask(eps) for eps in ("0", "1/8", "0.2499999", "1/4", "0.26")]
    verdicts = [c.verdict for c in certify_all(problems, LinearMethod(), Budget(60))]
    assert verdicts == [Verdict.CERTIFIED] * 3 + [Verdict.UNKNOWN] * 2
