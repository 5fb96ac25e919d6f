"""torch modules: exported to ONNX, then read like any other ONNX file."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from unmoved.core.errors import LoadError, UsageError
from unmoved.ir.network import Array, Network
from unmoved.loaders.onnx import load_onnx, probes
from unmoved.loaders.runtime import Runtime, first_line
from unmoved.loaders.tidy import tidy


def load_torch(module: nn.Module, example_shape: tuple[int, ...], *, trainable: bool = False) -> Network:
    """Return a module in eval mode as a Network with the same outputs, and its parameters and buffers by their names.

    `example_shape` is the shape of an input at batch size 1, such as (1, 3, 32, 32). A copy on the CPU is exported
    (half precision as float32); the module itself is not touched. `ops.bind(network, params)` with the module's
    parameters and buffers is differentiable in them. A parameter that the exporter hides inside another constant is not
    among the network's constants, and with `trainable` that is a LoadError. LoadError too for a module that cannot be
    exported, or that gives two outputs for one input.
    """
    shape = _checked(module, example_shape)
    still = _copy(module)
    kinds = {tensor.dtype for tensor in still.parameters() if tensor.is_floating_point()}
    examples = torch.from_numpy(probes(shape)).to(torch.float64 if torch.float64 in kinds else torch.float32)
    outputs = _outputs(still, examples)
    exported = _exported(still, examples[2])
    network = load_onnx(tidy(exported, _first_names(still)).SerializeToString(deterministic=True))
    _compare(network, examples.numpy(), outputs)
    tensors = dict(still.named_parameters()) | dict(still.named_buffers())
    used = {name for node in exported.graph.node for name in node.input}
    hidden = sorted((used & set(tensors)) - set(network.constants))
    if trainable and hidden:
        raise LoadError(f"training cannot reach {', '.join(hidden)}: the exporter hides them in other constants")
    spare = {name: t.detach().numpy() for name, t in tensors.items() if name not in used}
    return replace(network, constants={**spare, **network.constants})


def _checked(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(module, nn.Module):
        raise UsageError("module", type(module).__name__, "a torch.nn.Module")
    sizes = tuple(shape)
    if not sizes or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes) or sizes[0] != 1:
        raise UsageError(
            "example_shape", shape, "positive whole numbers with batch size 1 first, such as (1, 3, 32, 32)"
        )
    return sizes


def _copy(module: nn.Module) -> nn.Module:
    try:
        still = copy.deepcopy(module).cpu().eval()
    except (RuntimeError, TypeError) as error:
        raise LoadError(f"this module cannot be copied: {first_line(error)}") from error
    halves = (torch.float16, torch.bfloat16)
    return still.float() if any(tensor.dtype in halves for tensor in still.parameters()) else still


def _outputs(module: nn.Module, examples: Tensor) -> Array:
    """Return the module's outputs for each example at batch size 1, (examples, outputs)."""
    try:
        with torch.no_grad(), quiet():
            first, again = ([_first(module(example)) for example in examples] for _ in range(2))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        shape = tuple(examples.shape[1:])
        raise UsageError("example_shape", shape, f"a shape that the module takes ({first_line(error)})") from error
    outputs, repeated = (torch.stack([y.flatten() for y in ys]) for ys in (first, again))
    if not torch.allclose(outputs, repeated, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise LoadError("the module in eval mode gives two different outputs for one input; take its randomness out")
    return outputs.double().numpy()


def _first(output: object) -> Tensor:
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise LoadError(f"the module returns {type(output).__name__}, expected a tensor")
    return output


def _exported(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    """Return the exporter's model, unoptimised: names of parameters, and BatchNormalization, survive only so."""
    try:
        with quiet():
            program = torch.onnx.export(module, (example,), dynamo=True, optimize=False, verbose=False)
    except Exception as error:
        raise LoadError(f"torch cannot export this module: {first_line(error)}") from error
    assert program is not None
    return program.model_proto


def _first_names(module: nn.Module) -> dict[str, str]:
    """Return for each further name of a shared parameter or buffer the name that named_parameters() gives."""
    first: dict[int, str] = {}
    every = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    return {name: first.setdefault(id(tensor), name) for name, tensor in every}


def _compare(network: Network, examples: Array, outputs: Array) -> None:
    """Raise LoadError unless onnxruntime gives, for the exported file, what the module gave."""
    theirs = Runtime(network.source).run(examples).astype(np.float64)
    allowed = 1e-3 * np.abs(outputs[np.isfinite(outputs)]).max(initial=0.0) + 1e-6
    if theirs.shape != outputs.shape or not np.allclose(theirs, outputs, rtol=0, atol=allowed, equal_nan=True):
        raise LoadError("the exported model and the module disagree on test inputs; the module is refused")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter's warnings and log lines, and bring both back afterwards."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(before)
