"""The compiled passes of training: the same values and gradients as torch's own operators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.rectified import rectified, swift
from unmoved.train.certified.moments import Moments, _compiled, _sums
from unmoved.train.channels import channel_moments


def intervals(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return centres and radii (leaves) of intervals on both sides of 0 and across it, and of single points at 0."""
    generator = torch.Generator().manual_seed(0)
    center = torch.randn(5, 3, 7, dtype=dtype, generator=generator)
    radius = torch.rand(5, 3, 7, dtype=dtype, generator=generator)
    center[0, 0, :2], radius[0, 0, :2] = 0.0, 0.0
    return center.requires_grad_(), radius.requires_grad_()


def plain(center: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    low, high = torch.relu(center - radius), torch.relu(center + radius)
    return (low + high) / 2, (high - low) / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rectified_intervals_are_those_of_relu(dtype: torch.dtype) -> None:
    leaves = intervals(dtype)
    assert swift(*leaves)
    weight = torch.randn(2, 5, 3, 7, dtype=dtype, generator=torch.Generator().manual_seed(1))
    found = []
    for function in (rectified, plain):
        values = function(*leaves)
        total = sum((v * w).sum() for v, w in zip(values, weight, strict=True))
        found.append((*values, *torch.autograd.grad(total, leaves)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_in_one_pass_are_the_sums(dtype: torch.dtype) -> None:
    leaves = intervals(dtype)
    weight = torch.randn(8, dtype=dtype, generator=torch.Generator().manual_seed(1))
    found = []
    for function in (_compiled, _sums):
        values = function(*leaves)
        found.append((values, *torch.autograd.grad((values * weight).sum(), leaves)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_moments_are_what_their_names_say() -> None:
    center, radius = intervals(torch.float64)
    got = Moments.of(Bounds.around(center, radius))
    spread = (center - center.mean()) ** 2
    for mask, first, second in (
        (center - radius > 0, got.on, got.on_spread),
        (center + radius < 0, got.off, got.off_spread),
    ):
        assert torch.allclose(first, (center * mask).mean())
        assert torch.allclose(second, (spread * mask).mean())
    assert torch.allclose(got.radius, radius.mean())


@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (7, 4), (5, 2, 9)])
def test_channels_have_torchs_mean_and_variance(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    axes = [i for i in range(len(shape)) if i != 1]
    weight = torch.randn(2, shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = []
    for variance, mean in (channel_moments(x)[::-1], torch.var_mean(x, axes, correction=0)):
        found.append((mean, variance, *torch.autograd.grad((mean * weight[0] + variance * weight[1]).sum(), x)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_what_the_compiled_passes_take() -> None:
    whole = torch.zeros(4, 6)
    assert swift(whole, whole) and swift(whole.double())
    assert not swift(whole.mT) and not swift(whole, whole.double()) and not swift(whole.bfloat16())
