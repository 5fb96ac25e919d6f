"""A ReLU of intervals in centre-radius form, one pass over memory forward and one backward: what training spends on.

With l = c - r and h = c + r the result is (relu(l) + relu(h)) / 2 and (relu(h) - relu(l)) / 2. In torch's own operators
that is eight passes forward and ten backward, a third of the time of a step of interval training on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

Kernel = Callable[..., None]


def rectified(center: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Return centre and radius of the ReLU of the intervals about `center`; differentiable once."""
    one, other = _Rectified.apply(center, radius)  # type: ignore[no-untyped-call]
    return one, other


def swift(*tensors: Tensor) -> bool:
    """Say whether the compiled passes take such tensors: float32 or float64, all alike, dense, on the CPU."""
    kinds = {t.dtype for t in tensors}
    right = len(kinds) == 1 and kinds <= {torch.float32, torch.float64}
    return right and all(t.device.type == "cpu" and t.is_contiguous() for t in tensors)


def flat(tensor: Tensor) -> np.ndarray:
    """Return a dense CPU tensor's numbers as one row, without a copy."""
    return tensor.detach().numpy().reshape(-1)


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, center: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(center, radius)
        made = torch.empty_like(center), torch.empty_like(radius)
        _kernels()[0](*map(flat, (center, radius, *made)))
        return made

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, center_grad: Tensor, radius_grad: Tensor) -> tuple[Tensor, Tensor]:
        center, radius = ctx.saved_tensors
        made = torch.empty_like(center), torch.empty_like(radius)
        given = (center, radius, center_grad.contiguous(), radius_grad.contiguous(), *made)
        _kernels()[1](*map(flat, given))
        return made


@cache
def _kernels() -> tuple[Kernel, Kernel]:
    """Compile both passes; numba is imported by whoever trains, not by whoever certifies."""
    from numba import njit

    @njit(nogil=True)
    def forward(center: Any, radius: Any, made_center: Any, made_radius: Any) -> None:
        zero = center.dtype.type(0)
        half = center.dtype.type(0.5)
        for i in range(center.size):
            low = max(center[i] - radius[i], zero)
            high = max(center[i] + radius[i], zero)
            made_center[i] = (low + high) * half
            made_radius[i] = (high - low) * half

    @njit(nogil=True)
    def backward(
        center: Any, radius: Any, center_grad: Any, radius_grad: Any, made_center: Any, made_radius: Any
    ) -> None:
        zero = center.dtype.type(0)
        half = center.dtype.type(0.5)
        for i in range(center.size):
            low = (center_grad[i] - radius_grad[i]) * half if center[i] - radius[i] > zero else zero
            high = (center_grad[i] + radius_grad[i]) * half if center[i] + radius[i] > zero else zero
            made_center[i] = low + high
            made_radius[i] = high - low

    return forward, backward
