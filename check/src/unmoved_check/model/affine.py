"""Rules for Gemm, MatMul, Conv, BatchNormalization and arithmetic with constants."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import isqrt, prod

from unmoved_check.model.builder import ONE, ZERO, Builder, Value, Variable, exact
from unmoved_check.model.constant import Constant, float32
from unmoved_check.model.curve import Bracket
from unmoved_check.model.folding import arithmetic, negated
from unmoved_check.model.form import summed
from unmoved_check.model.movement import broadcast, expanded, limited, reshaped, transposed
from unmoved_check.model.reader import Node
from unmoved_check.model.steps import Conv, Dense
from unmoved_check.model.windows import Geometry
from unmoved_check.outcome import Rejection

BITS = 100
"""Irrational constants are enclosed to this many bits."""

MOST_PRODUCTS = 1 << 12
"""By more constant matrices than these a batch is not multiplied."""

NORM_ROUNDINGS = 6
"""Of scale / sqrt(var + epsilon): a sum (halved by the root), a root and a quotient, or an inverse root of two units in
the last place (4 roundings), and a product."""


def shifted(build: Builder, x: Variable, constant: Constant, factor: Fraction = Fraction(1)) -> Variable:
    """X + factor * constant, with broadcasting."""
    pairs, which = table([(ONE, exact(factor * v)) for v in constant.rationals()])
    return build.scaled(x, pairs, reshaped(which, constant.shape))


def table(pairs: Sequence[tuple[Bracket, Bracket]]) -> tuple[list[tuple[Bracket, Bracket]], Constant]:
    """The distinct pairs, and for each of `pairs` which one it is."""
    seen: dict[tuple[Bracket, Bracket], int] = {}
    which = [seen.setdefault(pair, len(seen)) for pair in pairs]
    return list(seen), Constant("int", (len(which),), which)


def dense(build: Builder, x: Variable, weights: array[float], outer: int) -> Variable:
    """X @ W^T over the last axis of x, W of shape (outer, inner) row-major."""
    inner = x.shape[-1]
    if len(weights) != inner * outer:
        raise Rejection(f"model: a product of {list(x.shape)} with {len(weights)} weights")
    shape = (*x.shape[:-1], outer)
    return build.emit(Dense(x.value, prod(shape[:-1]), inner, outer, weights), shape)


def gemm(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Gemm of a variable and a constant on either side, and a constant C."""
    x, weight = inputs[:2]
    bias = inputs[2] if len(inputs) > 2 else None
    if isinstance(x, Constant) and isinstance(weight, Variable) and not isinstance(bias, Variable):
        return _left_gemm(build, node, (x, weight), bias)
    if not isinstance(x, Variable) or not isinstance(weight, Constant) or isinstance(bias, Variable):
        raise node.refuse("of two variables, or with a variable C")
    if len(x.shape) != 2 or len(weight.shape) != 2:
        raise Rejection("model: Gemm of tensors that are no matrices")
    if node.flag("transA", False):
        x = build.moved([x], transposed(x.places(), None))
    weights = weight.weights()
    inner, outer = weight.shape[::-1] if node.flag("transB", False) else weight.shape
    if inner != x.shape[1]:
        raise Rejection("model: Gemm of matrices that don't fit")
    if not node.flag("transB", False):
        weights = _columns(weights, outer)
    return _finished(build, node, dense(build, x, weights, outer), bias)


def _left_gemm(build: Builder, node: Node, factors: tuple[Constant, Variable], bias: Constant | None) -> Variable:
    weight, x = factors
    if len(x.shape) != 2 or len(weight.shape) != 2:
        raise Rejection("model: Gemm of tensors that are no matrices")
    if node.flag("transA", False):
        weight = transposed(weight, None)
    if node.flag("transB", False):
        x = build.moved([x], transposed(x.places(), None))
    return _finished(build, node, _left_matmul(build, node, weight, x), bias)


def _finished(build: Builder, node: Node, y: Variable, bias: Constant | None) -> Variable:
    """Alpha y + beta C."""
    alpha = Fraction(node.real("alpha", 1.0))
    y = build.stretched(y, alpha) if alpha != 1 else y
    if bias is None:
        return y
    return shifted(build, y, expanded(bias, y.shape), Fraction(node.real("beta", 1.0)))


def _columns(weights: array[float], columns: int) -> array[float]:
    """A row-major matrix transposed."""
    found = array("d")
    for c in range(columns):
        found.extend(weights[c::columns])
    return found


