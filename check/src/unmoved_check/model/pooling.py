"""Rules for pools, sums and means."""

from __future__ import annotations

from array import array
from fractions import Fraction
from math import prod

from unmoved_check.model.affine import dense, table
from unmoved_check.model.builder import ZERO, Builder, Value, Variable, exact
from unmoved_check.model.constant import Constant
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
    if kernel is None or len(x.shape) < 3:
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
    windows = tuple(tuple(c * block + i for i in w) for c in range(prod(x.shape[:2])) for w in inside)
    return build.emit(Maximum(x.value, windows), (*x.shape[:2], *geometry.out))


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
    if len(x.shape) < 3:
        raise Rejection("model: GlobalAveragePool of a tensor without space")
    space = x.shape[2:]
    ones = (1,) * len(space)
    geometry = Geometry(space, ones, space, ones, ones, (0,) * len(space), False)
    return _mean(build, x, geometry, [prod(space)])


def _mean(build: Builder, x: Variable, geometry: Geometry, counts: list[int]) -> Variable:
    channels = prod(x.shape[:2])
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
    total = build.emit(step, (*x.shape[:2], *geometry.out))
    pairs, which = table([(exact(Fraction(1, n)), ZERO) for n in counts])
    return build.scaled(total, pairs, reshaped(which, geometry.out))


def axes_of(build: Builder, node: Node, inputs: list[Value | None], since: int) -> list[int]:
    """The axes that a reduction of the node's first input takes away, in order; an input from opset `since` on."""
    x, given = _variable(node, inputs[0]), inputs[1] if len(inputs) > 1 else None
    modern = build.opset >= since
    strange = node.attributes.get("axes") if modern else given or node.attributes.get("noop_with_empty_axes")
    if isinstance(given, Variable) or strange is not None:
        raise node.refuse("over variable axes, or over axes in the wrong place for its opset")
    rank = len(x.shape)
    axes = (given.integers() if isinstance(given, Constant) else node.integers("axes")) or []
    if not axes and not node.flag("noop_with_empty_axes", False):
        axes = list(range(rank))
    return sorted({axis(a, rank) for a in axes})


def reduce(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ReduceSum and ReduceMean over constant axes."""
    x, gone = _variable(node, inputs[0]), axes_of(build, node, inputs, 13 if node.op == "ReduceSum" else 18)
    if not gone:
        return x
    rank = len(x.shape)
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
