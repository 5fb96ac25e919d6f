"""What a layer is, as mathematical facts: four families from which bounds are derived, and composites.

An `Op` is one node of a Network with its constants bound to tensors. Values of a tensor t have shape
(batch, *shapes[t]): one axis of ours in front of the ONNX shape at batch size 1. No Op knows a bound domain; no bound
domain knows an operator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Op(ABC):
    """One node with its variable inputs (tensor names, constants excluded), its output and that one's shape.

    `shape` is at batch size 1, as in `Network.shapes`.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...] = field(default=(), kw_only=True)

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

    @property
    def positive(self) -> bool:
        """Whether no L has a negative entry, so that ends map to ends (without the rounding of centre and radius)."""
        return False

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
    """y = f(x) element by element, f continuous where it is defined.

    From `apply`, `kinks` and `where_slope` a sound line of ANY slope k follows on [low, high]: the least intercept is
    min of f(x) - k x over the ends, the kinks inside and the points where f'(x) = k. `monotone` is +1, -1 or 0 (of the
    function where it is defined). `bends` help a heuristic to choose a slope, and no bound rests on them.
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

    @property
    def bends(self) -> tuple[tuple[float, float, int], ...]:
        """Convex (+1) and concave (-1) pieces: start, end, sign; none where nothing is said."""
        return ()

    def where_slope(self, slope: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        """Return every x in [low, high] with f'(x) = slope that may be extreme, a tensor a branch, NaN where none is.

        Points outside [low, high] may be among them; () for linear pieces.
        """
        return ()

    def defined(self, low: Tensor, high: Tensor) -> Tensor | None:
        """Say where f is defined and continuous on all of [low, high]; None: everywhere."""
        return None

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


@dataclass(frozen=True)
class Product(Op):
    """y = sum over k of (E_0 x)_k (E_1 z)_k: products of two variables' elements, and sums of them (Mul, MatMul).

    E_0 and E_1 only repeat and move numbers: they spread both variables to tensors of one shape, `pairs`, whose
    products y sums. From that McCormick's planes follow, pair by pair. `planes` names the tensor of all products:
    y itself where nothing is summed.
    """

    @property
    def planes(self) -> str:
        """Name of the tensor of products."""
        return self.output

    @property
    @abstractmethod
    def pairs(self) -> tuple[int, ...]:
        """The shape of the tensor of products, at batch size 1."""

    @abstractmethod
    def spread(self, index: int, value: Tensor) -> Tensor:
        """Return E_index value: (batch, *in_shape) -> (batch, *pairs)."""

    @abstractmethod
    def gather(self, index: int, rows: Tensor) -> Tensor:
        """Return rows E_index, the transposed map: (batch, *pairs) -> (batch, *in_shape)."""

    @abstractmethod
    def total(self, products: Tensor) -> Tensor:
        """Return the sums: (batch, *pairs) -> (batch, *shape)."""

    @abstractmethod
    def each(self, rows: Tensor) -> Tensor:
        """Return rows of the products for rows of the sums: (batch, *shape) -> (batch, *pairs), `total` transposed."""


@dataclass(frozen=True, eq=False)
class Composite(Op):
    """Several Ops in order, the last of which gives the output; `function` computes the same in one go.

    Inner tensors are named `<output>#<role>`. Bounds look at the parts, evaluation at the function.
    """

    parts: tuple[Op, ...]
    function: Callable[..., Tensor]

    def apply(self, *values: Tensor) -> Tensor:
        """Return the function's value."""
        return self.function(*values)


def primitives(ops: Sequence[Op]) -> Iterator[Op]:
    """Yield the Ops with every Composite replaced by its parts."""
    for op in ops:
        if isinstance(op, Composite):
            yield from primitives(op.parts)
        else:
            yield op
