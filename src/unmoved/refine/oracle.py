"""Methods that ask another program (MILP, SMT, SDP): its word is no proof, so what it says is derived again.

Where it finds an unsafe point, the point is replayed as a witness. Where it finds none, branch and bound, which hands
over a dual tree, looks for a proof; where that fails the answer is UNKNOWN(unchecked).
"""

from __future__ import annotations

import importlib.util
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from unmoved.attack.method import Target
from unmoved.core.budget import Budget
from unmoved.core.certificate import Finding
from unmoved.core.errors import UsageError
from unmoved.core.method import Method
from unmoved.core.problem import Problem
from unmoved.core.verdict import Code, Reason, Verdict
from unmoved.ir.network import Network
from unmoved.ops import bind
from unmoved.refine.ascent import Ascent
from unmoved.refine.complete import BranchMethod, confirmed
from unmoved.refine.methods import LinearMethod
from unmoved.refine.optimise import unproved
from unmoved.refine.root import Root, reducible

Floats = npt.NDArray[np.float64]

PLAIN = Ascent(steps=5, rate=0.4, decay=0.7)


@dataclass(frozen=True, eq=False)
class Program:
    """Is there an x in the box with every conjunct <= 0? z = between @ h + inputs @ x + offset, low <= z <= high.

    h = relu(z) for `free` units; for the others lower z + lower_offset <= h <= upper z + upper_offset. The conjuncts
    are ask_units @ h + ask_inputs @ x + ask_offset, (C, units), (C, inputs), (C,). Balls are seen as their boxes.
    """

    between: Floats
    inputs: Floats
    offset: Floats
    low: Floats
    high: Floats
    free: npt.NDArray[np.bool_]
    lower: Floats
    lower_offset: Floats
    upper: Floats
    upper_offset: Floats
    box: tuple[Floats, Floats]
    ask_units: Floats
    ask_inputs: Floats
    ask_offset: Floats

    @classmethod
    def each(cls, root: Root) -> Iterator[Program]:
        """Yield the program of every disjunct."""
        reduced, goals = root.reduced, root.goals
        own = [_array(getattr(reduced.functions, n)) for n in ("units", "inputs", "offset")]
        lines = [getattr(reduced.lines, n) for n in ("lower", "lower_offset", "upper", "upper_offset")]
        filled = [np.zeros_like(own[2]) if part is None else _array(part) for part in lines]
        box = reduced.enclosure.box
        for d in range(len(goals)):
            real = _array(goals.real[goals.which[d]]).astype(bool)
            ask = [_array(getattr(goals.functions, n)[goals.which[d]])[real] for n in ("units", "inputs", "offset")]
            yield cls(
                *(own[0], own[1], own[2]),
                _array(reduced.bounds.low),
                _array(reduced.bounds.high),
                _array(reduced.free).astype(bool),
                *(filled[0], filled[1], filled[2], filled[3]),
                (_array(box.low).ravel(), _array(box.high).ravel()),
                *(ask[0], ask[1], ask[2]),
            )


def _array(tensor: torch.Tensor) -> Floats:
    return tensor.detach().cpu().numpy().astype(np.float64)


@dataclass(frozen=True)
class Settled:
    """What the other program says: no unsafe point (True), a candidate (`point`, (inputs,)), or nothing (None)."""

    safe: bool | None
    point: Floats | None = None
    why: str = ""


@dataclass(frozen=True)
class OracleMethod(Method):
    """Linear bounds first; what they leave open is asked of the other program, and its answer derived again."""

    branch: BranchMethod = field(default=BranchMethod())

    def settings(self) -> dict[str, str]:
        """Those of the branch and bound that derives proofs."""
        return self.branch.settings()

    @abstractmethod
    def settle(self, program: Program, budget: Budget) -> Settled:
        """Return what the other program says of one disjunct."""

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem, in order; the seed is that of the attack before branch and bound."""
        findings = [replace(f, method=self.name) for f in LinearMethod().decide(problems, budget, seed)]
        open_ = [i for i, finding in enumerate(findings) if unproved(finding)]
        network = problems[0].model if problems else None
        if not open_ or not isinstance(network, Network) or not reducible(bind(network)):
            return findings
        for place, i in enumerate(open_):
            started, share = time.monotonic(), Budget(budget.left / (len(open_) - place))
            found = self._one(network, problems[i], findings[i], share, seed)
            findings[i] = replace(found, method=self.name, seconds=findings[i].seconds + time.monotonic() - started)
        return findings

    def _one(self, network: Network, problem: Problem, before: Finding, budget: Budget, seed: int) -> Finding:
        ops = bind(network, dtype=torch.float64)
        with torch.no_grad():
            root = Root.of(ops, problem, budget, ascent=PLAIN, dtype=torch.float64, device="cpu")
        target = Target.of(network, "cpu")
        for program in Program.each(root):
            said = Settled(None, why="no time was left") if budget.spent else self.settle(program, budget)
            if said.point is not None:
                with torch.no_grad():
                    witness = confirmed(problem, ops, target, torch.as_tensor(said.point[None]))
                if witness is not None:
                    return replace(before, verdict=Verdict.FALSIFIED, evidence=witness, reason=None)
            if not said.safe:
                code = Code.TIMEOUT if budget.spent else Code.UNPROVED
                why = said.why or "its candidate breaks nothing: the program is a relaxation, or it is close"
                return replace(before, reason=Reason(code, f"{self.name}: {why}", "try --method branch"))
        found = self.branch.decide([problem], budget, seed)[0]
        if found.verdict is not Verdict.UNKNOWN:
            return found
        said_so = f"{self.name} finds no unsafe point, but its word is no proof, and branch and bound found none"
        reason = Reason(Code.TIMEOUT if budget.spent else Code.UNCHECKED, said_so, "allow more seconds")
        return replace(before, reason=reason)


def required(method: str, package: str) -> None:
    """Raise UsageError when an optional package is missing."""
    if importlib.util.find_spec(package) is None:
        raise UsageError("method", method, f"the package {package}: pip install 'unmoved[{method}]'")
