"""Sums over the intervals of a layer that are all positive, or all negative: what the regulariser is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.rectified import flat, swift

Kernel = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Moments:
    """Means over all elements: of the centre c, of the radius, and of m c and m (c - mean)^2 for two masks m.

    `on` and `on_spread` of the elements whose interval lies above 0, `off` and `off_spread` of those below 0.
    """

    radius: Tensor
    on: Tensor
    on_spread: Tensor
    off: Tensor
    off_spread: Tensor

    @classmethod
    def of(cls, at: Bounds) -> Moments:
        """Return the moments of a layer's intervals; differentiable once."""
        center, radius = at.center, at.radius
        sums = _compiled(center, radius) if swift(center, radius) else _sums(center, radius)
        on, on_square, on_count, off, off_square, off_count, total, width = sums / center.numel()
        return cls(
            width,
            on,
            on_square - 2 * total * on + total * total * on_count,
            off,
            off_square - 2 * total * off + total * total * off_count,
        )


def _sums(center: Tensor, radius: Tensor) -> Tensor:
    """Return the sums of m c, m c^2 and m for both masks m, of c, and of the radius, (8,)."""
    found = []
    for mask in (center > radius, center < -radius):
        held = center * mask
        found += [held.sum(), (held * center).sum(), mask.sum()]
    return torch.stack([*found, center.sum(), radius.sum()])


def _compiled(center: Tensor, radius: Tensor) -> Tensor:
    sums: Tensor = _Sums.apply(center, radius)  # type: ignore[no-untyped-call]
    return sums


class _Sums(torch.autograd.Function):
    """The same in one compiled pass forward, and one backward."""

    @staticmethod
    def forward(ctx: Any, center: Tensor, radius: Tensor) -> Tensor:
        ctx.save_for_backward(center, radius)
        made = torch.empty(8, dtype=torch.float64)
        _kernels()[0](flat(center), flat(radius), flat(made))
        return made.to(center.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        center, radius = ctx.saved_tensors
        made = torch.empty_like(center)
        _kernels()[1](flat(center), flat(radius), flat(gradient.contiguous()), flat(made))
        return made, gradient[7].expand_as(radius)


@cache
def _kernels() -> tuple[Kernel, Kernel]:
    from numba import njit

    @njit(nogil=True)
    def forward(center: Any, radius: Any, made: Any) -> None:
        made[:] = 0.0
        for i in range(center.size):
            c, r = center[i], radius[i]
            if c > r:
                made[0] += c
                made[1] += c * c
                made[2] += 1.0
            elif c < -r:
                made[3] += c
                made[4] += c * c
                made[5] += 1.0
            made[6] += c
            made[7] += r

    @njit(nogil=True)
    def backward(center: Any, radius: Any, gradient: Any, made: Any) -> None:
        two = center.dtype.type(2)
        for i in range(center.size):
            c, r = center[i], radius[i]
            found = gradient[6]
            if c > r:
                found += gradient[0] + two * c * gradient[1]
            elif c < -r:
                found += gradient[3] + two * c * gradient[4]
            made[i] = found

    return forward, backward
