"""Boxes of tensors, and the set S(x) at the network's input, as torch sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from unmoved.core.threat import Region


@dataclass(frozen=True, eq=False)
class Bounds:
    """Elementwise ends of a tensor: low <= value <= high, both (batch, *shape)."""

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, center: Tensor, radius: Tensor) -> Bounds:
        """Return the intervals about a centre; they keep both, which is what affine operators take and give."""
        bounds = cls(center - radius, center + radius)
        vars(bounds).update(center=center, radius=radius)
        return bounds

    @property
    def trained(self) -> bool:
        """Whether centre and radius are what was computed, and gradients are to flow through them."""
        return "center" in vars(self) and torch.is_grad_enabled() and self.center.requires_grad

    @cached_property
    def center(self) -> Tensor:
        """The middle of every interval."""
        return (self.low + self.high) / 2

    @cached_property
    def radius(self) -> Tensor:
        """Half the width of every interval."""
        return (self.high - self.low) / 2

    def take(self, index: Tensor) -> Bounds:
        """Return the bounds of some inputs of the batch."""
        return Bounds(self.low[index], self.high[index])

    def flat(self, places: Tensor) -> Bounds:
        """Return the bounds of some elements, at flat places: (batch, places)."""
        return Bounds(self.low.flatten(1)[:, places], self.high.flatten(1)[:, places])


@dataclass(frozen=True, eq=False)
class Enclosure:
    """A batch of sets around inputs: a box, and within the ball ||z - center||_norm <= eps when `norm` is given.

    `box` and `center` have shape (batch, *input_shape), `eps` (batch,). `norm` is "1", "2" or None.
    """

    box: Bounds
    center: Tensor
    norm: str | None
    eps: Tensor

    def __len__(self) -> int:
        return len(self.center)

    @classmethod
    def of_box(cls, low: Tensor, high: Tensor) -> Enclosure:
        """Return the box [low, high], (batch, *input_shape)."""
        box = Bounds(low, high)
        return cls(box, box.center, None, torch.zeros(len(low), dtype=low.dtype, device=low.device))

    @classmethod
    def of_regions(cls, regions: Sequence[Region], dtype: torch.dtype, device: str) -> Enclosure:
        """Join regions of one norm into a batch; what does not fit into `dtype` is rounded outward."""
        low, high, center = (np.concatenate([getattr(r, name) for r in regions]) for name in ("low", "high", "center"))
        eps = np.concatenate([np.full(len(r.low), r.eps) for r in regions])
        if dtype is torch.float32:
            low, high = _down(low), -_down(-high)
            near = center.astype(np.float32)
            # A ball about the rounded centre that holds the ball about the true one: the L1 distance bounds the L2 one.
            moved = np.abs(center - near).reshape(len(center), -1).sum(1) * (1 + 1e-9)
            center, eps = near, -_down(-(eps + moved))
        ends = (torch.as_tensor(a, dtype=dtype, device=device) for a in (low, high))
        return cls(
            Bounds(*ends),
            torch.as_tensor(center, dtype=dtype, device=device),
            regions[0].norm,
            torch.as_tensor(eps, dtype=dtype, device=device),
        )

    @cached_property
    def _flat(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.box.center.flatten(1), self.box.radius.flatten(1), self.center.flatten(1)

    def least(self, rows: Tensor, owner: Tensor) -> Tensor:
        """Return a lower bound of <rows[r], z> over the set of input `owner[r]`; rows (R, *input_shape), owner (R,).

        By Hölder's inequality on the box and, for a ball, on its centre with the dual norm; the better value counts.
        """
        middle, radius, center = self._flat
        flat = rows.flatten(1)
        size = flat.abs()
        low = _dot(flat, middle[owner]) - _dot(size, radius[owner])
        if self.norm is None:
            return low
        return torch.maximum(low, _dot(flat, center[owner]) - self.eps[owner] * self._dual(size))

    def least_shared(self, rows: Tensor) -> Tensor:
        """Return the same for every row over every input's set: rows (M, *input_shape) -> (M, batch)."""
        middle, radius, center = self._flat
        flat = rows.flatten(1)
        size = flat.abs()
        low = flat @ middle.mT - size @ radius.mT
        if self.norm is None:
            return low
        return torch.maximum(low, flat @ center.mT - self._dual(size)[:, None] * self.eps)

    def _dual(self, size: Tensor) -> Tensor:
        return size.norm(dim=1) if self.norm == "2" else size.amax(1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each pair of rows without the product's array."""
    product: Tensor = torch.linalg.vecdot(a, b)
    return product


def _down(array: np.ndarray) -> np.ndarray:
    """Return float32 numbers <= the given float64 ones."""
    near = array.astype(np.float32)
    return np.where(near > array, np.nextafter(near, np.float32(-np.inf)), near)
