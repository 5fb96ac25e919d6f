"""Problems as rows of the outputs that a bound can be asked for, and what the answers prove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.bounds import Query
from unmoved.core.certificate import DualTree, Lipschitz
from unmoved.core.property import Disjunct

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """One way to refute a disjunct: weights >= 0 of its conjuncts whose weighted sum is shown to be > 0."""

    problem: int
    disjunct: int
    weights: Weights


@dataclass(frozen=True)
class Answer:
    """What the bounds say of one problem: the margin of its worst disjunct, and the evidence when it is > 0."""

    margin: float
    evidence: DualTree | Lipschitz | None


@dataclass(frozen=True)
class Questions:
    """All candidates of a batch of problems, problem by problem, disjunct by disjunct, and their rows."""

    candidates: tuple[Candidate, ...]
    disjuncts: tuple[int, ...]
    rows: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.float64]

    @classmethod
    def of(cls, properties: Sequence[Sequence[Disjunct]], outputs: int) -> Questions:
        """Ask for the sum of each disjunct's conjuncts and, where there are several, for each conjunct alone."""
        candidates, rows, offsets = [], [np.empty((0, outputs))], [np.empty(0)]
        for problem, disjuncts in enumerate(properties):
            for number, disjunct in enumerate(disjuncts):
                count = len(disjunct.bounds)
                choices = np.ones((1, count)) if count == 1 else np.concatenate([np.ones((1, count)), np.eye(count)])
                candidates += [Candidate(problem, number, weights) for weights in choices]
                rows.append(choices @ disjunct.rows)
                offsets.append(choices @ disjunct.bounds)
        counts = tuple(len(disjuncts) for disjuncts in properties)
        return cls(tuple(candidates), counts, np.concatenate(rows), np.concatenate(offsets))

    def query(self, like: Tensor) -> Query:
        """Return the rows as a query of `like`'s dtype and device."""
        owner = torch.tensor([c.problem for c in self.candidates], dtype=torch.int64, device=like.device)
        rows, offsets = (torch.as_tensor(a).to(like) for a in (self.rows, self.offsets))
        return Query(owner, rows, offsets)

    def chosen(self, low: Tensor) -> list[int]:
        """Return which of the query's rows proves each disjunct of the only problem best, in order."""
        best: dict[int, int] = {}
        for row, candidate in enumerate(self.candidates):
            if candidate.disjunct not in best or low[row] > low[best[candidate.disjunct]]:
                best[candidate.disjunct] = row
        return [best[d] for d in sorted(best)]

    def answers(self, low: Tensor, intermediate: str) -> list[Answer]:
        """Return what lower bounds (R,) of the query's rows prove; a problem without a way to be unsafe is proved."""
        best: list[dict[int, tuple[float, Weights]]] = [{} for _ in self.disjuncts]
        for candidate, value in zip(self.candidates, low.tolist(), strict=True):
            known = best[candidate.problem].get(candidate.disjunct)
            # A NaN is never better than anything, so it proves nothing.
            if known is None or value > known[0]:
                best[candidate.problem][candidate.disjunct] = (value, candidate.weights)
        return [_answer(found, count, intermediate) for found, count in zip(best, self.disjuncts, strict=True)]


def _answer(found: dict[int, tuple[float, Weights]], count: int, intermediate: str) -> Answer:
    values = [found[d][0] for d in range(count)]
    if not all(value > 0 for value in values):
        return Answer(float(np.min(values)), None)
    chosen = {f"weights/{d}": found[d][1] for d in range(count) if not (found[d][1] == 1).all()}
    trees = tuple(("leaf", d) for d in range(count))
    return Answer(min(values, default=np.inf), DualTree(intermediate, trees, chosen))
