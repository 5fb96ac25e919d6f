"""Random small ONNX graphs, every operator that the checker lowers, with odd and even wrong attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]
INT_MAX, INT_MIN = (1 << 63) - 1, -(1 << 63)


@dataclass
class Draft:
    """A graph in the making; `shapes` holds what depends on the input."""

    rng: np.random.Generator
    opset: int
    shape: Shape
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes["x"] = self.shape

    def some(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def flip(self, chance: float = 0.5) -> bool:
        return bool(self.rng.random() < chance)

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def floats(self, *shape: int) -> str:
        return self.constant(self.rng.integers(-8, 9, shape).astype(np.float32) / 4)

    def ints(self, values: Any) -> str:
        return self.constant(np.asarray(values, np.int64))

    def constant(self, value: np.ndarray) -> str:
        """As an initialiser, or as a Constant node."""
        name = f"c{len(self.constants)}_{len(self.nodes)}"
        if self.flip(0.2):
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)))
        else:
            self.constants[name] = value
        return name

    def near(self, shape: Shape) -> Shape:
        """A shape that broadcasts with `shape`, most of the time."""
        kept = tuple(1 if self.flip(0.4) else d for d in shape)
        kept = kept[self.number(0, len(kept)) if self.flip(0.4) else 0 :]
        return (*(() if self.flip(0.9) else (2,)), *kept)

    def put(self, op: str, inputs: list[str], **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [f"t{len(self.nodes)}"], **attributes))

    def bytes(self, output: str, kind: int = TensorProto.FLOAT) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "fuzz",
            [helper.make_tensor_value_info("x", kind, list(self.shape))],
            [helper.make_tensor_value_info(output, kind, None)],
            [numpy_helper.from_array(v, n) for n, v in self.constants.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        return made.SerializeToString()


def _window(d: Draft, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = {"kernel_shape": [d.number(1, 3) for _ in range(rank)]}
    if d.flip():
        found["strides"] = [d.number(1, 3) for _ in range(rank)]
    if d.flip(0.3):
        found["dilations"] = [d.number(1, 2) for _ in range(rank)]
    if d.flip(0.3):
        found["auto_pad"] = d.some("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    if d.flip() and found.get("auto_pad", "NOTSET") == "NOTSET":
        found["pads"] = [d.number(0, 2) for _ in range(2 * rank)]
    return found


def conv(d: Draft, x: str, shape: Shape) -> None:
    channels, rank = shape[1] if len(shape) > 1 else 1, max(len(shape) - 2, 1)
    found = _window(d, rank)
    group = d.some(1, 1, channels, 2)
    weight = d.floats(group * d.number(1, 2), max(channels // group, 1), *found["kernel_shape"])
    if d.flip(0.3):
        del found["kernel_shape"]
    inputs = [x, weight]
    if d.flip():
        inputs.append(d.floats(d.constants[weight].shape[0] if weight in d.constants else group))
    d.put("Conv", inputs, **found, **({"group": group} if group > 1 or d.flip(0.3) else {}))


def pool(d: Draft, x: str, shape: Shape) -> None:
    op = d.some("MaxPool", "AveragePool")
    found = _window(d, max(len(shape) - 2, 1))
    if d.flip():
        found["ceil_mode"] = d.number(0, 1)
    if op == "AveragePool":
        if d.flip():
            found["count_include_pad"] = d.number(0, 1)
        if d.opset < 19:
            found.pop("dilations", None)
    elif d.flip(0.3):
        found["storage_order"] = d.number(0, 1)
    d.put(op, [x], **found)


def gemm(d: Draft, x: str, shape: Shape) -> None:
    trans_a, trans_b, outer = d.number(0, 1), d.number(0, 1), d.number(1, 4)
    inner, rows = (shape[0], shape[-1]) if trans_a else (shape[-1], shape[0])
    inputs = [x, d.floats(*((outer, inner) if trans_b else (inner, outer)))]
    if d.opset < 11 or d.flip(0.7):
        inputs.append(d.floats(*d.some((outer,), (1, outer), (rows, 1), (rows, outer), (1,), ())))
    found: dict[str, Any] = {"transA": trans_a} if trans_a else {}
    if trans_b or d.flip():
        found["transB"] = trans_b
    if d.flip():
        found["alpha"] = d.some(0.5, -1.0, 2.0, 0.0)
    if d.flip():
        found["beta"] = d.some(0.5, -1.0, 0.0)
    d.put("Gemm", inputs, **found)


def matmul(d: Draft, x: str, shape: Shape) -> None:
    if d.flip(0.7):
        d.put("MatMul", [x, d.floats(*d.some((shape[-1], d.number(1, 3)), (shape[-1],)))])
    else:
        d.put("MatMul", [d.floats(*d.some((d.number(1, 3), shape[-2 if len(shape) > 1 else -1]), (shape[0],))), x])


def batchnorm(d: Draft, x: str, shape: Shape) -> None:
    channels = shape[1] if len(shape) > 1 else 1
    variance = d.constant(d.rng.integers(1, 9, channels).astype(np.float32) / 4)
    inputs = [x, *(d.floats(channels) for _ in range(3)), variance]
    found: dict[str, Any] = {"epsilon": d.some(1e-3, 0.25)} if d.flip() else {}
    if d.opset >= 14 and d.flip(0.3):
        found["training_mode"] = d.number(0, 1)
    d.put("BatchNormalization", inputs, **found)


def elementwise(d: Draft, x: str, shape: Shape) -> None:
    op = d.some("Relu", "Neg", "Identity", "LeakyRelu", "Dropout", "Clip")
    if op == "LeakyRelu" and d.flip(0.8):
        d.put(op, [x], alpha=d.some(0.0, 0.25, 0.99, 1.5, -0.5))
    elif op == "Dropout" and d.opset >= 12 and d.flip():
        d.put(op, [x, d.constant(np.float32(0.5)), *([d.constant(np.bool_(d.flip(0.2)))] if d.flip() else [])])
    elif op == "Clip" and d.opset < 11:
        d.put(op, [x], **{k: d.some(-1.0, 0.25, 0.5) for k in ("min", "max") if d.flip()})
    elif op == "Clip":
        ends = [d.constant(np.float32(d.some(-1.0, 0.25, 0.5, np.inf, -np.inf))) if d.flip(0.7) else "" for _ in "ab"]
        d.put(op, [x, *ends])
    else:
        d.put(op, [x])


def arithmetic(d: Draft, x: str, shape: Shape) -> None:
    op = d.some("Add", "Sub", "Mul", "Div")
    same = [n for n in d.shapes if n != x]
    other = d.some(*same) if same and op in ("Add", "Sub") and d.flip(0.4) else d.floats(*d.near(shape))
    pair = [x, other]
    d.put(op, pair if d.flip(0.7) else pair[::-1])


def shapes(d: Draft, x: str, shape: Shape) -> None:
    op = d.some("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand")
    rank, size = len(shape), int(np.prod(shape))
    if op == "Reshape":
        target = d.some([-1], [0, -1], [1, -1], [size], [-1, *shape[1:]], [0] * rank, [2, -1], [0, 0, -1], [-1, 1, 0])
        d.put(op, [x, d.ints(target)], **({"allowzero": 1} if d.opset >= 14 and d.flip(0.2) else {}))
    elif op == "Flatten":
        d.put(op, [x], **({"axis": d.number(-rank if d.opset >= 11 else 0, rank)} if d.flip(0.8) else {}))
    elif op == "Transpose":
        d.put(op, [x], **({"perm": [int(p) for p in d.rng.permutation(rank)]} if d.flip(0.8) else {}))
    elif op == "Expand":
        d.put(op, [x, d.ints(d.near(tuple(2 if s == 1 and d.flip(0.3) else s for s in shape)))])
    else:
        axes = sorted({d.number(-rank if d.opset >= 11 else 0, rank) for _ in range(d.number(1, 2))})
        if op == "Squeeze":
            axes = [i for i, s in enumerate(shape) if s == 1 and d.flip(0.7)] or axes
            if d.flip(0.2):
                d.put(op, [x])
                return
        if d.opset >= 13:
            d.put(op, [x, d.ints(axes)])
        else:
            d.put(op, [x], axes=axes)


def slices(d: Draft, x: str, shape: Shape) -> None:
    rank, count = len(shape), d.number(1, len(shape))
    ends = (0, 1, 2, 3, 7, -1, -2, -3, -7, INT_MAX, INT_MIN)
    starts, stops = ([d.some(*ends) for _ in range(count)] for _ in "ab")
    axes = [int(a) for a in d.rng.permutation(rank)[:count]]
    if d.opset < 10:
        d.put("Slice", [x], starts=starts, ends=stops, **({"axes": axes} if d.flip(0.8) else {}))
        return
    axes = [a - rank if d.flip(0.3) else a for a in axes]
    inputs = [x, d.ints(starts), d.ints(stops)]
    if d.flip(0.8):
        inputs.append(d.ints(axes))
        if d.flip():
            inputs.append(d.ints([d.some(1, 2, -1, -2, -7, INT_MAX, INT_MIN + 1) for _ in range(count)]))
    d.put("Slice", inputs)


def pad(d: Draft, x: str, shape: Shape) -> None:
    rank = len(shape)
    amounts = [d.some(0, 0, 1, 2, -1, -2, -4) for _ in range(2 * rank)]
    if d.opset < 11:
        d.put("Pad", [x], pads=amounts, **({"value": 0.5} if d.flip() else {}))
        return
    value = d.constant(np.float32(0.5)) if d.flip() else ""
    inputs = [x, d.ints(amounts), value]
    if d.opset >= 18 and d.flip():
        axes = [int(a) for a in d.rng.permutation(rank)[: d.number(1, rank)]]
        axes = [a - rank if d.flip(0.3) else a for a in axes]
        inputs = [x, d.ints([d.some(0, 1, 2, -1) for _ in range(2 * len(axes))]), value, d.ints(axes)]
    d.put("Pad", inputs)


def pick(d: Draft, x: str, shape: Shape) -> None:
    op, rank = d.some("Gather", "Concat", "ReduceSum", "ReduceMean", "GlobalAveragePool"), len(shape)
    axis = d.number(-rank if d.opset >= 11 else 0, rank - 1)
    if op == "Gather":
        size = shape[axis]
        indices = d.rng.integers(-size if d.opset >= 11 else 0, max(size, 1), d.some((), (1,), (3,), (2, 2)))
        d.put(op, [x, d.ints(indices)], **({"axis": axis} if d.flip(0.8) else {}))
    elif op == "Concat":
        other = list(shape)
        other[axis] = d.number(1, 2)
        parts = [d.some(x, x, *(n for n in d.shapes), d.floats(*other)) for _ in range(d.number(1, 3))]
        d.put(op, parts, axis=axis)
    elif op == "GlobalAveragePool":
        d.put(op, [x])
    else:
        found: dict[str, Any] = {"keepdims": d.some(0, 1, 1, 2)} if d.flip() else {}
        axes = sorted({d.number(-rank if d.opset >= 11 else 0, rank - 1) for _ in range(d.number(1, 2))})
        since = 13 if op == "ReduceSum" else 18
        if d.opset >= since and d.flip(0.3):
            found["noop_with_empty_axes"] = d.number(0, 1)
        if d.flip(0.2):
            d.put(op, [x, d.ints([])] if d.opset >= since and d.flip() else [x], **found)
        elif d.opset >= since:
            d.put(op, [x, d.ints(axes)], **found)
        else:
            d.put(op, [x], axes=axes, **found)


def computed(d: Draft, x: str, shape: Shape) -> None:
    """Constants that are computed: whole numbers of every width, shapes, comparisons; the result is added to x."""
    kind = d.some(np.int64, np.int64, np.int32, np.uint8, np.int8)
    top = 10 if kind in (np.int64, np.int32) and d.flip() else np.iinfo(kind).max
    a, b = (d.constant(d.rng.integers(top // 2, top, 3, endpoint=True).astype(kind)) for _ in "ab")
    names = [f"{letter}{len(d.nodes)}" for letter in "pqrs"]
    d.nodes.append(helper.make_node(d.some("Add", "Sub", "Mul", "Div"), [a, b], [names[0]]))
    if d.flip(0.3):
        d.nodes.append(helper.make_node("Neg", [names[0]], [names[1]]))
    elif d.flip(0.5) and d.opset >= 13:
        d.nodes.append(helper.make_node("ReduceProd", [names[0]], [names[1]], keepdims=d.number(0, 1)))
    else:
        d.nodes.append(helper.make_node("Identity", [names[0]], [names[1]]))
    if d.flip(0.3):
        d.nodes.append(helper.make_node("Equal", [names[1], a], [names[2]]))
    elif d.flip(0.4):
        d.nodes.append(helper.make_node("Cast", [names[1]], [names[2]], to=d.some(6, 7, 9, 2)))
    else:
        d.nodes.append(helper.make_node("Identity", [names[1]], [names[2]]))
    d.nodes.append(helper.make_node("Cast", [names[2]], [names[3]], to=1))
    d.nodes.append(helper.make_node("Slice", [names[3], d.ints([0]), d.ints([1]), d.ints([0])], [names[3] + "s"]))
    d.put("Add", [x, names[3] + "s" if d.flip(0.8) else names[3]])


def by_shape(d: Draft, x: str, shape: Shape) -> None:
    """Reshape to a shape that is computed from Shape, Gather and Concat, as exporters write it."""
    n = len(d.nodes)
    found = {"start": d.number(-3, 3), "end": d.number(-3, 3)} if d.opset >= 15 and d.flip(0.4) else {}
    d.nodes.append(helper.make_node("Shape", [x], [f"u{n}"], **found))
    if d.flip():
        d.nodes.append(helper.make_node("Gather", [f"u{n}", d.ints([0])], [f"v{n}"], axis=0))
    else:
        d.nodes.append(helper.make_node("Slice", [f"u{n}", d.ints([d.number(-2, 1)]), d.ints([4])], [f"v{n}"]))
    d.nodes.append(helper.make_node("Concat", [f"v{n}", d.ints([-1])], [f"w{n}"], axis=0))
    d.put("Reshape", [x, f"w{n}"])


KINDS: tuple[Callable[[Draft, str, Shape], None], ...] = (
    conv,
    pool,
    gemm,
    matmul,
    batchnorm,
    elementwise,
    arithmetic,
    shapes,
    slices,
    pad,
    pick,
    computed,
    by_shape,
)
