"""Empirical defences, for comparison: they answer rightly where an attack of the time leads, and prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from torch import Tensor, nn
from torch.nn import functional

from unmoved.bounds.enclosure import Bounds
from unmoved.core.errors import UsageError
from unmoved.train.descent import Descent
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.statistics import steady


@dataclass(frozen=True)
class Adversarial(Objective):
    """Cross-entropy at points of L_inf balls of `eps`, clipped to `clip`, that PGD found (Madry et al. 2018)."""

    eps: float
    clip: tuple[float, float] | None = (0.0, 1.0)
    attack: Descent = field(default_factory=Descent)

    def __post_init__(self) -> None:
        """Check the settings."""
        _check(self.eps, self.clip)

    @property
    def name(self) -> str:
        """`adversarial`."""
        return "adversarial"

    @property
    def settled(self) -> float:
        """From the start."""
        return 0.0

    def settings(self) -> dict[str, str]:
        """Return the fields."""
        return {name: str(value) for name, value in asdict(self).items()}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Return the loss; `shape` plays no part."""

        def loss(x: Tensor, y: Tensor, moment: Moment) -> Measured:
            points = x
            if self.eps > 0:
                scores = steady(module, x)
                box = _ball(x, self.eps, self.clip)
                points = self.attack.worst(_cross_entropies(scores, y), box, moment.generator)
            outputs = module(points).flatten(1)
            accuracy = float((outputs.argmax(1) == y).float().mean())
            return Measured(functional.cross_entropy(outputs, y), {"attacked": accuracy})

        return loss


@dataclass(frozen=True)
class Trades(Objective):
    """Cross-entropy at x, plus `weight` times the divergence of the answers at a point of the ball from those at x.

    KL(f(x) || f(x')), x' found by PGD on that divergence: Zhang et al. 2019, "Theoretically principled trade-off
    between robustness and accuracy", equation 5 (their 1 / lambda is the weight). Weight 0: plain training.
    """

    eps: float
    weight: float = 6.0
    clip: tuple[float, float] | None = (0.0, 1.0)
    attack: Descent = field(default_factory=Descent)

    def __post_init__(self) -> None:
        """Check the settings."""
        _check(self.eps, self.clip)
        if not 0 <= self.weight < float("inf"):
            raise UsageError("weight", self.weight, "a number >= 0")

    @property
    def name(self) -> str:
        """`trades`."""
        return "trades"

    @property
    def settled(self) -> float:
        """From the start."""
        return 0.0

    def settings(self) -> dict[str, str]:
        """Return the fields."""
        return {name: str(value) for name, value in asdict(self).items()}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Return the loss; `shape` plays no part."""

        def loss(x: Tensor, y: Tensor, moment: Moment) -> Measured:
            clean = module(x).flatten(1)
            total = functional.cross_entropy(clean, y)
            figures = {"clean": float((clean.argmax(1) == y).float().mean())}
            if self.weight > 0 and self.eps > 0:
                scores, wanted = steady(module, x), clean.detach().softmax(1)

                def apart(points: Tensor) -> Tensor:
                    return _divergence(scores(points), wanted)

                points = self.attack.worst(apart, _ball(x, self.eps, self.clip), moment.generator)
                moved = module(points).flatten(1)
                total = total + self.weight * _divergence(moved, clean.softmax(1)).mean()
                figures["attacked"] = float((moved.argmax(1) == y).float().mean())
            return Measured(total, figures)

        return loss


def _check(eps: float, clip: tuple[float, float] | None) -> None:
    if not 0 <= eps < float("inf"):
        raise UsageError("eps", eps, "a number >= 0")
    if clip is not None and not clip[0] < clip[1]:
        raise UsageError("clip", clip, "a range with low < high")


def _ball(x: Tensor, eps: float, clip: tuple[float, float] | None) -> Bounds:
    low, high = x - eps, x + eps
    return Bounds(low, high) if clip is None else Bounds(low.clamp(*clip), high.clamp(*clip))


def _cross_entropies(scores: Callable[[Tensor], Tensor], y: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda points: functional.cross_entropy(scores(points), y, reduction="none")


def _divergence(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Return KL(wanted || softmax(outputs)) (n,); wanted (n, classes) are probabilities."""
    return functional.kl_div(outputs.log_softmax(1), wanted, reduction="none").sum(1)
