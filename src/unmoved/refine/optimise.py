"""Linear bounds with optimised slopes (alpha-CROWN), of hidden layers and of the outputs, as a method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from unmoved.bounds import Enclosure, linear
from unmoved.core.budget import Budget
from unmoved.core.certificate import Finding
from unmoved.core.method import Method
from unmoved.core.problem import Problem
from unmoved.core.verdict import Code, Reason, Verdict
from unmoved.ir.network import Network
from unmoved.ops import Elementwise, Op, Product, bind, primitives
from unmoved.refine.ascent import Ascent
from unmoved.refine.dual import Choices
from unmoved.refine.general import Rise
from unmoved.refine.methods import PRECISIONS, LinearMethod
from unmoved.refine.questions import Questions
from unmoved.refine.root import Root, leaves

HIDDEN = Ascent(steps=5, rate=0.4, decay=0.7)
FINAL = Ascent(steps=20, rate=0.3, decay=0.9)


@dataclass(frozen=True)
class OptimisedMethod(Method):
    """Linear bounds first; where those do not decide, the slopes of each hidden and output row are optimised.

    `hidden` and `final` set the ascents. A row stops as soon as it is proved. What is proved is proved with the
    rounded slopes that the certificate carries, by a margin that the checker's rounding cannot use up.
    """

    precision: str = "float64"
    device: str = "cpu"
    hidden: Ascent = field(default=HIDDEN)
    final: Ascent = field(default=FINAL)

    def __post_init__(self) -> None:
        """Check the settings."""
        LinearMethod(self.precision, self.device)

    @property
    def name(self) -> str:
        """`optimised`."""
        return "optimised"

    def settings(self) -> dict[str, str]:
        """The precision and both ascents."""
        return {"precision": self.precision, "hidden": str(self.hidden), "final": str(self.final)}

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem, in order; the seed plays no part."""
        findings = LinearMethod(self.precision, self.device).decide(problems, budget, seed)
        open_ = [i for i, finding in enumerate(findings) if unproved(finding)]
        if not open_:
            return findings
        network = problems[0].model
        assert isinstance(network, Network)
        ops = bind(network, dtype=PRECISIONS[self.precision], device=self.device)
        general = curved(ops)
        for i in open_:
            started = time.monotonic()
            if general and not budget.spent:
                findings[i] = risen(ops, problems[i], findings[i], budget, self)
            elif not budget.spent:
                with torch.no_grad():
                    root = Root.of(
                        ops,
                        problems[i],
                        budget,
                        ascent=self.hidden,
                        dtype=PRECISIONS[self.precision],
                        device=self.device,
                    )
                    findings[i] = optimised(root, self.final, findings[i], budget)[0]
            findings[i] = replace(findings[i], seconds=findings[i].seconds + time.monotonic() - started)
        return findings


def curved(ops: Sequence[Op]) -> bool:
    """Say whether some operator has lines or planes that only the whole network's optimiser chooses."""
    bent = [op for op in primitives(ops) if isinstance(op, Elementwise | Product)]
    return any(isinstance(op, Product) or not op.linear_pieces for op in bent)


def risen(ops: Sequence[Op], problem: Problem, before: Finding, budget: Budget, method: OptimisedMethod) -> Finding:
    """Return what optimised lines and planes say of a problem about real arithmetic, nothing new of another one."""
    if problem.semantics.deployed:
        return before
    network, dtype = problem.model, PRECISIONS[method.precision]
    assert isinstance(network, Network)
    disjuncts = problem.prop.disjuncts(network.outputs)
    questions = Questions.of([disjuncts], network.outputs)
    with torch.no_grad():
        enclosure = Enclosure.of_regions([problem.threat.region(problem.x[None])], dtype, method.device)
        known = linear(ops, network, enclosure, budget=budget)
        rise = Rise.of(known, questions.query(enclosure.center))
    rise.run(method.final, budget)
    answer = questions.answers(rise.best, "linear")[0]
    margin = max(answer.margin, before.margin if before.margin is not None else -torch.inf)
    if answer.evidence is None:
        detail = f"optimised bounds reach a margin of {margin:.4g}, and a proof needs one above 0"
        code, remedy = (Code.TIMEOUT, "allow more seconds") if budget.spent else (Code.UNPROVED, "try a smaller threat")
        return replace(before, method="optimised", margin=margin, reason=Reason(code, detail, remedy))
    payload = rise.payload(questions.chosen(rise.best))
    evidence = replace(answer.evidence, choices={**answer.evidence.choices, **payload})
    proved = replace(before, verdict=Verdict.CERTIFIED, method="optimised", evidence=evidence, reason=None)
    return replace(proved, margin=answer.margin, radius=problem.threat.size)


def unproved(finding: Finding) -> bool:
    """Say whether a finding is UNKNOWN for want of tighter bounds."""
    return finding.verdict is Verdict.UNKNOWN and finding.reason is not None and finding.reason.code is Code.UNPROVED


def optimised(root: Root, ascent: Ascent, before: Finding, budget: Budget) -> tuple[Finding, torch.Tensor, Choices]:
    """Return what optimised slopes say of a problem, the bounds of its disjuncts (D,), and the choices."""
    goals, disjuncts = root.goals, root.problem.prop.disjuncts(root.network.outputs)
    low, choices = ascent.run(root.reduced, goals, Choices.first(root.reduced, goals), budget=budget)
    margin = max(float(low.min()), before.margin if before.margin is not None else -torch.inf)
    if bool((low > 0).all()):
        made = leaves(goals, choices, [len(d.bounds) for d in disjuncts])
        evidence = root.proof(tuple(("leaf", k) for k in range(len(made))), made)
        proved = replace(before, verdict=Verdict.CERTIFIED, method="optimised", evidence=evidence, reason=None)
        return replace(proved, margin=float(low.min()), radius=root.problem.threat.size), low, choices
    detail = f"optimised bounds reach a margin of {margin:.4g}, and a proof needs one above 0"
    if budget.spent:
        reason = Reason(Code.TIMEOUT, detail, "allow more seconds")
    else:
        reason = Reason(Code.UNPROVED, detail, "try --method branch with --seconds, or a smaller threat")
    return replace(before, method="optimised", margin=margin, reason=reason), low, choices
