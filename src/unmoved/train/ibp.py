"""Training by interval bound propagation, through the very bounds that certify.

Gowal et al. 2018 (the loss), Shi et al. 2021 (initialisation, regulariser, short ramp, batch norm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.interval import interval, interval_low
from unmoved.bounds.query import Query
from unmoved.core.errors import UsageError
from unmoved.ir.network import Network
from unmoved.loaders.torch import load_torch
from unmoved.ops import Op, bind
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.schedule import SmoothRamp
from unmoved.train.statistics import clean_statistics, named_tensors, normalised

TOLERANCE = 0.5


@dataclass(frozen=True)
class Ibp(Objective):
    """Cross-entropy of the lower bounds of the margins y_label - y_j over L_inf balls of `eps`, clipped to `clip`.

    eps is in the units of the inputs and grows by `ramp`. `regulariser` weighs the terms of Shi et al. (they fade out
    as the ramp ends). Batch norm uses the statistics of the CLEAN batch for both ends; they are differentiated through.
    """

    eps: float
    clip: tuple[float, float] | None = (0.0, 1.0)
    ramp: SmoothRamp = field(default_factory=SmoothRamp)
    regulariser: float = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 <= self.eps < float("inf"):
            raise UsageError("eps", self.eps, "a number >= 0")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise UsageError("clip", self.clip, "a range with low < high")

    @property
    def name(self) -> str:
        """`ibp`."""
        return "ibp"

    @property
    def settled(self) -> float:
        """When the ramp ends."""
        return self.ramp.end

    def settings(self) -> dict[str, str]:
        """Return the fields."""
        return {name: str(value) for name, value in asdict(self).items()}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Read the module as a network once; its parameters are bound anew at every step."""
        return IbpLoss(self, module, load_torch(module, (1, *shape), trainable=True))


@dataclass(frozen=True, eq=False)
class IbpLoss:
    """The loss of one module."""

    objective: Ibp
    module: nn.Module
    network: Network

    def __call__(self, x: Tensor, y: Tensor, moment: Moment) -> Measured:
        """Return the loss at this moment's eps; figures: `certified` at that eps, `clean` where batch norm needs it."""
        share = self.objective.ramp(moment.progress)
        figures = {"eps": share * self.objective.eps}
        constants = named_tensors(self.module)
        if normalised(self.module):
            with clean_statistics(self.module) as statistics:
                outputs = self.module(x).flatten(1)
            constants.update(statistics)
            figures["clean"] = float((outputs.argmax(1) == y).float().mean())
        ops = bind(self.network, constants, device=x.device)
        box = self._box(x, figures["eps"])
        bounds = interval(ops, self.network, box)
        lower = margins_low(ops, self.network, bounds, y)
        figures["certified"] = float((lower.scatter(1, y[:, None], torch.inf) > 0).all(1).float().mean())
        loss = functional.cross_entropy(-lower, y)
        weight = self.objective.regulariser * (1 - share)
        if weight > 0 and figures["eps"] > 0:
            loss = loss + weight * regulariser(ops, bounds, box)
        return Measured(loss, figures)

    def _box(self, x: Tensor, eps: float) -> Bounds:
        low, high = x - eps, x + eps
        if self.objective.clip is not None:
            low, high = low.clamp(*self.objective.clip), high.clamp(*self.objective.clip)
        shape = (len(x), *self.network.input_shape)
        return Bounds(low.reshape(shape), high.reshape(shape))


def margins_low(ops: tuple[Op, ...], network: Network, bounds: Mapping[str, Bounds], y: Tensor) -> Tensor:
    """Return lower bounds (n, classes) of y_label - y_j, 0 at the label itself, the last affine operators merged in."""
    classes = network.outputs
    eye = torch.eye(classes, device=y.device)
    rows = eye[y][:, None, :] - eye
    owner = torch.arange(len(y), device=y.device).repeat_interleave(classes)
    query = Query(owner, rows.flatten(0, 1), torch.zeros(len(owner), device=y.device))
    box = bounds[network.input]
    enclosure = Enclosure.of_box(box.low, box.high)
    return interval_low(ops, network, enclosure, dict(bounds), query).view(len(y), classes)


def regulariser(ops: tuple[Op, ...], bounds: Mapping[str, Bounds], box: Bounds) -> Tensor:
    """Return the mean over ReLU layers of the terms of Shi et al. 2021, section 3.3, equations 8 to 11.

    Tightness: mean radius at the input over mean radius at the layer. Balance: the active neurons' share against the
    inactive ones', in means and in variances. Each ratio costs what it falls short of TOLERANCE.
    """
    start = box.radius.mean()
    terms = []
    for op in ops:
        if op.kind != "Relu":
            continue
        at = bounds[op.inputs[0]]
        center = at.center
        active, inactive = (at.low > 0).to(center.dtype), (at.high < 0).to(center.dtype)
        spread = (center - center.mean()) ** 2
        terms.append(_short(start / at.radius.mean().clamp(min=1e-12)))
        terms.append(_balance((center * active).mean(), -(center * inactive).mean()))
        terms.append(_balance((spread * active).mean(), (spread * inactive).mean()))
    layers = max(1, len(terms) // 3)
    return torch.stack(terms).sum() / layers if terms else start.new_zeros(())


def _balance(one: Tensor, other: Tensor) -> Tensor:
    """Return the cost of two positive quantities that are far apart; nothing where one of them is missing."""
    if not (one > 0 and other > 0):
        return torch.zeros_like(one)
    return _short(torch.minimum(one / other, other / one))


def _short(ratio: Tensor) -> Tensor:
    return functional.relu(TOLERANCE - ratio) / TOLERANCE
