"""Convolution as matrix products of patches, for any number of spatial dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from unmoved_check.floating_rounding import Array
from unmoved_check.model.steps import Conv

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Patches:
    """Where each tap of the kernel meets the padded input: `taps` are slices of its spatial axes."""

    groups: int
    channels: int
    space: tuple[int, ...]
    out: tuple[int, ...]
    padded: tuple[int, ...]
    inside: Slices
    taps: tuple[Slices, ...]
    tiles: tuple[int, ...] | None
    """The kernel where its windows tile the image: every input is read once."""

    @classmethod
    def of(cls, step: Conv) -> Patches:
        """The patches of a step."""
        axes = range(len(step.kernel))
        reach = [(step.space_out[i] - 1) * step.strides[i] + (step.kernel[i] - 1) * step.dilations[i] + 1 for i in axes]
        padded = tuple(max(step.space_in[i] + step.pads[i], reach[i]) for i in axes)
        inside = tuple(slice(step.pads[i], step.pads[i] + step.space_in[i]) for i in axes)
        taps = tuple(
            tuple(
                slice(
                    tap[i] * step.dilations[i],
                    tap[i] * step.dilations[i] + (step.space_out[i] - 1) * step.strides[i] + 1,
                    step.strides[i],
                )
                for i in axes
            )
            for tap in product(*map(range, step.kernel))
        )
        exactly = all(
            step.strides[i] == step.kernel[i] == step.space_in[i] // step.space_out[i]
            and step.space_in[i] % step.space_out[i] == step.pads[i] == 0
            and step.dilations[i] == 1
            for i in axes
        )
        tiles = step.kernel if exactly else None
        return cls(step.groups, step.channels_in, step.space_in, step.space_out, padded, inside, taps, tiles)

    def correlate(self, x: Array, weights: Array) -> Array:
        """Weights (groups, outer, inner) on x (..., channels * space): an array (..., groups * outer * out)."""
        many = x.reshape(-1, x.shape[-1])
        image = np.zeros((len(many), self.channels, *self.padded))
        image[(slice(None), slice(None), *self.inside)] = many.reshape(-1, self.channels, *self.space)
        patches = np.stack([image[(slice(None), slice(None), *tap)] for tap in self.taps], axis=2)
        found = weights @ patches.reshape(len(many), self.groups, -1, prod(self.out))
        return np.asarray(found).reshape(*x.shape[:-1], -1)

    def spread(self, rows: Array, weights: Array) -> Array:
        """The transpose of `correlate` on rows (m, groups * outer * out): an array (m, channels * space).

        The rows' axis comes last in memory (the result is a transposed view): one product, and long contiguous sums.
        """
        m = rows.shape[0]
        blocks = np.ascontiguousarray(rows.T).reshape(self.groups, -1, prod(self.out) * m)
        patches = np.swapaxes(weights, 1, 2) @ blocks
        if self.tiles is not None:
            kernel, axes = self.tiles, range(len(self.out))
            order = (0, *(1 + i + j * len(axes) for i in axes for j in (1, 0)), 1 + 2 * len(axes))
            return patches.reshape(self.channels, *kernel, *self.out, m).transpose(order).reshape(-1, m).T
        patches = patches.reshape(self.channels, len(self.taps), *self.out, m)
        image = np.zeros((self.channels, *self.padded, m))
        for k, tap in enumerate(self.taps):
            image[(slice(None), *tap)] += patches[:, k]
        return image[(slice(None), *self.inside)].reshape(-1, m).T
