"""Branch and bound: complete where answers are known exactly; both checkers accept its trees, and no tampered ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from unmoved.certifier import certify_all, examine
from unmoved.core import Budget, Code, DualTree, Finding, Problem, SameClass, Verdict
from unmoved.record import encode
from unmoved.refine import BranchMethod, OptimisedMethod, Settings, complete
from unmoved.testing.known import known_problems
from unmoved.testing.perceptron import Perceptron
from unmoved.threats import L1, L2, Linf
from unmoved_check.check import Checker

torch.set_num_threads(1)


def net(seed: int = 3, sizes: tuple[int, ...] = (3, 10, 10, 3)) -> Perceptron:
    rng = np.random.default_rng(seed)
    layers = []
    for a, b in pairwise(sizes):
        weight = (rng.integers(-16, 17, (b, a)) / 8 / a**0.5).astype(np.float32)
        layers.append((weight, (rng.integers(-8, 9, b) / 16).astype(np.float32)))
    return Perceptron(tuple(layers))


def hard(threat: object, sizes: tuple[int, ...] = (3, 10, 10, 3), seed: int = 3) -> Iterator[Problem]:
    """Problems that linear bounds leave open."""
    network, rng = net(seed, sizes).network, np.random.default_rng(0)
    for _ in range(40):
        x = rng.uniform(-1, 1, (1, sizes[0])).astype(np.float32)
        y = net(seed, sizes).exact([Fraction(float(v)) for v in x[0]])
        problem = Problem(network, x, threat, SameClass(y.index(max(y))))
        (found,) = OptimisedMethod().decide([problem], Budget(), 0)
        if found.verdict is Verdict.UNKNOWN:
            yield problem


@pytest.fixture
def halving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete, "UNITS", -1)


def test_every_known_problem_is_decided_but_exact_ties() -> None:
    for group in known_problems(seed=1, nets=1):
        made = certify_all([k.problem for k in group], BranchMethod(), Budget())
        for known, certificate in zip(group, made, strict=True):
            if not known.close:
                wanted = Verdict.CERTIFIED if known.holds else Verdict.FALSIFIED
                assert certificate.verdict is wanted, (known.problem.threat.name, certificate.reason)


def test_halving_boxes_decides_the_same(halving: None) -> None:
    for group in known_problems(seed=1, nets=1):
        asked = [k for k in group if not k.close][:4]
        method = BranchMethod(search=Settings(nodes=4000, batch=16))
        for known, certificate in zip(asked, certify_all([k.problem for k in asked], method), strict=True):
            if certificate.verdict is not Verdict.UNKNOWN:
                assert (certificate.verdict is Verdict.CERTIFIED) is known.holds


@pytest.mark.parametrize("threat", [Linf("0.35"), L2("0.5"), L1("0.6", clip=(-1, 1))], ids=lambda t: t.name)
@pytest.mark.parametrize("boxes", [False, True])
def test_both_checkers_accept_the_trees(threat: object, boxes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if boxes:
        monkeypatch.setattr(complete, "UNITS", -1)
    split = 0
    for problem in hard(threat):
        (found,) = BranchMethod(attack=(), search=Settings(nodes=300)).decide([problem], Budget(), 0)
        if found.verdict is Verdict.CERTIFIED:
            kinds = {tree[0] for tree in found.evidence.trees}
            split += kinds != {"leaf"}
            assert ("input" in kinds) <= boxes and ("relu" in kinds) <= (not boxes)
            checker, record = Checker(problem.model.source), encode(problem, found, {})
            for mode in ("floating", "exact"):
                said = checker.check(*record, mode)
                assert said.accepted, (mode, str(said))
        if split:
            break
    assert split


def proved(threat: object) -> tuple[Problem, Finding]:
    for problem in hard(threat):
        (found,) = BranchMethod(attack=()).decide([problem], Budget(20), 0)
        if found.verdict is Verdict.CERTIFIED and any(t[0] == "relu" for t in found.evidence.trees):
            return problem, found
    raise AssertionError("no hard problem was proved")


def test_tampered_trees_and_rows_are_rejected() -> None:
    problem, found = proved(Linf("0.35"))
    proof = found.evidence
    assert isinstance(proof, DualTree) and any(n.startswith("hidden/") for n in proof.choices)
    ((d, tree),) = [(i, t) for i, t in enumerate(proof.trees) if t[0] == "relu"][:1]
    k = next(int(n.split("/")[1]) for n in proof.choices if n.startswith("multipliers/"))

    def said(trees: tuple[object, ...] = proof.trees, **changed: np.ndarray | None) -> str:
        choices = {k: v for k, v in (dict(proof.choices) | changed).items() if v is not None}
        evidence = DualTree("linear", trees, choices)
        made = examine(problem, replace(found, evidence=evidence))
        return "accepted" if made.verdict is Verdict.CERTIFIED else str(made.reason)

    def with_tree(new: object) -> tuple[object, ...]:
        return (*proof.trees[:d], new, *proof.trees[d + 1 :])

    assert said() == "accepted"
    # one child twice, a child that is missing, children the wrong way round
    assert "used twice" in said(with_tree((*tree[:3], tree[3], tree[3])))
    assert "neither a leaf nor a split" in said(with_tree(tree[:4]))
    assert said(with_tree((*tree[:3], tree[4], tree[3]))) != "accepted"
    name = next(n for n in proof.choices if n.startswith("hidden/"))
    ends, units = name.replace("hidden/", "ends/"), next(n for n in proof.choices if n.startswith("units/"))
    rows = proof.choices[name]
    for wrong, why in (
        ({name: rows[:-1]}, "one uint8 for each row"),
        ({name: rows[:, :-1]}, "one uint8 for each row"),
        ({name: rows.astype(np.float32)}, "one uint8 for each row"),
        ({name: None}, "one uint8 for each row"),
        ({ends: None}, "is not used"),
        ({ends: proof.choices[ends] + np.uint8(4)}, "uint8 <= 3"),
        ({units: proof.choices[units] * np.uint8(2)}, "uint8 <= 1"),
        ({units: proof.choices[units][:-1]}, "uint8 <= 1"),
        ({"hidden/nothing": rows}, "is not used"),
        ({"ends/nothing": proof.choices[ends]}, "belongs to no ReLU"),
        ({f"weights/{d}/{k}": np.array([-1.0])}, "one float64 >= 0"),
        ({f"weights/{d}/{k}": np.array([0.0])}, "one float64 >= 0"),
        ({f"weights/{d}/{k}": np.array([1.0, 1.0])}, "one float64 >= 0"),
        ({"weights/0/99": np.array([1.0])}, "is not used"),
    ):
        assert why in said(**wrong), (wrong, said(**wrong))


def test_no_choice_of_hidden_slopes_proves_what_is_false() -> None:
    """Slopes are free: any of them may be put in, and the margin never exceeds the least sampled one."""
    problem, found = proved(Linf("0.35"))
    rng, checker = np.random.default_rng(0), Checker(problem.model.source)
    wide = Problem(problem.model, problem.x, Linf("0.9"), problem.prop)
    points = problem.x + rng.uniform(-0.9, 0.9, (4000, 1, 3)).astype(np.float32)
    exact = net()
    outputs = [exact.exact([Fraction(float(a)) for a in p[0]]) for p in points[:400]]
    assert any(wide.prop.violated([float(v) for v in y]) for y in outputs)
    for _ in range(30):
        choices = {
            n: rng.integers(0, 256, v.shape, np.uint8) if n.startswith(("hidden/", "slopes/")) else v
            for n, v in found.evidence.choices.items()
        }
        evidence = DualTree("linear", found.evidence.trees, choices)
        said = checker.check(*encode(wide, replace(found, evidence=evidence, radius=Fraction(9, 10)), {}))
        assert not said.accepted


def test_timeout_nodes_and_memory_say_how_far_it_came() -> None:
    seen = set()
    for problem in hard(Linf("0.3"), sizes=(6, 24, 24, 3), seed=1):
        for method, budget, code in (
            (BranchMethod(attack=(), search=Settings(nodes=2, batch=1)), Budget(), Code.UNPROVED),
            (BranchMethod(attack=(), search=Settings(memory=1)), Budget(), Code.MEMORY),
            (BranchMethod(attack=(), search=Settings(candidates=1)), Budget(0.05), Code.TIMEOUT),
        ):
            (found,) = method.decide([problem], budget, 0)
            if found.verdict is Verdict.UNKNOWN:
                assert found.reason.code is code
                assert found.margin is None or found.margin <= 0  # None: no time for any bound
                seen.add(code)
        if len(seen) == 3:
            return
    raise AssertionError(f"only {seen}")


def test_the_memory_is_respected_by_taking_the_nearest_to_a_proof_first() -> None:
    problem = next(p for p in hard(Linf("0.35")))
    (found,) = BranchMethod(attack=(), search=Settings(memory=6000, batch=2)).decide([problem], Budget(30), 0)
    assert found.verdict is not Verdict.UNKNOWN or found.reason.code in (Code.MEMORY, Code.TIMEOUT)


def test_an_attack_inside_finds_what_the_one_outside_missed() -> None:
    """Without the attack at the root, the minimisers of the bounds must find the witnesses."""
    broken = 0
    for group in known_problems(seed=1, nets=1):
        asked = [k for k in group if not k.holds and not k.close]
        for k, found in zip(
            asked, BranchMethod(attack=()).decide([k.problem for k in asked], Budget(), 0), strict=True
        ):
            assert found.verdict is Verdict.FALSIFIED
            assert k.breaks(found.evidence.point)
            broken += found.method == "branch"
    assert broken
