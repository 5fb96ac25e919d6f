"""An ONNX protobuf as nodes, constants and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from unmoved.core.errors import LoadError
from unmoved.ir.network import Array, Node
from unmoved.loaders.runtime import FAILURES, first_line, input_of, session

_STANDARD = ("", "ai.onnx")
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_OF_SHAPES = frozenset({"Shape", "Size"})
OPSETS = range(8, 26)
"""The operator sets that are read; 8 because public benchmarks still use it."""


@dataclass(frozen=True)
class Graph:
    """What is left of a model once constants are folded and what the output does not need is gone."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    input: str
    output: str
    shapes: Mapping[str, tuple[int, ...]]


def operator_set(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set; LoadError for one that is not read."""
    versions = sorted({entry.version for entry in model.opset_import if entry.domain in _STANDARD})
    if len(versions) != 1 or versions[0] not in OPSETS:
        shown = ", ".join(map(str, versions)) or "none"
        raise LoadError(f"the operator set is {shown}, expected one of {OPSETS[0]} to {OPSETS[-1]}")
    return int(versions[0])


def _attribute(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(_attribute(item) for item in value)
    return value


def node_of(proto: onnx.NodeProto) -> Node:
    """Return a node as data; its operator's name carries the domain where that is not the standard one."""
    attributes = {
        a.name: _attribute(onnx.helper.get_attribute_value(a))
        for a in proto.attribute
        if a.type not in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    }
    op = proto.op_type if proto.domain in _STANDARD else f"{proto.domain}.{proto.op_type}"
    name = proto.name or (proto.output[0] if proto.output else op)
    return Node(op, name, tuple(proto.input), tuple(proto.output), attributes)


def observed(model: onnx.ModelProto) -> dict[str, Array]:
    """Return the value of every tensor of the graph for the input 0.5 at batch size 1, as onnxruntime computes it."""
    every = onnx.ModelProto()
    every.CopyFrom(model)
    del every.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    running = session(every.SerializeToString(), optimise=False)
    name, kind, shape, _ = input_of(running)
    point = np.full(shape, 0.5, dtype=kind)
    try:
        values = running.run(names, {name: point}) if names else []
    except FAILURES as error:
        raise LoadError(f"onnxruntime cannot run this model at batch size 1: {first_line(error)}") from error
    found = {n: v for n, v in zip(names, values, strict=True) if isinstance(v, np.ndarray)}
    return {name: point, **found}


def _folds(proto: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    """Say whether a node's outputs do not depend on the input's value (its shape is fixed)."""
    if proto.op_type in _RANDOM or any(a.HasField("g") or a.graphs for a in proto.attribute):
        return False
    if proto.domain in _STANDARD and proto.op_type in _OF_SHAPES:
        return True
    # The second input of CastLike gives a type, not a value.
    inputs = proto.input[:1] if proto.op_type == "CastLike" else proto.input
    return all(name in constants for name in inputs if name)


def _explicit(node: Node, version: int) -> Node:
    """Return the node as it means: before operator set 13 a softmax takes all axes from `axis` on as one."""
    if version >= 13 or node.op not in ("Softmax", "LogSoftmax"):
        return node
    return replace(node, attributes={"axis": 1, **node.attributes, "coerced": 1})


def read_graph(model: onnx.ModelProto) -> Graph:
    """Return the graph at batch size 1; LoadError where it has not one input, or its output does not depend on it."""
    try:
        initial = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    except (TypeError, ValueError) as error:
        raise LoadError(f"an initialiser cannot be read: {first_line(error)}") from error
    if model.graph.sparse_initializer:
        raise LoadError("sparse initialisers are not read")
    inputs = [entry.name for entry in model.graph.input if entry.name not in initial]
    if len(inputs) != 1 or not model.graph.output:
        raise LoadError(
            f"the model has {len(inputs)} inputs and {len(model.graph.output)} outputs, expected one of each"
        )
    version = operator_set(model)
    values = observed(without_defaults(model))
    constants = dict(initial)
    known = {inputs[0], *initial, ""}
    kept = []
    for proto in model.graph.node:
        if not known.issuperset(proto.input):
            raise LoadError(f"the nodes are not in topological order: {proto.op_type} comes before its inputs")
        known.update(proto.output)
        if _folds(proto, constants) and all(name in values for name in proto.output if name):
            constants.update({name: values[name] for name in proto.output if name})
        else:
            kept.append(_explicit(node_of(proto), version))
    output = model.graph.output[0].name
    nodes = needed(kept, output)
    if output in constants or (not nodes and output != inputs[0]):
        raise LoadError("the output does not depend on the input")
    used = {name for node in nodes for name in node.inputs}
    tensors = {inputs[0], output} | {name for node in nodes for name in (*node.inputs, *node.outputs)}
    shapes = {name: value.shape for name, value in {**values, **constants}.items() if name in tensors}
    return Graph(nodes, {n: a for n, a in constants.items() if n in used}, inputs[0], output, shapes)


def without_defaults(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without initialisers among its inputs: they are constants here, never to be overridden."""
    initial = {tensor.name for tensor in model.graph.initializer}
    if not any(entry.name in initial for entry in model.graph.input):
        return model
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.graph.input[:]
    plain.graph.input.extend(entry for entry in model.graph.input if entry.name not in initial)
    return plain


def needed(nodes: list[Node], output: str) -> tuple[Node, ...]:
    """Return the nodes that the output depends on, in order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
