"""Zonotope bounds (DeepZ) as a method: one pass forward; what they prove is put in the words of a dual-tree proof.

A DeepZ bound is a backward linear bound whose lower and upper lines are parallel, on the zonotope's own intervals of
hidden tensors. A checker has its own intervals: linear ones, usually tighter. So a proof is offered with the default
lines where these prove it too, else with parallel ones; where neither do, nobody could check it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from unmoved.bounds import Enclosure, LinearBounds, ZonotopeBounds, intersection, linear, zonotope
from unmoved.bounds.relaxation import Lines, Relaxation, lines
from unmoved.bounds.rounding import Rounding
from unmoved.bounds.zonotope import parallel
from unmoved.core.budget import Budget
from unmoved.core.certificate import DualTree
from unmoved.ir.network import Network
from unmoved.ops.op import Elementwise, Op, primitives
from unmoved.refine.general import FIXED
from unmoved.refine.methods import BoundMethod, IntervalMethod
from unmoved.refine.questions import Answer, Questions

TENSORS = 4
"""Zonotopes of the size of the largest tensor that a pass holds at once: two inputs, their images, a temporary."""

Payload = dict[str, np.ndarray]


@dataclass(frozen=True)
class ZonotopeMethod(BoundMethod):
    """Certifies by one forward pass of zonotopes; `memory` bounds their symbols, and the rest is kept as a box."""

    @property
    def name(self) -> str:
        """`zonotope`."""
        return "zonotope"

    @property
    def remedy(self) -> str:
        """A tighter method."""
        return "try --method linear or optimised, or a smaller threat"

    def floats(self, network: Network) -> int:
        """Return the numbers of the largest tensors' zonotopes, with a symbol for every element of every tensor."""
        sizes = [prod(shape) for shape in network.shapes.values()]
        return TENSORS * max(sizes) * sum(sizes)

    def bounds(self, ops: Sequence[Op], network: Network, enclosure: Enclosure, limit: int) -> ZonotopeBounds:
        """Return the zonotopes, with at most `limit` symbols."""
        return zonotope(ops, network, enclosure, limit=limit)

    def answers(
        self, ops: Sequence[Op], network: Network, enclosure: Enclosure, questions: Questions, budget: Budget
    ) -> list[Answer]:
        """Answer by zonotopes; with evidence where backward linear bounds with these or default lines agree."""
        query = questions.query(enclosure.center)
        largest = max(prod(shape) for shape in network.shapes.values())
        # only where one input is a batch already: the answer depends on no company
        limit = max(0, self.memory // (8 * TENSORS * largest) - prod(network.input_shape))
        found = questions.answers(self.bounds(ops, network, enclosure, limit).low(query), "linear")
        if not any(answer.evidence for answer in found):
            return found
        known = linear(ops, network, enclosure, budget=budget)
        plain = questions.answers(known.low(query), "linear")
        banded, slopes = _banded(known)
        other = questions.answers(banded.low(query), "linear")
        answers = []
        for i, (answer, default, chosen) in enumerate(zip(found, plain, other, strict=True)):
            proof = default.evidence
            if proof is None and isinstance(chosen.evidence, DualTree):
                leaves = range(len(chosen.evidence.trees))
                named = {f"{kind}/{k}/{t}": v[i] for (kind, t), v in slopes.items() for k in leaves}
                proof = DualTree("linear", chosen.evidence.trees, {**chosen.evidence.choices, **named})
            answers.append(replace(answer, evidence=None if answer.evidence is None else proof))
        return answers


@dataclass(frozen=True)
class IntersectionMethod(ZonotopeMethod):
    """Certifies by zonotopes and intervals that are met at every tensor: never less than intervals prove."""

    @property
    def name(self) -> str:
        """`intersection`."""
        return "intersection"

    def bounds(self, ops: Sequence[Op], network: Network, enclosure: Enclosure, limit: int) -> ZonotopeBounds:
        """Return bounds from both domains, with at most `limit` symbols."""
        return intersection(ops, network, enclosure, limit=limit)

    def answers(
        self, ops: Sequence[Op], network: Network, enclosure: Enclosure, questions: Questions, budget: Budget
    ) -> list[Answer]:
        """Answer by intervals where these are enough, else by what both say together."""
        alone = IntervalMethod().answers(ops, network, enclosure, questions, budget)
        if all(answer.evidence is not None for answer in alone):
            return alone
        met = super().answers(ops, network, enclosure, questions, budget)
        return [a if a.evidence is not None or a.margin > b.margin else b for a, b in zip(alone, met, strict=True)]


def _banded(known: LinearBounds) -> tuple[LinearBounds, dict[tuple[str, str], np.ndarray]]:
    """Return the bounds with parallel lines, and their slopes by kind and tensor as a certificate has them."""
    made: dict[str, Relaxation] = dict(known.relaxations)
    chosen: dict[tuple[str, str], np.ndarray] = {}
    for op in primitives(known.ops):
        if not isinstance(op, Elementwise) or isinstance(op, Rounding) or op.kind in FIXED:
            continue
        value = known.bounds[op.inputs[0]]
        slope = parallel(op, value)[0]
        if op.kind == "Relu":
            steps = (slope.clamp(0, 1) * 255).round()
            old = known.relaxations[op.output]
            assert isinstance(old, Lines)
            crossing = (value.low < 0) & (value.high > 0)
            lower = torch.where(crossing, steps / 255, old.lower)
            made[op.output] = Lines(lower, None, old.upper, old.upper_offset)
            chosen["slopes", op.inputs[0].removesuffix(" (rounded)")] = _rows(steps).astype(np.uint8)
        else:
            near = slope.float().to(slope.dtype)
            made[op.output] = lines(op, value, near, near)
            chosen["lines", op.output] = np.stack([_rows(near).astype(np.float32)] * 2, 1)
    return replace(known, relaxations=made), chosen


def _rows(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.flatten(1).cpu().numpy()
    return array
