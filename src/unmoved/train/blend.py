"""Two objectives as one, whose weights move through training: no objective needs a schedule of weights of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from unmoved.core.errors import UsageError
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.schedule import SmoothRamp


@dataclass(frozen=True)
class Blend(Objective):
    """The loss (1 - w) * first + w * second; w moves from `begin` to `end` as `ramp` rises from 0 to 1.

    `Blend(GaussianNoise(0.0), Ibp(eps), begin=0.5, end=1.0)` is interval training with the natural term of Gowal et al.
    2018 (equation 8), whose weight falls from 1/2 to nothing. Each loss makes its own passes over the batch; one with
    a weight of exactly 0 makes none.
    """

    first: Objective
    second: Objective
    begin: float = 0.5
    end: float = 1.0
    ramp: SmoothRamp = field(default_factory=SmoothRamp, kw_only=True)

    def __post_init__(self) -> None:
        """Check the weights."""
        for name in ("begin", "end"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(name, getattr(self, name), "a share from 0 to 1")

    @property
    def name(self) -> str:
        """Both names, such as `noise+ibp`."""
        return f"{self.first.name}+{self.second.name}"

    @property
    def settled(self) -> float:
        """When the weights rest and both losses are settled."""
        moving = self.ramp.end if self.begin != self.end else 0.0
        return max(moving, self.first.settled, self.second.settled)

    def settings(self) -> dict[str, str]:
        """Return both objectives' settings, and the weights'."""
        parts = (("first", self.first), ("second", self.second))
        own = {"begin": str(self.begin), "end": str(self.end), "ramp": str(self.ramp)}
        named = {prefix: part.name for prefix, part in parts}
        return own | named | {f"{prefix}.{k}": v for prefix, part in parts for k, v in part.settings().items()}

    def weight(self, progress: float) -> float:
        """Return the second objective's weight."""
        return self.begin + (self.end - self.begin) * self.ramp(progress)

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Make both losses ready for the module."""
        return BlendLoss(self, self.first.start(module, shape), self.second.start(module, shape))


@dataclass(frozen=True, eq=False)
class BlendLoss:
    """The loss of one module."""

    objective: Blend
    first: Loss
    second: Loss

    def __call__(self, x: Tensor, y: Tensor, moment: Moment) -> Measured:
        """Return the mixture; figures: `weight`, and those of both, the second's where both have one."""
        w = self.objective.weight(moment.progress)
        made = [(share, loss(x, y, moment)) for share, loss in ((1 - w, self.first), (w, self.second)) if share > 0]
        figures = {name: value for _, measured in made for name, value in measured.figures.items()}
        return Measured(sum((share * m.loss for share, m in made), x.new_zeros(())), {"weight": w, **figures})
