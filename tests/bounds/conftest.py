from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unmoved.ir.network import Network, Node

Shape = tuple[int, ...]


class Builder:
    """A net written by hand: every call appends one node and returns its output's name."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shapes: dict[str, Shape] = {"x": shape}

    def add(self, op: str, inputs: tuple[str, ...], shape: Shape, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(Node(op, name, inputs, (name,), attributes))
        self.shapes[name] = shape
        return name

    def constant(self, *shape: int, scale: float = 1.0) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        return name

    def fc(self, x: str, width: int) -> str:
        inputs = self.shapes[x][1]
        weight, bias = self.constant(width, inputs, scale=1.5 / inputs**0.5), self.constant(width, scale=0.3)
        return self.add("Gemm", (x, weight, bias), (1, width), transB=1)

    def conv(self, x: str, channels: int, kernel: int, stride: int = 1, pad: int = 0) -> str:
        before = self.shapes[x]
        weight = self.constant(channels, before[1], kernel, kernel, scale=1.5 / (before[1] * kernel**2) ** 0.5)
        side = (before[2] + 2 * pad - kernel) // stride + 1
        window = {"kernel_shape": (kernel,) * 2, "strides": (stride,) * 2, "pads": (pad,) * 4, "dilations": (1, 1)}
        inputs = (x, weight, self.constant(channels, scale=0.3))
        return self.add("Conv", inputs, (1, channels, side, side), group=1, **window)

    def pool(self, op: str, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        _, channels, before, _ = self.shapes[x]
        side = (before + 2 * pad - kernel) // stride + 1
        window = {"kernel_shape": (kernel,) * 2, "strides": (stride,) * 2, "pads": (pad,) * 4}
        return self.add(op, (x,), (1, channels, side, side), **window)

    def same(self, op: str, *inputs: str, **attributes: object) -> str:
        return self.add(op, inputs, self.shapes[inputs[0]], **attributes)

    def flat(self, x: str) -> str:
        return self.add("Flatten", (x,), (1, int(np.prod(self.shapes[x]))), axis=1)

    def normalised(self, x: str) -> str:
        channels = self.shapes[x][1]
        names = [self.constant(channels) for _ in range(4)]
        self.constants[names[3]] = np.abs(self.constants[names[3]]) + np.float32(0.5)
        return self.same("BatchNormalization", x, *names, epsilon=1e-5)

    def network(self) -> Network:
        return Network(tuple(self.nodes), self.constants, "x", self.nodes[-1].outputs[0], self.shapes, b"", "")


def mlp(activation: str, seed: int = 0, **attributes: object) -> Network:
    b = Builder((1, 5), seed)
    x = "x"
    for width in (7, 6):
        x = b.same(activation, b.fc(x, width), **attributes)
    b.fc(x, 3)
    return b.network()


def pooled(seed: int = 1) -> Network:
    """Conv, ReLU, overlapping max pooling with padding, conv, ReLU, max pooling of it, fully connected."""
    b = Builder((1, 2, 7, 7), seed)
    x = b.pool("MaxPool", b.same("Relu", b.conv("x", 3, 3, 1, 1)), 3, 2, 1)
    x = b.pool("MaxPool", b.conv(x, 2, 2), 2, 1)
    b.fc(b.flat(x), 3)
    return b.network()


def residual(seed: int = 2) -> Network:
    """Two residual blocks with batch norm, a skip from the input, and a projection; average pooling at the end."""
    b = Builder((1, 2, 6, 6), seed)
    inner = b.conv(b.same("Relu", b.normalised(b.conv("x", 2, 3, 1, 1))), 2, 3, 1, 1)
    x = b.same("Relu", b.same("Add", inner, "x"))
    inner = b.conv(b.same("Relu", b.conv(x, 3, 3, 2, 1)), 3, 3, 1, 1)
    x = b.same("Relu", b.same("Sub", inner, b.conv(x, 3, 1, 2)))
    x = b.pool("AveragePool", x, 3, 1)
    b.fc(b.flat(x), 3)
    return b.network()


def deep_conv(seed: int = 3) -> Network:
    """Convs whose receptive fields stay small, so that rows travel in cones."""
    b = Builder((1, 1, 12, 12), seed)
    x = b.same("Relu", b.conv("x", 3, 3, 2, 1))
    x = b.same("Tanh", b.conv(x, 3, 2, 2))
    x = b.same("LeakyRelu", b.conv(x, 3, 2, 1), alpha=0.2)
    b.fc(b.flat(x), 3)
    return b.network()


def sliced(seed: int = 4) -> Network:
    """Preprocessing by constants, two branches, concatenated; one tensor used by two non-linear operators."""
    b = Builder((1, 6), seed)
    x = b.same("Mul", b.same("Add", "x", b.constant(1, 6)), b.constant(6))
    z = b.fc(x, 4)
    joined = b.add("Concat", (b.same("Sigmoid", z), b.same("Relu", z)), (1, 8), axis=1)
    b.fc(b.same("Clip", b.same("Neg", joined), min=-0.9, max=-0.1), 3)
    return b.network()


def smooth(seed: int = 9) -> Network:
    """Gates and other smooth functions, side by side and one after the other."""
    b = Builder((1, 5), seed)
    z = b.fc("x", 3)
    kinds = ("Mish", "Softplus", "Erf", "Elu", "HardSwish", "Cos")
    joined = b.add("Concat", tuple(b.same(kind, z) for kind in kinds), (1, 18), axis=1)
    x = b.same("Gelu", b.fc(joined, 6))
    b.fc(b.same("Mul", x, b.same("Sigmoid", x)), 3)
    return b.network()


def attention(seed: int = 10) -> Network:
    """Layer norm, one head of attention over four tokens, a quotient of two variables, a squared skip."""
    b = Builder((1, 4, 3), seed)
    n = b.same("LayerNormalization", "x", b.constant(3), b.constant(3), axis=-1, epsilon=0.5)
    q, k, v = (b.add("MatMul", (n, b.constant(3, 3)), (1, 4, 3)) for _ in range(3))
    scores = b.add("MatMul", (q, b.add("Transpose", (k,), (1, 3, 4), perm=(0, 2, 1))), (1, 4, 4))
    mixed = b.add("MatMul", (b.same("Softmax", scores, axis=-1), v), (1, 4, 3))
    over = b.same("Div", mixed, b.same("Softplus", b.same("Add", v, b.constant(1))))
    x = b.same("Add", over, b.same("Mul", n, n))
    b.fc(b.flat(b.same("Max", x, mixed)), 3)
    return b.network()


NETS: dict[str, Callable[[], Network]] = {
    "relu": lambda: mlp("Relu"),
    "leaky": lambda: mlp("LeakyRelu", 5, alpha=0.3),
    "clip": lambda: mlp("Clip", 6, min=-0.7, max=0.4),
    "sigmoid": lambda: mlp("Sigmoid", 7),
    "tanh": lambda: mlp("Tanh", 8),
    "pooled": pooled,
    "residual": residual,
    "deep_conv": deep_conv,
    "sliced": sliced,
}


@pytest.fixture(params=sorted(NETS))
def network(request: pytest.FixtureRequest) -> Network:
    return NETS[request.param]()


MORE: dict[str, Callable[[], Network]] = {"attention": attention, "smooth": smooth}
"""Nets of dear operators, for the soundness tests alone."""


@pytest.fixture(params=sorted(NETS | MORE))
def any_network(request: pytest.FixtureRequest) -> Network:
    return (NETS | MORE)[request.param]()


@pytest.fixture
def nets() -> dict[str, Callable[[], Network]]:
    return NETS | MORE


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
