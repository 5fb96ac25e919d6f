"""What does the two-class bound gain over the one-class bound at equal N, on trained nets?

    python benchmarks/smoothing_bounds.py DATA.npz...

DATA holds x_test, y_test and, where it has them, x_train, y_train (uint8 images, n x h x w or n x h x w x 3); without
training images the first four fifths of the test images, shuffled, take their place. For each and each sigma of .25,
.5 and 1 a small CNN is trained with that noise; both bounds are computed from the SAME votes (N = 10,000 copies a test
image, alpha = .001), and the two-class bound of the sequential default beside them, which has half of alpha at the last
look. Writes benchmarks/results/smoothing_bounds.json; exits with 1 when the target at sigma 1 is missed by all nets.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from rich.console import Console

from unmoved.smooth import Gaussian, Smoothed
from unmoved.smooth.statistics import ALPHA, Plan, Rule, one_class
from unmoved.smooth.statistics import two_class as both
from unmoved.train import GaussianNoise, default_init, fit, small_cnn
from unmoved.train import Plan as Training

RESULTS = Path(__file__).parent / "results"
TARGET = 0.10
SAMPLES, INPUTS, TRAINED, EPOCHS = 10_000, 150, 12_000, 6


def images(path):
    """Training and test images, float32 (n, channels, side, side) in [0, 1], with labels."""
    with np.load(path) as found:
        parts = {name: found[name] for name in found.files}
    order = np.random.default_rng(0)

    def shaped(x):
        x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(x / 255, dtype=np.float32)

    test = order.permutation(len(parts["y_test"]))
    x, y = parts["x_test"][test], parts["y_test"][test].astype(np.int64)
    if "x_train" not in parts:
        cut = len(x) * 4 // 5
        return shaped(x[:cut][:TRAINED]), y[:cut][:TRAINED], shaped(x[cut:][:INPUTS]), y[cut:][:INPUTS]
    rows = order.permutation(len(parts["y_train"]))[:TRAINED]
    train = shaped(parts["x_train"][rows]), parts["y_train"][rows].astype(np.int64)
    return *train, shaped(x[:INPUTS]), y[:INPUTS]


def compare(data, sigma):
    """Average certified radius and share of abstentions, for each bound."""
    x, y, x_test, y_test = data
    module = small_cnn(side=x.shape[-1], channels=x.shape[1])
    default_init(module, 0)
    fit(module, x, y, GaussianNoise(float(sigma)), Training(epochs=EPOCHS, seed=0))
    module.eval()
    noise = Gaussian(sigma)
    smoothed = Smoothed(module, noise, 10, batch=500)
    radii = {"one-class": [], "two-class": [], "sequential": []}
    right = []
    for image, label in zip(x_test, y_test, strict=True):
        found = smoothed.certify(image, samples=SAMPLES, mode="fixed")
        point = noise.place(image)
        rule = Rule(Plan(SAMPLES), ALPHA - noise.deviation(SAMPLES, point.integers.size), noise.radius, point.distance)
        last = len(rule.plan.looks.sizes) - 1
        radii["one-class"].append(rule.around(one_class(found.counts, found.top, rule.alpha)))
        radii["two-class"].append(rule.around(both(found.counts, found.top, rule.alpha)))
        radii["sequential"].append(rule.around(rule.bounds(found.counts, found.top, last)))
        right.append(found.top == label)
    acr = {name: float(np.mean(np.maximum(r, 0) * np.array(right))) for name, r in radii.items()}
    abstained = {name: float(np.mean(np.array(r) <= 0)) for name, r in radii.items()}
    gain = {name: acr[name] / acr["one-class"] - 1 for name in ("two-class", "sequential")}
    return {"sigma": sigma, "acr": acr, "gain": gain, "abstained": abstained}


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return {"processor": name, "system": platform.system(), "arch": platform.machine()}


def commit():
    root = Path(__file__).parent

    def git(*words):
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", "../src") else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    console, begun, nets = Console(), time.perf_counter(), []
    for path in asked.data:
        data = images(path)
        for sigma in ("0.25", "0.5", "1"):
            found = {"data": path.name, "images": int(data[0].shape[0])} | compare(data, sigma)
            nets.append(found)
            radii = ", ".join(f"{name} {value:.3f}" for name, value in found["acr"].items())
            lost = " -> ".join(f"{found['abstained'][name]:.2f}" for name in ("one-class", "two-class"))
            gains = ", ".join(f"{name} {value:+.1%}" for name, value in found["gain"].items())
            console.print(f"{path.stem}, sigma {sigma}: ACR {radii}; {gains}; abstained {lost}")
    best = max(net["gain"]["two-class"] for net in nets if net["sigma"] == "1")
    result = {
        "commit": commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("numpy", "scipy", "torch")},
        "target": TARGET,
        "met": best >= TARGET,
        "seconds": time.perf_counter() - begun,
        "samples": SAMPLES,
        "inputs": INPUTS,
        "nets": nets,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "smoothing_bounds.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
