"""The independent checker, which shares no code with this room, accepts every radius, and none that is larger."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from unmoved.core import Budget, Problem, SameClass, Verdict
from unmoved.record import encode
from unmoved.smooth import Gaussian
from unmoved.smooth.methods.method import SmoothingMethod
from unmoved.testing import Perceptron
from unmoved.threats import L2
from unmoved_check.check import Checker

WEIGHTS = np.array([[4, 0, 0, 0, 0], [-4, 0, 0, 0, 0], [0, 6, 0, 0, 0]], np.float32)
BIASES = np.array([0, 1, -3], np.float32)
NET = Perceptron(((WEIGHTS, BIASES),)).network
CHECKER = Checker(NET.source)
PLANS = [
    {"bound": "one-class", "mode": "fixed"},
    {"bound": "two-class", "mode": "fixed"},
    {"bound": "one-class"},
    {"bound": "two-class"},
    {"mode": "grid", "step": Fraction(1, 4)},
    {"mode": "target"},
]


def finding(x, plan, noise, seed, samples):
    problem = Problem(
        NET, x, L2("1/20" if plan.get("mode") == "target" else "0"), SameClass(int(np.argmax(WEIGHTS @ x[0] + BIASES)))
    )
    method = SmoothingMethod(noise, samples=samples, **plan)
    return problem, method.decide([problem], Budget(), seed)[0]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: "-".join(map(str, plan.values())))
@pytest.mark.parametrize(("sigma", "grid", "shift"), [("1/2", 255, 0.0), ("0.3", 255, 0.0), ("1", 4000, 1e-4)])
def test_checker_accepts_the_radius_and_nothing_larger(plan, sigma, grid, shift):
    random, accepted, early = np.random.default_rng(7), 0, 0
    for trial in range(12):
        x = (random.integers(0, 256, (1, 5)) / 255 + shift).astype(np.float32)
        problem, found = finding(x, plan, Gaussian(sigma, grid), trial, int(10 ** random.uniform(2.5, 4)))
        if found.verdict is not Verdict.CERTIFIED:
            continue
        assert CHECKER.check(*encode(problem, found, {})).accepted
        larger = replace(found, radius=found.radius * (1 + Fraction(1, 10**6)) + Fraction(1, 10**9))
        assert "more than the counts prove" in CHECKER.check(*encode(problem, larger, {})).reason
        accepted += 1
        early += found.evidence.at < len(found.evidence.sizes) - 1
    assert accepted >= 3
    assert plan.get("mode") not in ("grid", "target") or early > 0


LIES = {
    "a later number": (lambda e: replace(e, number=e.number + 1), "not derived"),
    "another seed": (lambda e: replace(e, seed="ab" * 32), "not derived"),
    "a bigger share": (lambda e: replace(e, shares=(*e.shares[:-2], *e.shares[:-3:-1])), "not a schedule"),
    "one look, at the size where it stopped": (
        lambda e: replace(e, sizes=(e.samples,), shares=(Fraction(1),), at=0),
        "not derived",
    ),
    "a schedule that ends where it stopped": (
        lambda e: replace(e, sizes=e.sizes[: e.at + 1], shares=(*[Fraction(1, 2 * e.at)] * e.at, Fraction(1, 2))),
        "not a schedule|not derived",
    ),
    "one class moved": (lambda e: replace(e, counts=(e.counts[0] + 1, e.counts[1] - 1, e.counts[2])), "add up|prove"),
    "another root": (lambda e: replace(e, classes=replace(e.classes, root="ab" * 32)), "do not hash"),
    "wider classes": (lambda e: replace(e, classes=replace(e.classes, bits=16)), "as many"),
    "no classes but the wrong width": (lambda e: replace(e, classes=replace(e.classes, bits=12, packed=None)), "8 nor"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_about_looks_seed_and_classes_are_rejected(lie):
    change, reason = LIES[lie]
    x = np.full((1, 5), 200 / 255, np.float32)
    problem, found = finding(x, {"mode": "grid", "step": Fraction(1, 5)}, Gaussian("1/2"), 0, 10_000)
    assert found.verdict is Verdict.CERTIFIED and 0 < found.evidence.at < len(found.evidence.sizes) - 1
    assert CHECKER.check(*encode(problem, found, {})).accepted
    lying = replace(found, evidence=change(found.evidence), radius=found.radius * Fraction(99, 100))
    answer = CHECKER.check(*encode(problem, lying, {}))
    assert not answer.accepted
    assert any(part in answer.reason for part in reason.split("|")), answer.reason


def test_a_root_alone_is_enough_and_classes_are_small():
    x = np.array([[200, 0, 0, 0, 0]], np.float32) / np.float32(255)
    problem, found = finding(x, {}, Gaussian("1/10"), 0, 10_000)
    bare = replace(found, evidence=replace(found.evidence, classes=replace(found.evidence.classes, packed=None)))
    manifest, payload = encode(problem, bare, {})
    assert CHECKER.check(manifest, payload).accepted
    assert json.loads(manifest)["evidence"]["classes"]["tensor"] is None
    assert len(found.evidence.classes.packed) < 2000
