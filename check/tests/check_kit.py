"""What the tests of the checker share: models built with onnx.helper, a bundle writer of their own, an exact oracle."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F = Fraction
CODES = {"float64": "F64", "float32": "F32", "uint8": "U8", "int64": "I64", "float16": "F16"}


def model(
    nodes: Sequence[Any],
    constants: dict[str, np.ndarray],
    shape: Sequence[int],
    *,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    output: str = "y",
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return made.SerializeToString()


def mlp(layers: Sequence[tuple[np.ndarray, np.ndarray]], *, kind: type = np.float32) -> bytes:
    """Gemm, Relu, Gemm, ...; W of shape (out, in); the input of the i-th Relu is named z<i>."""
    nodes, constants, at = [], {}, "x"
    for i, (weight, bias) in enumerate(layers):
        last = i == len(layers) - 1
        constants[f"W{i}"], constants[f"b{i}"] = weight.astype(kind), bias.astype(kind)
        nodes.append(helper.make_node("Gemm", [at, f"W{i}", f"b{i}"], ["y" if last else f"z{i}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"z{i}"], [f"a{i}"]))
            at = f"a{i}"
    code = TensorProto.FLOAT if kind is np.float32 else TensorProto.DOUBLE
    return model(nodes, constants, (1, layers[0][0].shape[1]), kind=code)


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    header, body = {}, b""
    for name, value in tensors.items():
        data = np.ascontiguousarray(value).tobytes()
        place = [len(body), len(body) + len(data)]
        header[name] = {"dtype": CODES[str(value.dtype)], "shape": list(value.shape), "data_offsets": place}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


class Bundle:
    """A certificate under construction; change `manifest` and `tensors` at will, then ask for the bytes."""

    def __init__(self, model_bytes: bytes, center: np.ndarray, **parts: Any):
        self.model = model_bytes
        self.tensors = {"center": center}
        graph = onnx.load_from_string(model_bytes).graph
        threat = parts.get("threat", {"kind": "lp", "norm": "inf", "eps": "1/10", "clip": None})
        self.manifest: dict[str, Any] = {
            "schema": "unmoved/certificate/1",
            "model": {
                "format": "onnx",
                "sha256": sha256(model_bytes).hexdigest(),
                "input": graph.input[0].name,
                "output": graph.output[0].name,
                "input_shape": list(center.shape),
            },
            "payload": {"sha256": ""},
            "input": {"tensor": "center"},
            "threat": threat,
            "property": parts.get("property", {"kind": "same_class", "label": 0, "classes": 2}),
            "claim": {
                "verdict": "CERTIFIED",
                "function": "f",
                "semantics": "real",
                "guarantee": {"kind": "deterministic"},
                "radius": threat.get("eps"),
            },
            "evidence": parts.get("evidence", tree_evidence([["leaf", 0]])),
            "provenance": {"tool": "test"},
        }

    def linear(self, rows: Sequence[Sequence[float]], bounds: Sequence[float]) -> Bundle:
        """The property that no y has rows . y <= bounds, as one disjunct."""
        self.tensors["rows"], self.tensors["bounds"] = np.array(rows, dtype=float), np.array(bounds, dtype=float)
        self.manifest["property"] = {"kind": "linear", "disjuncts": [{"rows": "rows", "bounds": "bounds"}]}
        return self

    def bytes(self) -> tuple[bytes, bytes]:
        payload = safetensors(self.tensors)
        self.manifest["payload"] = {"sha256": sha256(payload).hexdigest()}
        return canonical(self.manifest), payload


def tree_evidence(trees: list[Any], intermediate: str = "linear") -> dict[str, Any]:
    return {"kind": "dual-tree", "intermediate": intermediate, "trees": trees}


def exact_matrix(values: np.ndarray) -> list[list[Fraction]]:
    return [[F(float(v)) for v in row] for row in values]


def minimum(
    layers: Sequence[tuple[np.ndarray, np.ndarray]], box: Sequence[tuple[Fraction, Fraction]], row: Sequence[Fraction]
) -> Fraction:
    """The exact least row . net(x) over a two-dimensional box: cut where neurons change sign, look at corners."""
    (a, b), (c, d) = box
    pieces = [([(a, c), (b, c), (b, d), (a, d)], [(F(1), F(0), F(0)), (F(0), F(1), F(0))])]
    for i, (weight, bias) in enumerate(layers):
        matrix, shift = exact_matrix(weight), [F(float(v)) for v in bias]
        pieces = [(corners, _compose(matrix, shift, maps)) for corners, maps in pieces]
        if i < len(layers) - 1:
            pieces = _relu(pieces)
    return min(
        sum(r * (p * x + q * y + s) for r, (p, q, s) in zip(row, maps, strict=True))
        for corners, maps in pieces
        for x, y in corners
    )


def _compose(matrix, shift, maps):
    return [
        tuple(sum(w * m[k] for w, m in zip(row, maps, strict=True)) + (b if k == 2 else 0) for k in range(3))
        for row, b in zip(matrix, shift, strict=True)
    ]


def _relu(pieces):
    zero = (F(0), F(0), F(0))
    for neuron in range(len(pieces[0][1])):
        fresh = []
        for corners, maps in pieces:
            p, q, s = maps[neuron]
            for keep, map_ in ((1, maps[neuron]), (-1, zero)):
                part = _half(corners, [keep * (p * x + q * y + s) for x, y in corners])
                if part:
                    fresh.append((part, [*maps[:neuron], map_, *maps[neuron + 1 :]]))
        pieces = fresh
    return pieces


def _half(corners, values):
    """The part of a convex polygon where a function, linear and given at the corners, is >= 0."""
    found = []
    for k, (corner, value) in enumerate(zip(corners, values, strict=True)):
        after, then = corners[(k + 1) % len(corners)], values[(k + 1) % len(corners)]
        if value >= 0:
            found.append(corner)
        if value * then < 0:
            t = value / (value - then)
            found.append(tuple(a + t * (b - a) for a, b in zip(corner, after, strict=True)))
    return found


def random_net(rng: np.random.Generator, widths: Sequence[int], *, wild: bool = False):
    """Random float32 layers; `wild` scales neurons by powers of two up to 2^40 either way and adds huge biases."""
    layers = []
    for n, m in pairwise(widths):
        weight, bias = rng.normal(size=(m, n)), rng.normal(size=m) * 0.5
        if wild:
            scale = 2.0 ** rng.integers(-40, 41, size=m)
            weight, bias = weight * scale[:, None], bias * scale
            bias = np.where(rng.random(m) < 0.2, 2.0 ** rng.integers(20, 61, size=m) * rng.choice([-1, 1], m), bias)
        layers.append((weight.astype(np.float32), bias.astype(np.float32)))
    return layers
