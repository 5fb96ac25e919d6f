"""Branch and bound as a method: linear bounds, attack, optimised slopes, then splits until proved or broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from unmoved.attack import FGSM, Attacked, Pgd, PgdMethod
from unmoved.attack.method import Target
from unmoved.core.budget import Budget
from unmoved.core.certificate import Finding, Witness
from unmoved.core.method import Method
from unmoved.core.problem import Problem
from unmoved.core.verdict import Code, Reason, Verdict
from unmoved.ir.network import Network
from unmoved.ops import Elementwise, Op, bind, evaluate, primitives
from unmoved.refine.ascent import Ascent
from unmoved.refine.bent import BentSearch
from unmoved.refine.branch import Search, Settings
from unmoved.refine.general import FIXED
from unmoved.refine.inputs import InputSearch
from unmoved.refine.methods import PRECISIONS, LinearMethod
from unmoved.refine.nested import NestedSearch, nestable
from unmoved.refine.optimise import FINAL, HIDDEN, OptimisedMethod, optimised, risen, unproved
from unmoved.refine.race import Race, Searching
from unmoved.refine.root import Root, reducible

DIMENSIONS = 10
"""Inputs with at most this many moving dimensions are halved, unless few units are undecided."""
UNITS = 40
ATTACK = (FGSM, Pgd(steps=30, restarts=2, targets=2))


@dataclass(frozen=True)
class BranchMethod(Method):
    """Complete up to its budget: proves by a tree of splits, or finds a witness; at the end says how far it came.

    On inputs of few dimensions boxes are halved, else ReLUs are split. The seconds left are shared out among the
    problems that are still open. `hidden` and `final` set the ascents at the root.
    """

    precision: str = "float64"
    device: str = "cpu"
    hidden: Ascent = field(default=HIDDEN)
    final: Ascent = field(default=FINAL)
    search: Settings = field(default=Settings())
    attack: tuple[Pgd, ...] = ATTACK

    def __post_init__(self) -> None:
        """Check the settings."""
        LinearMethod(self.precision, self.device)

    @property
    def name(self) -> str:
        """`branch`."""
        return "branch"

    def settings(self) -> dict[str, str]:
        """The precision, the ascents, the search and the attack."""
        named = {n: str(getattr(self, n)) for n in ("precision", "hidden", "final", "search")}
        return named | {"attack": str(self.attack)}

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem, in order; the seed is the attack's."""
        findings = LinearMethod(self.precision, self.device).decide(problems, budget, seed)
        open_ = [i for i, finding in enumerate(findings) if unproved(finding)]
        weaker: dict[int, Reason] = {}
        if self.attack and open_:
            tried = PgdMethod(self.attack, device=self.device).decide([problems[i] for i in open_], budget, seed)
            for i, found in zip(open_, tried, strict=True):
                if found.verdict is Verdict.FALSIFIED:
                    findings[i] = replace(found, seconds=findings[i].seconds + found.seconds)
                elif found.reason is not None and found.reason.code is Code.WEAKER:
                    weaker[i] = found.reason
            open_ = [i for i in open_ if unproved(findings[i])]
        network = problems[0].model if problems else None
        if open_ and isinstance(network, Network) and not reducible(bind(network)):
            return self._risen([problems[i] for i in open_], findings, open_, budget)
        for place, i in enumerate(open_):
            started = time.monotonic()
            # What one problem leaves is the next ones' to spend.
            share = Budget(budget.left / (len(open_) - place))
            if not share.spent:
                with torch.no_grad():
                    findings[i] = self._one(problems[i], findings[i], share)
            elif unproved(findings[i]):
                reason = findings[i].reason
                assert reason is not None
                findings[i] = replace(findings[i], reason=Reason(Code.TIMEOUT, reason.detail, "allow more seconds"))
            findings[i] = replace(findings[i], seconds=findings[i].seconds + time.monotonic() - started)
            if i in weaker and findings[i].verdict is Verdict.UNKNOWN:
                findings[i] = replace(findings[i], reason=weaker[i])
        return findings

    def _risen(
        self, problems: Sequence[Problem], findings: list[Finding], places: Sequence[int], budget: Budget
    ) -> list[Finding]:
        """Of nets with products of variables lines and planes are optimised; then what bends is split."""
        network = problems[0].model
        assert isinstance(network, Network)
        ops = bind(network, dtype=PRECISIONS[self.precision], device=self.device)
        method = OptimisedMethod(self.precision, self.device, self.hidden, self.final)
        for place, (i, problem) in enumerate(zip(places, problems, strict=True)):
            started, share = time.monotonic(), Budget(budget.left / (len(places) - place))
            if not share.spent:
                findings[i] = risen(ops, problem, findings[i], share, method)
            if unproved(findings[i]) and not share.spent and not problem.semantics.deployed:
                with torch.no_grad():
                    search = BentSearch.of(problem, ops, share, dtype=PRECISIONS[self.precision], device=self.device)
                    findings[i] = self._searched(problem, ops, findings[i], search, share)
            findings[i] = replace(findings[i], seconds=findings[i].seconds + time.monotonic() - started)
        return findings

    def _one(self, problem: Problem, before: Finding, budget: Budget) -> Finding:
        network = problem.model
        assert isinstance(network, Network)
        dtype = PRECISIONS[self.precision]
        ops = bind(network, dtype=dtype, device=self.device)
        root = Root.of(ops, problem, budget, ascent=self.hidden, dtype=dtype, device=self.device)
        finding, low, choices = optimised(root, self.final, before, budget)
        if finding.verdict is Verdict.UNKNOWN and not budget.spent and chosen(ops):
            # the reduced network's lines of what is no ReLU are fixed
            finding = self._lifted(ops, problem, finding, budget)
        if finding.verdict is not Verdict.UNKNOWN or budget.spent:
            return finding
        box = root.reduced.enclosure.box
        moving = int((box.low < box.high).sum())
        search: Searching
        if moving <= DIMENSIONS and len(root.reduced) > UNITS:
            search = InputSearch.of(problem, ops, dtype=dtype, device=self.device, batch=8 * self.search.batch)
        else:
            memory = self.search.memory
            second: Callable[[], Searching] | None = None
            if nestable(root.reduced):
                second = partial(NestedSearch.of, root, budget, low, choices, memory=memory)
            elif chosen(ops) and not problem.semantics.deployed:
                second = partial(BentSearch.of, problem, ops, budget, dtype=dtype, device=self.device)
            search = Race(Search.of(root, self.search, budget, low, choices), second)
        return self._searched(problem, ops, finding, search, budget)

    def _searched(
        self, problem: Problem, ops: Sequence[Op], finding: Finding, search: Searching, budget: Budget
    ) -> Finding:
        """Search until all is proved, a point breaks the property, or nothing more can be done."""
        network = problem.model
        assert isinstance(network, Network)
        target = Target.of(network, self.device)
        while not search.finished:
            witness = confirmed(problem, ops, target, search.points)
            if witness is not None:
                found = replace(finding, verdict=Verdict.FALSIFIED, evidence=witness, reason=None, method=self.name)
                return replace(found, details={"nodes": search.nodes})
            if budget.spent or search.nodes >= self.search.nodes or search.exhausted:
                return self._open(finding, search, budget)
            search.step()
        proof = replace(finding, verdict=Verdict.CERTIFIED, evidence=search.proof(), reason=None, method=self.name)
        return replace(proof, margin=None, radius=problem.threat.size, details={"nodes": search.nodes})

    def _lifted(self, ops: Sequence[Op], problem: Problem, finding: Finding, budget: Budget) -> Finding:
        """Return a proof by optimised lines of all operators, or the finding as it was."""
        with torch.enable_grad():
            method = OptimisedMethod(self.precision, self.device, self.hidden, self.final)
            found = risen(ops, problem, finding, budget, method)
        return found if found.verdict is Verdict.CERTIFIED else finding

    def _open(self, finding: Finding, search: Searching, budget: Budget) -> Finding:
        """Say how far the search came."""
        margin, came = max(search.low, finding.margin if finding.margin is not None else -np.inf), search.progress
        detail = f"branch and bound reached a margin of {margin:.4g} after {search.nodes} nodes"
        detail += f" ({came['leaves']} leaves proved, {came['open']} domains open)"
        if search.full:
            reason = Reason(Code.MEMORY, detail, "try a smaller threat")
        elif budget.spent:
            reason = Reason(Code.TIMEOUT, detail, "allow more seconds")
        else:
            reason = Reason(Code.UNPROVED, detail, "try a smaller threat")
        details = {"nodes": search.nodes, **came}
        return replace(finding, method=self.name, margin=margin, reason=reason, details=details)


def chosen(ops: Sequence[Op]) -> bool:
    """Say whether a certificate can choose lines of some operator that is no ReLU."""
    return any(isinstance(op, Elementwise) and op.kind not in {"Relu", *FIXED} for op in primitives(ops))


def confirmed(problem: Problem, ops: Sequence[Op], target: Target, points: Tensor | None) -> Witness | None:
    """Return a witness where one of the points breaks the property, exactly inside the threat's set."""
    if points is None:
        return None
    network = problem.model
    assert isinstance(network, Network)
    shaped = points.view(-1, *network.input_shape)
    outputs = evaluate(ops, network, shaped).flatten(1).cpu().numpy().astype(np.float64)
    for i, y in enumerate(outputs):
        if problem.prop.violated(y):
            near = shaped[i : i + 1].cpu().numpy().astype(np.float32)
            inside = problem.threat.project(problem.x[None], near)
            found = target.confirm(Attacked(inside, np.array([-1.0])), [problem])
            if found:
                return found[0]
    return None
