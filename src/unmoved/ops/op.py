"""What a layer is, as mathematical facts: three families, from which every bound is derived.

An `Op` is one node of a Network with its constants bound to tensors. Values of a tensor t have shape
(batch, *shapes[t]): one axis of ours in front of the ONNX shape at batch size 1. No Op knows a bound domain; no bound
domain knows an operator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Op(ABC):
    """One node with its variable inputs (tensor names, constants excluded) and its output tensor name."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str

    @abstractmethod
    def apply(self, *values: Tensor) -> Tensor:
        """Return the node's output for values of its variable inputs, each (batch, *shape)."""


@dataclass(frozen=True)
class Affine(Op):
    """y = sum_i L_i x_i + b with fixed linear maps L_i (one a variable input) and a fixed b.

    Gemm, MatMul by a constant, Conv, BatchNormalization, average pooling, Add/Sub of variables, arithmetic with
    constants, and everything that only moves numbers (Reshape, Transpose, Slice, Concat, Pad).
    """

    def apply(self, *values: Tensor) -> Tensor:
        """Return sum_i L_i values_i + b."""
        total, bias = self.linear(0, values[0]), self.bias()
        for index, value in enumerate(values[1:], start=1):
            total = total + self.linear(index, value)
        return total if bias is None else total + bias

    @abstractmethod
    def linear(self, index: int, value: Tensor) -> Tensor:
        """Return L_index value: (batch, *in_shape) -> (batch, *out_shape), without b."""

    @abstractmethod
    def absolute(self, index: int, radius: Tensor) -> Tensor:
        """Return |L_index| radius, |.| elementwise on the matrix: what interval arithmetic needs."""

    @abstractmethod
    def adjoint(self, index: int, rows: Tensor) -> Tensor:
        """Return rows L_index: (batch, *out_shape) -> (batch, *in_shape), the transposed map."""

    @abstractmethod
    def bias(self) -> Tensor | None:
        """Return b, of shape out_shape or broadcastable to it; None when there is none."""

    def entries(self, index: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return L_index where it is sparse: flat output places, flat input places (int64) and values of its entries.

        None when it is dense or moves numbers only: `adjoint` is as good then.
        """
        return None


@dataclass(frozen=True)
class Elementwise(Op):
    """y = f(x) element by element, f continuous.

    From `apply`, `kinks` and `where_slope` a sound line of ANY slope k follows on [low, high]: the least intercept is
    min of f(x) - k x over the ends, the kinks inside and the points where f'(x) = k. `monotone` is +1, -1 or 0.
    """

    @property
    @abstractmethod
    def monotone(self) -> int:
        """+1 when f never decreases, -1 when it never increases, 0 otherwise."""

    @property
    @abstractmethod
    def kinks(self) -> tuple[float, ...]:
        """Points where f is not differentiable."""

    @property
    def linear_pieces(self) -> bool:
        """Whether f is linear between its kinks, so that every extremum of f(x) - k x is at an end or a kink."""
        return False

    def where_slope(self, slope: Tensor) -> tuple[Tensor, ...]:
        """Return every x with f'(x) = slope, a tensor a branch, NaN where there is none; () for linear pieces."""
        return ()

    def derivative(self, value: Tensor) -> Tensor:
        """Return f'(x) (either one-sided value at a kink); only smooth f need it, for the choice of slopes."""
        with torch.enable_grad():
            x = value.detach().requires_grad_(True)
            return torch.autograd.grad(self.apply(x).sum(), x)[0]


@dataclass(frozen=True)
class Maximum(Op):
    """y = the maximum over a window of inputs (MaxPool with any kernel, stride, padding, dilation)."""

    @property
    @abstractmethod
    def windows(self) -> Tensor:
        """Return int64 (outputs, window): flat input indices at batch size 1, -1 for padding."""
