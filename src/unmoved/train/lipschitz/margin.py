"""What a 1-Lipschitz net proves by its margin alone, and the loss that makes margins wide.

If every row difference of the last layer, over all layers before it, is at most c-Lipschitz in L2, the answer cannot
change within margin / c. The constants are proved (`norms`), of the stored numbers; the logits are evaluated in float64
with a bound of their rounding errors. No independent checker knows this argument yet: radii are marked unchecked.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from unmoved.bounds.norms import gram_sums, kernel_norm, length, lost, matrix_norm, up
from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.core.threat import AnyFloats
from unmoved.train.lipschitz.layers import AolConv2d, AolLinear, MaxMin, Residual, Sll, residual
from unmoved.train.objective import Loss, Measured, Moment, Objective

STILL = (nn.Flatten, nn.PixelUnshuffle, nn.Identity, nn.ReLU, MaxMin, nn.Dropout)
"""Layers without weights that bring no two inputs further apart (dropout: in eval mode)."""

UNIT = 2.0**-53


@dataclass(frozen=True)
class MarginRadii:
    """For every input: the least margin y_label - y_j, and an L2 radius in which the label is the answer, or 0.

    The claim is about the stored weights in real arithmetic. `unchecked`: always, so far.
    """

    margins: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    unchecked: bool = True


@dataclass(frozen=True)
class MarginLoss(Objective):
    """Cross-entropy of logits whose label was lowered by sqrt(2) `radius`, at `temperature` (Prach & Lampert 2022).

    Radius 0 and temperature 1: plain training. The loss is divided by the temperature's slope, so that steps keep
    their size.
    """

    radius: float
    temperature: float = 0.25

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 <= self.radius < math.inf or not 0 < self.temperature < math.inf:
            raise UsageError("radius, temperature", (self.radius, self.temperature), ">= 0 and > 0")

    @property
    def name(self) -> str:
        """`margin`."""
        return "margin"

    @property
    def settled(self) -> float:
        """From the start."""
        return 0.0

    def settings(self) -> dict[str, str]:
        """Return the fields."""
        return {"radius": repr(self.radius), "temperature": repr(self.temperature)}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Return the loss; `shape` plays no part."""

        def loss(x: Tensor, y: Tensor, moment: Moment) -> Measured:
            outputs = module(x).flatten(1)
            lowered = outputs - math.sqrt(2) * self.radius * functional.one_hot(y, outputs.shape[1])
            total = self.temperature * functional.cross_entropy(lowered / self.temperature, y)
            figures = {
                "clean": float((outputs.argmax(1) == y).float().mean()),
                "certified": float((lowered.argmax(1) == y).float().mean()),
            }
            return Measured(total, figures)

        return loss


def baked(module: nn.Sequential) -> nn.Sequential:
    """Return a copy as it is deployed: AOL layers as plain ones, SLL steps with stored theta; in eval mode, on the CPU.

    It answers as the module does, up to float32 rounding, and every bound and loader knows its layers.
    """
    if not isinstance(module, nn.Sequential):
        raise UsageError("module", type(module).__name__, "an nn.Sequential")
    still = copy.deepcopy(module).cpu().eval()
    parts = [part.baked() if isinstance(part, AolLinear | AolConv2d | Sll) else part for part in still]
    return nn.Sequential(*parts).eval()


def lipschitz_bound(module: nn.Sequential) -> float:
    """Return a proved upper bound of the L2 Lipschitz constant; UnsupportedError for a layer without a rule."""
    bound = 1.0
    for part in baked(module):
        bound = up(bound * factor(part))
    return bound


def factor(part: nn.Module) -> float:
    """Return a proved upper bound of one layer's Lipschitz constant, of its stored numbers, in real arithmetic."""
    if isinstance(part, STILL):
        return 1.0
    if isinstance(part, nn.Linear):
        return matrix_norm(part.weight.detach().numpy())
    if isinstance(part, nn.Conv2d) and part.padding_mode == "zeros":
        kernels = part.weight.detach().numpy().reshape(part.groups, -1, *part.weight.shape[1:])
        return max(kernel_norm(kernel) for kernel in kernels)
    if isinstance(part, Residual):
        return _residual_factor(part)
    raise UnsupportedError(type(part).__name__, "the Lipschitz bound")


