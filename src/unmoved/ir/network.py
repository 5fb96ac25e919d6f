"""A model as data: nodes with ONNX operator names, named constants, and the bytes it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One operator: `op` is its ONNX name, `inputs` and `outputs` are tensor names ("" for an omitted optional one).

    Attributes are plain Python: int, float, str, tuples of them, or numpy arrays.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Network:
    """A frozen, topologically ordered ONNX graph with one input and one output, read at batch size 1.

    `shapes` holds the shape of every tensor at batch size 1, exactly as ONNX would compute it (usually starting with
    1); our own batches put ONE more axis in front: a batch of values of tensor t has shape (batch, *shapes[t]).
    `constants` holds initialisers and everything folded from them, by tensor name; for a torch module the names are
    the names of its parameters and buffers. `source` are the ONNX bytes that certificates speak of, `digest` their
    sha256. Nodes contain no constant-only node: those are folded at load. Unknown operators are kept.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    input: str
    output: str
    shapes: Mapping[str, tuple[int, ...]]
    source: bytes
    digest: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input at batch size 1."""
        return self.shapes[self.input]

    @property
    def outputs(self) -> int:
        """Number of output elements at batch size 1."""
        return prod(self.shapes[self.output])

    @property
    def operators(self) -> tuple[str, ...]:
        """The distinct operator names, in order of first use."""
        return tuple(dict.fromkeys(node.op for node in self.nodes))

    def batch(self, x: Array) -> Array:
        """Return x, (batch, ...) with the right number of elements, as float32 (batch, *input_shape)."""
        return np.ascontiguousarray(x, dtype=np.float32).reshape(len(x), *self.input_shape)
