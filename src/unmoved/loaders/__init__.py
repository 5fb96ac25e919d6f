"""Outside formats, read into our data."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from torch import nn

from unmoved.core.errors import UsageError
from unmoved.ir.network import Network
from unmoved.loaders.arrays import load_npz
from unmoved.loaders.factory import is_factory, load_factory
from unmoved.loaders.onnx import load_onnx
from unmoved.loaders.runtime import Runtime
from unmoved.loaders.torch import load_torch

__all__ = ["Runtime", "load", "load_factory", "load_npz", "load_onnx", "load_torch"]

_EXPECTED = 'an existing .onnx file, or "package.module:factory"'


def load(
    model: str | PathLike[str] | bytes | nn.Module | Network,
    weights: str | PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Network:
    """Return a model as a Network: an .onnx file or its bytes, "package.module:factory", a torch module, a Network.

    `weights` (a safetensors file) go with a factory only. `input_shape`, at batch size 1, is needed for torch modules;
    what else comes knows its own. Raises UsageError and LoadError as the loaders do.
    """
    made_by_code = isinstance(model, str) and is_factory(model) and not Path(model).exists()
    if weights is not None and not made_by_code:
        raise UsageError("weights", str(weights), 'none: only a model "package.module:factory" takes weights')
    if isinstance(model, Network):
        return model
    if isinstance(model, str) and made_by_code:
        model = load_factory(model, weights)
    if isinstance(model, nn.Module):
        if input_shape is None:
            raise UsageError("input_shape", None, "the shape of one input with batch size 1, such as (1, 3, 32, 32)")
        return load_torch(model, input_shape)
    if isinstance(model, bytes):
        return load_onnx(model)
    if not isinstance(model, str | PathLike):
        raise UsageError("model", model, f"{_EXPECTED}, a torch module or a Network")
    if not Path(model).is_file():
        raise UsageError("model", str(model), _EXPECTED)
    return load_onnx(model)