def matmul(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX MatMul of a variable with a constant matrix on either side."""
    left, right = inputs
    for value, other in ((left, right), (right, left)):
        if isinstance(value, Constant) and isinstance(other, Variable) and len(value.shape) > 2:
            return _batched(build, node, (left, right))
    if isinstance(left, Variable) and isinstance(right, Constant):
        if len(right.shape) not in (1, 2) or not left.shape or left.shape[-1] != right.shape[0]:
            raise node.refuse("with a constant that is no fitting matrix")
        outer = right.shape[1] if len(right.shape) == 2 else 1
        y = dense(build, left, _columns(right.weights(), outer), outer)
        return y if len(right.shape) == 2 else Variable(y.value, y.shape[:-1])
    if isinstance(left, Constant) and isinstance(right, Variable):
        return _left_matmul(build, node, left, right)
    raise node.refuse("of two variables")


def _batched(build: Builder, node: Node, factors: Sequence[Value | None]) -> Variable:
    """A product with one constant matrix for each of several others: each by itself, laid end to end."""
    constant = next(f for f in factors if isinstance(f, Constant))
    x = next(f for f in factors if isinstance(f, Variable))
    first, place = x.shape, factors.index(x)
    matrix = ((1, *x.shape) if place == 0 else (*x.shape, 1)) if len(x.shape) == 1 else x.shape
    batch = broadcast(matrix[:-2], constant.shape[:-2])
    if prod(batch) > MOST_PRODUCTS:
        raise node.refuse(f"by more than {MOST_PRODUCTS} matrices")
    wide = expanded(reshaped(x.places(), matrix), (*batch, *matrix[-2:])).integers()
    numbers = expanded(constant, (*batch, *constant.shape[-2:])).values
    size, many, parts = prod(matrix[-2:]), prod(constant.shape[-2:]), []
    for b in range(prod(batch)):
        part: Value = build.moved([x], Constant("int", matrix[-2:], wide[b * size : (b + 1) * size]))
        own: Value = Constant(constant.kind, constant.shape[-2:], numbers[b * many : (b + 1) * many])
        made = matmul(build, node, [part, own] if place == 0 else [own, part])
        assert isinstance(made, Variable)
        parts.append(made)
    shape = [*batch, *parts[0].shape]
    if len(first) == 1:
        shape.pop(-2 if place == 0 else -1)
    return build.moved(parts, Constant("int", tuple(shape), range(prod(shape))))


def _left_matmul(build: Builder, node: Node, left: Constant, right: Variable) -> Variable:
    """W @ x = (x^T W^T)^T over the last two axes."""
    if len(left.shape) == 1 and len(right.shape) > 1:
        y = _left_matmul(build, node, reshaped(left, (1, *left.shape)), right)
        return Variable(y.value, (*y.shape[:-2], y.shape[-1]))
    if len(left.shape) != 2 or not right.shape or left.shape[1] != right.shape[max(len(right.shape) - 2, 0)]:
        raise node.refuse("with a constant that is no fitting matrix")
    if len(right.shape) == 1:
        return dense(build, right, left.weights(), left.shape[0])
    rank = len(right.shape)
    swap = [*range(rank - 2), rank - 1, rank - 2]
    turned = build.moved([right], transposed(right.places(), swap))
    y = dense(build, turned, left.weights(), left.shape[0])
    return build.moved([y], transposed(y.places(), swap))


def conv(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Conv with a constant kernel and bias."""
    x, weight = inputs[:2]
    bias = inputs[2] if len(inputs) > 2 else None
    if not isinstance(x, Variable) or not isinstance(weight, Constant) or isinstance(bias, Variable):
        raise node.refuse("with a variable kernel")
    groups = node.integer("group", 1)
    rank = len(x.shape)
    if rank < 3 or len(weight.shape) != rank or groups < 1:
        raise Rejection("model: Conv of tensors that don't fit")
    out, per_group, *kernel = weight.shape
    if out % groups or x.shape[1] != per_group * groups or (node.integers("kernel_shape") or kernel) != kernel:
        raise Rejection("model: Conv of tensors that don't fit")
    geometry, batch = Geometry.of(node, x.shape[2:], tuple(kernel)), x.shape[0]
    # several images are so many more groups
    limited([len(weight.values), batch])
    step = Conv(
        x.value,
        x.shape[1] * batch,
        x.shape[2:],
        out * batch,
        geometry.out,
        geometry.kernel,
        geometry.strides,
        geometry.dilations,
        geometry.pads,
        groups * batch,
        weight.weights() * batch,
    )
    y = build.emit(step, (batch, out, *geometry.out))
    if bias is None:
        return y
    if bias.shape != (out,):
        raise Rejection("model: Conv bias of a wrong shape")
    return shifted(build, y, reshaped(bias, (out, *(1,) * (rank - 2))))


def batch_normalization(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Scale * (x - mean) / sqrt(var + epsilon) + bias, the root enclosed to `BITS` bits."""
    x, *rest = inputs
    if node.flag("training_mode", False) or any(node.outputs[1:]):
        raise node.refuse("in training mode")
    constants = [c for c in rest if isinstance(c, Constant)]
    if not isinstance(x, Variable) or len(constants) != 4 or len(x.shape) < 2:
        raise node.refuse("with variable statistics")
    if any(c.shape != (x.shape[1],) for c in constants):
        raise Rejection("model: BatchNormalization of a wrong shape")
    epsilon = Fraction(node.real("epsilon", float32(1e-5)))
    pairs = []
    for scale, bias, var in zip(*(constants[i].rationals() for i in (0, 1, 3)), strict=True):
        low, high = inverse_root(var + epsilon)
        s = (scale * low, scale * high) if scale >= 0 else (scale * high, scale * low)
        pairs.append((s, exact(bias)))
    shape = (x.shape[1], *(1,) * (len(x.shape) - 2))
    centred = shifted(build, x, reshaped(constants[2], shape), Fraction(-1))
    distinct, which = table(pairs)
    return build.scaled(centred, distinct, reshaped(which, shape), roundings=NORM_ROUNDINGS)


def inverse_root(value: Fraction) -> Bracket:
    """Rationals on both sides of 1 / sqrt(value), relatively 2^-BITS apart; equal when the root is rational."""
    if value <= 0:
        raise Rejection("model: BatchNormalization of a variance that is not positive")
    p, q = value.numerator, value.denominator
    rp, rq = isqrt(p), isqrt(q)
    if rp * rp == p and rq * rq == q:
        return exact(Fraction(rq, rp))
    shift = max(2 * BITS + p.bit_length() - q.bit_length(), 0) + 2
    shift += shift % 2
    scaled = (q << shift) // p
    low = isqrt(scaled)
    unit = 1 << shift // 2
    return (Fraction(low, unit), Fraction(low + 1, unit))


def add(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Add and Sub of variables and constants."""
    left, right = inputs
    sign = 1 if node.op == "Add" else -1
    if isinstance(left, Variable) and isinstance(right, Variable):
        y = build.added(left, right, sign)
        form = summed(build.form(left), build.form(right), sign) if left.shape == right.shape else None
        if form is not None:
            build.forms[y.value] = form
        return y
    if isinstance(left, Variable) and isinstance(right, Constant):
        return shifted(build, left, right, Fraction(sign))
    if isinstance(left, Constant) and isinstance(right, Variable):
        return shifted(build, right if sign > 0 else build.stretched(right, Fraction(-1)), left)
    if isinstance(left, Constant) and isinstance(right, Constant):
        return arithmetic(node, left, right)
    raise node.refuse("with a missing input")


def total(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Sum of variables and constants, with broadcasting."""
    found = inputs[0]
    for other in inputs[1:]:
        found = add(build, replace(node, op="Add"), [found, other])
    if found is None:
        raise node.refuse("with a missing input")
    return found


def multiply(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """Mul by a constant, and Div of a variable by a constant."""
    left, right = inputs
    if isinstance(left, Constant) and isinstance(right, Constant):
        return arithmetic(node, left, right)
    if isinstance(left, Constant) and isinstance(right, Variable) and node.op == "Mul":
        left, right = right, left
    if not isinstance(left, Variable) or not isinstance(right, Constant):
        raise node.refuse("by a variable")
    return factored(build, left, right, inverse=node.op == "Div")


def factored(build: Builder, x: Variable, constant: Constant, *, inverse: bool = False) -> Variable:
    """X times a constant, or over it, with broadcasting."""
    factors = constant.rationals()
    if inverse:
        if 0 in factors:
            raise Rejection("model: division by zero")
        factors = [1 / f for f in factors]
    pairs, which = table([(exact(f), ZERO) for f in factors])
    return build.scaled(x, pairs, reshaped(which, constant.shape))


def negative(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Neg."""
    (x,) = inputs
    if isinstance(x, Variable):
        return build.stretched(x, Fraction(-1))
    if x is None:
        raise node.refuse("with a missing input")
    return negated(node, x)
