"""TAPS and STAPS: boxes through the first layers, an attack through the last ones (Mao et al. 2023).

"Connecting certified and adversarial training". Gradients of the attack's points reach the box by a connector.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.ops import Op
from unmoved.train.certified.box import Batch, BoxObjective, Terms, worst_loss
from unmoved.train.certified.small_box import small_box
from unmoved.train.descent import Descent

HALF = 0.5
"""The connector: a point in the lower half of its interval pulls at the lower end, in the upper half at the upper."""


@dataclass(frozen=True)
class Staps(BoxObjective):
    """The product of two losses: of interval bounds, and of margins attacked inside the box before the last ReLUs.

    The boxes start as SABR's of `size` (size 1: TAPS). `tail` ReLU layers are attacked, once for every other class;
    `weight` is how much more the attack's gradient counts (section 3.4 and equation 5). weight 0: SABR.
    """

    size: float = 1.0
    tail: int = 1
    weight: float = 5.0
    attack: Descent = field(default_factory=Descent)

    def check(self) -> None:
        """Check the settings."""
        if not 0 < self.size <= 1 or self.tail < 1 or not 0 <= self.weight < float("inf"):
            raise UsageError("size, tail, weight", (self.size, self.tail, self.weight), "in (0, 1], >= 1, >= 0")

    @property
    def name(self) -> str:
        """`staps`."""
        return "staps"

    def terms(self, batch: Batch) -> Terms:
        """Return the loss; UnsupportedError where no single tensor lies before the last `tail` ReLU layers."""
        box = small_box(batch, self.size, self.attack)
        bounds = batch.interval(box)
        lower = batch.margins(bounds)
        whole = worst_loss(lower, batch.y)
        if self.weight == 0:
            return Terms(whole, lower, bounds, box)
        name, ops = tail_of(batch.ops, self.tail)
        attacked = worst_loss(self._attacked(batch, ops, name, bounds[name]), batch.y)
        # the value is the product; each factor's gradient has a weight of its own
        near, far = 2 * self.weight / (1 + self.weight), 2 / (1 + self.weight)
        a, b = attacked.detach(), whole.detach()
        loss = a * b + near * b * (attacked - a) + far * a * (whole - b)
        return Terms(loss, lower, bounds, box)

    def _attacked(self, batch: Batch, ops: tuple[Op, ...], name: str, box: Bounds) -> Tensor:
        """Return margins (n, classes), the one to class j at a point that was chosen against it."""
        classes = batch.network.outputs
        copies = Bounds(*(end.repeat_interleave(classes, 0) for end in (box.low, box.high)))
        labels = batch.y.repeat_interleave(classes)[:, None]
        others = torch.arange(classes, device=batch.y.device).repeat(len(batch.y))[:, None]

        def margins(points: Tensor) -> Tensor:
            outputs = _through(ops, name, points, batch.network.output)
            return (outputs.gather(1, labels) - outputs.gather(1, others))[:, 0]

        points = self.attack.worst(lambda z: -margins(z), copies, batch.generator)
        return margins(_connected(points, copies)).view(len(batch.y), classes)


def tail_of(ops: tuple[Op, ...], count: int) -> tuple[str, tuple[Op, ...]]:
    """Return the tensor that the `count`-th last ReLU takes, and all operators from there: they need no other."""
    places = [k for k, op in enumerate(ops) if op.kind == "Relu"]
    if len(places) < count:
        raise UnsupportedError(f"a tail of {count} ReLU layers (of {len(places)})", "STAPS")
    start, tail = places[-count], ops[places[-count] :]
    name = ops[start].inputs[0]
    made = {name, *(op.output for op in tail)}
    if any(source not in made for op in tail for source in op.inputs):
        raise UnsupportedError("a connection that skips the split", "STAPS")
    return name, tail


def _through(ops: tuple[Op, ...], name: str, points: Tensor, output: str) -> Tensor:
    values = {name: points}
    for op in ops:
        values[op.output] = op.apply(*(values[source] for source in op.inputs))
    return values[output].flatten(1)


def _connected(points: Tensor, box: Bounds) -> Tensor:
    """Return the points, with the gradients of the rectified linear connector (section 3.3) towards the box's ends."""
    low, high = box.low.detach(), box.high.detach()
    place = (points - low) / (high - low).clamp(min=1e-12)
    at_low, at_high = (1 - place / HALF).clamp(min=0), (1 - (1 - place) / HALF).clamp(min=0)
    return points.detach() + at_low * (box.low - low) + at_high * (box.high - high)
