"""Starting weights, from a seed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def interval_init(module: nn.Module, seed: int) -> None:
    """Draw every weight of two or more axes from N(0, sd = sqrt(2 pi) / fan_in), in place; biases become 0.

    With it the mean radius of interval bounds stays constant from layer to layer (Shi et al. 2021, section 3.1). Scales
    and shifts of normalisation layers (one axis) become 1 and 0, their statistics are reset.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._NormBase):
                part.reset_parameters()
                continue
            for name, parameter in part.named_parameters(recurse=False):
                if parameter.dim() >= 2:
                    parameter.copy_(_normal(parameter, generator))
                elif name.endswith("bias"):
                    parameter.zero_()


def default_init(module: nn.Module, seed: int) -> None:
    """Draw all weights anew as torch's own layers do, in place, from a seed; torch's global state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()


def _normal(weight: Tensor, generator: torch.Generator) -> Tensor:
    fan_in = weight[0].numel()
    drawn = torch.randn(weight.shape, generator=generator) * (math.sqrt(2 * math.pi) / fan_in)
    return drawn.to(weight)
