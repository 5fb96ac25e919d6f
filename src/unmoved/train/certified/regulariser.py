"""The regulariser of Shi et al. 2021, "Fast certified robust training with short warmup"."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from unmoved.bounds.enclosure import Bounds
from unmoved.ops import Op
from unmoved.train.certified.moments import Moments

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
        at = Moments.of(bounds[op.inputs[0]])
        terms.append(_short(start / at.radius.clamp(min=1e-12)))
        terms.append(_balance(at.on, -at.off))
        terms.append(_balance(at.on_spread, at.off_spread))
    layers = max(1, len(terms) // 3)
    return torch.stack(terms).sum() / layers if terms else start.new_zeros(())


def _balance(one: Tensor, other: Tensor) -> Tensor:
    """Return the cost of two positive quantities that are far apart; nothing where one of them is missing."""
    if not (one > 0 and other > 0):
        return torch.zeros_like(one)
    return _short(torch.minimum(one / other, other / one))


def _short(ratio: Tensor) -> Tensor:
    return functional.relu(TOLERANCE - ratio) / TOLERANCE
