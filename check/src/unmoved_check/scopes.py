"""Scopes and hidden rows, read from a payload: where in a tree bounds are narrower, and the rows that make them so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from unmoved_check.leaf import Hidden, Scope, Split
from unmoved_check.model.steps import Graph
from unmoved_check.outcome import Rejection
from unmoved_check.region import Part
from unmoved_check.tensor import Tensor

KINDS = ("ends", "units", "hidden", "multipliers")


@dataclass(frozen=True)
class Place:
    """Where a node of a tree is: in a part of the region, under the splits and inside the scope on its path."""

    part: Part | None = None
    splits: tuple[Split, ...] = ()
    scope: Scope | None = None

    def split(self, split: Split) -> Place:
        """The place of a child."""
        return replace(self, splits=(*self.splits, split))

    def cut(self, part: Part) -> Place:
        """The place of a child of an input split, which no scope may lie above: its bounds are those of one part."""
        if self.scope is not None:
            raise Rejection("evidence: an input split inside a scope")
        return replace(self, part=part)


@dataclass
class Scopes:
    """The scopes that trees have named so far, by number, each with the place of its node."""

    graph: Graph
    tensors: Mapping[str, Tensor]
    used: set[str]
    known: dict[int, tuple[Place, Scope]] = field(default_factory=dict)
    _index: dict[str, dict[str, dict[str, Tensor]]] = field(default_factory=dict)

    def within(self, number: int, at: Place) -> Place:
        """The place inside scope `number`, whose node is at a place; Rejection if another place has that number."""
        if number < 0:
            raise Rejection("evidence: a scope's number is negative")
        if number in self.known:
            first, scope = self.known[number]
            if first != at:
                raise Rejection(f"evidence: scope {number} is at two places")
        else:
            scope = Scope(at.scope, at.splits, self.hidden(f"scope/{number}/", len(at.splits)))
            self.known[number] = at, scope
        return replace(at, scope=scope)

    def hidden(self, prefix: str, splits: int | None = None) -> dict[int, Hidden]:
        """The hidden rows that the payload gives under a prefix, by value.

        In a scope, that is with `splits`, each row has a multiplier for each of these, and slopes for all listed
        elements; outside for those of earlier values only.
        """
        ends, units = self._masks(prefix, "ends", 3), self._masks(prefix, "units", 1)
        found = {}
        for value, (name, mask) in sorted(ends.items()):
            lows, highs = ([i for i, e in enumerate(mask) if e & bit] for bit in (1, 2))
            listed = {v: tuple(i for i, e in enumerate(m) if e) for v, (_, m) in sorted(units.items())}
            if splits is None:
                listed = {v: elements for v, elements in listed.items() if v < value}
            wide, count = sum(map(len, listed.values())), len(lows) + len(highs)
            tensor = self._taken(prefix, "hidden", name)
            if tensor is None or tensor.dtype != "U8" or tensor.shape != (count, wide):
                raise Rejection(f"payload: {prefix}hidden/{name} is not one uint8 for each row and listed element")
            slopes, at = {}, 0
            for v, elements in listed.items():
                stop = at + len(elements)
                slopes[v] = (elements, [tensor.data[r * wide + at : r * wide + stop] for r in range(count)])
                at = stop
            multipliers = () if splits is None else self._multipliers(prefix, name, (count, splits))
            found[value] = Hidden((*lows, *highs), len(lows), slopes, multipliers)
        return found

    def _multipliers(self, prefix: str, name: str, shape: tuple[int, int]) -> Sequence[Sequence[float]]:
        found = self._taken(prefix, "multipliers", name)
        rows, wide = shape
        if found is None:
            return [[0.0] * wide] * rows
        if found.dtype != "F32" or found.shape != shape or not all(0 <= v < inf for v in found.numbers):
            raise Rejection(f"payload: {prefix}multipliers/{name} is not one float32 >= 0 for each row and split")
        numbers = [float(v) for v in found.numbers]
        return [numbers[r * wide : r * wide + wide] for r in range(rows)]

    def _masks(self, prefix: str, kind: str, most: int) -> dict[int, tuple[str, bytes]]:
        """The tensors `<prefix>kind/<t>`: uint8 <= most, one for each element of a ReLU's input; by value."""
        found: dict[int, tuple[str, bytes]] = {}
        for relu in self._named(prefix).get(kind, {}):
            value, tensor = self.graph.relu_inputs.get(relu), self._taken(prefix, kind, relu)
            if value is None or value in found or tensor is None:
                raise Rejection(
                    f"payload: {prefix}{kind}/{relu} belongs to no ReLU, or to one that another tensor speaks of"
                )
            if tensor.dtype != "U8" or tensor.size != self.graph.sizes[value] or max(tensor.data, default=0) > most:
                raise Rejection(f"payload: {prefix}{kind}/{relu} is not one uint8 <= {most} for each element")
            found[value] = (relu, tensor.data)
        return found

    def _taken(self, prefix: str, kind: str, relu: str) -> Tensor | None:
        found = self._named(prefix).get(kind, {}).get(relu)
        if found is not None:
            self.used.add(f"{prefix}{kind}/{relu}")
        return found

    def _named(self, prefix: str) -> Mapping[str, dict[str, Tensor]]:
        """The tensors under a prefix, by kind and ReLU input; all names are looked through once."""
        if not self._index:
            self._index[""] = {}
            for name, tensor in self.tensors.items():
                head, _, rest = name.partition("/")
                scope = ""
                if head == "scope":
                    number, _, rest = rest.partition("/")
                    scope = f"scope/{number}/"
                    head, _, rest = rest.partition("/")
                if head in KINDS and (scope or head != "multipliers"):
                    self._index.setdefault(scope, {}).setdefault(head, {})[rest] = tensor
        return self._index.get(prefix, {})
