"""Parts with bounds of their own: both checkers accept what the nested search proves, and nothing that was changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from unmoved.attack import PgdMethod
from unmoved.core import Budget, DualTree, Finding, Problem, SameClass, Verdict
from unmoved.ops import bind
from unmoved.record import encode
from unmoved.refine import OptimisedMethod
from unmoved.refine.dual import Choices
from unmoved.refine.nested import NestedSearch
from unmoved.refine.optimise import FINAL, HIDDEN
from unmoved.refine.root import Root
from unmoved.testing.perceptron import Perceptron
from unmoved.threats import Linf
from unmoved_check.check import Checker

torch.set_num_threads(1)
SIZES = (4, 12, 12, 8, 3)


def hard(threat: object) -> Iterator[Problem]:
    """Problems that optimised bounds leave open."""
    rng = np.random.default_rng(5)
    layers = []
    for a, b in pairwise(SIZES):
        weight = (rng.integers(-16, 17, (b, a)) / 8 / a**0.5).astype(np.float32)
        layers.append((weight, (rng.integers(-8, 9, b) / 16).astype(np.float32)))
    net = Perceptron(tuple(layers))
    for _ in range(40):
        x = rng.uniform(-1, 1, (1, SIZES[0])).astype(np.float32)
        y = net.exact([Fraction(float(v)) for v in x[0]])
        problem = Problem(net.network, x, threat, SameClass(y.index(max(y))))
        (found,) = OptimisedMethod().decide([problem], Budget(), 0)
        if found.verdict is Verdict.UNKNOWN:
            yield problem


def searched(problem: Problem, steps: int = 8, memory: int = 2**28) -> NestedSearch:
    ops = bind(problem.model, dtype=torch.float64)
    with torch.no_grad():
        root = Root.of(ops, problem, Budget(), ascent=HIDDEN, dtype=torch.float64, device="cpu")
        low, choices = FINAL.run(root.reduced, root.goals, Choices.first(root.reduced, root.goals))
        search = NestedSearch.of(root, Budget(), low, choices, memory=memory)
        while not search.exhausted and steps:
            search.step()
            steps -= 1
    return search


@cache
def proved(threat: object) -> tuple[Problem, DualTree]:
    for problem in hard(threat):
        search = searched(problem)
        inner = [n for n, v in search.payload.items() if "/multipliers/" in n and v.size]
        if search.finished and inner:
            return problem, search.proof()
    raise AssertionError("no hard problem was proved")


def said(problem: Problem, proof: DualTree, mode: str = "floating") -> str:
    (before,) = OptimisedMethod().decide([problem], Budget(), 0)
    found: Finding = replace(before, verdict=Verdict.CERTIFIED, evidence=proof, reason=None, radius=problem.threat.size)
    result = Checker(problem.model.source).check(*encode(problem, found, {}), mode)
    return "accepted" if result.accepted else str(result)


@pytest.mark.parametrize("threat", [Linf("0.3")], ids=lambda t: t.name)
def test_both_checkers_accept_and_no_point_contradicts(threat: object) -> None:
    problem, proof = proved(threat)
    assert any("within" in str(tree) for tree in proof.trees)
    for mode in ("floating", "exact"):
        assert said(problem, proof, mode) == "accepted", mode


def test_scopes_that_were_changed_are_rejected_or_prove_no_more() -> None:
    problem, proof = proved(Linf("0.3"))
    names = [n for n in proof.choices if n.startswith("scope/")]
    bare = {n: v for n, v in proof.choices.items() if not n.startswith("scope/")}
    # a negative multiplier would make any claim true
    name = next(n for n in names if "/multipliers/" in n and proof.choices[n].size)
    for bad in (-1.0, np.nan, np.inf):
        spoiled = np.full_like(proof.choices[name], bad)
        told = said(problem, replace(proof, choices={**proof.choices, name: spoiled}))
        assert "not one float32 >= 0" in told or "NaN or infinity" in told
    name = next(n for n in names if "/hidden/" in n)
    short = proof.choices[name][:, :-1].copy()
    assert "hidden" in said(problem, replace(proof, choices={**proof.choices, name: short}))
    stray = {**proof.choices, "scope/999/units/x": np.zeros(1, np.uint8)}
    assert "is not used" in said(problem, replace(proof, choices=stray))
    # the same leaves without their scopes' rows are not proved
    assert said(problem, replace(proof, choices=bare)) != "accepted"


def test_a_scope_holds_only_where_it_was_found() -> None:
    problem, proof = proved(Linf("0.3"))

    def moved(tree: object, number: int) -> object:
        if isinstance(tree, tuple) and tree[0] == "within":
            return ("within", number, moved(tree[2], number))
        return tuple(moved(part, number) for part in tree) if isinstance(tree, tuple) else tree

    trees = tuple(moved(tree, 0) for tree in proof.trees)
    assert "is at two places" in said(problem, replace(proof, trees=trees))
    first = next(t for t in proof.trees if "within" in str(t))
    inside = tuple(("within", 7777, ("input", 0, "0", t, t)) if t is first else t for t in proof.trees)
    assert "input split inside a scope" in said(problem, replace(proof, trees=inside))
    assert "linear ones" in said(problem, replace(proof, intermediate="interval"))


def test_a_false_claim_is_not_proved_by_any_scope() -> None:
    # at a size where a witness is known, random rows, slopes and multipliers prove nothing
    rng = np.random.default_rng(3)
    problem, proof = proved(Linf("0.3"))
    wide = replace(problem, threat=Linf("4"))
    (broken,) = PgdMethod().decide([wide], Budget(), 0)
    assert broken.verdict is Verdict.FALSIFIED
    for _ in range(10):
        choices = {}
        for name, value in proof.choices.items():
            kind = value.dtype
            made = rng.integers(0, 256, value.shape) if kind == np.uint8 else rng.exponential(3.0, value.shape)
            keep = "/ends/" in name or "/units/" in name or name.split("/")[0] in ("ends", "units")
            choices[name] = value if keep else made.astype(kind)
        assert said(wide, replace(proof, choices=choices)) != "accepted"


def test_a_tiny_memory_ends_the_search_without_a_verdict() -> None:
    problem = next(iter(hard(Linf("0.3"))))
    search = searched(problem, memory=1)
    assert search.full and search.exhausted and not search.finished
