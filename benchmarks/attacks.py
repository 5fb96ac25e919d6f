"""Our attack suites beside AutoAttack, on the same nets and inputs in the same run, as JSON.

    python benchmarks/attacks.py --models DIR --data DIR [--rival DIR] [--inputs N] [--suites A,B] [--nets A,B]

`--models` holds kw_mnist.pth (locuslab/convex_adversarial, models/mnist.pth) and the CIFAR nets of alpha-beta-CROWN
(models/sdp/*.model); `--data` mnist.npz and cifar10_raw200.npz; `--rival` the folder that holds the package autoattack
(fra31/auto-attack). All are fetched by whoever runs this; nets whose file is missing are passed over. Files named
LABEL@EPS.onnx in `--models` are nets on MNIST of one's own, attacked at L_inf EPS. Accuracies are shares of the inputs
that stand (wrong ones have fallen); times are CPU seconds of the process, one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unmoved.attack import suite
from unmoved.core import Budget, Problem, SameClass, Threat, Verdict
from unmoved.ir import Network
from unmoved.loaders import load_onnx
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind, evaluate
from unmoved.threats import L1, L2, Linf

NORMS = {"Linf": Linf, "L2": L2, "L1": L1}


class Scaled(nn.Module):
    """(x - mean) / std, so that attacks and sizes are about pixels."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", torch.tensor([125.3, 123.0, 113.9]).view(1, 3, 1, 1) / 255)
        self.register_buffer("std", torch.tensor([63.0, 62.1, 66.7]).view(1, 3, 1, 1) / 255)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - self.mean) / self.std)


def cnn(channels: int, side: int) -> nn.Sequential:
    convs = nn.Conv2d(channels, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*convs, nn.Linear(32 * (side // 4) ** 2, 100), nn.ReLU(), nn.Linear(100, 10))


@dataclass(frozen=True)
class Case:
    name: str
    file: str
    data: str
    norm: str
    eps: str


CASES = (
    Case("wong-kolter mnist", "kw_mnist.pth", "mnist", "Linf", "0.1"),
    Case("wong-kolter mnist", "kw_mnist.pth", "mnist", "L2", "1.5"),
    Case("wong-kolter mnist", "kw_mnist.pth", "mnist", "L1", "10"),
    Case("cnn-a-adv", "cifar_cnn_a_adv.model", "cifar", "Linf", "2/255"),
    Case("cnn-a-adv-4", "cifar_cnn_a_adv4.model", "cifar", "Linf", "2/255"),
    Case("cnn-a-mix", "cifar_cnn_a_mix.model", "cifar", "Linf", "2/255"),
    Case("cnn-a-mix-4", "cifar_cnn_a_mix4.model", "cifar", "Linf", "2/255"),
    Case("cnn-a-adv", "cifar_cnn_a_adv.model", "cifar", "L2", "0.25"),
)


def cases(models: Path) -> list[Case]:
    """Return the cases whose net is at hand."""
    own = [Case(p.stem.split("@")[0], p.name, "mnist", "Linf", p.stem.split("@")[1]) for p in models.glob("*@*.onnx")]
    return [case for case in (*CASES, *sorted(own, key=lambda c: c.name)) if (models / case.file).is_file()]


def network(path: Path, data: str) -> Network:
    """Return a net by its file: ONNX, or weights of the one architecture that both data sets have here."""
    if path.suffix == ".onnx":
        return load_onnx(path.read_bytes())
    channels, side = (1, 28) if data == "mnist" else (3, 32)
    net = cnn(channels, side)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    net.load_state_dict(weights.get("state_dict", weights))
    return load_torch((net if data == "mnist" else Scaled(net)).eval(), (1, channels, side, side))


def inputs(folder: Path, data: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `count` test inputs in [0, 1] and their labels."""
    if data == "mnist":
        file = np.load(folder / "mnist.npz")
        x, y = file["x_test"][:count].reshape(-1, 1, 28, 28), file["y_test"][:count]
    else:
        file = np.load(folder / "cifar10_raw200.npz")
        names = {name: file[name] for name in file.files}
        x = next(v for v in names.values() if v.ndim == 4)[:count]
        y = next(v for v in names.values() if v.ndim == 1)[:count]
        x = x if x.shape[1] == 3 else x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x / 255 if x.max() > 1 else x, np.float32), y.astype(np.int64)


def ours(net: Network, x: np.ndarray, y: np.ndarray, threat: Threat, name: str) -> dict[str, float]:
    """Return what stands after a suite: only witnesses confirmed in three arithmetics count against us."""
    shaped = x.reshape(-1, *net.input_shape)
    problems = [Problem(net, a, threat, SameClass(int(c))) for a, c in zip(shaped, y, strict=True)]
    norm = None if threat.norm == "inf" else threat.norm
    started = time.process_time()
    found = suite(name, norm).decide(problems, Budget(), 0)
    seconds = time.process_time() - started
    return {"accuracy": 100 * sum(f.verdict is not Verdict.FALSIFIED for f in found) / len(x), "cpu_s": seconds}


def theirs(net: Network, x: np.ndarray, y: np.ndarray, norm: str, eps: float) -> dict[str, float]:
    """Return what stands after AutoAttack, version "standard", seed 0."""
    from autoattack import AutoAttack  # type: ignore[import-not-found]

    ops = bind(net)

    def model(points: Tensor) -> Tensor:
        shaped = points.reshape(-1, *net.input_shape)
        if shaped.requires_grad:
            # it views gradients as flat
            shaped.register_hook(lambda gradient: gradient.contiguous())
        return evaluate(ops, net, shaped).flatten(1)

    started = time.process_time()
    attack = AutoAttack(model, norm=norm, eps=eps, version="standard", device="cpu", seed=0, verbose=False)
    points, labels = torch.tensor(x), torch.tensor(y)
    worst = attack.run_standard_evaluation(points, labels, bs=len(x))
    seconds = time.process_time() - started
    with torch.no_grad():
        stands = model(worst).argmax(1) == labels
    return {"accuracy": 100 * float(stands.float().mean()), "cpu_s": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rival", type=Path)
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--suites", default="quick,standard,thorough")
    parser.add_argument("--nets", default="", help="only these cases, by commas: a name, or NAME:NORM")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "attacks.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.rival:
        sys.path.insert(0, str(options.rival))
    wanted = [part for part in options.nets.split(",") if part]
    for case in cases(options.models):
        if wanted and not {case.name, f"{case.name}:{case.norm}"} & set(wanted):
            continue
        net = network(options.models / case.file, case.data)
        x, y = inputs(options.data, case.data, options.inputs)
        row: dict[str, object] = {"net": case.name, "norm": case.norm, "eps": case.eps, "inputs": len(x)}
        threat = NORMS[case.norm](case.eps, (0, 1))
        for name in options.suites.split(","):
            row[name] = ours(net, x, y, threat, name)
        if options.rival:
            row["autoattack"] = theirs(net, x, y, case.norm, float(threat.eps))
        print(json.dumps(row), flush=True)
        save(row, options.out)


def save(row: dict[str, object], path: Path) -> None:
    """Put one row into the file, in place of an older one of the same question."""
    asked = [row[key] for key in ("net", "norm", "eps")]
    before = json.loads(path.read_text())["results"] if path.is_file() else []
    results = [old for old in before if [old[key] for key in ("net", "norm", "eps")] != asked] + [row]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    about = {"commit": commit.stdout.strip(), "machine": platform.processor() or platform.machine(), "threads": 1}
    about |= {name: version(name) for name in ("torch", "numpy", "onnxruntime")} | {"python": platform.python_version()}
    path.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
