"""One-node ONNX models, what onnxruntime says of them, and the same as an ir.Network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from unmoved.ir.network import Network, Node

torch.set_num_threads(1)


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
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, dict(feeds))[0]

    def feeds(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {n: rng.normal(size=s).astype(np.float32) for n, s in self.variables.items()}

    def network(self) -> Network:
        out = self.run(self.feeds(np.random.default_rng(0)))
        attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in self.attributes.items()}
        node = Node(self.op, "node", self.inputs, ("y",), attributes)
        shapes = {**self.variables, "y": out.shape}
        first = next(iter(self.variables))
        return Network((node,), dict(self.constants), first, "y", shapes, b"", "")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def opset() -> int:
    return onnx.defs.onnx_opset_version()
