"""Rows that see a small part of every tensor, taken back through just that part: the receptive fields of a conv net.

Rows of one support travel together through matrices cut out of the operators (all channels at one place of a
convolution share a support, for every input of the batch). The same numbers as by dense rows, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unmoved.bounds.enclosure import Enclosure
from unmoved.bounds.relaxation import Choice, Lines, Planes, Relaxation
from unmoved.bounds.rows import Rows
from unmoved.ops.op import Affine, Op, Product

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SPEED, PASSES = 3, 20
"""A number of a matrix product costs a third of one of a convolution; a dense step passes 20 times over its tensors."""

DENSE = 0.5
"""Rows that see a larger part of a tensor than this start as dense rows."""


@dataclass(frozen=True, eq=False)
class Matrices:
    """Parts of the affine operators' matrices; `sizes` holds every tensor's shape at batch size 1."""

    ops: Sequence[Op]
    shapes: Mapping[str, tuple[int, ...]]
    like: Tensor
    made: dict[tuple[str, int], csr_array | None] = field(default_factory=dict)

    def size(self, name: str) -> int:
        """Return the number of elements of a tensor."""
        return int(np.prod(self.shapes[name], dtype=np.int64))

    def cut(self, op: Affine, index: int, places: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return where the outputs at `places` depend on input `index`, and that part of L, (outputs, inputs there).

        None where the whole matrix, applied to dense rows, would be cheaper.
        """
        matrix = self._sparse(op, index)
        if matrix is None:
            return self._probed(op, index, places)
        part = matrix[places.cpu().numpy()]
        columns = np.unique(part.indices)
        dense_cost = SPEED * matrix.nnz + PASSES * sum(matrix.shape)
        if len(columns) * len(places) > dense_cost:
            return None
        cut = torch.as_tensor(part[:, columns].toarray()).to(self.like)
        return torch.as_tensor(columns.astype(np.int64), device=places.device), cut

    def _sparse(self, op: Affine, index: int) -> csr_array | None:
        key = (op.output, index)
        if key not in self.made:
            entries = op.entries(index)
            self.made[key] = None
            if entries is not None:
                outputs, inputs, values = (e.detach().cpu().numpy() for e in entries)
                # a quarter of a second of imports, which nets without convolutions do without
                from scipy.sparse import coo_array

                shape = (self.size(op.output), self.size(op.inputs[index]))
                self.made[key] = coo_array((values, (outputs, inputs)), shape).tocsr()
        return self.made[key]

    def _probed(self, op: Affine, index: int, places: Tensor) -> tuple[Tensor, Tensor]:
        units = self.like.new_zeros(len(places), self.size(op.output))
        units[torch.arange(len(places), device=places.device), places] = 1.0
        rows = op.adjoint(index, units.view(-1, *self.shapes[op.output])).flatten(1)
        columns = (rows != 0).any(0).nonzero()[:, 0]
        return columns, rows[:, columns]


@dataclass(frozen=True, eq=False)
class Step:
    """One operator on the way back, cut to what the rows see of its output.

    `parts` are (input tensor, places there, matrix; None for an elementwise operator or a maximum).
    """

    output: str
    parts: tuple[tuple[str, Tensor, Tensor | None], ...]
    bias: Tensor | None
    relaxation: Lines | Choice | None


