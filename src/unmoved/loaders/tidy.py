"""What an exporter wrote, written again in fewer operators: constants folded, parameters kept by name.

The exporter leaves shape arithmetic, casts of literals, sequences and transposed weights in the file. A checker with
its own small reader, and bounds that differentiate in the parameters, both want the plain form.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Array, Node
from unmoved.loaders.graph import Graph, needed, read_graph
from unmoved.ops.einsum import einsum


def tidy(model: onnx.ModelProto, names: Mapping[str, str]) -> onnx.ModelProto:
    """Return an equal model whose nodes all depend on the input; `names` renames initialisers (tied parameters).

    A model with branches or loops comes back as it is.
    """
    if any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute):
        return model
    graph = read_graph(model)
    initial = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    broom = Broom(graph, {**initial, **graph.constants}, _transposes(model, initial))
    nodes = [plain for node in graph.nodes for plain in broom.swept(node)]
    nodes = list(needed(broom.merged(list(needed(nodes, graph.output))), graph.output))
    nodes = [replace(n, inputs=tuple(names.get(i, i) for i in n.inputs)) for n in nodes]
    constants = {names.get(name, name): value for name, value in broom.constants.items()}
    return written(replace(graph, nodes=tuple(nodes), constants=constants), model)


def _transposes(model: onnx.ModelProto, initial: Mapping[str, Array]) -> dict[str, str]:
    """Return which tensors are transposed matrices among the initialisers, and of which."""
    found = {}
    for node in model.graph.node:
        if node.op_type == "Transpose" and node.input[0] in initial and initial[node.input[0]].ndim == 2:
            orders = [tuple(a.ints) for a in node.attribute if a.name == "perm"]
            if orders in ([], [(1, 0)]):
                found[node.output[0]] = node.input[0]
    return found


@dataclass(frozen=True)
class Broom:
    """Rewrites of single nodes; `constants` grows by what the new nodes need."""

    graph: Graph
    constants: dict[str, Array]
    transposes: Mapping[str, str]

    def swept(self, node: Node) -> list[Node]:
        """Return the node, or nodes that do the same."""
        if node.op in ("Max", "Min"):
            return [self._clip(node)]
        if node.op == "Einsum":
            return self._einsum(node)
        if node.op == "Where":
            return [self._softplus(node)]
        if node.op == "SequenceAt":
            return [self._piece(node)]
        if node.op == "MatMul" and node.inputs[1] in self.transposes:
            return self._rows(node)
        return [node]

    def _new(self, name: str, value: Array) -> str:
        self.constants[name] = value
        return name

    def _shape(self, source: str, target: str, name: str, shape: tuple[int, ...]) -> Node:
        wanted = self._new(f"{name}.shape", np.array(shape, dtype=np.int64))
        return Node("Reshape", f"{name}.reshape", (source, wanted), (target,))

    def _clip(self, node: Node) -> Node:
        """Max or Min of a tensor and one number: Clip."""
        variables = [name for name in node.inputs if name not in self.constants]
        numbers = [name for name in node.inputs if name in self.constants]
        if len(variables) != 1 or len(numbers) != 1 or self.constants[numbers[0]].ndim:
            return node
        ends = (numbers[0],) if node.op == "Max" else ("", numbers[0])
        return replace(node, op="Clip", inputs=(variables[0], *ends))

    def _einsum(self, node: Node) -> list[Node]:
        """Einsum of two operands: Transpose, Reshape and MatMul."""
        known = {**self.graph.shapes, **{name: value.shape for name, value in self.constants.items()}}
        try:
            nodes, constants, _ = einsum(node, known, self.constants)
        except UnsupportedError:
            return [node]
        self.constants.update(constants)
        return nodes

    def _softplus(self, node: Node) -> Node:
        """Softplus that torch cuts off for large x (b x > 20: x instead of x + 2e-9 at most): Softplus."""
        makers = {n.outputs[0]: n for n in self.graph.nodes}

        def made(name: str, op: str) -> Node | None:
            found = makers.get(name)
            return found if found is not None and found.op == op else None

        beyond, over = made(node.inputs[0], "Greater"), made(node.inputs[2], "Div")
        soft = made(over.inputs[0], "Softplus") if over is not None else None
        if beyond is None or over is None or soft is None or soft.inputs[0] != beyond.inputs[0]:
            return node
        inner = made(soft.inputs[0], "Mul")
        rates = [self._number(name) for name in (over.inputs[1], inner.inputs[1] if inner is not None else "")]
        if rates != [1.0, 1.0] or (self._number(beyond.inputs[1]) or 0.0) < 20.0:
            return node
        assert inner is not None
        return replace(node, op="Softplus", inputs=(inner.inputs[0],)) if inner.inputs[0] == node.inputs[1] else node

    def _number(self, name: str) -> float | None:
        value = self.constants.get(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else None

    def _piece(self, node: Node) -> Node:
        """An item of a sequence that a tensor was split into: Slice."""
        makers = [n for n in self.graph.nodes if n.op == "SplitToSequence" and n.outputs[0] == node.inputs[0]]
        if not makers or len(makers[0].inputs) < 2 or not {makers[0].inputs[1], node.inputs[1]} <= set(self.constants):
            return node
        source, axis = makers[0].inputs[0], int(makers[0].attributes.get("axis", 0))
        split, out = self.constants[makers[0].inputs[1]], node.outputs[0]
        whole = self.graph.shapes[source][axis]
        if split.ndim:
            ends = [int(end) for end in np.cumsum(split)]
        else:
            ends = [min(end, whole) for end in range(int(split), whole + int(split), int(split))]
        place = int(self.constants[node.inputs[1]]) % len(ends)
        start = 0 if place == 0 else ends[place - 1]
        values = {"starts": start, "ends": ends[place], "axes": axis}
        names = [self._new(f"{out}.{key}", np.array([value], dtype=np.int64)) for key, value in values.items()]
        return Node("Slice", node.name, (source, *names), node.outputs)

    def _rows(self, node: Node) -> list[Node]:
        """A product with a transposed matrix: Gemm, which transposes by itself and leaves the parameter its name."""
        (source, flipped), out = node.inputs, node.outputs[0]
        if source in self.constants:
            return [node]
        weight = self.transposes[flipped]
        columns, width = self.constants[weight].shape
        flat = (prod(self.graph.shapes[source]) // width, width)
        rows, product = f"{out}.rows", f"{out}.product"
        return [
            self._shape(source, rows, rows, flat),
            Node("Gemm", node.name, (rows, weight), (product,), {"transB": 1}),
            self._shape(product, out, product, (*self.graph.shapes[source][:-1], columns)),
        ]

    def merged(self, nodes: list[Node]) -> list[Node]:
        """Return the nodes with a Clip of a Clip made one, where nobody else sees what lies between."""
        uses = Counter(name for node in nodes for name in node.inputs)
        uses[self.graph.output] += 1
        clips: dict[str, Node] = {}
        result = []
        for node in nodes:
            first = clips.get(node.inputs[0]) if node.op == "Clip" else None
            here = self._joined(first, node) if first is not None and uses[first.outputs[0]] == 1 else node
            if here.op == "Clip":
                clips[here.outputs[0]] = here
            result.append(here)
        return result

    def _ends(self, node: Node) -> tuple[float, float] | None:
        """Return the ends of a Clip; None where they are not both constant and in order."""
        ends = [-math.inf, math.inf]
        for place, name in enumerate(node.inputs[1:3]):
            if name and name not in self.constants:
                return None
            if name:
                ends[place] = float(self.constants[name])
        return (ends[0], ends[1]) if ends[0] <= ends[1] else None

    def _joined(self, first: Node, second: Node) -> Node:
        """Clip to [a, b], then to [c, d]: Clip to the ends a and b as the second moves them."""
        inner, outer = self._ends(first), self._ends(second)
        if inner is None or outer is None:
            return second
        low, high = (min(max(end, outer[0]), outer[1]) for end in inner)
        kind = next(self.constants[name].dtype for name in (*second.inputs[1:], *first.inputs[1:]) if name)
        out = second.outputs[0]
        ends = [
            self._new(f"{out}.{key}", np.array(end, dtype=kind)) if math.isfinite(end) else ""
            for key, end in (("low", low), ("high", high))
        ]
        return replace(second, inputs=(first.inputs[0], *ends))


def written(graph: Graph, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph as a model with the operator sets, and the types of input and output, of `model`."""
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in (*model.graph.input, *model.graph.output)}
    nodes = []
    for node in graph.nodes:
        domain, _, op = node.op.rpartition(".")
        made = helper.make_node(op, node.inputs, node.outputs, node.name, domain=domain)
        made.attribute.extend(helper.make_attribute(key, _value(value)) for key, value in node.attributes.items())
        nodes.append(made)
    used = dict.fromkeys(name for node in graph.nodes for name in node.inputs if name in graph.constants)
    ends = [helper.make_tensor_value_info(n, kinds[n], graph.shapes[n]) for n in (graph.input, graph.output)]
    plain = helper.make_graph(
        nodes, "unmoved", ends[:1], ends[1:], [numpy_helper.from_array(graph.constants[n], n) for n in used]
    )
    return helper.make_model(plain, opset_imports=model.opset_import, ir_version=min(model.ir_version, 10))


def _value(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return numpy_helper.from_array(value)
    return list(value) if isinstance(value, tuple) else value
