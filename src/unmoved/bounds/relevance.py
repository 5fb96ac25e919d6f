"""Which elements can matter to the output at all: bounds of the others are not worth a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.relaxation import contenders
from unmoved.ir.network import Network
from unmoved.ops.op import Affine, Elementwise, Maximum, Op, Product


def relevant(ops: Sequence[Op], network: Network, bounds: Mapping[str, Bounds]) -> dict[str, Tensor]:
    """Return, for every tensor, which elements some output can depend on within the bounds: bool (batch, *shape).

    An element is irrelevant where every way to the output ends in a zero weight, in a function that is constant on its
    interval, or in a maximum that it can't attain: rows have the coefficient 0 there, whatever the relaxation.
    """
    last = bounds[network.output].low
    weights = {network.output: torch.ones_like(last)}
    for op in reversed(ops):
        outer = weights.get(op.output)
        if outer is None:
            continue
        for index, name in enumerate(op.inputs):
            inner = _inner(op, index, outer, bounds[name])
            weights[name] = (weights[name] + inner if name in weights else inner).sign()
    missing = {name: torch.zeros_like(b.low, dtype=torch.bool) for name, b in bounds.items() if name not in weights}
    return missing | {name: weight > 0 for name, weight in weights.items()}


def _inner(op: Op, index: int, outer: Tensor, value: Bounds) -> Tensor:
    """Return numbers > 0 where the operator's input matters, given such numbers (or 0) of its output."""
    if isinstance(op, Affine):
        with torch.enable_grad():
            # |L| is linear, so its transpose is its derivative.
            start = torch.zeros_like(value.low).requires_grad_(True)
            # The sum instead of `grad_outputs`: given those, torch imports sympy, half a second for every program.
            return torch.autograd.grad((op.absolute(index, start) * outer.detach()).sum(), start)[0]
    if isinstance(op, Elementwise):
        constant = op.apply(value.low) == op.apply(value.high) if op.monotone else torch.zeros_like(outer) > 0
        return outer.masked_fill(constant & (value.low < value.high), 0.0)
    if isinstance(op, Maximum):
        return contenders(op, value, outer.flatten(1))
    if isinstance(op, Product):
        return op.gather(index, op.each(outer))
    return torch.ones_like(value.low)
