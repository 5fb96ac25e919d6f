"""Layers that are 1-Lipschitz in L2 by construction, in closed form: no orthogonal matrix, no power iteration.

AOL (Prach & Lampert 2022): W with its columns (or rows) divided by the roots of Gershgorin's sums of its Gram matrix.
SLL (Araujo et al. 2023): x - 2 W T^-1 relu(W' x + b), T = diag(sum_j |W' W|_ij q_j / q_i). `baked` gives what is
deployed: plain layers whose stored numbers `margin.lipschitz_bound` bounds.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from unmoved.bounds.norms import gram_sums
from unmoved.core.errors import UsageError

Plain = TypeVar("Plain", nn.Linear, nn.Conv2d)


class AolLinear(nn.Module):
    """y = P x + b with ||P||_2 <= 1, up to rounding."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as an orthogonal matrix: AOL leaves it as it is."""
        nn.init.orthogonal_(self.weight)
        nn.init.zeros_(self.bias)

    @property
    def scaled(self) -> Tensor:
        """P: rescaled along the shorter side, so that the Gram matrix is small."""
        weight = self.weight
        if weight.shape[0] <= weight.shape[1]:
            return weight * (weight @ weight.mT).abs().sum(1).clamp(min=1e-12).rsqrt()[:, None]
        return weight * (weight.mT @ weight).abs().sum(1).clamp(min=1e-12).rsqrt()

    def forward(self, x: Tensor) -> Tensor:
        """Return P x + b."""
        return functional.linear(x, self.scaled, self.bias)

    def baked(self) -> nn.Linear:
        """Return the plain layer."""
        plain = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        return _filled(plain, self.scaled, self.bias)


