"""The one training loop: any module, any objective.

Batches and random numbers of a step depend on the seed and the step's number alone, so that a run can be taken up
again in the middle.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from unmoved.core.errors import UsageError
from unmoved.core.threat import AnyFloats
from unmoved.ops.device import reachable
from unmoved.train.checkpoint import Checkpoints, Saved
from unmoved.train.objective import Loss, Moment, Objective
from unmoved.train.schedule import ConstantThenCosine
from unmoved.train.statistics import evaluating
from unmoved.train.stopping import Stopping

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Plan:
    """Settings of a run. `lr` is constant until the objective is settled, then falls to 0 as a cosine (Adam).

    Gradients are clipped to the norm `clip`; `l1` weighs the sum of the absolute weights (of two or more axes).
    `precision` "bfloat16" is mixed precision: products in bfloat16, weights and sums in float32. `device` is torch's
    name of where to train.
    """

    epochs: int = 30
    batch: int = 100
    lr: float = 2e-3
    seed: int = 0
    clip: float = 10.0
    l1: float = 1e-5
    precision: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.epochs < 1 or self.batch < 2:
            raise UsageError("epochs, batch", (self.epochs, self.batch), "at least 1 epoch and batches of at least 2")
        if not (self.lr > 0 and self.clip > 0 and self.l1 >= 0):
            raise UsageError("lr, clip, l1", (self.lr, self.clip, self.l1), "> 0, > 0, >= 0")
        if self.precision not in PRECISIONS:
            raise UsageError("precision", self.precision, " or ".join(PRECISIONS))
        reachable(self.device)


@dataclass(frozen=True)
class Epoch:
    """One pass over the data: its number, from 1 to `epochs`; mean loss and figures of its batches; wall seconds.

    `watched` is what early stopping measured after it, once it measures.
    """

    number: int
    epochs: int
    loss: float
    figures: Mapping[str, float]
    seconds: float
    watched: float | None = None


History = tuple[Epoch, ...]
Progress = Callable[[Epoch], None]


def fit(
    module: nn.Module,
    x: AnyFloats,
    y: np.ndarray,
    objective: Objective,
    plan: Plan,
    progress: Progress | None = None,
    *,
    stopping: Stopping | None = None,
    checkpoints: Checkpoints | None = None,
) -> History:
    """Train `module` in place on x (n, *shape) and labels y (n,), and return what happened; it is left in eval mode.

    The same arguments and starting weights give the same result on the same machine with one thread. `progress` is
    called after every epoch. With `stopping` the weights are the best epoch's in the end. With `checkpoints` every
    epoch is kept, and the same call after an interruption goes on from the last one, to the same weights bit for bit.
    Raises UsageError for data that do not fit or a folder of another run, FloatingPointError when the loss diverges.
    """
    inputs, labels = _tensors(x, y, plan)
    run = _run(module, inputs, labels, objective, plan) if checkpoints is not None else ""
    module.to(plan.device)
    loss = objective.start(module, tuple(inputs.shape[1:]))
    state = State.fresh(module, plan)
    if checkpoints is not None and (saved := checkpoints.read(run)) is not None:
        state.restore(saved)
    fall = ConstantThenCosine(objective.settled)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if "cuda" in plan.device else []):
        while len(state.history) < plan.epochs and not state.stalled(stopping):
            epoch = _epoch(state, loss, (inputs, labels), plan, fall)
            watched = None
            if stopping is not None and epoch.number > objective.settled * plan.epochs:
                watched = state.watch(stopping)
            state.history.append(Epoch(**{**vars(epoch), "watched": watched}))
            if checkpoints is not None:
                checkpoints.write(run, epoch.number, state.saved())
            if progress is not None:
                progress(state.history[-1])
    if state.best:
        module.load_state_dict(state.best)
    module.eval()
    return tuple(state.history)


@dataclass(eq=False)
class State:
    """What changes from step to step: the module, the optimiser, the history, the best weights so far."""

    module: nn.Module
    optimiser: torch.optim.Adam
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def fresh(cls, module: nn.Module, plan: Plan) -> State:
        """Return the state before the first step."""
        parameters = [p for p in module.parameters() if p.requires_grad]
        return cls(module, torch.optim.Adam(parameters, lr=plan.lr, foreach=True))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        trained: list[nn.Parameter] = self.optimiser.param_groups[0]["params"]
        return trained

    def watch(self, stopping: Stopping) -> float:
        """Measure the module, and remember its weights if they are the best so far."""
        with evaluating(self.module):
            value = float(stopping.measure(self.module))
        values = [e.watched for e in self.history if e.watched is not None]
        if not values or value > max(values):
            self.best = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
        return value

    def stalled(self, stopping: Stopping | None) -> bool:
        """Say whether the last `patience` epochs brought no new best."""
        if stopping is None:
            return False
        values = [e.watched for e in self.history if e.watched is not None]
        return bool(values) and len(values) - 1 - int(np.argmax(values)) >= stopping.patience

    def saved(self) -> Saved:
        """Return everything that going on needs."""
        tensors = {f"module/{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for number, slots in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{name}": torch.as_tensor(value) for name, value in slots.items()}
        return Saved(tensors, {"history": [asdict(epoch) for epoch in self.history]})

    def restore(self, saved: Saved) -> None:
        """Put everything back where `saved` had it."""
        parts: dict[str, dict[str, Tensor]] = {"module": {}, "best": {}, "optimiser": {}}
        for name, tensor in saved.tensors.items():
            room, _, rest = name.partition("/")
            parts[room][rest] = tensor
        self.module.load_state_dict(parts["module"])
        device = next((p.device for p in self.parameters), torch.device("cpu"))
        self.best = {name: tensor.to(device) for name, tensor in parts["best"].items()}
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimiser"].items():
            number, _, slot = name.partition("/")
            slots.setdefault(int(number), {})[slot] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})
        self.history = [Epoch(**epoch) for epoch in saved.facts["history"]]


def _epoch(state: State, loss: Loss, data: tuple[Tensor, Tensor], plan: Plan, fall: ConstantThenCosine) -> Epoch:
    """Take every step of the next epoch."""
    inputs, labels = data
    number, per_epoch = len(state.history), len(inputs) // plan.batch
    started, sums, total = time.monotonic(), dict[str, float](), 0.0
    mixed, kind = PRECISIONS[plan.precision], plan.device.partition(":")[0]
    state.module.train()
    for k, rows in enumerate(batches(len(inputs), plan, number)):
        step = number * per_epoch + k
        at = step / (plan.epochs * per_epoch)
        seed = _mixed(plan.seed, step)
        torch.manual_seed(seed)  # for layers that draw by themselves, such as dropout
        state.optimiser.param_groups[0]["lr"] = plan.lr * fall(at)
        with torch.autocast(kind, mixed, enabled=mixed is not None):
            measured = loss(inputs[rows], labels[rows], Moment(at, torch.Generator().manual_seed(seed)))
        state.optimiser.zero_grad()
        (measured.loss.float() + plan.l1 * _weights(state.parameters)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(state.parameters, plan.clip)
        state.optimiser.step()
        total += measured.loss.item()
        for name, figure in measured.figures.items():
            sums[name] = sums.get(name, 0.0) + figure
    if not math.isfinite(total):
        raise FloatingPointError(f"the loss diverged in epoch {number + 1}: try a smaller learning rate")
    means = {name: figure / per_epoch for name, figure in sums.items()}
    return Epoch(number + 1, plan.epochs, total / per_epoch, means, time.monotonic() - started)


def batches(count: int, plan: Plan, epoch: int) -> Iterator[Tensor]:
    """Yield the row numbers of one epoch's batches, shuffled by seed and epoch; a rest that fills no batch waits."""
    generator = torch.Generator().manual_seed(_mixed(plan.seed, -1 - epoch))
    order = torch.randperm(count, generator=generator)
    for k in range(count // plan.batch):
        yield order[k * plan.batch : (k + 1) * plan.batch]


def _run(module: nn.Module, x: Tensor, y: Tensor, objective: Objective, plan: Plan) -> str:
    """Return the digest of everything that the final weights depend on."""
    digest = hashlib.sha256()
    # the device may change between two sittings: it decides how fast, and the last bits
    asked = {name: value for name, value in asdict(plan).items() if name != "device"}
    digest.update(json.dumps([objective.name, objective.settings(), asked], sort_keys=True).encode())
    for name, tensor in (("x", x), ("y", y), *module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _tensors(x: AnyFloats, y: np.ndarray, plan: Plan) -> tuple[Tensor, Tensor]:
    values, labels = np.asarray(x, np.float32), np.asarray(y)
    if not np.isfinite(values).all():
        raise UsageError("x", "NaN or infinity inside", "finite numbers")
    if labels.shape != (len(values),) or labels.dtype.kind not in "iu":
        raise UsageError("y", (labels.shape, str(labels.dtype)), f"{len(values)} integer labels")
    if len(values) < plan.batch:
        raise UsageError("batch", plan.batch, f"at most the number of inputs, {len(values)}")
    tensors = torch.as_tensor(values), torch.as_tensor(labels.astype(np.int64))
    return tensors[0].to(plan.device), tensors[1].to(plan.device)


def _weights(parameters: list[nn.Parameter]) -> Tensor:
    return torch.stack([p.abs().sum() for p in parameters if p.dim() >= 2]).sum()


def _mixed(seed: int, number: int) -> int:
    """Return one 63-bit seed of two numbers (SplitMix64's finaliser: streams of neighbours share nothing)."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + 0x2545F4914F6CDD1D) % (1 << 64)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % (1 << 64)
    return (z ^ (z >> 31)) >> 1
