"""Rows on their way back through a network: linear functions of several tensors at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unmoved.ops.op import Affine, Op


@dataclass(frozen=True, eq=False)
class Rows:
    """R functions constant[r] + sum over tensors t of <coefficients[t][r], t>; coefficients[t] is (R, *shape of t)."""

    coefficients: dict[str, Tensor]
    constant: Tensor

    def take(self, which: Tensor) -> Rows:
        """Return some of the rows, in the given order."""
        return Rows({name: c[which] for name, c in self.coefficients.items()}, self.constant[which])


def pull(op: Affine, rows: Rows) -> Rows:
    """Return the same functions with the output of `op` (which must occur) replaced by its inputs."""
    left = dict(rows.coefficients)
    outer = left.pop(op.output)
    bias = op.bias()
    constant = rows.constant
    if bias is not None:
        constant = constant + outer.flatten(1) @ bias.expand(outer.shape[1:]).flatten()
    for index, name in enumerate(op.inputs):
        inner = op.adjoint(index, outer)
        left[name] = left[name] + inner if name in left else inner
    return Rows(left, constant)


def suffix(ops: Sequence[Op], rows: Rows) -> Rows:
    """Return the same functions in terms of tensors that are no affine function of others (the input is one)."""
    for op in reversed(ops):
        if isinstance(op, Affine) and op.output in rows.coefficients:
            rows = pull(op, rows)
    return rows
