"""ONNX ModelProto to nodes, constants, input and output; opset 8 to 25.

Field numbers are those of onnx.proto3. What could change the meaning of the graph and is not read here
(subgraphs, sparse tensors, functions in the default domain) is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import isfinite, prod

from unmoved_check.model.constant import Constant, read_tensor
from unmoved_check.model.wire import Message
from unmoved_check.outcome import Rejection

Attribute = int | float | str | list[int] | list[float] | Constant
_DEFAULT_DOMAIN = ("", "ai.onnx")


@dataclass(frozen=True)
class Node:
    """One operator: its ONNX name, tensor names in and out ("" where an optional input is left out), attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute] = field(default_factory=dict)

    def refuse(self, why: str) -> Rejection:
        """The refusal of a variant of this operator that the checker doesn't know."""
        return Rejection(f"unchecked operator {self.op} {why}")

    def integer(self, name: str, default: int) -> int:
        """An int attribute."""
        value = self.attributes.get(name, default)
        if type(value) is not int:
            raise Rejection(f"model: {self.op}.{name} is not an integer")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """An int attribute that is 0 or 1: of another number runtimes make what they like."""
        value = self.integer(name, int(default))
        if value not in (0, 1):
            raise self.refuse(f"with {name} {value}")
        return value == 1

    def integers(self, name: str) -> list[int] | None:
        """An ints attribute, None when absent."""
        value = self.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or any(type(v) is not int for v in value):
            raise Rejection(f"model: {self.op}.{name} is no list of integers")
        return [int(v) for v in value]

    def real(self, name: str, default: float) -> float:
        """A finite float attribute."""
        value = self.attributes.get(name, default)
        if type(value) is not float or not isfinite(value):
            raise Rejection(f"model: {self.op}.{name} is not a finite number")
        return value

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise Rejection(f"model: {self.op}.{name} is not a text")
        return value


@dataclass(frozen=True)
class Source:
    """The graph as the file gives it, at batch size 1."""

    opset: int
    nodes: tuple[Node, ...]
    constants: dict[str, Constant]
    input: str
    input_shape: tuple[int, ...]
    output: str
    declared_outputs: int | None = None
    """Elements of the output at batch size 1 as the file declares them; None where it does not."""
    single: bool = False
    """Whether the input is declared as float32 (else float16 or float64)."""


def read_model(data: bytes) -> Source:
    """The graph in `data`; Rejection on anything malformed."""
    model = Message.parse(memoryview(data))
    opset = _opset(model)
    for function in model.messages(25):
        if function.text(10) in _DEFAULT_DOMAIN:
            raise Rejection("model: a function in the default domain")
    graph = model.message(7)
    if graph is None:
        raise Rejection("model: no graph")
    if graph.has(15):
        raise Rejection("model: sparse initialisers")
    constants: dict[str, Constant] = {}
    for tensor in graph.messages(5):
        name = tensor.text(8)
        if not name or name in constants:
            raise Rejection(f"model: initialiser {name!r} is unnamed or there twice")
        constants[name] = read_tensor(tensor)
    inputs = [info for info in graph.messages(11) if info.text(1) not in constants]
    outputs = graph.messages(12)
    if len(inputs) != 1 or not outputs:
        raise Rejection(f"model: {len(inputs)} inputs and {len(outputs)} outputs, expected one input and an output")
    nodes = tuple(_node(message) for message in graph.messages(1))
    source = Source(
        opset,
        nodes,
        constants,
        inputs[0].text(1),
        _shape(inputs[0]),
        outputs[0].text(1),
        _declared(outputs[0]),
        _element(inputs[0]) == 1,
    )
    _check_names(source)
    return source


def _opset(model: Message) -> int:
    """The version of the default domain, which may be listed more than once, but with one version only."""
    versions = {entry.integer(2) for entry in model.messages(8) if entry.text(1) in _DEFAULT_DOMAIN}
    if len(versions) != 1:
        raise Rejection("model: expected one opset of the default domain")
    version = versions.pop()
    if not 8 <= version <= 25:
        raise Rejection(f"model: opset {version}, expected 8 to 25")
    return version


def _shape(info: Message) -> tuple[int, ...]:
    """The input's shape; a dimension without a positive value is 1."""
    kind = info.message(2)
    tensor = kind.message(1) if kind else None
    if tensor is None or _element(info) not in (1, 10, 11):
        raise Rejection("model: the input is not a tensor of floats")
    shape = tensor.message(2)
    if shape is None:
        raise Rejection("model: the input has no shape")
    dims = [dim.integer(1, 1) if dim.has(1) else 1 for dim in shape.messages(1)]
    return tuple(dim if dim > 0 else 1 for dim in dims)


def _element(info: Message) -> int:
    """The type of its elements, ONNX TensorProto.DataType."""
    kind = info.message(2)
    tensor = kind.message(1) if kind else None
    return tensor.integer(1) if tensor else 0


def _declared(info: Message) -> int | None:
    """The number of elements of an output, if every dimension but a leading one is given."""
    kind = info.message(2)
    tensor = kind.message(1) if kind else None
    shape = tensor.message(2) if tensor else None
    if shape is None:
        return None
    dims = [dim.integer(1, 1) if dim.has(1) else 0 for dim in shape.messages(1)]
    if not dims or any(dim < 1 for dim in dims[1:]):
        return None
    return prod(dims[1:]) * max(dims[0], 1)


def _node(message: Message) -> Node:
    domain, op = message.text(7), message.text(4)
    attributes: dict[str, Attribute] = {}
    for entry in message.messages(5):
        name = entry.text(1)
        if not name or name in attributes:
            raise Rejection(f"model: attribute {name!r} of {op} is unnamed or there twice")
        attributes[name] = _attribute(entry, op)
    if domain not in _DEFAULT_DOMAIN:
        op = f"{domain}.{op}"
    return Node(op, tuple(message.texts(1)), tuple(message.texts(2)), attributes)


def _attribute(message: Message, op: str) -> Attribute:
    if message.text(21):
        raise Rejection(f"model: {op} refers to an attribute of a function")
    kind = message.integer(20)
    if kind == 1:
        return message.real(2)
    if kind == 2:
        return message.integer(3)
    if kind == 3:
        return str(bytes(message.blob(4)), "utf-8", "replace")
    if kind == 4:
        tensor = message.message(5)
        if tensor is not None:
            return read_tensor(tensor)
    if kind == 6:
        data = message.packed(7, 4)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    if kind == 7:
        return message.integers(8)
    raise Rejection(f"unchecked operator {op}")


def _check_names(source: Source) -> None:
    """Every tensor has one origin, and every node comes after what it reads."""
    known = {source.input, *source.constants}
    if not source.input or source.input in source.constants:
        raise Rejection("model: the input has no name of its own")
    for node in source.nodes:
        for name in node.inputs:
            if name and name not in known:
                raise Rejection(f"model: {node.op} reads {name!r}, which nothing before it makes")
        for name in filter(None, node.outputs):
            if name in known:
                raise Rejection(f"model: {name!r} is made twice")
            known.add(name)
    if source.output not in known:
        raise Rejection(f"model: nothing makes the output {source.output!r}")
