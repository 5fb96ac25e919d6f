"""Where to cut boxes: what halving each axis of the input is likely to gain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unmoved.bounds import LinearBounds, Query
from unmoved.ops import evaluate
from unmoved.ops.op import Elementwise

POINTS = 8
"""Where derivatives are looked at: at one point alone a network may be flat."""

BY_WIDTH = 0.1
"""The part that goes by the widths that are left, so that no axis is forgotten for good."""


def gains(known: LinearBounds, query: Query) -> Tensor:
    """Return about what a cut of each axis gains for each row of a query on its owner's box, (R, inputs).

    A bound is loose where the function moves, and where units are undecided: a cut helps by how far it stops both.
    So the sum of two shares: how far the row moves along an axis, and how far the undecided units do (the sum of their
    values under random signs, each weighted by how evenly its interval is divided by the kink: the derivative of such
    a sum is as large as the root of the sum of squares, Hutchinson 1990). The coefficients of the bound itself mislead
    where it is loose: on ACAS Xu 4_5, prop_10, boxes are then cut without end (now 300 boxes).
    """
    box, network = known.enclosure.box, known.network
    low, high = box.low.flatten(1)[query.owner], box.high.flatten(1)[query.owner]
    width = high - low
    units = {
        op.inputs[0]: _evenness(known, op.inputs[0])[query.owner] for op in known.ops if isinstance(op, Elementwise)
    }
    # numpy's: the command line goes without those parts of torch that its generators need
    chance = np.random.default_rng(0)
    at = torch.as_tensor(chance.random((POINTS, width.shape[1]))).to(width)
    with torch.enable_grad():
        x = (low + at[:, None] * width).flatten(0, 1).requires_grad_(True)
        values = evaluate(known.ops, network, x.view(-1, *network.input_shape), keep=[*units, network.output])
        moved = (values[network.output].flatten(1) * query.rows.repeat(POINTS, 1)).sum()
        stirred = moved.new_zeros(())
        for name, weights in units.items():
            weight = weights.repeat(POINTS, 1)
            sign = torch.as_tensor(chance.choice((-1.0, 1.0), weight.shape)).to(weight)
            stirred = stirred + (values[name].flatten(1) * weight * sign).sum()
        slopes = [_gradient(moved, x), _gradient(stirred, x)]
    parts = [slope.abs().view(POINTS, *width.shape).mean(0) * width for slope in slopes]
    whole = width.amax(0).clamp(min=torch.finfo(width.dtype).tiny)
    return _share(parts[0]) + _share(parts[1]) + BY_WIDTH * _share(width / whole) + 1e-9 * _share(width)


def _evenness(known: LinearBounds, name: str) -> Tensor:
    """Return 1 for units whose intervals 0 halves, less the nearer it is to an end, and 0 outside; (boxes, units)."""
    low, high = known.bounds[name].low.flatten(1), known.bounds[name].high.flatten(1)
    crossing = (low < 0) & (high > 0)
    width = torch.where(crossing, high - low, 1.0)
    return torch.where(crossing, -4 * (low / width) * (high / width), 0.0)


def _gradient(value: Tensor, x: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(value, x, retain_graph=True)[0].nan_to_num(0.0, 0.0, 0.0)


def _share(part: Tensor) -> Tensor:
    """Return the parts of each row's sum."""
    return part / part.sum(1, keepdim=True).clamp(min=torch.finfo(part.dtype).tiny)
