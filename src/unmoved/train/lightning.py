"""Certified accuracy in a Lightning loop: logged after every epoch, and the reason to stop (`unmoved[lightning]`)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unmoved.core.errors import UnmovedError, UsageError
from unmoved.train.stopping import Measure


def certified_accuracy(measure: Measure, *, part: str = "", patience: int | None = None, after: int = 0) -> Any:
    """Return a Lightning callback that logs `certified` after every training epoch, as `measure` finds it.

    `measure` is a `CertifiedShare` on held-out data. `part` names the attribute of the LightningModule that is the
    classifier, such as "model"; "" is the LightningModule itself. With `patience` training stops after so many epochs
    without a gain, and ends with the best epoch's weights; the first `after` epochs do not count: while eps still
    grows, certified accuracy is high for the wrong reason. Raises UnmovedError where Lightning is not installed.
    """
    if (patience is not None and patience < 1) or after < 0:
        raise UsageError("patience, after", (patience, after), "at least 1 epoch, at least 0")

    class CertifiedAccuracy(_callback()):  # type: ignore[misc]
        """Measures, logs, remembers the best, stops."""

        def __init__(self) -> None:
            self.best = float("-inf")
            self.idle = 0
            self.weights: dict[str, Tensor] = {}

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            module = _part(pl_module, part)
            value = float(measure(module))
            pl_module.log("certified", value, prog_bar=True)
            if patience is None or trainer.current_epoch < after:
                return
            if value > self.best:
                self.best, self.idle = value, 0
                self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
                return
            self.idle += 1
            if self.idle >= patience:
                trainer.should_stop = True

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            if self.weights:
                _part(pl_module, part).load_state_dict(self.weights)

        def state_dict(self) -> dict[str, Any]:
            return {"best": self.best, "idle": self.idle, "weights": self.weights}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.best, self.idle, self.weights = (state_dict[name] for name in ("best", "idle", "weights"))

    return CertifiedAccuracy()


def _part(module: Any, name: str) -> Any:
    return getattr(module, name) if name else module


def _callback() -> type:
    """Return Lightning's class of callbacks, whichever of its two packages is installed."""
    try:
        from lightning.pytorch.callbacks import Callback
    except ImportError:
        try:
            from pytorch_lightning.callbacks import Callback
        except ImportError as error:
            raise UnmovedError("this callback needs Lightning: pip install 'unmoved[lightning]'") from error
    found: type = Callback
    return found
