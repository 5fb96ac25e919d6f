"""The split tree of a search as it grows, and as evidence at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from unmoved.core.certificate import Tree

Split = tuple[str, int, int, int]
"""Kind, what is split, and the numbers of both children."""


@dataclass(eq=False)
class Growth:
    """Nodes by number, from 0: what was split there, or the number of the leaf that proves them."""

    splits: dict[int, Split] = field(default_factory=dict)
    leaves: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def node(self) -> int:
        """Return a new node."""
        self.count += 1
        return self.count - 1

    def split(self, node: int, kind: str, what: int) -> tuple[int, int]:
        """Return the two children of a node: z >= 0 and z <= 0, or below and above."""
        first, second = self.node(), self.node()
        self.splits[node] = (kind, what, first, second)
        return first, second

    def tree(self, node: int, written: Callable[[int, str, int], tuple[object, ...]]) -> Tree:
        """Return the tree under a node whose leaves are all proved; `written` words a node's split.

        Built bottom up without recursion: children have larger numbers than their parents.
        """
        made: dict[int, Tree] = {}
        for number in range(self.count - 1, node - 1, -1):
            if number in self.leaves:
                made[number] = ("leaf", self.leaves[number])
            elif number in self.splits:
                kind, what, first, second = self.splits[number]
                if first in made and second in made:
                    made[number] = (*written(number, kind, what), made.pop(first), made.pop(second))
        return made[node]


@dataclass(eq=False)
class Grove:
    """Trees of several disjuncts that have their splits in common, and scopes: numbers of nodes from 0, the root.

    A disjunct that is proved at a node has a leaf there; `inside` are the leaves that rest on the node's scope.
    """

    splits: dict[int, Split] = field(default_factory=dict)
    scopes: dict[int, int] = field(default_factory=dict)
    leaves: dict[tuple[int, int], int] = field(default_factory=dict)
    inside: set[tuple[int, int]] = field(default_factory=set)
    count: int = 1

    def split(self, node: int, kind: str, what: int) -> tuple[int, int]:
        """Return the two children of a node, as `Growth.split` does."""
        first, second = self.count, self.count + 1
        self.count += 2
        self.splits[node] = (kind, what, first, second)
        return first, second

    def tree(self, disjunct: int, written: Callable[[int, str, int], tuple[object, ...]]) -> Tree:
        """Return the tree of a disjunct whose leaves are all proved; `written` words a node's split."""
        made: dict[int, Tree] = {}
        for number in range(self.count - 1, -1, -1):
            leaf = self.leaves.get((number, disjunct))
            if leaf is not None:
                made[number] = ("leaf", leaf)
            elif number in self.splits:
                kind, what, first, second = self.splits[number]
                if first not in made or second not in made:
                    continue
                made[number] = (*written(number, kind, what), made.pop(first), made.pop(second))
            if number in made and number in self.scopes and (leaf is None or (number, disjunct) in self.inside):
                made[number] = ("within", self.scopes[number], made[number])
        return made[0]
