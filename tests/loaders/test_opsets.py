"""The importer against onnxruntime (at load) and the reference of onnx, in every version of every operator."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from unmoved.loaders import load_onnx
from unmoved.ops import bind, evaluate

OPSETS = (9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25)
SHAPE = (1, 4, 6)
Attributes = dict[str, object]
NODES: dict[str, tuple[Attributes, tuple[np.ndarray, ...]]] = {
    "Abs": ({}, ()),
    "AveragePool": ({"kernel_shape": [2]}, ()),
    "Celu": ({"alpha": 0.7}, ()),
    "Conv": ({"kernel_shape": [3], "group": 2}, (np.arange(24, dtype=np.float32).reshape(4, 2, 3) / 9 - 1,)),
    "ConvTranspose": ({"strides": [2]}, (np.arange(24, dtype=np.float32).reshape(4, 2, 3) / 9 - 1,)),
    "Cos": ({}, ()),
    "Elu": ({"alpha": 1.3}, ()),
    "Erf": ({}, ()),
    "Exp": ({}, ()),
    "Flatten": ({}, ()),
    "Gather": ({"axis": 2}, (np.array([3, 0, 3]),)),
    "Gelu": ({"approximate": "tanh"}, ()),
    "GlobalAveragePool": ({}, ()),
    "HardSigmoid": ({}, ()),
    "HardSwish": ({}, ()),
    "LayerNormalization": ({"axis": -1}, (np.ones(6, np.float32),)),
    "LeakyRelu": ({}, ()),
    "LogSoftmax": ({"axis": 1}, ()),
    "MaxPool": ({"kernel_shape": [3], "strides": [2]}, ()),
    "Mish": ({}, ()),
    "Mul": ({}, (np.full((4, 1), 0.5, np.float32),)),
    "Neg": ({}, ()),
    "PRelu": ({}, (np.array([[0.1], [0.2], [-0.3], [0.4]], np.float32),)),
    "Pow": ({}, (np.array(2.0, np.float32),)),
    "Relu": ({}, ()),
    "Selu": ({}, ()),
    "Sigmoid": ({}, ()),
    "Sign": ({}, ()),
    "Sin": ({}, ()),
    "Softmax": ({"axis": 1}, ()),
    "Softplus": ({}, ()),
    "Softsign": ({}, ()),
    "Tanh": ({}, ()),
    "Tile": ({}, (np.array([1, 2, 1]),)),
    "Transpose": ({"perm": [0, 2, 1]}, ()),
}


def versions(name: str) -> list[int]:
    """Return one of our operator sets for each version that the operator had."""
    found: dict[int, int] = {}
    for opset in OPSETS:
        try:
            found[defs.get_schema(name, opset, "").since_version] = opset
        except defs.SchemaError:
            continue
    return list(found.values())


def model(name: str, opset: int) -> onnx.ModelProto:
    attributes, constants = NODES[name]
    names = [f"c{i}" for i in range(len(constants))]
    node = helper.make_node(name, ["x", *names], ["y"], **attributes)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", SHAPE), ("y", None))]
    initial = [numpy_helper.from_array(a, n) for a, n in zip(constants, names, strict=True)]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)


@pytest.mark.parametrize(("name", "opset"), [(n, v) for n in NODES for v in versions(n)])
def test_every_version_of_an_operator_is_read_as_its_specification_says(name: str, opset: int) -> None:
    torch.set_num_threads(1)
    proto = model(name, opset)
    network = load_onnx(proto.SerializeToString())
    x = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
    ours = evaluate(bind(network, dtype=torch.float64), network, torch.from_numpy(x).double()).numpy()
    reference = ReferenceEvaluator(proto)
    for point, y in zip(x, ours, strict=True):
        truth = reference.run(None, {"x": point})[0]
        if name.endswith("Softmax") and opset < 13:
            # onnx's reference knows the new meaning only; the old one takes all axes from `axis` on as one.
            truth = np.exp(point) / np.exp(point).sum()
            truth = np.log(truth) if name == "LogSoftmax" else truth
        np.testing.assert_allclose(y, truth, rtol=1e-4, atol=1e-5)
