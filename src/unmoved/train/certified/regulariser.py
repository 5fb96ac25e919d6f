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
        center = at.center
        active, inactive = (at.low > 0).to(center.dtype), (at.high < 0).to(center.dtype)
        spread = (center - center.mean()) ** 2
        terms.append(_short(start / at.radius.mean().clamp(min=1e-12)))
        terms.append(_balance((center * active).mean(), -(center * inactive).mean()))
        terms.append(_balance((spread * active).mean(), (spread * inactive).mean()))
    layers = max(1, len(terms) // 3)
    return torch.stack(terms).sum() / layers if terms else start.new_zeros(())


def _balance(one: Tensor, other: Tensor) -> Tensor:
    """Return the cost of two positive quantities that are far apart; nothing where one of them is missing."""
    if not (one > 0 and other > 0):
        return torch.zeros_like(one)
    return _short(torch.minimum(one / other, other / one))


def _short(ratio: Tensor) -> Tensor:
    return functional.relu(TOLERANCE - ratio) / TOLERANCE
