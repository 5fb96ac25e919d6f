"""What the objectives of certified training share: boxes that grow, and a batch as the bounds see it."""

from __future__ import annotations

from abc import abstractmethod
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
from unmoved.ops import Op, bind, evaluate
from unmoved.ops.folding import folded
from unmoved.train.certified.regulariser import regulariser
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.schedule import SmoothRamp
from unmoved.train.statistics import clean_statistics, named_tensors, normalised


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch and the operators that it meets: batch norm has the CLEAN batch's statistics, differentiable.

    x (n, *network.input_shape), y (n,); `eps` is this step's, `share` says how far it has grown.
    """

    network: Network
    ops: tuple[Op, ...]
    x: Tensor
    y: Tensor
    eps: float
    share: float
    clip: tuple[float, float] | None
    generator: torch.Generator

    def box(self, eps: float, center: Tensor | None = None) -> Bounds:
        """Return the L_inf balls of `eps` about the inputs, or other centres of their shape, clipped."""
        middle = self.x if center is None else center
        low, high = middle - eps, middle + eps
        if self.clip is not None:
            low, high = low.clamp(*self.clip), high.clamp(*self.clip)
        return Bounds(low, high)

    def interval(self, box: Bounds) -> dict[str, Bounds]:
        """Return interval bounds of every tensor."""
        return interval(self.ops, self.network, box)

    def margins(self, bounds: Mapping[str, Bounds]) -> Tensor:
        """Return lower bounds (n, classes) of y_label - y_j, 0 at the label, from interval bounds."""
        return margins_low(self.ops, self.network, bounds, self.y)

    def rows_low(self, bounds: Mapping[str, Bounds], query: Query) -> Tensor:
        """Return lower bounds (R,) of a query's rows from interval bounds."""
        return rows_low(self.ops, self.network, bounds, query)

    def scores(self, points: Tensor) -> Tensor:
        """Return the outputs (k, classes) at points (k, *network.input_shape), under the same batch norm."""
        return evaluate(self.ops, self.network, points).flatten(1)


@dataclass(frozen=True, eq=False)
class Terms:
    """A loss, and what it came from: lower bounds (n, classes) of the margins over `box`, all tensors' `bounds`."""

    loss: Tensor
    lower: Tensor
    bounds: Mapping[str, Bounds]
    box: Bounds
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class BoxObjective(Objective):
    """A loss over L_inf balls of `eps`, in the units of the inputs, clipped to `clip`; it grows by `ramp`.

    `regulariser` weighs the terms of Shi et al. 2021, which fade out as the ramp ends.
    """

    eps: float
    clip: tuple[float, float] | None = field(default=(0.0, 1.0), kw_only=True)
    ramp: SmoothRamp = field(default_factory=SmoothRamp, kw_only=True)
    regulariser: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 <= self.eps < float("inf"):
            raise UsageError("eps", self.eps, "a number >= 0")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise UsageError("clip", self.clip, "a range with low < high")
        if not 0 <= self.regulariser < float("inf"):
            raise UsageError("regulariser", self.regulariser, "a number >= 0")
        self.check()

    def check(self) -> None:
        """Raise UsageError for settings of its own that cannot be."""
        return

    @property
    def settled(self) -> float:
        """When the ramp ends."""
        return self.ramp.end

    def settings(self) -> dict[str, str]:
        """Return the fields."""
        return {name: str(value) for name, value in asdict(self).items()}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Read the module as a network once; its parameters are bound anew at every step."""
        return BoxLoss(self, module, load_torch(module, (1, *shape), trainable=True))

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """Return the loss of a batch, without the regulariser."""


@dataclass(frozen=True, eq=False)
class BoxLoss:
    """The loss of one module."""

    objective: BoxObjective
    module: nn.Module
    network: Network

    def __call__(self, x: Tensor, y: Tensor, moment: Moment) -> Measured:
        """Return the loss at this moment's eps; figures: `certified` over the loss's own boxes, `clean`, the loss's."""
        share = self.objective.ramp(moment.progress)
        eps = share * self.objective.eps
        figures = {"eps": eps}
        constants = named_tensors(self.module)
        if normalised(self.module):
            with clean_statistics(self.module) as statistics:
                outputs = self.module(x).flatten(1)
            constants.update(statistics)
            figures["clean"] = float((outputs.argmax(1) == y).float().mean())
        ops = folded(bind(self.network, constants, device=x.device), {self.network.output})
        inputs = x.reshape(len(x), *self.network.input_shape)
        batch = Batch(self.network, ops, inputs, y, eps, share, self.objective.clip, moment.generator)
        terms = self.objective.terms(batch)
        figures["certified"] = float((terms.lower.scatter(1, y[:, None], torch.inf) > 0).all(1).float().mean())
        loss, weight = terms.loss, self.objective.regulariser * (1 - share)
        if weight > 0 and eps > 0:
            loss = loss + weight * regulariser(ops, terms.bounds, terms.box)
        return Measured(loss, figures | dict(terms.figures))


def margins_low(ops: tuple[Op, ...], network: Network, bounds: Mapping[str, Bounds], y: Tensor) -> Tensor:
    """Return lower bounds (n, classes) of y_label - y_j, 0 at the label itself, the last affine operators merged in."""
    return rows_low(ops, network, bounds, margin_query(network, y)).view(len(y), -1)


def rows_low(ops: tuple[Op, ...], network: Network, bounds: Mapping[str, Bounds], query: Query) -> Tensor:
    """Return lower bounds (R,) of a query's rows from interval bounds over the box that is the input's."""
    box = bounds[network.input]
    return interval_low(ops, network, Enclosure.of_box(box.low, box.high), bounds, query)


def margin_query(network: Network, y: Tensor) -> Query:
    """Return the rows y_label - y_j, for every class j in order, of every input."""
    classes = network.outputs
    eye = torch.eye(classes, device=y.device)
    rows = eye[y][:, None, :] - eye
    owner = torch.arange(len(y), device=y.device).repeat_interleave(classes)
    return Query(owner, rows.flatten(0, 1), torch.zeros(len(owner), device=y.device))


def worst_loss(lower: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of lower bounds of the margins: no less than that of any point of the boxes."""
    return functional.cross_entropy(-lower, y)
