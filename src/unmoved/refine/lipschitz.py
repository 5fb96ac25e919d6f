"""The margin at x against what the largest Lipschitz constant lets a move take away, as a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch

from unmoved.bounds import Enclosure
from unmoved.bounds.interval import interval
from unmoved.bounds.linear import linear
from unmoved.bounds.lipschitz import lipschitz, local_slopes
from unmoved.bounds.rounding import Rounding
from unmoved.core.budget import Budget
from unmoved.core.certificate import DualTree, Lipschitz
from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Network
from unmoved.ops import evaluate
from unmoved.ops.op import Op
from unmoved.refine.methods import COPIES, BoundMethod, elements
from unmoved.refine.questions import Answer, Questions

ROOM = 1 - 1e-9
"""Of a margin: what the checker's rounding of norms may take."""

STRETCH = {("inf", "2"): 0.5, ("inf", "1"): 1.0, ("2", "1"): 0.5}
"""|x|_n <= d^power |x|_p for d elements, by (p, n)."""


@dataclass(frozen=True)
class LipschitzMethod(BoundMethod):
    """Certifies where the margin at x is above L times the size of the threat, L global in L2, L_inf or L1.

    Where only a local constant (over the region) is small enough, a proof is handed over if linear bounds give one.
    """

    squarings: int = 6

    @property
    def name(self) -> str:
        """`lipschitz`."""
        return "lipschitz"

    def settings(self) -> dict[str, str]:
        """The precision, and how closely norms are bounded."""
        return {"precision": self.precision, "squarings": str(self.squarings)}

    @property
    def remedy(self) -> str:
        """A tighter method."""
        return "try --method linear, or a net trained to be 1-Lipschitz"

    def floats(self, network: Network) -> int:
        """Return those of the local constants' rows and bounds."""
        return COPIES * elements(network) * max(1, network.outputs)

    def answers(
        self, ops: Sequence[Op], network: Network, enclosure: Enclosure, questions: Questions, budget: Budget
    ) -> list[Answer]:
        """Answer by the best norm's global constant; by the local one where that proves more."""
        query = questions.query(enclosure.center)
        exact = evaluate(ops, network, enclosure.center).flatten(1)[query.owner]
        margin = torch.linalg.vecdot(query.rows, exact) - query.offsets
        best: list[Answer] | None = None
        for norm in ("inf", "2", "1"):
            try:
                constant = lipschitz(ops, network, norm, squarings=self.squarings)
            except UnsupportedError:
                break
            low = ROOM * margin - constant.slopes(query.rows) * self._reach(enclosure, norm)[query.owner]
            found = [self._proof(a, norm, ops, enclosure) for a in questions.answers(low, "linear")]
            best = found if best is None else [max(pair, key=_worth) for pair in zip(best, found, strict=True)]
        own = enclosure.norm or "inf"
        try:
            slopes = local_slopes(ops, network, interval(ops, network, enclosure.box), query, own)
        except UnsupportedError:
            if best is None:
                raise
            return best
        low = margin - slopes * self._reach(enclosure, own)[query.owner]
        near = questions.answers(low, "linear")
        if any(a.margin > 0 and (best is None or best[i].evidence is None) for i, a in enumerate(near)):
            plain = questions.answers(linear(ops, network, enclosure, budget=budget).low(query), "linear")
            near = [replace(a, evidence=p.evidence if a.margin > 0 else None) for a, p in zip(near, plain, strict=True)]
        else:
            near = [replace(a, evidence=None) for a in near]
        return near if best is None else [max(pair, key=_worth) for pair in zip(best, near, strict=True)]

    def _reach(self, enclosure: Enclosure, norm: str) -> torch.Tensor:
        """Return the size in `norm` of what the set lets an input move, (batch,); infinite for other boxes."""
        own = enclosure.norm or "inf"
        moves = (enclosure.box.high > enclosure.box.low).flatten(1).any(1)
        known = (enclosure.eps > 0) | ~moves
        power = STRETCH.get((own, norm), 0.0)
        reach: torch.Tensor = torch.where(known, enclosure.eps, torch.inf)
        stretch = float(prod(enclosure.center.shape[1:])) ** power
        return reach.mul(stretch)

    def _proof(self, answer: Answer, norm: str, ops: Sequence[Op], enclosure: Enclosure) -> Answer:
        if not isinstance(answer.evidence, DualTree):
            return answer
        if isinstance(ops[-1], Rounding):
            return replace(answer, evidence=None)
        return replace(answer, evidence=Lipschitz(norm, self.squarings, answer.evidence.choices))


def _worth(answer: Answer) -> tuple[bool, float]:
    return answer.evidence is not None, answer.margin if np.isfinite(answer.margin) else -np.inf
