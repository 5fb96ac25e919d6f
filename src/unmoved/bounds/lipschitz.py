"""Lipschitz constants: how far the outputs can move, at most, when an input moves by one unit of a norm.

Global: the product of the constants of what lies between two cuts (tensors that every path passes). For an affine part
the induced norm of its matrix: exact sums of absolute values for L_inf and L1, iterated Gram matrices for L2
(`norms.matrix_norm`). For a block A x + C relu(B x + b) the smaller of |A| + |C| |B| and, in L2, a bound that sees that
C relu(B .) works against A (Araujo et al. 2023, theorem 1, as `unmoved_check.floating_lipschitz` has it): 1 for SLL
layers and for sorted pairs. These numbers propose; the checker bounds them outward by its own code.

Local: the derivative of a row over a box, as an interval in every element (Weng et al. 2018, Fast-Lip): on a convex set
|f(x) - f(z)| <= max |J| |x - z|.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.norms import matrix_norm
from unmoved.bounds.query import Query
from unmoved.bounds.rounding import Rounding
from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Network
from unmoved.ops.op import Affine, Elementwise, Maximum, Op, primitives

MOST_NUMBERS = 2**26
"""Of one matrix."""

DUAL = {"2": 2.0, "inf": 1.0, "1": math.inf}
"""The norm of a row that meets a move measured in L2, L_inf, L1."""


@dataclass(frozen=True, eq=False)
class Constant:
    """The constant from the input to where the last affine part starts, and that part: (elements there, outputs)."""

    value: float
    last: Tensor
    norm: str

    def slopes(self, rows: Tensor) -> Tensor:
        """Return the Lipschitz constants (R,) of rows (R, outputs) of the outputs."""
        size: Tensor = torch.linalg.vector_norm(rows.to(self.last) @ self.last.mT, ord=DUAL[self.norm], dim=1)
        return size * self.value


Starts = dict[str, Tensor]
"""A tensor t as a sum of matrices times others: (elements of the other, *shape of t) by the other's name."""


def lipschitz(ops: Sequence[Op], network: Network, norm: str, *, squarings: int = 8) -> Constant:
    """Return the global constant in L2 ("2"), L_inf ("inf") or L1 ("1").

    UnsupportedError for operators that are neither affine, ReLU nor a maximum, and for tensors of too many elements.
    """
    needed = _needed(tuple(primitives(ops)), network.output)
    shapes = {network.input: network.input_shape} | {op.output: op.shape for op in needed}
    total, start, last = 1.0, network.input, None
    parts = _parts(needed, network)
    for number, part in enumerate(parts):
        if number == len(parts) - 1 and all(isinstance(op, Affine) for op in part):
            last = _maps(part, start, shapes)[part[-1].output][start].flatten(1)
        else:
            total *= _constant(part, start, shapes, norm, squarings)
        start = part[-1].output
    return Constant(total, _identity(shapes[start]).flatten(1) if last is None else last, norm)


def _needed(ops: Sequence[Op], output: str) -> list[Op]:
    wanted, kept = {output}, []
    for op in reversed(ops):
        if op.output in wanted:
            wanted.update(op.inputs)
            kept.append(op)
    return kept[::-1]


def _parts(ops: Sequence[Op], network: Network) -> list[list[Op]]:
    """Cut where every path passes one tensor; affine neighbours stay together."""
    born = {network.input: -1} | {op.output: i for i, op in enumerate(ops)}
    oldest, needs = len(ops), []
    for op in reversed(ops):
        needs.append(oldest)
        oldest = min([oldest, *(born[name] for name in op.inputs)])
    parts: list[list[Op]] = [[]]
    for i, (op, old) in enumerate(zip(ops, reversed(needs), strict=True)):
        parts[-1].append(op)
        if old >= i:
            parts.append([])
    joined: list[list[Op]] = []
    for part in parts[:-1] if not parts[-1] else parts:
        straight = all(isinstance(op, Affine) for op in part)
        if joined and straight and all(isinstance(op, Affine) for op in joined[-1]):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _identity(shape: tuple[int, ...]) -> Tensor:
    size = math.prod(shape)
    if size * size > MOST_NUMBERS:
        raise UnsupportedError(f"a tensor of {size} elements", "the Lipschitz bound")
    return torch.eye(size, dtype=torch.float64).view(size, *shape)


def _maps(part: Sequence[Op], start: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Starts]:
    """Return every tensor of a part from its start and from the results of operators that are not affine."""
    found: dict[str, Starts] = {start: {start: _identity(shapes[start])}}
    for op in part:
        made: Starts = {}
        if not isinstance(op, Affine):
            made[op.output] = _identity(shapes[op.output])
        else:
            for index, name in enumerate(op.inputs):
                for source, matrix in found[name].items():
                    image = op.linear(index, matrix)
                    made[source] = made[source] + image if source in made else image
        found[op.output] = made
    return found


def _constant(
    part: Sequence[Op], start: str, shapes: Mapping[str, tuple[int, ...]], norm: str, squarings: int
) -> float:
    """Return the constant of a part, from one cut to the next."""
    bent = [op for op in part if not isinstance(op, Affine)]
    for op in bent:
        if not isinstance(op, Maximum) and op.kind != "Relu":
            raise UnsupportedError(op.kind, "the Lipschitz bound")
    if len(part) == 1 and bent:
        return _own(bent[0], norm)
    found, sizes = _maps(part, start, shapes), {start: 1.0}

    def triangle(name: str) -> float:
        return sum(_norm(m, norm, squarings) * sizes[source] for source, m in found[name].items())

    for op in bent:
        sizes[op.output] = _own(op, norm) * triangle(op.inputs[0])
    end = found[part[-1].output]
    if norm == "2" and len(bent) == 1 and bent[0].kind == "Relu" and set(end) == set(sizes):
        inner = found[bent[0].inputs[0]][start]
        a, c, b = (m.flatten(1).mT for m in (end[start], end[bent[0].output], inner))
        return min(triangle(part[-1].output), _opposed(a, c, b, squarings))
    return triangle(part[-1].output)


