"""Certified training on whole data sets, one thread: the figures of the published recipes on a CPU.

    python benchmarks/certified_training.py DATA_DIR [--only NAME...] [--keep DIR] [--epochs N] [--seed N]

DATA_DIR holds mnist.npz, fashion_mnist.npz (x_train, y_train, x_test, y_test; uint8 images). Every case trains the
small CNN by IBP, counts all test inputs that intervals certify at the true eps (clipped to [0, 1]), then gives the
complete verifier `--seconds` for each of the first `--images` test images, checked certificates only, beside what
PGD leaves of them. Weights are kept in `--keep`, and taken from there the next time. Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
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
from unmoved.train import CertifiedShare, Ibp, Plan, fit, interval_init, small_cnn

RESULTS = Path(__file__).parent / "results" / "certified_training.json"


@dataclass(frozen=True)
class Case:
    """`eps` is what is certified, `wider` times it what is trained."""

    name: str
    data: str
    eps: float
    wider: float
    plan: Plan
    target: float | None = None
    train: int | None = None


WHOLE = Plan(epochs=16, batch=256, l1=1e-6)
CASES = (
    Case("mnist .1", "mnist", 0.1, 1.2, WHOLE, 0.955),
    Case("mnist .3", "mnist", 0.3, 1.1, WHOLE, 0.89),
    Case("mnist .1, 5000 images", "mnist", 0.1, 1.3, Plan(epochs=30), 0.92, 5000),
    Case("fashion .1", "fashion_mnist", 0.1, 1.0, Plan(epochs=10, batch=256, l1=1e-6)),
)


@dataclass(frozen=True)
class Data:
    """Images (n, 1, side, side) in [0, 1] and labels."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray

    @classmethod
    def of(cls, path: Path, count: int | None, seed: int) -> Data:
        with np.load(path) as file:
            x, y, test_x, test_y = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
        chosen = np.random.Generator(np.random.PCG64(seed)).permutation(len(x))[: count or len(x)]
        images, test = ((a[:, None] / np.float32(255)).astype(np.float32) for a in (x[chosen], test_x))
        return cls(images, y[chosen].astype(np.int64), test, test_y.astype(np.int64))


def trained(case: Case, data: Data, plan: Plan, keep: Path | None) -> tuple[nn.Module, dict[str, object]]:
    """Return the module and what its training took, from `keep` where it is there."""
    module = small_cnn(side=data.x.shape[-1])
    stem = f"{case.name} {plan.epochs} {plan.seed}".replace(" ", "_")
    if keep is not None and (keep / f"{stem}.safetensors").exists():
        module.load_state_dict(load_file(keep / f"{stem}.safetensors"))
        return module.eval(), json.loads((keep / f"{stem}.json").read_text(encoding="utf-8"))
    interval_init(module, plan.seed)
    started = time.process_time()
    fit(module, data.x, data.y, Ibp(case.wider * case.eps), plan, _tell)
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
    threat = Linf(str(case.eps), clip=(0, 1))
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
