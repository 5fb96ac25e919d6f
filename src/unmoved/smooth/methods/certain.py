"""Smoothing without chance as a method: every copy is evaluated, and the certificates are certain."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from unmoved.core import Budget, Code, Finding, Guarantee, Method, Problem, Reason, SameClass, UsageError, Verdict
from unmoved.core.certificate import AllVotes, Classes
from unmoved.smooth.classifiers.enumeration import Enumerated, EnumeratedResult
from unmoved.smooth.draws.inversion import place
from unmoved.smooth.methods.method import answer_of, classifier
from unmoved.smooth.noises.patches import Blocks, Columns
from unmoved.smooth.noises.splitting import DerandomizedSplitting
from unmoved.smooth.voting import merkle
from unmoved.threats import L1, Patch


@dataclass(frozen=True)
class EnumerationMethod(Method):
    """Certifies, for certain, that g keeps the label: columns and blocks against patches, splitting against L1.

    CERTIFIED means that g's class is the asked label and the radius at least the threat's size. For splitting noise the
    radius is about all real x', which may cross twice as many thresholds as grid points at the same distance do: it is
    half of the radius between grid points, which the details give (`grid_radius`).
    """

    noise: DerandomizedSplitting | Columns | Blocks
    chunk: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """`smoothing`."""
        return "smoothing"

    def settings(self) -> dict[str, str]:
        """The noise and its parameters."""
        return {"noise": repr(self.noise), "alpha": "0"}

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem; what the budget leaves no time for is UNKNOWN(timeout). No chance enters."""
        findings = []
        for problem in problems:
            if budget.spent:
                findings.append(Finding(Verdict.UNKNOWN, self.name, reason=Reason(Code.TIMEOUT)))
            else:
                findings.append(self._finding(problem))
        return findings

    def _finding(self, problem: Problem) -> Finding:
        wanted = L1 if isinstance(self.noise, DerandomizedSplitting) else Patch
        if not isinstance(problem.threat, wanted) or problem.threat.clip is not None:
            expected = f"{wanted.word}, without a clip range: all that {self.noise.kind} noise proves"
            raise UsageError("threat", problem.threat.name, expected)
        if not isinstance(problem.prop, SameClass):
            raise UsageError("property", problem.prop, "SameClass, as smoothing proves")
        f = classifier(problem.model)
        x = problem.x.astype(np.float32)
        result = Enumerated(f, self.noise, f.classes, f.batch).certify(x)
        radius = self._radius(result, x)
        reason = None
        if result.label != problem.prop.label:
            reason = Reason(Code.UNPROVED, f"g answers class {result.label}, not {problem.prop.label}")
        elif radius is None or radius < problem.threat.size:
            reason = Reason(Code.UNPROVED, f"the votes (margin {result.margin}) do not prove {problem.threat.name}")
        details: dict[str, Any] = {"noise": result.noise, "counts": list(result.counts), "margin": result.margin}
        details |= {"samples": result.copies, "invalid": result.invalid, "on_grid": result.on_grid, "engine": f.name}
        details |= {"grid_radius": str(result.radius), "f_prediction": answer_of(problem), "alpha": "0"}
        return Finding(
            Verdict.CERTIFIED if reason is None else Verdict.UNKNOWN,
            self.name,
            evidence=self._evidence(result) if reason is None else None,
            reason=reason,
            guarantee=Guarantee("g"),
            radius=radius if reason is None else None,
            margin=float(result.margin) if reason is None else None,
            prediction=result.label,
            seconds=result.seconds,
            details=details,
        )

    def _radius(self, result: EnumeratedResult, x: Any) -> Fraction | None:
        """Return the radius over all real x', None where not even x itself is certain."""
        if not isinstance(self.noise, DerandomizedSplitting):
            return Fraction(result.steps) if result.margin >= 0 else None
        free, grid, elements = result.margin // 2, self.noise.grid, x.size
        if not result.on_grid:
            found = Fraction(free - elements, grid)
        else:
            lost = Fraction(place(x, grid, 0, "1").distance)
            found = max(Fraction(free, 2 * grid), (free - Fraction(elements, 2)) / grid) - lost
        return found if found >= 0 and result.margin >= 0 else None

    def _evidence(self, result: EnumeratedResult) -> AllVotes:
        split = self.noise if isinstance(self.noise, DerandomizedSplitting) else None
        return AllVotes(
            noise=result.noise,
            lam=split.lam if split else None,
            grid=split.grid if split else 0,
            offsets=split.offsets if split else None,
            on_grid=result.on_grid,
            copies=result.copies,
            counts=result.counts,
            invalid=result.invalid,
            top=result.label,
            classes=_record(result.classes, len(result.counts)),
        )


def _record(labels: tuple[int, ...], classes: int) -> Classes:
    """Return the classes of all copies in order, `classes` itself for a copy that votes for nobody."""
    width = 1 if classes <= np.iinfo(np.uint8).max else 2
    data = np.array(labels, f"<u{width}").tobytes()
    root = merkle.tree(merkle.leaves(data, width)).root
    return Classes(root=root.hex(), bits=8 * width, packed=zlib.compress(data, 9))