def _own(op: Op, norm: str) -> float:
    """Return the constant of a ReLU, or of a maximum, whose windows may share their members."""
    if not isinstance(op, Maximum) or norm == "inf":
        return 1.0
    shared = float(op.windows[op.windows >= 0].bincount().max())
    return shared if norm == "1" else math.sqrt(shared)


def _norm(matrix: Tensor, norm: str, squarings: int) -> float:
    """Return the induced norm of a map, (inputs, *outputs)."""
    flat = matrix.flatten(1)
    rows, columns = float(flat.abs().sum(0).max()), float(flat.abs().sum(1).max())
    if norm != "2":
        return rows if norm == "inf" else columns
    simple = math.sqrt(rows * columns)
    longest = float(torch.linalg.vector_norm(flat, dim=1).max())
    if simple <= longest * (1 + 1e-9):
        return simple
    return min(simple, matrix_norm(flat.cpu().numpy(), squarings))


def _opposed(a: Tensor, c: Tensor, b: Tensor, squarings: int) -> float:
    """Return a bound of |A + C D B| over diagonal 0 <= D <= 1: with C'A = -Lambda B + E and C'C <= diag(M)."""
    across, gram = c.mT @ a, (c.mT @ c).abs()
    factors = (-(across * b).sum(1) / b.square().sum(1).clamp(min=1e-290)).clamp(min=0)
    error = across + factors[:, None] * b
    scaled = gram / factors.clamp(min=max(1e-290, 1e-12 * float(factors.max())))[:, None]
    q = torch.ones_like(factors)
    for _ in range(60):
        q = scaled @ q
        q = q / q.max().clamp(min=1e-290) + 1e-9
    excess = float((gram @ q / q - 2 * factors).clamp(min=0).max())
    whole, inner = _norm(a.mT, "2", squarings), _norm(b.mT, "2", squarings)
    return math.sqrt(whole**2 + inner**2 * excess + 2 * _norm(error.mT, "2", 0) * inner)


def local_slopes(ops: Sequence[Op], network: Network, bounds: Mapping[str, Bounds], query: Query, norm: str) -> Tensor:
    """Return Lipschitz constants (R,) of the query's rows over the box whose bounds are given.

    UnsupportedError for what is neither affine nor linear between kinks: facts say no range of its derivative.
    """
    low = query.rows.reshape(-1, *network.shapes[network.output])
    rows: dict[str, tuple[Tensor, Tensor]] = {network.output: (low, torch.zeros_like(low))}
    for op in reversed(tuple(primitives(ops))):
        if op.output not in rows:
            continue
        center, radius = rows.pop(op.output)
        for index, name in enumerate(op.inputs):
            if isinstance(op, Affine):
                made = op.adjoint(index, center), _absolute_adjoint(op, index, radius, bounds[name])
            else:
                made = _scaled(op, center, radius, bounds[name], query.owner)
            old = rows.get(name)
            rows[name] = made if old is None else (old[0] + made[0], old[1] + made[1])
    if network.input not in rows:
        return torch.zeros_like(query.offsets)
    center, radius = rows[network.input]
    slope: Tensor = torch.linalg.vector_norm((center.abs() + radius).flatten(1), ord=DUAL[norm], dim=1)
    return slope


def _absolute_adjoint(op: Affine, index: int, radius: Tensor, value: Bounds) -> Tensor:
    with torch.enable_grad():
        # |L| is linear, so its transpose is its derivative.
        start = radius.new_zeros(len(radius), *value.low.shape[1:]).requires_grad_(True)
        return torch.autograd.grad((op.absolute(index, start) * radius.detach()).sum(), start)[0]


def _scaled(op: Op, center: Tensor, radius: Tensor, value: Bounds, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply an interval of rows by the interval of a derivative."""
    if isinstance(op, Rounding):
        return center, radius
    if not isinstance(op, Elementwise) or not op.linear_pieces:
        raise UnsupportedError(op.kind, "the local Lipschitz bound")
    low, high = derivatives(op, value)
    middle, spread = ((high + low) / 2)[owner], ((high - low) / 2)[owner]
    return center * middle, radius * torch.maximum(low.abs(), high.abs())[owner] + center.abs() * spread


def derivatives(op: Elementwise, value: Bounds) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest derivative of f, linear between its kinks, on the intervals."""
    corners = [value.low, *(torch.full_like(value.low, k).clamp(value.low, value.high) for k in op.kinks), value.high]
    low, high = torch.full_like(value.low, torch.inf), torch.full_like(value.low, -torch.inf)
    for a, b in pairwise(corners):
        slope = op.derivative((a + b) / 2)
        real = b > a
        low, high = (torch.where(real, f(end, slope), end) for f, end in ((torch.minimum, low), (torch.maximum, high)))
    at = op.derivative(value.center)
    point = value.low == value.high
    return torch.where(point, at, low), torch.where(point, at, high)
