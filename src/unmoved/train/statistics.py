"""Batch norm while a loss is measured: the clean batch's statistics, and modules that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from unmoved.train.channels import channel_moments


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by the names that their network's constants have."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def normalised(module: nn.Module) -> bool:
    """Say whether a forward pass now would use, and move, batch statistics."""
    return any(isinstance(part, _BatchNorm) and part.training for part in module.modules())


@contextmanager
def clean_statistics(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect, in the forward pass inside, the batch statistics of every batch norm layer, under its buffers' names.

    Yields a dict that the pass fills: `<layer>.running_mean` and `<layer>.running_var` (biased, as normalisation uses
    it), differentiable. In training mode torch updates the module's own buffers in that pass, as ever.
    """
    statistics: dict[str, Tensor] = {}
    handles = []
    for name, part in module.named_modules():
        if not isinstance(part, _BatchNorm):
            continue

        def collect(_: nn.Module, inputs: tuple[Tensor, ...], prefix: str = f"{name}." if name else "") -> None:
            statistics[f"{prefix}running_mean"], statistics[f"{prefix}running_var"] = channel_moments(inputs[0])

        handles.append(part.register_forward_pre_hook(collect))
    try:
        yield statistics
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part into eval mode inside, and each back into its own mode afterwards."""
    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in flags:
            part.training = training


def steady(module: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the module in eval mode as a function, (n, *shape) -> (n, outputs), batch norm fixed at the batch x.

    An attack on a module in training must see the affine map that the loss sees, neither the running statistics (far
    off at first) nor those of the points that it tries. The module's buffers don't move.
    """
    statistics: dict[str, Tensor] = {}
    if normalised(module):
        spare = {name: buffer.clone() for name, buffer in module.named_buffers()}
        with torch.no_grad(), clean_statistics(module) as statistics:
            functional_call(module, spare, (x,))

    def scores(points: Tensor) -> Tensor:
        with evaluating(module):
            outputs: Tensor = functional_call(module, statistics, (points,))
            return outputs.flatten(1)

    return scores