@dataclass(frozen=True, eq=False)
class Cone:
    """What rows of one support see of each tensor, from where they start to where dense rows take over.

    `start` and `end` map tensors to flat places; `seen` holds those of every tensor between.
    """

    start: Mapping[str, Tensor]
    seen: Mapping[str, Tensor]
    steps: tuple[Step, ...]
    end: tuple[str, ...]

    @classmethod
    def of(cls, start: Mapping[str, Tensor], matrices: Matrices, relaxations: Mapping[str, Relaxation]) -> Cone:
        """Follow the supports back until a step would cost more than a dense one."""
        seen, steps = dict(start), []
        open_ = set(start)
        for op in reversed(matrices.ops):
            if op.output not in open_:
                continue
            step = _step(op, seen[op.output], matrices, relaxations)
            if step is None:
                break
            open_.discard(op.output)
            steps.append(step)
            for name, places, _ in step.parts:
                seen[name] = torch.unique(torch.cat([seen[name], places])) if name in seen else places
                open_.add(name)
        return cls(start, seen, tuple(steps), tuple(sorted(open_)))

    @property
    def widest(self) -> int:
        """The largest number of places seen of one tensor; 1 where a row ends before it sees any."""
        return max(1, *(len(places) for places in self.seen.values()), 1)

    def descend(self, rows: Rows, owner: Tensor) -> Rows:
        """Take rows back, coefficients[t] (R, places of t); the result's, flat too, are of the tensors in `end`."""
        left = {name: self._widened(name, self.start[name], c) for name, c in rows.coefficients.items()}
        constant = rows.constant
        for step in self.steps:
            outer = left.pop(step.output)
            if step.bias is not None:
                constant = constant + outer @ step.bias
            if step.relaxation is not None:
                outer, more = step.relaxation.pull(outer, owner)
                constant = constant + more
            for name, places, matrix in step.parts:
                inner = outer if matrix is None else outer @ matrix
                wide = self._widened(name, places, inner)
                left[name] = left[name] + wide if name in left else wide
        return Rows(left, constant)

    def _widened(self, name: str, places: Tensor, rows: Tensor) -> Tensor:
        """Spread coefficients at `places` over all that is seen of the tensor."""
        seen = self.seen[name]
        if len(seen) == len(places):
            return rows
        wide = rows.new_zeros(len(rows), len(seen))
        wide[:, torch.searchsorted(seen, places)] = rows
        return wide


def _step(op: Op, places: Tensor, matrices: Matrices, relaxations: Mapping[str, Relaxation]) -> Step | None:
    if isinstance(op, Product):
        return None
    if not isinstance(op, Affine):
        whole = relaxations[op.output]
        assert not isinstance(whole, Planes)
        relaxation = whole.cut(places)
        inner = relaxation.places if isinstance(relaxation, Choice) else places
        return Step(op.output, ((op.inputs[0], inner, None),), None, relaxation)
    parts = []
    for index, name in enumerate(op.inputs):
        cut = matrices.cut(op, index, places)
        if cut is None:
            return None
        parts.append((name, *cut))
    bias = op.bias()
    if bias is not None:
        bias = bias.expand(matrices.shapes[op.output]).flatten()[places]
    return Step(op.output, tuple(parts), bias, None)


def supports(rows: Rows) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Yield groups of rows (their numbers) with the flat places of each tensor that they see.

    Where the rows see most of a tensor, or nearly every row sees something else, all rows form one group of dense
    rows: no places.
    """
    count, device = len(rows.constant), rows.constant.device
    masks = {name: (rows.coefficients[name].flatten(1) != 0) for name in sorted(rows.coefficients)}
    share = max((mask.sum().item() / mask.numel() for mask in masks.values()), default=1.0)
    groups: dict[bytes, list[int]] = {}
    if share < DENSE:
        packed = np.concatenate([np.packbits(mask.cpu().numpy(), axis=1) for mask in masks.values()], axis=1)
        for number, key in enumerate(packed):
            groups.setdefault(key.tobytes(), []).append(number)
    if not groups or len(groups) > max(1, count // 2):
        yield torch.arange(count, device=device), {}
        return
    for numbers in groups.values():
        places = {name: mask[numbers[0]].nonzero()[:, 0] for name, mask in masks.items()}
        yield torch.tensor(numbers, device=device), places


def inside(enclosure: Enclosure, places: Tensor) -> Enclosure:
    """Return the enclosure as rows see it that are zero outside flat `places`."""
    box = enclosure.box.flat(places)
    return Enclosure(box, enclosure.center.flatten(1)[:, places], enclosure.norm, enclosure.eps)
