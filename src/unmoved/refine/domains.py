"""The open parts of a search: what is left to prove, in order of urgency, within a memory."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.refine.dual import Choices, Goals
from unmoved.refine.root import Leaf


@dataclass(frozen=True, eq=False)
class Domain:
    """A node whose bound is not above 0: its path (units and signs), its choices, and the unit to split next."""

    node: int
    low: float
    units: npt.NDArray[np.int32]
    signs: npt.NDArray[np.int8]
    leaf: Leaf
    unit: int

    @property
    def bytes(self) -> int:
        """What it takes in memory, about."""
        return 600 + self.leaf.slopes.nbytes + 9 * len(self.units) + 8 * len(self.leaf.weights)


@dataclass(eq=False)
class Queue:
    """Domains, the worst bound first; once `memory` bytes are taken, the nearest to a proof first, to shrink."""

    memory: int
    bytes: int = 0
    heap: list[tuple[float, int, Domain]] = field(default_factory=list)
    pushed: int = 0

    def __len__(self) -> int:
        return len(self.heap)

    @property
    def low(self) -> float:
        """The worst bound of all."""
        return min((domain.low for _, _, domain in self.heap), default=np.inf)

    @property
    def full(self) -> bool:
        """Whether more than twice the memory is taken: to go on would not end well."""
        return self.bytes > 2 * self.memory

    def push(self, domain: Domain) -> None:
        """Add a domain."""
        self.pushed += 1
        self.bytes += domain.bytes
        heapq.heappush(self.heap, (domain.low, self.pushed, domain))

    def pop(self, count: int) -> list[Domain]:
        """Take out up to `count` domains."""
        if self.bytes > self.memory:
            self.heap.sort(key=lambda entry: (-entry[0], entry[1]))
            taken = self.heap[:count]
            self.heap = self.heap[count:]
            heapq.heapify(self.heap)
        else:
            taken = [heapq.heappop(self.heap) for _ in range(min(count, len(self.heap)))]
        self.bytes -= sum(domain.bytes for _, _, domain in taken)
        return [domain for _, _, domain in taken]


def restored(domains: Sequence[Domain], goals: Goals, like: Tensor) -> tuple[Goals, Choices]:
    """Return the rows and choices of domains as tensors; `goals` are the root's."""
    count, units = len(domains), goals.signs.shape[1]
    signs, multipliers = np.zeros((count, units)), np.zeros((count, units))
    weights = np.zeros((count, goals.real.shape[1]))
    for r, domain in enumerate(domains):
        signs[r, domain.units] = domain.signs
        multipliers[r, domain.units] = domain.leaf.multipliers
        weights[r, : len(domain.leaf.weights)] = domain.leaf.weights
    slopes = np.stack([domain.leaf.slopes for domain in domains]) / 255.0
    which = torch.tensor([domain.leaf.disjunct for domain in domains], device=like.device)
    tensors = [torch.as_tensor(a).to(like) for a in (slopes, multipliers, weights)]
    return Goals(goals.functions, goals.real, which, torch.as_tensor(signs).to(like)), Choices(*tensors)


def leaf(goals: Goals, choices: Choices, row: int, units: npt.NDArray[np.int32], count: int) -> Leaf:
    """Return one row's choices as a leaf with the path `units`, of a disjunct with `count` conjuncts."""
    slopes = (choices.slopes[row] * 255.0).round().to(torch.uint8).cpu().numpy()
    multipliers = choices.multipliers[row].to(torch.float32).cpu().numpy()[units]
    weights = choices.weights[row].to(torch.float64).cpu().numpy()[:count].copy()
    return Leaf(int(goals.which[row]), slopes, multipliers, weights)
