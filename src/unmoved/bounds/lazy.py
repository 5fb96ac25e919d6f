"""Which elements get backward rows of their own: those that intervals leave undecided, each once.

Not those that one affine operator makes of a box (their intervals are exact); nor, where a smooth operator or a product
reads them, what is only moved and scaled since something that is not affine made it: a row could hardly say more of
f(x) than the bounds of x do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.relaxation import Bent, undecided
from unmoved.bounds.rounding import Rounding
from unmoved.ops.affine import Weighted
from unmoved.ops.op import Affine, Elementwise, Maximum, Op
from unmoved.ops.product import Times
from unmoved.ops.reshape import Joined, Movement

Policy = Callable[[Bent], bool]
"""Says whether undecided inputs of an operator get rows at all."""


def always(op: Bent) -> bool:
    """Every operator's inputs do."""
    return True


def kinked(op: Bent) -> bool:
    """Those of operators that are linear between kinks do: they gain most from each row."""
    return isinstance(op, Maximum) or (isinstance(op, Elementwise) and op.linear_pieces)


def moves(op: Op) -> bool:
    """Say whether an operator only moves and scales the elements of one tensor."""
    if len(op.inputs) != 1:
        return False
    return isinstance(op, Movement) or (isinstance(op, Weighted) and op.offset is None)


@dataclass(eq=False)
class Wanted:
    """Answers for one walk over a network's operators; remembers what it has asked for."""

    ops: Sequence[Op]
    source: str
    box: bool
    policy: Policy
    made: dict[str, Op] = field(default_factory=dict)
    asked: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note which operator makes which tensor."""
        self.made.update({op.output: op for op in self.ops})

    def mask(self, op: Bent, index: int, bounds: Mapping[str, Bounds], matters: Mapping[str, Tensor]) -> Tensor | None:
        """Return which elements of the operator's input `index` shall get rows, bool (batch, *shape); None for none."""
        name = op.inputs[index]
        if not self.policy(op) or self._exact(name) or (not kinked(op) and self._made_bent(name)):
            return None
        other = bounds[op.inputs[1 - index]] if len(op.inputs) > 1 else None
        mask = undecided(op, bounds[name], other, index=index) & matters[name]
        if name in self.asked:
            mask = mask & ~self.asked[name]
        self.asked[name] = mask | self.asked[name] if name in self.asked else mask
        return mask if bool(mask.any()) else None

    def _before_rounding(self, op: Op | None) -> Op | None:
        """Return what makes the tensor that is rounded."""
        while isinstance(op, Rounding):
            op = self.made.get(op.inputs[0])
        return op

    def _exact(self, name: str) -> bool:
        """Say whether intervals are exact already: those of a box, and one affine operator behind it."""
        op = self._before_rounding(self.made.get(name))
        return self.box and (op is None or (isinstance(op, Affine) and op.inputs == (self.source,)))

    def _made_bent(self, name: str) -> bool:
        """Say whether an operator that is not affine made the elements, before they were moved and scaled."""
        op = self._before_rounding(self.made.get(name))
        if op is None:
            return False
        while moves(op) and not isinstance(op, Joined) and op.inputs[0] in self.made:
            before = self._before_rounding(self.made[op.inputs[0]])
            if before is None:
                return False
            op = before
        return isinstance(op, Elementwise | Maximum | Times)
