"""ONNX files: read, folded, and refused unless onnxruntime agrees with our reading."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import inliner

from unmoved.core.errors import LoadError, UnsupportedError, UsageError
from unmoved.ir.network import Network
from unmoved.loaders.graph import operator_set, read_graph
from unmoved.loaders.runtime import Runtime, first_line
from unmoved.ops import bind, evaluate


def load_onnx(model: str | PathLike[str] | bytes, *, compare: bool = True) -> Network:
    """Return an ONNX model (a path, or the bytes of one) as a Network whose outputs are those of onnxruntime.

    Unless `compare` is off, our evaluation of the graph in float64 is compared with onnxruntime on random inputs,
    zeros and ones, and the model is refused where they disagree by more than float32 rounding explains. A model with an
    operator that `ops` has no rule for loads without that comparison. Raises UsageError for a missing file, LoadError
    for everything that is not an ONNX model of operator set 8 to 25 with one floating-point input.
    """
    source, title = _bytes(model)
    proto = _parse(source, title)
    operator_set(proto)
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    try:
        graph = read_graph(proto)
    except LoadError as error:
        raise LoadError(f"{title}: {error}") from error
    network = Network(
        nodes=graph.nodes,
        constants=graph.constants,
        input=graph.input,
        output=graph.output,
        shapes=graph.shapes,
        source=source,
        digest=hashlib.sha256(source).hexdigest(),
    )
    if compare:
        compare_with_runtime(network, title)
    return network


def _bytes(model: str | PathLike[str] | bytes) -> tuple[bytes, str]:
    if isinstance(model, bytes):
        return model, "the model"
    path = Path(model)
    if not path.is_file():
        raise UsageError("model", str(path), "an existing file")
    try:
        return path.read_bytes(), path.name
    except OSError as error:
        raise UsageError("model", str(path), f"a readable file ({error.strerror})") from error


def _parse(source: bytes, title: str) -> onnx.ModelProto:
    try:
        proto = onnx.load_model_from_string(source)
    except DecodeError as error:
        raise LoadError(f"{title} is not an ONNX file") from error
    if not proto.opset_import or not proto.graph.output:
        raise LoadError(f"{title} is not an ONNX file")
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in proto.graph.initializer):
        raise LoadError(f"{title}: weights lie in another file; put them inside: onnx.save(onnx.load(OLD), NEW)")
    return proto


def probes(shape: tuple[int, ...]) -> np.ndarray:
    """Return the inputs of the comparison, (8, *shape) float32: zeros, ones, uniform, normal, and wide normal ones."""
    rng = np.random.default_rng(0)
    uniform, normal = rng.uniform(size=(2, *shape)), rng.normal(size=(4, *shape))
    normal[3] *= 10
    return np.concatenate([np.zeros((1, *shape)), np.ones((1, *shape)), uniform, normal]).astype(np.float32)


def compare_with_runtime(network: Network, title: str) -> None:
    """Raise LoadError unless `ops` in float64 and onnxruntime agree on the probes; unsupported operators pass.

    Two answers agree when they differ, in no output, by more than 1e-4 of the largest output (2e-2 for a model in half
    precision) plus twenty times what the same walk in float32 differs from itself in float64: a wrong operator differs
    by far more, rounding by less.
    """
    runtime = Runtime(network.source)
    half = runtime.dtype == np.float16
    x = torch.from_numpy(probes(network.input_shape).astype(runtime.dtype)).float()
    try:
        wide, narrow = (evaluate(bind(network, dtype=t), network, x.to(t)) for t in (torch.float64, torch.float32))
    except UnsupportedError:
        return
    except RuntimeError as error:
        raise LoadError(f"{title}: our reading of the graph fails: {first_line(error)}") from error
    for point, ours, rounded in zip(x.numpy(), wide.numpy(), narrow.numpy(), strict=True):
        theirs = runtime.run(point[None])[0].astype(np.float64)
        ours, rounded = ours.reshape(-1), rounded.reshape(-1).astype(np.float64)
        if ours.shape != theirs.shape:
            raise LoadError(f"{title}: we read {ours.size} outputs, onnxruntime gives {theirs.size}")
        both = np.isfinite(ours) & np.isfinite(theirs) & np.isfinite(rounded)
        noise = np.abs(ours - rounded)[both].max(initial=0.0)
        allowed = (2e-2 if half else 1e-4) * np.abs(theirs[both]).max(initial=0.0) + 20 * noise + 1e-9
        apart = np.abs(ours - theirs)[both].max(initial=0.0)
        if apart > allowed or not np.array_equal(np.isfinite(theirs), np.isfinite(rounded)):
            raise LoadError(
                f"{title}: our reading and onnxruntime {Runtime.version} disagree by {apart:.3g} on a test input "
                f"(rounding explains {allowed:.3g}); the model is refused. Operators: {', '.join(network.operators)}"
            )
