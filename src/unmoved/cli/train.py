"""`unmoved train`: a factory's module, an objective, and what is left of it: weights, ONNX, history, a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from unmoved.cli import console
from unmoved.cli.work import writable
from unmoved.core import UsageError
from unmoved.loaders import load_factory, load_npz, load_torch
from unmoved.train import (
    CertifiedShare,
    Checkpoints,
    Epoch,
    History,
    Objective,
    Plan,
    Stopping,
    default_init,
    fit,
    interval_init,
)
from unmoved.train.catalogue import CATALOGUE, Wish, objective
from unmoved.train.checkpoint import replace_file
from unmoved.train.lipschitz import baked

STARTS = {"interval": interval_init, "default": default_init}


@dataclass(frozen=True)
class TrainRequest:
    """The command line, as typed."""

    model: str
    data: Path
    objective: str
    wish: Wish
    plan: Plan
    weights: Path | None
    init: str
    validate: Path | None
    patience: int | None
    x_name: str
    y_name: str
    out: Path


def train_command(request: TrainRequest, *, as_json: bool) -> int:
    """Train, or go on where an interrupted run of the same command stopped; return the exit code."""
    chosen = objective(request.objective, request.wish)
    x, y = _data(request, request.data)
    held = None if request.validate is None else _data(request, request.validate)
    module = _module(request)
    writable(request.out)
    with console.bar(f"training, {chosen.name}") as move:
        move(0, request.plan.epochs)
        history = _fit(module, (x, y), chosen, request, held, _follow(move))
    module.cpu()
    source = _write(module, x.shape[1:], chosen, request, history)
    figures = _figures(module, held, request)
    if as_json:
        last = asdict(history[-1])
        console.emit(
            json.dumps({"out": str(request.out), "model": source, "last": last, "held_out": figures}, indent=2)
        )
        return console.OK
    shown = "".join(f", {name} {value:.4f}" for name, value in figures.items())
    console.OUT.print(f"{chosen.name}: {len(history)} epochs, loss {history[-1].loss:.4f}{shown}", soft_wrap=True)
    console.OUT.print(f"[dim]weights, model.onnx and history.json in[/] {request.out}", soft_wrap=True)
    return console.OK


def _data(request: TrainRequest, path: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y, remark = load_npz(path, x=request.x_name, y=request.y_name)
    if remark:
        console.note(f"{path}: {remark}")
    return x, y


def _module(request: TrainRequest) -> nn.Module:
    """Return the module with its starting weights: the file's, or drawn from the seed."""
    if request.init not in ("auto", "keep", *STARTS):
        raise UsageError("init", request.init, f"auto, keep, {' or '.join(STARTS)}")
    with torch.random.fork_rng(devices=[]):
        # a factory draws weights from torch's generator: the same ones when the run is taken up again
        torch.manual_seed(request.plan.seed)
        module = load_factory(request.model, request.weights)
    keep = request.init == "keep" or (request.init == "auto" and request.weights is not None)
    if not keep:
        auto = "interval" if CATALOGUE[request.objective].boxes else "default"
        STARTS[auto if request.init == "auto" else request.init](module, request.plan.seed)
    return module


def _fit(
    module: nn.Module,
    data: tuple[np.ndarray, np.ndarray],
    chosen: Objective,
    request: TrainRequest,
    held: tuple[np.ndarray, np.ndarray] | None,
    progress: Callable[[Epoch], None],
) -> History:
    stopping = None
    if request.patience is not None:
        if held is None or request.wish.eps is None:
            raise UsageError("patience", request.patience, "--validate and --eps too: it watches certified accuracy")
        stopping = Stopping(CertifiedShare(*held, request.wish.eps, request.wish.clip), request.patience)
    keep = Checkpoints(request.out / "checkpoint")
    try:
        return fit(module, *data, chosen, request.plan, progress, stopping=stopping, checkpoints=keep)
    except FloatingPointError as error:
        raise UsageError("lr", request.plan.lr, f"a smaller one ({error})") from error


def _write(
    module: nn.Module, shape: tuple[int, ...], chosen: Objective, request: TrainRequest, history: History
) -> str:
    """Write weights for the factory, the ONNX model for everything else, and the history; return the model's digest."""
    state = {name: tensor.detach().clone().contiguous() for name, tensor in module.state_dict().items()}
    replace_file(request.out / "model.safetensors", save(state))
    deployed = baked(module) if isinstance(module, nn.Sequential) else module
    network = load_torch(deployed, (1, *shape))
    replace_file(request.out / "model.onnx", network.source)
    told = {
        "model": network.digest,
        "objective": chosen.name,
        "settings": chosen.settings(),
        "plan": asdict(request.plan),
        "epochs": [asdict(epoch) for epoch in history],
    }
    replace_file(request.out / "history.json", json.dumps(told, indent=1).encode())
    return network.digest


def _figures(module: nn.Module, held: tuple[np.ndarray, np.ndarray] | None, request: TrainRequest) -> dict[str, float]:
    """Return clean accuracy on held-out data, and for boxes the share that intervals certify."""
    if held is None:
        return {}
    x, y = held
    with torch.no_grad():
        right = sum(
            int((module(torch.as_tensor(x[k : k + 500])).flatten(1).argmax(1).numpy() == y[k : k + 500]).sum())
            for k in range(0, len(x), 500)
        )
    figures = {"clean": right / len(x)}
    if CATALOGUE[request.objective].boxes and request.wish.eps is not None:
        figures["certified by intervals"] = CertifiedShare(x, y, request.wish.eps, request.wish.clip)(module)
    return figures


def _follow(move: Callable[..., None]) -> Callable[[Epoch], None]:
    def step(epoch: Epoch) -> None:
        seen = {
            name: epoch.figures[name] for name in ("clean", "noisy", "attacked", "certified") if name in epoch.figures
        }
        shown = "".join(f" {name} {value:.3f}" for name, value in seen.items())
        move(epoch.number, epoch.epochs, f" loss {epoch.loss:.3f}{shown}")

    return step


def clip_range(text: str | None) -> tuple[float, float] | None:
    """Return the ends of a range written LOW,HIGH; UsageError for anything else."""
    if text is None:
        return None
    low, _, high = text.partition(",")
    try:
        ends = float(low), float(high)
    except ValueError as error:
        raise UsageError("clip", text, "two numbers, such as 0,1") from error
    if not ends[0] < ends[1]:
        raise UsageError("clip", text, "two numbers, the lower one first")
    return ends
