"""Rules for operators that move numbers or compute shapes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from unmoved_check.model import folding, movement
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import MOST_ELEMENTS, Constant
from unmoved_check.model.reader import Node
from unmoved_check.outcome import Rejection

Inputs = list[Value | None]


def present(node: Node, value: Value | None) -> Value:
    """The input, which must be there."""
    if value is None:
        raise Rejection(f"model: {node.op} with a missing input")
    return value


def known(node: Node, value: Value | None) -> Constant:
    """The input, which must be a constant."""
    if not isinstance(value, Constant):
        raise node.refuse("with a variable where a constant is expected")
    return value


def places(value: Value) -> Constant:
    """What a movement is applied to."""
    return value.places() if isinstance(value, Variable) else value


def placed(build: Builder, value: Value, where: Constant) -> Value:
    """The moved constant itself, or the variable moved as its places were."""
    return build.moved([value], where) if isinstance(value, Variable) else where


def identity(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Identity."""
    return present(node, inputs[0])


def dropout(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Dropout outside training: the identity."""
    if len(inputs) > 2 and inputs[2] is not None and known(node, inputs[2]).single():
        raise node.refuse("in training mode")
    return present(node, inputs[0])


def reshape(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Reshape to a constant shape."""
    x, target = present(node, inputs[0]), known(node, inputs[1]).integers()
    shape = movement.reshape_target(x.shape, target, node.flag("allowzero", False))
    return placed(build, x, movement.reshaped(places(x), shape))


def flatten(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Flatten."""
    x = present(node, inputs[0])
    at = node.integer("axis", 1)
    at = at if at == len(x.shape) else movement.axis(at, len(x.shape))
    return placed(build, x, movement.reshaped(places(x), (prod(x.shape[:at]), prod(x.shape[at:]))))


def _axes(node: Node, inputs: Inputs) -> list[int] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        if "axes" in node.attributes:
            raise node.refuse("with two lists of axes")
        return known(node, inputs[1]).integers()
    return node.integers("axes")


def squeeze(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Squeeze."""
    x = present(node, inputs[0])
    return placed(build, x, movement.reshaped(places(x), folding.squeezed(x.shape, _axes(node, inputs))))


def unsqueeze(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Unsqueeze."""
    x, axes = present(node, inputs[0]), _axes(node, inputs)
    if axes is None:
        raise Rejection("model: Unsqueeze without axes")
    return placed(build, x, movement.reshaped(places(x), folding.unsqueezed(x.shape, axes)))


def transpose(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Transpose."""
    x = present(node, inputs[0])
    return placed(build, x, movement.transposed(places(x), node.integers("perm")))


def slice_node(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Slice with constant bounds."""
    x = present(node, inputs[0])
    given: list[list[int] | None]
    if len(inputs) > 1 if build.opset < 10 else node.attributes:
        raise node.refuse(f"with bounds in the wrong place for opset {build.opset}")
    if build.opset < 10:
        given = [node.integers("starts"), node.integers("ends"), node.integers("axes"), None]
    else:
        given = [None if v is None else known(node, v).integers() for v in inputs[1:]]
        given += [None] * (4 - len(given))
    starts, ends, axes, steps = given
    if starts is None or ends is None:
        raise Rejection("model: Slice without starts or ends")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise Rejection("model: Slice with lists of several lengths")
    bounds = list(zip(starts, ends, axes, steps, strict=True))
    return placed(build, x, movement.sliced(places(x), bounds))


def gather(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Gather with constant indices."""
    x, indices = present(node, inputs[0]), known(node, inputs[1])
    return placed(build, x, movement.gathered(places(x), indices, node.integer("axis", 0)))


def expand(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Expand to a constant shape."""
    x, target = present(node, inputs[0]), known(node, inputs[1]).integers()
    shape = movement.broadcast(x.shape, tuple(target))
    return placed(build, x, movement.expanded(places(x), shape))


def concat(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Concat of variables and constants."""
    parts = [present(node, value) for value in inputs]
    axis = node.integer("axis", 0)
    if "axis" not in node.attributes or not parts:
        raise Rejection("model: Concat without axis or inputs")
    constants = [part for part in parts if isinstance(part, Constant)]
    if len(constants) == len(parts):
        if len({c.kind for c in constants}) > 1:
            raise Rejection("model: Concat of several types")
        return movement.concatenated(constants, axis)
    variables: list[Variable] = []
    offset, fill, where = 0, Fill(), []
    for part in parts:
        if isinstance(part, Variable):
            where.append(Constant("int", part.shape, range(offset, offset + part.size)))
            offset += part.size
            variables.append(part)
        else:
            where.append(Constant("int", part.shape, fill.places(part.rationals())))
    return build.moved(variables, movement.concatenated(where, axis), fill.values)


class Fill:
    """The distinct constants among moved numbers; the k-th has place -1 - k."""

    def __init__(self) -> None:
        self._seen: dict[Fraction, int] = {}

    def places(self, numbers: Sequence[Fraction]) -> list[int]:
        """Where the numbers are to be found."""
        return [-1 - self._seen.setdefault(n, len(self._seen)) for n in numbers]

    @property
    def values(self) -> tuple[Fraction, ...]:
        """The constants."""
        return tuple(self._seen)


def pad(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Pad with a constant, or with elements of the input (negative amounts cut)."""
    x, mode = present(node, inputs[0]), node.text("mode", "constant")
    if len(inputs) > 1 if build.opset < 11 else set(node.attributes) - {"mode"}:
        raise node.refuse(f"with amounts in the wrong place for opset {build.opset}")
    if build.opset < 11:
        amounts, value = node.integers("pads") or [], Fraction(node.real("value", 0.0))
    else:
        amounts = known(node, inputs[1]).integers()
        given = inputs[2] if len(inputs) > 2 else None
        value = known(node, given).rationals()[0] if given is not None else Fraction(0)
    rank = len(x.shape)
    axes = known(node, inputs[3]).integers() if len(inputs) > 3 and inputs[3] is not None else list(range(rank))
    axes = [movement.axis(a, rank) for a in axes]
    if len(amounts) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise Rejection("model: Pad with a wrong number of amounts")
    before, after = [0] * rank, [0] * rank
    for i, a in enumerate(axes):
        before[a], after[a] = amounts[i], amounts[i + len(axes)]
    if mode != "constant":
        return placed(build, x, _mirrored(node, mode, places(x), list(zip(before, after, strict=True))))
    if isinstance(x, Constant):
        return movement.padded(x, before, after, value if x.kind == "float" else int(value))
    return build.moved([x], movement.padded(x.places(), before, after, -1), (value,))


def _mirrored(node: Node, mode: str, where: Constant, amounts: list[tuple[int, int]]) -> Constant:
    """Padding by elements of the tensor itself."""
    for axis, (before, after) in enumerate(amounts):
        size = where.shape[axis]
        most = {"edge": MOST_ELEMENTS, "reflect": size - 1, "wrap": size}.get(mode, -1)
        if min(before, after) < 0 or max(before, after) > most or not size:
            raise node.refuse(f"with mode {mode} and the amounts {before} and {after} around {size}")
        indices = range(-before, size + after)
        if mode == "edge":
            found = [min(max(i, 0), size - 1) for i in indices]
        elif mode == "wrap":
            found = [i % size for i in indices]
        else:
            found = [size - 1 - abs(size - 1 - abs(i)) for i in indices]
        where = movement.along(where, axis, found)
    return where


def shape_node(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Shape."""
    return folding.dims(node, present(node, inputs[0]).shape)


def size(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Size."""
    return Constant("int", (), [prod(present(node, inputs[0]).shape)])


def constant(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Constant."""
    return folding.constant_node(node)


def constant_of_shape(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX ConstantOfShape."""
    return folding.constant_of_shape(node, known(node, inputs[0]).integers())


def cast(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Cast of a constant; of a variable to float32 or float64, which changes no real number."""
    x = present(node, inputs[0])
    if isinstance(x, Variable):
        if node.integer("to", 0) not in (1, 11):
            raise node.refuse(f"of a variable to type {node.integer('to', 0)}")
        return x
    return folding.cast(node, x)


def compare(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Equal, Greater, Less, ... of constants."""
    return folding.compare(node, known(node, inputs[0]), known(node, inputs[1]))


def logic(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX And, Or, Not of constants."""
    return folding.logic(node, [known(node, value) for value in inputs])


def range_node(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX Range of integer constants."""
    ends = [known(node, value) for value in inputs]
    if len({c.kind for c in ends}) > 1 or any(len(c.values) != 1 for c in ends):
        raise node.refuse("of several types, or of no single numbers")
    start, limit, step = (c.integers()[0] for c in ends)
    return folding.range_node(ends[0].kind, start, limit, step)


def reduce_prod(build: Builder, node: Node, inputs: Inputs) -> Value:
    """ONNX ReduceProd of a constant shape."""
    return folding.product(node, known(node, inputs[0]))
