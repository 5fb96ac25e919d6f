"""What an attack lowers: the margins of the ways in which a property breaks, made one number an input.

All read `ways` (k, D), the margins of `unmoved.attack.margins`: of a class they are y_label - y_j, infinite at the
label itself. So each loss of the literature, which is written with scores, is one of these, and holds for any property.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor | None], Tensor]
"""(ways (k, D), the way aimed at (k,) or None: any) -> loss (k,), to be lowered."""


def margin(ways: Tensor, target: Tensor | None) -> Tensor:
    """Return the least margin, or the target's (the loss of Carlini & Wagner 2017, section V.A, f6)."""
    return _aimed(ways, target)


def cross_entropy(ways: Tensor, target: Tensor | None) -> Tensor:
    """Return log(p / (1 - p)), p the softmax probability of the label (of a target: -log of its own odds).

    It falls and rises with minus the cross-entropy, log(1 + sum_j exp(-ways_j)), and its gradient has the same
    direction; but it does not vanish where p is 1 in float32.
    """
    scores = -ways
    if target is None:
        return -torch.logsumexp(scores, 1)
    own = target[:, None]
    others = torch.where(ways.isfinite(), scores, 0.0).scatter(1, own, -torch.inf)
    return torch.logsumexp(others, 1) + _aimed(ways, target)


def dlr(ways: Tensor, target: Tensor | None) -> Tensor:
    """Return the difference of logits ratio (Croce & Hein 2020, equations 4 and 5): a margin without scale.

    Untargeted the least margin is divided by z_(1) - z_(3), with a target by z_(1) - (z_(3) + z_(4)) / 2, z the scores
    in falling order. A property of fewer than three ways has no such ratio: its margin is taken as it is.
    """
    aimed = _aimed(ways, target)
    if ways.shape[1] < 3:
        return aimed
    scores = torch.where(ways.isfinite(), -ways, 0.0).topk(min(4, ways.shape[1]), dim=1).values
    low = scores[:, 2] if target is None else scores[:, 2:].mean(1)
    return aimed / (scores[:, 0] - low).clamp(min=1e-12)


LOSSES: dict[str, Loss] = {"margin": margin, "ce": cross_entropy, "dlr": dlr}


def _aimed(ways: Tensor, target: Tensor | None) -> Tensor:
    """Return the target's margin where it is finite, else the least."""
    least = ways.amin(1)
    if target is None:
        return least
    one = ways.gather(1, target[:, None])[:, 0]
    return torch.where(one.isfinite(), one, least)