class AolConv2d(nn.Module):
    """Convolution with a kernel P, zero padding to the same size, of norm <= 1 up to rounding. Odd kernel sizes."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__()
        _odd(size)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start near an orthogonal map of the channels at the centre of the kernel."""
        _dirac(self.weight)
        nn.init.zeros_(self.bias)

    @property
    def scaled(self) -> Tensor:
        """P."""
        weight = self.weight
        if weight.shape[0] <= weight.shape[1]:
            return weight * _sums(weight).clamp(min=1e-12).rsqrt()[:, None, None, None]
        return weight * _sums(weight.transpose(0, 1)).clamp(min=1e-12).rsqrt()[None, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Return P * x + b."""
        return functional.conv2d(x, self.scaled, self.bias, padding=self.weight.shape[-1] // 2)

    def baked(self) -> nn.Conv2d:
        """Return the plain layer."""
        outputs, inputs, size, _ = self.weight.shape
        return _filled(nn.Conv2d(inputs, outputs, size, padding=size // 2), self.scaled, self.bias)


class Sll(nn.Module):
    """x - 2 W (theta relu(W' x + b)), theta = 1 / T: 1-Lipschitz up to rounding, on vectors or, by kernels, on images.

    `size` None: x (n, channels), W' is (inner, channels). Else x (n, channels, H, W) and W' is convolution by a kernel
    (inner, channels, size, size) with zero padding, W its adjoint. Parameters: weight (of W'), bias, and log q.
    """

    def __init__(self, channels: int, inner: int, size: int | None = None) -> None:
        super().__init__()
        if size is not None:
            _odd(size)
        self.weight = nn.Parameter(torch.empty(inner, channels, *(() if size is None else (size, size))))
        self.bias = nn.Parameter(torch.zeros(inner))
        self.log_q = nn.Parameter(torch.zeros(inner))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw W as torch draws a layer's weights; q is 1."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.log_q)

    @property
    def theta(self) -> Tensor:
        """1 / T (inner,)."""
        q = self.log_q.exp()
        return 1 / _sums(self.weight, q).div(q).clamp(min=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual step."""
        return residual(x, self.weight, self.bias, self.theta)

    def baked(self) -> Residual:
        """Return the step with stored theta, rounded down until the proof holds for the stored numbers exactly."""
        with torch.no_grad():
            weight, q = self.weight.double().numpy(), self.log_q.double().exp().numpy()
        theta = np.nextafter((1 / gram_sums(weight, q)).astype(np.float32), np.float32(0))
        stored = self.weight.detach().clone(), self.bias.detach().clone()
        return Residual(*stored, torch.as_tensor(theta), torch.as_tensor(q))


class Residual(nn.Module):
    """x - 2 W (theta relu(W' x + b)) with theta stored: an `Sll` as it is deployed. `q` is for the proof alone."""

    weight: Tensor
    bias: Tensor
    theta: Tensor
    q: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, theta: Tensor, q: Tensor) -> None:
        super().__init__()
        for name, tensor in (("weight", weight), ("bias", bias), ("theta", theta), ("q", q)):
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual step."""
        return residual(x, self.weight, self.bias, self.theta)


class MaxMin(nn.Module):
    """(max(a, b), min(a, b)) for the first and second half of the channels: sorting pairs keeps every distance or less.

    Written with a ReLU, max = b + relu(a - b), min = a - relu(a - b), so that every bound knows it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the sorted pairs; x (n, an even number, ...)."""
        if x.shape[1] % 2:
            raise UsageError("x", tuple(x.shape), "an even number of channels")
        half = x.shape[1] // 2
        a, b = x[:, :half], x[:, half:]
        over = torch.relu(a - b)
        return torch.cat([b + over, a - over], 1)


def residual(x: Tensor, weight: Tensor, bias: Tensor, theta: Tensor) -> Tensor:
    """Return x - 2 W (theta relu(W' x + b)); W' is `weight`, a matrix or the kernel of a convolution."""
    if weight.dim() == 2:
        inner = torch.relu(functional.linear(x, weight, bias))
        return x - functional.linear(inner * theta, 2 * weight.mT)
    pad = weight.shape[-1] // 2
    inner = torch.relu(functional.conv2d(x, weight, bias, padding=pad)) * theta[:, None, None]
    # the adjoint of a convolution of odd size is the one by the flipped kernel, channels swapped
    return x - functional.conv2d(inner, 2 * weight.transpose(0, 1).flip(2, 3), padding=pad)


def lipschitz_cnn(*, side: int = 28, channels: int = 1, classes: int = 10, width: int = 24) -> nn.Sequential:
    """Return a 1-Lipschitz net: two halvings by moving pixels to channels, SLL steps, AOL layers in between."""
    if side % 4:
        raise UsageError("side", side, "a multiple of 4 pixels")
    flat = width * (side // 4) ** 2
    return nn.Sequential(
        nn.PixelUnshuffle(2),
        AolConv2d(4 * channels, width),
        Sll(width, width, 3),
        Sll(width, width, 3),
        nn.PixelUnshuffle(2),
        AolConv2d(4 * width, width, 1),
        MaxMin(),
        Sll(width, width, 3),
        nn.Flatten(),
        AolLinear(flat, 128),
        MaxMin(),
        Sll(128, 128),
        AolLinear(128, classes),
    )


def _sums(weight: Tensor, q: Tensor | None = None) -> Tensor:
    """Return sum_{j, shift} |(W W')[i, j, shift]| q_j for a matrix or kernel W (out, in, ...)."""
    if weight.dim() == 2:
        gram = (weight @ weight.mT).abs()
    else:
        gram = functional.conv2d(weight, weight, padding=weight.shape[-1] - 1).abs().sum((2, 3))
    return gram.sum(1) if q is None else gram @ q


def _filled(plain: Plain, weight: Tensor, bias: Tensor) -> Plain:
    with torch.no_grad():
        plain.weight.copy_(weight)
        assert plain.bias is not None
        plain.bias.copy_(bias)
    return plain.eval()


def _dirac(weight: Tensor) -> None:
    with torch.no_grad():
        nn.init.normal_(weight, std=0.02 / math.sqrt(weight[0].numel()))
        middle = weight.shape[-1] // 2
        centre = torch.empty(weight.shape[:2])
        nn.init.orthogonal_(centre)
        weight[:, :, middle, middle] += centre


def _odd(size: int) -> None:
    if size < 1 or size % 2 == 0:
        raise UsageError("size", size, "an odd kernel size")
