"""Losses that ask f for one answer whatever the noise: stability training and consistency regularisation."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor, nn
from torch.nn import functional

from unmoved.core.errors import UsageError
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.smoothing.noise import check, noise, repeated, share


@dataclass(frozen=True)
class Stability(Objective):
    """Cross-entropy at x, plus `weight` times that of the softmax at x + noise against the softmax at x.

    Li et al. 2019, "Certified adversarial robustness with additive noise", section 4.2. Weight 0: plain training.
    """

    sigma: float
    weight: float = 2.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check(self.sigma, weight=self.weight)

    @property
    def name(self) -> str:
        """`stability`."""
        return "stability"

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
            figures = {"clean": share(clean, y)}
            if self.weight > 0:
                noisy = module(x + noise(x, 1, self.sigma, moment)).flatten(1)
                total = total + self.weight * functional.cross_entropy(noisy, clean.softmax(1))
                figures["noisy"] = share(noisy, y)
            return Measured(total, figures)

        return loss


@dataclass(frozen=True)
class Consistency(Objective):
    """Cross-entropy at noisy copies, plus their divergence from their mean softmax F, plus the entropy of F.

    The mean over `copies` of the cross-entropy + `weight` mean KL(F || F_i) + `entropy` H(F): Jeong & Shin 2020,
    "Consistency regularization for certified robustness of smoothed classifiers", equations 8 and 9. Weight and entropy
    0: noise training with so many copies.
    """

    sigma: float
    copies: int = 2
    weight: float = 10.0
    entropy: float = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check(self.sigma, self.copies, weight=self.weight, entropy=self.entropy)
        if self.weight > 0 and self.copies < 2:
            raise UsageError("copies", self.copies, "at least 2: one copy agrees with itself")

    @property
    def name(self) -> str:
        """`consistency`."""
        return "consistency"

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
            outputs = module(repeated(x, self.copies) + noise(x, self.copies, self.sigma, moment)).flatten(1)
            total = functional.cross_entropy(outputs, y.repeat(self.copies))
            logs = outputs.log_softmax(1).view(self.copies, len(x), -1)
            mean = logs.exp().mean(0)
            # the logarithm's gradient is finite where the mean underflows to 0
            own = (mean * mean.clamp(min=1e-20).log()).sum(1).mean()
            spread = own - (mean * logs.mean(0)).sum(1).mean()
            figures = {"noisy": share(outputs, y.repeat(self.copies)), "divergence": float(spread.detach())}
            return Measured(total + self.weight * spread - self.entropy * own, figures)

        return loss
