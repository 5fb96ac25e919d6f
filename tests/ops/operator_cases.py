"""One node a case: what onnxruntime makes of it, and as our Op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from unmoved.ir.network import Network, Node
from unmoved.ops import RULES, Op, bind
from unmoved.ops.scope import Scope

R = np.random.default_rng(3)


@dataclass(frozen=True)
class Case:
    """A node, the shapes of its variables (all fed by slices of ONE flat input), and its constants."""

    op: str
    variables: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, np.ndarray]
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int = 17

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        node = helper.make_node(self.op, self.inputs, ["y"], name="node", **self.attributes)
        graph = helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in self.variables.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8 if self.opset < 21 else 10
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, dict(feeds))[0]

    def at(self, opset: int) -> Case:
        return replace(self, opset=opset)

    def feeds(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {n: rng.normal(size=s).astype(np.float32) for n, s in self.variables.items()}

    def network(self) -> Network:
        out = self.run(self.feeds(np.random.default_rng(0)))
        attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in self.attributes.items()}
        node = Node(self.op, "node", self.inputs, ("y",), attributes)
        shapes = {**self.variables, "y": out.shape}
        first = next(iter(self.variables))
        return Network((node,), dict(self.constants), first, "y", shapes, b"", "")


def f(*shape: int) -> np.ndarray:
    return R.normal(size=shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def one(op: str, x: tuple[int, ...], opset: int = 17, /, _inputs=("x",), _constants=None, **attributes) -> Case:
    return Case(op, {"x": x}, _constants or {}, tuple(_inputs), attributes, opset)


def two(op: str, a: tuple[int, ...], b: tuple[int, ...], **attributes) -> Case:
    return Case(op, {"a": a, "b": b}, {}, ("a", "b"), attributes)


def right(op: str, x: tuple[int, ...], c: np.ndarray, **attributes) -> Case:
    return one(op, x, _inputs=("x", "c"), _constants={"c": c}, **attributes)


def left(op: str, x: tuple[int, ...], c: np.ndarray, **attributes) -> Case:
    return one(op, x, _inputs=("c", "x"), _constants={"c": c}, **attributes)


def gemm(x, w, b, *, swap=False, **attributes) -> Case:
    names = ("w", "x") if swap else ("x", "w")
    constants = {"w": w} | ({} if b is None else {"b": b})
    return one("Gemm", x, _inputs=names + (() if b is None else ("b",)), _constants=constants, **attributes)


def conv(x, w, b=None, **attributes) -> Case:
    constants = {"w": w} | ({} if b is None else {"b": b})
    return one("Conv", x, _inputs=("x", *constants), _constants=constants, **attributes)


def slices(x, starts, ends, axes=None, steps=None) -> Case:
    constants = {"s": i(*starts), "e": i(*ends)}
    names = ["x", "s", "e", "" if axes is None else "a"] + ([] if steps is None else ["t"])
    constants |= ({} if axes is None else {"a": i(*axes)}) | ({} if steps is None else {"t": i(*steps)})
    return one("Slice", x, _inputs=names, _constants=constants)


def pad(x, pads, value=None, **attributes) -> Case:
    constants = {"p": i(*pads)} | ({} if value is None else {"v": np.float32(value)})
    return one("Pad", x, _inputs=("x", *constants), _constants=constants, **attributes)


def deconv(x, w, b=None, **attributes) -> Case:
    constants = {"w": w} | ({} if b is None else {"b": b})
    return one("ConvTranspose", x, _inputs=("x", *constants), _constants=constants, **attributes)


def resize(x, scales=None, sizes=None, opset=17, **attributes) -> Case:
    given = {"s": np.array(scales, np.float32)} if sizes is None else {"z": i(*sizes)}
    inputs = ("x", "", "s") if sizes is None else ("x", "", "", "z")
    return Case("Resize", {"x": x}, given, inputs, {"mode": "nearest", **attributes}, opset)


def layer(op: str, x, axis: int, opset: int = 17, **attributes) -> Case:
    names = {"g": f(*x[axis:])} | ({} if op == "RMSNormalization" else {"b": f(*x[axis:])})
    return one(op, x, opset, _inputs=("x", *names), _constants=names, axis=axis, **attributes)


def channels(op: str, x, opset: int = 17, **attributes) -> Case:
    return one(op, x, opset, _inputs=("x", "g", "b"), _constants={"g": f(x[1]), "b": f(x[1])}, **attributes)


def norm(shape) -> Case:
    n = shape[1]
    constants = {"g": f(n), "b": f(n), "m": f(n), "v": np.abs(f(n)) + 0.1}
    return one("BatchNormalization", shape, _inputs=("x", *constants), _constants=constants, epsilon=1e-3)


AFFINE = [
    gemm((1, 4), f(4, 3), f(3)),
    gemm((1, 4), f(3, 4), f(1, 3), transB=1, alpha=0.5, beta=-2.0),
    gemm((4, 2), f(4, 3), f(2, 1), transA=1),
    gemm((4, 2), f(3, 4), None, transA=1, transB=1, alpha=3.0),
    gemm((4, 2), f(3, 4), f(2), swap=True),
    gemm((2, 4), f(3, 4), f(3, 1), swap=True, transB=1, beta=0.25),
    gemm((2, 4), f(4, 3), None, swap=True, transA=1, transB=1),
    right("MatMul", (1, 4), f(4, 3)),
    right("MatMul", (4,), f(4, 3)),
    right("MatMul", (1, 4), f(4)),
    right("MatMul", (4,), f(2, 4, 3)),
    right("MatMul", (2, 4), f(3, 4, 2)),
    right("MatMul", (1, 3, 2, 4), f(4, 5)),
    right("MatMul", (2, 1, 2, 4), f(3, 4, 5)),
    left("MatMul", (4, 2), f(3, 4)),
    left("MatMul", (4,), f(3, 4)),
    left("MatMul", (4, 2), f(5, 3, 4)),
    left("MatMul", (1, 2, 4, 2), f(3, 1, 3, 4)),
    conv((1, 2, 9), f(4, 2, 3), f(4), strides=[2], pads=[1, 0]),
    conv((1, 2, 7, 6), f(4, 2, 3, 3), f(4), pads=[1, 1, 1, 1]),
    conv((1, 2, 8, 8), f(3, 2, 3, 3), f(3), strides=[3, 3], pads=[1, 1, 1, 1]),
    conv((1, 2, 8, 9), f(3, 2, 1, 1), strides=[4, 2]),
    conv((1, 4, 7, 6), f(6, 2, 3, 2), f(6), group=2, strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]),
    conv((2, 4, 7, 6), f(4, 1, 3, 2), group=4, dilations=[2, 1], strides=[3, 2], pads=[2, 0, 0, 1]),
    conv((1, 2, 7, 6), f(3, 2, 3, 4), f(3), auto_pad="SAME_UPPER", strides=[2, 2]),
    conv((1, 2, 7, 6), f(3, 2, 4, 3), f(3), auto_pad="SAME_LOWER", strides=[1, 3]),
    conv((1, 2, 7, 6), f(3, 2, 4, 3), f(3), auto_pad="VALID", strides=[2, 2]),
    conv((1, 2, 4, 5, 4), f(2, 1, 2, 3, 2), f(2), group=2, strides=[1, 2, 2], pads=[1, 1, 0, 0, 1, 1]),
    norm((1, 3)),
    norm((2, 3, 4)),
    norm((1, 3, 4, 2)),
    right("Add", (1, 3, 4), f(4)),
    right("Add", (4,), f(2, 3, 4)),
    left("Add", (3, 1), f(2, 1, 4)),
    right("Sub", (1, 3, 4), f(3, 1)),
    left("Sub", (1, 3, 4), f(3, 1)),
    left("Sub", (), f(2, 3)),
    right("Mul", (2, 1, 4), f(3, 1)),
    left("Mul", (2, 3), f(1)),
    right("Mul", (3,), np.array(-2.5, dtype=np.float32)),
    right("Div", (2, 3), f(2, 1)),
    right("Div", (1, 3), f(4, 3)),
    one("Neg", (2, 3)),
    two("Add", (2, 3), (2, 3)),
    two("Add", (2, 1, 3), (4, 1)),
    two("Sub", (3,), (2, 3)),
    two("Sub", (2, 3), (1, 3)),
    one("Add", (2, 3), _inputs=("x", "x")),
    one("Sub", (2, 3), _inputs=("x", "x")),
    Case("Sum", {"a": (2, 3), "b": (3,)}, {"c": f(2, 1), "d": f(1)}, ("a", "c", "b", "d"), {}),
    one("AveragePool", (1, 2, 9), kernel_shape=[3], strides=[2], pads=[1, 1]),
    one("AveragePool", (1, 2, 7, 6), kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1, pads=[1, 0, 1, 1]),
    one("AveragePool", (1, 2, 7, 6), kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1, strides=[2, 2]),
    one("AveragePool", (1, 2, 8, 8), 19, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=1),
    one("AveragePool", (1, 2, 7, 6), kernel_shape=[2, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    one("AveragePool", (1, 2, 7, 6), kernel_shape=[2, 3], auto_pad="SAME_LOWER"),
    one("AveragePool", (1, 2, 9, 9), 19, kernel_shape=[2, 3], dilations=[2, 2], strides=[2, 1], pads=[1, 1, 1, 1]),
    one("AveragePool", (1, 1, 4, 5, 4), kernel_shape=[2, 2, 3], strides=[2, 1, 1]),
    one("GlobalAveragePool", (1, 3, 4, 5)),
    one("GlobalAveragePool", (1, 3, 4)),
    one("ReduceMean", (1, 3, 4), axes=[-1], keepdims=0),
    one("ReduceMean", (2, 3, 4)),
    one("ReduceMean", (2, 3, 4), 18, _inputs=("x", "a"), _constants={"a": i(0, 2)}),
    one("ReduceSum", (2, 3, 4), _inputs=("x", "a"), _constants={"a": i(1)}, keepdims=0),
    one("ReduceSum", (2, 3), noop_with_empty_axes=1),
    one("Flatten", (2, 3, 4)),
    one("Flatten", (2, 3, 4), axis=-1),
    one("Reshape", (2, 3, 4), _inputs=("x", "s"), _constants={"s": i(0, -1, 2)}),
    one("Squeeze", (1, 3, 1), _inputs=("x", "a"), _constants={"a": i(0)}),
    one("Squeeze", (1, 3, 1), 11, axes=[2]),
    one("Unsqueeze", (2, 3), _inputs=("x", "a"), _constants={"a": i(0, -1)}),
    one("Identity", (2, 3)),
    one("Dropout", (2, 3)),
    one("Cast", (2, 3), to=1),
    one("Transpose", (2, 3, 4)),
    one("Transpose", (2, 3, 4, 5), perm=[2, 0, 3, 1]),
    right("Expand", (3, 1), i(2, 1, 4)),
    slices((4, 7), [1, -3], [3, 100]),
    slices((4, 7), [1], [6], [-1], [2]),
    slices((4, 7), [-1, 5], [-(2**62), 0], [0, 1], [-1, -2]),
    one("Slice", (4, 7), 9, starts=[1, 2], ends=[-1, 5], axes=[0, 1]),
    right("Gather", (3, 4), i(2, 0, -1, 2), axis=1),
    right("Gather", (3, 4), np.array(-1), axis=0),
    right("Gather", (3, 4), i(0, 1, 2, 2).reshape(2, 2), axis=-1),
    pad((2, 3), [1, 0, 0, 2]),
    pad((2, 3), [1, 0, 0, 2], 1.5),
    pad((1, 2, 4, 5), [0, 0, 1, -1, 0, 1, -2, 3], -3.0),
    one("Pad", (2, 3), 18, _inputs=("x", "p", "", "a"), _constants={"p": i(2, 1), "a": i(-1)}),
    one("Pad", (2, 3), 10, pads=[1, 0, 0, 2], value=0.5),
    Case("Concat", {"a": (2, 3), "b": (2, 1)}, {}, ("b", "a"), {"axis": 1}),
    Case("Concat", {"a": (2, 3), "b": (4, 3)}, {"c": f(1, 3), "d": f(2, 3)}, ("c", "b", "d", "a"), {"axis": -2}),
    one("Concat", (2, 3), _inputs=("x", "x"), axis=0),
    deconv((1, 3, 5, 4), f(3, 2, 3, 2), f(2), strides=[2, 1], pads=[1, 0, 0, 1]),
    deconv((1, 4, 4), f(4, 1, 3), group=4, strides=[3], output_padding=[2]),
    deconv((1, 4, 3, 4), f(4, 3, 2, 3), f(6), group=2, dilations=[2, 1], output_padding=[1, 0], strides=[2, 1]),
    deconv((1, 2, 4, 5), f(2, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    deconv((1, 2, 4, 5), f(2, 3, 4, 3), auto_pad="SAME_LOWER", strides=[2, 2]),
    deconv((1, 2, 3, 3), f(2, 2, 3, 3), output_shape=[7, 6], strides=[2, 2]),
    deconv((1, 2, 2, 3, 2), f(2, 2, 2, 2, 2), strides=[2, 1, 2]),
    resize((1, 2, 3, 4), scales=[1, 1, 2, 3]),
    resize((1, 2, 5, 4), sizes=[1, 2, 3, 7]),
    resize((1, 2, 3, 5), scales=[1, 1, 1.5, 0.6], coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    resize((1, 1, 4, 5), sizes=[1, 1, 7, 3], coordinate_transformation_mode="align_corners", nearest_mode="ceil"),
    resize((1, 1, 4, 5), sizes=[1, 1, 1, 8], coordinate_transformation_mode="pytorch_half_pixel"),
    resize((1, 1, 4, 5), sizes=[1, 1, 9, 8], nearest_mode="round_prefer_ceil"),
    Case("Resize", {"x": (1, 2, 3, 4)}, {"s": np.array([1, 1, 2, 2], np.float32)}, ("x", "s"), {}, 10),
    right("Upsample", (1, 2, 3, 4), np.array([1, 1, 2, 3], np.float32), mode="nearest").at(9),
    right("Tile", (2, 3), i(2, 3)),
    Case("Where", {"x": (2, 3)}, {"c": R.random((2, 3)) > 0.5, "k": f(3)}, ("c", "x", "k"), {}),
    Case("Where", {"a": (3,), "b": (2, 1)}, {"c": R.random((2, 3)) > 0.5}, ("c", "a", "b"), {}),
    pad((2, 5), [1, 2, 0, 3], mode="reflect"),
    pad((2, 3), [1, 2, 0, 3], mode="edge"),
]
PRODUCTS = [
    two("Mul", (2, 3), (2, 3)),
    two("Mul", (2, 1, 3), (4, 1)),
    two("MatMul", (2, 3), (3, 4)),
    two("MatMul", (2, 1, 2, 3), (4, 3, 2)),
    two("MatMul", (3,), (2, 3, 4)),
    two("MatMul", (2, 3), (3,)),
    one("MatMul", (3, 3), _inputs=("x", "x")),
]
COMPOSED = [
    one("Softmax", (2, 3, 4)),
    one("Softmax", (2, 3, 4), axis=1),
    one("LogSoftmax", (2, 3)),
    one("LogSoftmax", (2, 3, 4), axis=0),
    layer("LayerNormalization", (2, 3, 4), -1, epsilon=1e-2),
    layer("LayerNormalization", (2, 3, 4), 1),
    layer("RMSNormalization", (2, 3, 4), -1, 23, epsilon=1e-3),
    channels("InstanceNormalization", (2, 3, 4, 5), epsilon=1e-3),
    channels("GroupNormalization", (1, 6, 4), 21, num_groups=2),
    Case("Div", {"a": (2, 3), "b": (3,)}, {}, ("a", "b"), {}),
    left("Div", (2, 3), f(2, 1)),
    Case("Max", {"a": (2, 3), "b": (3,)}, {"c": f(2, 1)}, ("c", "a", "b"), {}),
    Case("Min", {"a": (2, 3), "b": (2, 1), "d": (3,)}, {}, ("a", "b", "d"), {}),
    right("Max", (2, 3), f(3)),
    one("ReduceMin", (2, 3, 4), axes=[1]),
]
OTHER = [
    one("Exp", (2, 3)),
    one("Erf", (2, 3)),
    one("Sin", (2, 3)),
    one("Cos", (2, 3)),
    one("Atan", (2, 3)),
    one("Abs", (2, 3)),
    one("Sign", (2, 3)),
    one("Softplus", (2, 3)),
    one("Softsign", (2, 3)),
    one("Elu", (2, 3), alpha=1.5),
    one("Selu", (2, 3)),
    one("Celu", (2, 3), alpha=0.7),
    one("HardSwish", (2, 3)),
    one("HardSigmoid", (2, 3)),
    one("HardSigmoid", (2, 3), alpha=-0.4, beta=0.1),
    one("Mish", (2, 3), 18),
    one("Gelu", (2, 3), 20),
    one("Gelu", (2, 3), 20, approximate="tanh"),
    right("PRelu", (1, 3, 2), f(3, 1)),
    right("Pow", (2, 3), np.array(3.0, np.float32)),
    right("Pow", (2, 3), np.array([2], np.int64)),
    one("Mul", (2, 3), _inputs=("x", "x")),
    one("ReduceMax", (2, 3, 4), axes=[0, -1], keepdims=0),
    one("ReduceMax", (2, 3)),
    one("GlobalMaxPool", (1, 2, 3, 4)),
    one("Relu", (2, 3)),
    one("LeakyRelu", (2, 3)),
    one("LeakyRelu", (2, 3), alpha=-0.3),
    one("Clip", (2, 9), 10, min=-0.5),
    one("Clip", (2, 9), _inputs=("x", "", "h"), _constants={"h": np.float32(0.25)}),
    one("Clip", (2, 9), _inputs=("x", "l", "h"), _constants={"l": np.float32(-0.5), "h": np.float32(0.25)}),
    one("Clip", (2, 9)),
    right("Max", (2, 9), np.array([0.25], dtype=np.float32)),
    left("Min", (2, 9), np.array(0.25, dtype=np.float32)),
    one("Sigmoid", (2, 3)),
    one("Tanh", (2, 3)),
    one("MaxPool", (1, 2, 9), kernel_shape=[3], strides=[2], pads=[1, 1]),
    one("MaxPool", (1, 2, 7, 6), kernel_shape=[3, 2]),
    one("MaxPool", (2, 2, 7, 6), kernel_shape=[2, 2], strides=[2, 2]),
    one("MaxPool", (1, 2, 7, 6), kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1, pads=[1, 0, 1, 1]),
    one("MaxPool", (1, 2, 9, 8), kernel_shape=[3, 2], dilations=[2, 3], strides=[1, 2], pads=[2, 1, 0, 0]),
    one("MaxPool", (1, 2, 7, 6), kernel_shape=[2, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    one("MaxPool", (1, 2, 7, 6), kernel_shape=[2, 3], auto_pad="SAME_LOWER", strides=[1, 2]),
    one("MaxPool", (1, 1, 4, 5, 4), kernel_shape=[2, 3, 2], strides=[2, 1, 2], pads=[0, 1, 1, 0, 1, 0]),
]


def title(case: Case) -> str:
    return f"{case.op}-{'-'.join(map(str, case.variables.values()))}-{dict(case.attributes)}"


def bound(case: Case) -> Op:
    """bind() knows one input only; a node of several variables is built by its rule."""
    network = case.network()
    if len(case.variables) == 1:
        return bind(network, dtype=torch.float64)[0]
    built = RULES[case.op].build(network.nodes[0], Scope(network, {}, torch.float64, torch.device("cpu")))
    assert isinstance(built, Op)
    return built
