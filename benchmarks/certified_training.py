"""Certified training on whole data sets, one thread: the figures of the published recipes on a CPU.

    python benchmarks/certified_training.py DATA_DIR [--only NAME...] [--keep DIR] [--epochs N] [--seed N]

DATA_DIR holds mnist.npz, fashion_mnist.npz (x_train, y_train, x_test, y_test; uint8 images), and for CIFAR-10 what is
at hand: cifar10_jpeg_test.npz, re-compressed copies of the 10,000 test images only, of which 1,000 are held out; so
its figures are about a training set a fifth as large as the published ones'. Every case trains the small CNN, by IBP
where nothing else is named, counts all test inputs that intervals certify at the true eps (clipped to [0, 1]), then
gives the complete verifier `--seconds` for each of the first `--images` test images, checked certificates only, beside
what PGD leaves of them. Weights are kept in `--keep`, and taken from there the next time. Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from training import machine

from unmoved import Budget, Cascade, Linf, Problem, SameClass, Verdict, certify
from unmoved.attack import Pgd, scores
from unmoved.loaders.torch import load_torch
from unmoved.train import CertifiedShare, Plan, fit, interval_init, small_cnn
from unmoved.train.catalogue import Wish, objective

RESULTS = Path(__file__).parent / "results" / "certified_training.json"


@dataclass(frozen=True)
class Case:
    """`eps` is what is certified, `wider` times it what is trained, by `objective` and its `weight`."""

    name: str
    data: str
    eps: float
    wider: float
    plan: Plan
    target: float | None = None
    train: int | None = None
    objective: str = "ibp"
    weight: float | None = None


WHOLE = Plan(epochs=16, batch=256, l1=1e-6)
CIFAR = Plan(epochs=40, batch=100)
HELD_OUT = 1000
CASES = (
    Case("mnist .1", "mnist", 0.1, 1.2, WHOLE, 0.955),
    Case("mnist .3", "mnist", 0.3, 1.1, Plan(epochs=16, batch=100, l1=1e-6), 0.89),
    Case("mnist .1, 5000 images", "mnist", 0.1, 1.3, Plan(epochs=24), 0.92, 5000),
    Case("fashion .1", "fashion_mnist", 0.1, 1.0, Plan(epochs=10, batch=256, l1=1e-6)),
    Case("cifar10 2/255", "cifar10_jpeg_test", 2 / 255, 1.0, CIFAR, objective="mtl-ibp", weight=0.05),
    Case("cifar10 2/255, ibp", "cifar10_jpeg_test", 2 / 255, 1.0, CIFAR),
)


@dataclass(frozen=True)
class Data:
    """Images (n, channels, side, side) in [0, 1] and labels."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray

    @classmethod
    def of(cls, path: Path, count: int | None, seed: int) -> Data:
        generator = np.random.Generator(np.random.PCG64(seed))
        with np.load(path) as file:
            parts = {k: file[k] for k in file.files}
        if "x_train" not in parts:
            order = generator.permutation(len(parts["x_test"]))
            x, y = parts["x_test"][order], parts["y_test"][order]
            parts = {"x_train": x[HELD_OUT:], "y_train": y[HELD_OUT:], "x_test": x[:HELD_OUT], "y_test": y[:HELD_OUT]}
        chosen = generator.permutation(len(parts["x_train"]))[: count or None]
        images, test = (_planes(a) for a in (parts["x_train"][chosen], parts["x_test"]))
        return cls(images, parts["y_train"][chosen].astype(np.int64), test, parts["y_test"].astype(np.int64))


def _planes(images: np.ndarray) -> np.ndarray:
    """Return images (n, side, side) or (n, side, side, channels) of bytes as (n, channels, side, side) in [0, 1]."""
    planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(planes / np.float32(255), np.float32)


def trained(case: Case, data: Data, plan: Plan, keep: Path | None) -> tuple[nn.Module, dict[str, object]]:
    """Return the module and what its training took, from `keep` where it is there."""
    module = small_cnn(side=data.x.shape[-1], channels=data.x.shape[1])
    stem = f"{case.name} {plan.epochs} {plan.seed}".replace(" ", "_").replace("/", "-")
    if keep is not None and (keep / f"{stem}.safetensors").exists():
        module.load_state_dict(load_file(keep / f"{stem}.safetensors"))
        return module.eval(), json.loads((keep / f"{stem}.json").read_text(encoding="utf-8"))
    interval_init(module, plan.seed)
    started = time.process_time()
    wish = Wish(case.wider * case.eps, clip=(0, 1), weight=case.weight)
    fit(module, data.x, data.y, objective(case.objective, wish), plan, _tell)
    told: dict[str, object] = {"train seconds": round(time.process_time() - started, 1), "trained by": machine()}
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), keep / f"{stem}.safetensors")
        (keep / f"{stem}.json").write_text(json.dumps(told), encoding="utf-8")
    return module, told


def _tell(epoch: object) -> None:
    print(epoch, file=sys.stderr, flush=True)


def verified(module: nn.Module, case: Case, data: Data, images: int, seconds: float) -> dict[str, object]:
    """Return what the complete verifier certifies of the first images, and what PGD leaves of them."""
    network = load_torch(module, (1, *data.x.shape[1:]))
    threat = Linf(str(Fraction(case.eps).limit_denominator(1000)), clip=(0, 1))
    points = data.test_x[:images].reshape(images, *network.input_shape)
    properties = [SameClass(int(label)) for label in data.test_y[:images]]
    pgd = Pgd(steps=40, restarts=4, targets=9)
    left = pgd.search(scores(network), points, [threat] * images, properties).margins > 0
    found: dict[str, int] = {}
    started, slowest = time.process_time(), 0.0
    for x, prop in zip(points, properties, strict=True):
        before = time.process_time()
        said = certify(Problem(network, x, threat, prop), Cascade.complete(), Budget(seconds=seconds))
        found[said.verdict.value] = found.get(said.verdict.value, 0) + 1
        slowest = max(slowest, time.process_time() - before)
    return {
        "images": images,
        "seconds each": seconds,
        "certified by the complete verifier": found.get(Verdict.CERTIFIED.value, 0) / images,
        "verdicts": found,
        "left by PGD": float(left.mean()),
        "verifier seconds": round(time.process_time() - started, 1),
        "slowest": round(slowest, 1),
    }


def main() -> None:
    """Run the cases that are asked for, and bring the results up to date after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for case in CASES:
        if asked.only and case.name not in asked.only:
            continue
        plan = Plan(**{**vars(case.plan), "seed": asked.seed, "epochs": asked.epochs or case.plan.epochs})
        data = Data.of(asked.data / f"{case.data}.npz", case.train, asked.seed)
        module, told = trained(case, data, plan, asked.keep)
        with torch.no_grad():
            clean = np.concatenate([module(torch.as_tensor(part)).argmax(1) for part in np.split(data.test_x, 20)])
        row = {"case": case.name, "epochs": plan.epochs, "seed": plan.seed, "trained at": case.wider * case.eps, **told}
        row |= {"objective": case.objective, "weight": case.weight, "batch": plan.batch}
        row |= {"clean": float((clean == data.test_y).mean()), "target": case.target}
        row["certified by intervals"] = CertifiedShare(data.test_x, data.test_y, case.eps)(module)
        if asked.images:
            row |= verified(module, case, data, asked.images, asked.seconds)
        print(json.dumps(row), flush=True)
        _keep(asked.out, row)


def _keep(path: Path, row: dict[str, object]) -> None:
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    same = ("case", "epochs", "seed")
    rows = [r for r in rows if any(r[k] != row[k] for k in same)] + [row]
    path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
