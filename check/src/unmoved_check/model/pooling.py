"""Rules for pools, reductions and the piecewise-linear activations."""

from __future__ import annotations

from array import array
from fractions import Fraction
from math import prod

from unmoved_check.model.affine import dense, table
from unmoved_check.model.builder import ZERO, Builder, Value, Variable, exact
from unmoved_check.model.constant import Constant, float32
from unmoved_check.model.movement import axis, reshaped, transposed
from unmoved_check.model.reader import Node
from unmoved_check.model.steps import Conv, Maximum
from unmoved_check.model.windows import Geometry
from unmoved_check.outcome import Rejection


def _variable(node: Node, value: Value | None) -> Variable:
    if not isinstance(value, Variable):
        raise node.refuse("of a constant")
    return value


def _geometry(node: Node, x: Variable) -> Geometry:
    kernel = node.integers("kernel_shape")
    if kernel is None or len(x.shape) < 3 or x.shape[0] != 1:
        raise Rejection(f"model: {node.op} without a kernel, or of a tensor without space")
    return Geometry.of(node, x.shape[2:], tuple(kernel))


def max_pool(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX MaxPool; padding never wins."""
    x = _variable(node, inputs[0])
    geometry = _geometry(node, x)
    inside = geometry.inside()
    if not all(inside):
        raise node.refuse("with a window of padding only")
    block = prod(x.shape[2:])
    windows = tuple(tuple(c * block + i for i in w) for c in range(x.shape[1]) for w in inside)
    return build.emit(Maximum(x.value, windows), (1, x.shape[1], *geometry.out))


def average_pool(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX AveragePool: the sum of each window, over how many numbers it has."""
    x = _variable(node, inputs[0])
    geometry = _geometry(node, x)
    if node.flag("count_include_pad", False):
        if geometry.overhang:
            raise node.refuse("with count_include_pad and a window behind the padding")
        counts = [prod(geometry.kernel)] * prod(geometry.out)
    else:
        counts = [len(w) for w in geometry.inside()]
    if 0 in counts:
        raise node.refuse("with a window of padding only")
    return _mean(build, x, geometry, counts)


def global_average_pool(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX GlobalAveragePool."""
    x = _variable(node, inputs[0])
    if len(x.shape) < 3 or x.shape[0] != 1:
        raise Rejection("model: GlobalAveragePool of a tensor without space")
    space = x.shape[2:]
    ones = (1,) * len(space)
    geometry = Geometry(space, ones, space, ones, ones, (0,) * len(space), False)
    return _mean(build, x, geometry, [prod(space)])


def _mean(build: Builder, x: Variable, geometry: Geometry, counts: list[int]) -> Variable:
    channels = x.shape[1]
    step = Conv(
        x.value,
        channels,
        geometry.space,
        channels,
        geometry.out,
        geometry.kernel,
        geometry.strides,
        geometry.dilations,
        geometry.pads,
        channels,
        array("d", [1.0]) * (channels * prod(geometry.kernel)),
    )
    total = build.emit(step, (1, channels, *geometry.out))
    pairs, which = table([(exact(Fraction(1, n)), ZERO) for n in counts])
    return build.scaled(total, pairs, reshaped(which, geometry.out))


def reduce(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ReduceSum and ReduceMean over constant axes."""
    x = _variable(node, inputs[0])
    given = inputs[1] if len(inputs) > 1 else None
    axes = given.integers() if isinstance(given, Constant) else node.integers("axes")
    if isinstance(given, Variable) or (given is not None and "axes" in node.attributes):
        raise node.refuse("over variable axes, or over two lists of axes")
    rank = len(x.shape)
    if not axes:
        if node.flag("noop_with_empty_axes", False):
            return x
        axes = list(range(rank))
    gone = sorted({axis(a, rank) for a in axes})
    kept = [a for a in range(rank) if a not in gone]
    moved = build.moved([x], transposed(x.places(), kept + gone))
    count = prod(x.shape[a] for a in gone)
    flat = Variable(moved.value, (prod(x.shape[a] for a in kept), count))
    y = dense(build, flat, array("d", [1.0]) * count, 1)
    if node.op == "ReduceMean":
        y = build.stretched(y, Fraction(1, count))
    if node.flag("keepdims", True):
        return Variable(y.value, tuple(1 if a in gone else d for a, d in enumerate(x.shape)))
    return Variable(y.value, tuple(x.shape[a] for a in kept))


def relu(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Relu."""
    return build.relu(_variable(node, inputs[0]))


def leaky_relu(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Slope * x + (1 - slope) * relu(x): the same chord and the same lower lines as of LeakyRelu itself."""
    x = _variable(node, inputs[0])
    slope = Fraction(node.real("alpha", float32(0.01)))
    if not 0 <= slope < 1:
        raise node.refuse("with a slope outside [0, 1)")
    return build.added(build.stretched(x, slope), build.stretched(build.relu(x), 1 - slope))