def _residual_factor(part: Residual) -> float:
    """Return sqrt(1 + 4 d (1 + d)), d the most by which theta exceeds 1 / T; 1 where it exceeds nowhere.

    With W' W <= (1 + d) / Theta and a diagonal 0 <= D <= 1 the Jacobian J = I - 2 W Theta D W' has
    J J' <= I - 4 W Theta D W' + 4 (1 + d) W Theta D^2 W' <= I + 4 d W Theta W', and |W Theta W'| <= 1 + d.
    """
    theta = part.theta.double().numpy()
    if not (theta >= 0).all():
        raise UsageError("theta", float(theta.min()), "numbers >= 0")
    sums = gram_sums(part.weight.detach().double().numpy(), part.q.double().numpy())
    excess = max(0.0, up(up(float((sums * theta).max()) * (1 + 2 * UNIT)) - 1))
    return 1.0 if excess == 0 else up(math.sqrt(up(1 + up(up(4 * excess) * up(1 + excess)))))


def margin_radii(module: nn.Sequential, x: AnyFloats, y: np.ndarray) -> MarginRadii:
    """Return margins and radii of inputs x (n, *shape) with labels y (n,), for a net that ends in a linear layer."""
    parts = list(baked(module))
    if not parts or not isinstance(parts[-1], nn.Linear):
        raise UsageError("module", type(parts[-1]).__name__ if parts else "nothing", "a last layer that is linear")
    before, last = parts[:-1], parts[-1].double()
    factors = [factor(part) for part in before]
    constant = 1.0
    for value in factors:
        constant = up(constant * value)
    points = torch.as_tensor(np.asarray(x, np.float64))
    with torch.no_grad():
        features, error = _evaluated(before, factors, points)
    weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
    found = [_least(weight, bias, f, e, int(label), constant) for f, e, label in zip(features, error, y, strict=True)]
    margins, radii = np.array(found, np.float64).reshape(-1, 2).T
    return MarginRadii(margins, radii)


def _least(
    weight: np.ndarray, bias: np.ndarray, features: np.ndarray, error: float, label: int, constant: float
) -> tuple[float, float]:
    """Return the least margin, rounded down, and the least of margin / (constant * |w_label - w_j|), or 0."""
    margins, radii = [], []
    for j in range(len(weight)):
        if j == label:
            continue
        row = weight[label] - weight[j]
        size = up(length(row) * (1 + 4 * UNIT))
        offset = bias[label] - bias[j]
        value = float(row @ features) + offset
        terms = float(np.abs(row) @ np.abs(features)) + abs(bias[label]) + abs(bias[j])
        doubt = up(up(lost(len(row) + 4) * up(terms * (1 + 1e-9))) + up(size * error))
        margin = math.nextafter(value - up(doubt), -math.inf)
        margins.append(margin)
        reach = up(constant * size)
        # rows that are equal can never change places: no bound on the radius from them
        radii.append(math.inf if reach == 0 and margin > 0 else math.nextafter(margin / max(reach, 1e-300), -math.inf))
    return min(margins), max(0.0, min(radii))


def _evaluated(
    parts: Sequence[nn.Module], factors: Sequence[float], x: Tensor
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the features (n, width) in float64, and bounds (n,) of how far rounding has moved them in L2."""
    value, error = x, np.zeros(len(x))
    for part, constant in zip(parts, factors, strict=True):
        sizes, terms = _magnitudes(part, value)
        moved = np.array([length(one.numpy()) for one in sizes])
        error = (error * constant + lost(terms) * moved) * (1 + 8 * UNIT)
        if isinstance(part, Residual):
            value = residual(value, part.weight.double(), part.bias.double(), part.theta.double())
        else:
            value = copy.deepcopy(part).double()(value)
    return value.flatten(1).numpy(), error


def _magnitudes(part: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """Return elementwise magnitudes that rounding errors are relative to, and the number of operations behind one."""
    if isinstance(part, MaxMin):
        half = x.shape[1] // 2
        both = x[:, :half].abs() + x[:, half:].abs()
        return torch.cat([both, both], 1), 4
    if isinstance(part, nn.Linear | nn.Conv2d):
        return _absolute(part, x), part.weight[0].numel() + 2
    if isinstance(part, Residual):
        weight, bias, theta = part.weight.double().abs(), part.bias.double().abs(), part.theta.double()
        # with theta negated the step adds: |x| + 2 |W| theta (|W'| |x| + |b|)
        return residual(x.abs(), weight, bias, -theta), part.weight[0].numel() + part.weight[:, 0].numel() + 6
    return torch.zeros_like(x), 0


def _absolute(part: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
    wide = copy.deepcopy(part).double()
    wide.weight.abs_()
    if wide.bias is not None:
        wide.bias.abs_()
    magnitudes: Tensor = wide(x.abs())
    return magnitudes
