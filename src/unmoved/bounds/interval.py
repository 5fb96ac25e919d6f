"""Interval bounds of every tensor of a network; differentiable in the operators' parameters and in the box.

Gowal et al. 2018, "On the effectiveness of interval bound propagation", for the affine rule in centre-radius form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unmoved.bounds.domain import Domain, forward
from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.query import Query
from unmoved.bounds.rectified import rectified, swift
from unmoved.bounds.rounding import Rounding
from unmoved.bounds.rows import Rows, suffix
from unmoved.ir.network import Network
from unmoved.ops.op import Affine, Elementwise, Maximum, Op, Product, primitives


class IntervalDomain(Domain[Bounds]):
    """Elementwise ends, up to rounding the exact range of each single operator over a box."""

    def affine(self, op: Affine, values: tuple[Bounds, ...]) -> Bounds:
        """Enclose by centre and radius: L c + b -+ |L| r."""
        if op.positive:
            return Bounds(op.apply(*(v.low for v in values)), op.apply(*(v.high for v in values)))
        center, radius = op.linear(0, values[0].center), op.absolute(0, values[0].radius)
        for i, value in enumerate(values[1:], start=1):
            center, radius = center + op.linear(i, value.center), radius + op.absolute(i, value.radius)
        bias = op.bias()
        if bias is not None:
            center = center + bias
        return Bounds.around(center, radius)

    def elementwise(self, op: Elementwise, value: Bounds) -> Bounds:
        """Enclose by the ends when f is monotone, else by ends, kinks and stationary points."""
        if isinstance(op, Rounding):
            return op.interval(value)
        if op.kind == "Relu" and value.trained and swift(value.center, value.radius):
            return Bounds.around(*rectified(value.center, value.radius))
        ends = op.apply(value.low), op.apply(value.high)
        if op.monotone:
            low, high = ends if op.monotone > 0 else ends[::-1]
        else:
            inner = [torch.full_like(value.low, k) for k in op.kinks]
            if not op.linear_pieces:
                inner += op.where_slope(torch.zeros_like(value.low), value.low, value.high)
            values = torch.stack([*ends, *(op.apply(within(p, value)) for p in inner)])
            low, high = values.amin(0), values.amax(0)
        defined = op.defined(value.low, value.high)
        if defined is not None:
            low, high = torch.where(defined, low, -torch.inf), torch.where(defined, high, torch.inf)
        return Bounds(low, high)

    def product(self, op: Product, first: Bounds, second: Bounds) -> Bounds:
        """Enclose every product by those of the ends, then add up."""
        ends = [op.spread(0, end) for end in (first.low, first.high)]
        others = [op.spread(1, end) for end in (second.low, second.high)]
        corners = torch.stack([a * b for a in ends for b in others])
        return Bounds(op.total(corners.amin(0)), op.total(corners.amax(0)))

    def maximum(self, op: Maximum, value: Bounds) -> Bounds:
        """Enclose by the maxima of the ends."""
        return Bounds(op.apply(value.low), op.apply(value.high))


def within(points: Tensor, value: Bounds) -> Tensor:
    """Move points into their intervals (one outside stands for the nearer end, NaN for the lower one)."""
    return torch.minimum(torch.maximum(points.nan_to_num(-torch.inf, torch.inf, -torch.inf), value.low), value.high)


def interval(ops: Sequence[Op], network: Network, box: Bounds) -> dict[str, Bounds]:
    """Return interval bounds of every tensor, by name, for inputs in `box`; (batch, *shape) each."""
    return forward(ops, IntervalDomain(), {network.input: box})


def interval_low(
    ops: Sequence[Op], network: Network, enclosure: Enclosure, bounds: Mapping[str, Bounds], query: Query
) -> Tensor:
    """Return lower bounds (R,) of a query's rows over the enclosure, given interval bounds of the tensors.

    The rows go back through the last affine operators and are closed with the bounds of the nearest tensors that are
    no affine function of others: at the input, with the enclosure itself.
    """
    if ops and isinstance(ops[-1], Rounding):
        inner = replace(network, output=ops[-1].inputs[0])
        error = ops[-1].error.flatten(1).expand(len(enclosure), -1)[query.owner]
        return interval_low(ops[:-1], inner, enclosure, bounds, query) - (query.rows.abs() * error).sum(1)
    start = Rows({network.output: query.rows.reshape(-1, *network.shapes[network.output])}, -query.offsets)
    rows = suffix(tuple(primitives(ops)), start)
    total = rows.constant
    for name, coefficients in rows.coefficients.items():
        at = enclosure if name == network.input else Enclosure.of_box(bounds[name].low, bounds[name].high)
        total = total + at.least(coefficients, query.owner)
    return total


def margin_low(ops: Sequence[Op], network: Network, box: Bounds, rows: Tensor) -> Tensor:
    """Return lower bounds (batch, K) of rows @ y, rows (batch, K, outputs), over a box; differentiable (training).

    The last affine operators are merged into the rows, as in `interval_low`.
    """
    count, width = rows.shape[:2]
    owner = torch.arange(count, device=rows.device).repeat_interleave(width)
    query = Query(owner, rows.flatten(0, 1), torch.zeros_like(rows[..., 0]).flatten())
    enclosure = Enclosure.of_box(box.low, box.high)
    return interval_low(ops, network, enclosure, interval(ops, network, box), query).reshape(count, width)
