"""Training a denoiser to stand before a classifier that was never trained with noise (Salman et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from unmoved.core.errors import UsageError
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.smoothing.noise import check, noise, share
from unmoved.train.statistics import evaluating, named_tensors


@dataclass(frozen=True)
class Denoising(Objective):
    """Mean squared error between the module at x + noise and x; the labels play no part.

    With `classifier`, which stays as it is, and `weight` > 0: plus `weight` times the cross-entropy of the classifier
    behind the module against its own answer at x. "Denoised smoothing", section 3.1: MSE and STAB. The model to
    certify is `loaders.compose.Composed(module, classifier)`.
    """

    sigma: float
    classifier: nn.Module | None = None
    weight: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check(self.sigma, weight=self.weight)
        if self.weight > 0 and self.classifier is None:
            raise UsageError("weight", self.weight, "a classifier too, whose answers are to stay")

    @property
    def name(self) -> str:
        """`denoising`."""
        return "denoising"

    @property
    def settled(self) -> float:
        """From the start."""
        return 0.0

    def settings(self) -> dict[str, str]:
        """Return sigma, the weight and the classifier's class."""
        behind = "none" if self.classifier is None else type(self.classifier).__name__
        return {"sigma": repr(self.sigma), "weight": repr(self.weight), "classifier": behind}

    def start(self, module: nn.Module, shape: tuple[int, ...]) -> Loss:
        """Return the loss; UsageError for a module that does not give back the inputs' shape."""
        with torch.no_grad(), evaluating(module):
            device = next((p.device for p in module.parameters()), torch.device("cpu"))
            given = module(torch.zeros(1, *shape, device=device)).shape[1:]
        if tuple(given) != tuple(shape):
            raise UsageError("module", f"outputs of shape {tuple(given)}", f"a denoiser: the inputs' shape {shape}")

        def loss(x: Tensor, y: Tensor, moment: Moment) -> Measured:
            guess = module(x + noise(x, 1, self.sigma, moment))
            total, figures = functional.mse_loss(guess, x), {}
            if self.classifier is not None and self.weight > 0:
                still = {name: tensor.detach() for name, tensor in named_tensors(self.classifier).items()}
                with evaluating(self.classifier):
                    wanted = functional_call(self.classifier, still, (x,)).flatten(1).argmax(1)
                    answers = functional_call(self.classifier, still, (guess,)).flatten(1)
                total = total + self.weight * functional.cross_entropy(answers, wanted)
                figures["kept"] = share(answers, wanted)
            return Measured(total, figures)

        return loss
