"""The regulariser of Shi et al. 2021, "Fast certified robust training with short warmup"."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from unmoved.bounds.enclosure import Bounds
from unmoved.ops import Op

TOLERANCE = 0.5


def regulariser(ops: tuple[Op, ...], bounds: Mapping[str, Bounds], box: Bounds) -> Tensor:
    """Return the mean over ReLU layers of the terms of Shi et al. 2021, section 3.3, equations 8 to 11.

    Tightness: mean radius at the input over mean radius at the layer. Balance: the active neurons' share against the
    inactive ones', in means and in variances. Each ratio costs what it falls short of TOLERANCE.
    """
    start = box.radius.mean()
    terms = []
    for op in ops:
        if op.kind != "Relu":
            continue
        at = bounds[op.inputs[0]]
        center = at.center.flatten()
        mean = center.mean()
        terms.append(_short(start / at.radius.mean().clamp(min=1e-12)))
        (on, on_spread), (off, off_spread) = (
            _moments(center, mask.flatten(), mean) for mask in (at.low > 0, at.high < 0)
        )
        terms.append(_balance(on, -off))
        terms.append(_balance(on_spread, off_spread))
    layers = max(1, len(terms) // 3)
    return torch.stack(terms).sum() / layers if terms else start.new_zeros(())


def _moments(center: Tensor, mask: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of m c and of m (c - mean)^2 over all elements, divided by their number, for a mask m.

    As inner products, with the square multiplied out: a third of the time of elementwise products.
    """
    chosen = mask.to(center.dtype)
    held = center * chosen
    first, second, count = torch.dot(center, chosen), torch.dot(held, center), chosen.sum()
    spread = second - 2 * mean * first + mean * mean * count
    return first / len(center), spread / len(center)


def _balance(one: Tensor, other: Tensor) -> Tensor:
    """Return the cost of two positive quantities that are far apart; nothing where one of them is missing."""
    if not (one > 0 and other > 0):
        return torch.zeros_like(one)
    return _short(torch.minimum(one / other, other / one))


def _short(ratio: Tensor) -> Tensor:
    return functional.relu(TOLERANCE - ratio) / TOLERANCE
