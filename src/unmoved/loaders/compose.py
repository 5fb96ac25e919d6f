"""Two models as one: what a denoiser gives is what the classifier takes (denoised smoothing, Salman et al. 2020)."""

from __future__ import annotations

import onnx
from onnx import compose as onnx_compose
from onnx import helper, version_converter
from torch import Tensor, nn

from unmoved.core.errors import LoadError, UsageError
from unmoved.ir.network import Network
from unmoved.loaders.graph import operator_set
from unmoved.loaders.onnx import load_onnx
from unmoved.loaders.runtime import first_line


class Composed(nn.Module):
    """second(first(x)), for any two modules; parameters are named `first.*` and `second.*`."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Return second(first(x))."""
        composed: Tensor = self.second(self.first(x))
        return composed


def compose(first: Network, second: Network) -> Network:
    """Return the network second(first(x)) as one ONNX model, compared with onnxruntime like any other file.

    The first's outputs go to the second's input, reshaped where the number of elements is the same. The lower operator
    set is raised to the higher. UsageError where the sizes differ, LoadError where ONNX cannot convert a model.
    """
    inputs = second.shapes[second.input]
    outputs = first.shapes[first.output]
    if first.outputs != _size(inputs):
        raise UsageError("second", f"a model of inputs {inputs}", f"one that takes the first's outputs, {outputs}")
    protos = _level([onnx.load_model_from_string(model.source) for model in (first, second)])
    left = onnx_compose.add_prefix(_plain(protos[0]), "first/")
    right = onnx_compose.add_prefix(_plain(protos[1]), "second/")
    end, start = f"first/{first.output}", f"second/{second.input}"
    if outputs != inputs:
        end = _reshape(left, end, outputs, inputs)
    try:
        merged = onnx_compose.merge_models(left, right, io_map=[(end, start)])
    except ValueError as error:
        raise LoadError(f"the two models cannot be joined: {first_line(error)}") from error
    return load_onnx(merged.SerializeToString(deterministic=True))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size


def _level(protos: list[onnx.ModelProto]) -> list[onnx.ModelProto]:
    """Return the models at one operator set, the higher, and one IR version, the lower."""
    target = max(operator_set(proto) for proto in protos)
    level = []
    for proto in protos:
        if operator_set(proto) != target:
            try:
                proto = version_converter.convert_version(proto, target)
            except (RuntimeError, ValueError) as error:
                raise LoadError(f"a model cannot be raised to operator set {target}: {first_line(error)}") from error
        level.append(proto)
    version = min(proto.ir_version for proto in level)
    for proto in level:
        proto.ir_version = version
    return level


def _plain(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without what joining would stumble over: initialisers among the inputs, notes on shapes."""
    initial = {tensor.name for tensor in proto.graph.initializer}
    keep = [entry for entry in proto.graph.input if entry.name not in initial]
    del proto.graph.input[:]
    proto.graph.input.extend(keep)
    del proto.graph.value_info[:]
    return proto


def _reshape(proto: onnx.ModelProto, name: str, first: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Append a Reshape of the output from shape `first` to `shape`; return the new output's name."""
    graph, out, wanted = proto.graph, f"{name}/reshaped", f"{name}/shape"
    # 0 keeps a first axis as it is, so that a batch of any size still passes
    sides = [0, *shape[1:]] if first and shape and first[0] == shape[0] else list(shape)
    graph.initializer.append(helper.make_tensor(wanted, onnx.TensorProto.INT64, [len(sides)], sides))
    graph.node.append(helper.make_node("Reshape", [name, wanted], [out]))
    kind = graph.output[0].type.tensor_type.elem_type
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(out, kind, shape))
    return out
