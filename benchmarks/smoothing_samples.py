"""How many samples does group-sequential certification need where 100,000 were used?

    python benchmarks/smoothing_samples.py LOGS_DIR

**Samples.** Each row of a log (the field's TSV, made with N = 100,000, alpha = .001 or .01, one-class) gives the share
of votes of its predicted class, by inverting its radius; for an abstention it is drawn from [0.3, 0.5]. All other votes
go to ONE rival, the worst case for the two-class bound. Votes are then drawn by numpy, and certified by our default
(two-class, N at most 100,000, alpha = .001) for one target radius, and for the grid of radii of step .25. The baseline
is Cohen's: N = 100,000 + 100, one look, one-class, whose certified accuracy is a binomial tail and needs no chance.
Target radii are the multiples of .25 (at sigma .12: of .125) at which the log certifies at least 5 %. The headline is
the radius sigma, the middle of a curve; the results hold all radii. Towards the largest radius that N can prove nothing
can be saved, for there a certificate takes all N votes.

Writes benchmarks/results/smoothing_samples.json; exits with 1 when a target is missed.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import ndtr
from scipy.stats import binom

from unmoved.record.tsv import ABSTAINED, read_log
from unmoved.smooth.statistics import COHEN, Plan, Rule, Standing, clopper_pearson_low, gaussian_radius

RESULTS = Path(__file__).parent / "results"
N, ALPHA = COHEN.samples, COHEN.alpha
LEAST_SHARE, LARGEST_LOSS = 0.05, 0.002
TARGETS = {"each": 42.0, "mean": 60.0}
DRAWS = 5_000
"""Inputs drawn for each log and radius: every row the same number of times, as near as can be."""


def shares(log, sigma):
    """(p of the predicted class, whether it is right) for every row; alpha is .01 where a radius is beyond .001's."""
    largest = max(float(row.radius) for row in log.rows)
    alpha = 0.001 if largest <= sigma * 3.8125 else 0.01
    counts = np.arange(N // 2, N + 1)
    rungs = np.array([clopper_pearson_low(int(k), N, alpha) for k in counts])
    random, found = np.random.default_rng(0), []
    for row in log.rows:
        if row.predict == ABSTAINED:
            found.append((random.uniform(0.3, 0.5), False))
            continue
        p_low = float(ndtr(float(row.radius) / sigma))
        count = counts[np.argmin(np.abs(rungs - p_low))]
        found.append(((count + 0.5) / (N + 1), row.predict == row.label))
    return np.array([p for p, _ in found]), np.array([right for _, right in found]), alpha


def baseline(p, right, sigma, radius):
    """Certified accuracy of N = 100,000, one look, one-class: exact."""
    low, high = N // 2, N + 1
    while high - low > 1:
        middle = (low + high) // 2
        enough = gaussian_radius(q := clopper_pearson_low(middle, N, float(ALPHA)), 1 - q, sigma) >= radius
        low, high = (low, middle) if enough else (middle, high)
    return float((binom.sf(high - 1, N, p) * right).mean())


def walk(rule, p, random):
    """(samples, largest radius) of one input; at most one rival, with all other votes."""
    standing, ours, seen = Standing(), 0, 0
    for at, size in enumerate(rule.plan.looks.sizes):
        ours += int(random.binomial(size - seen, p))
        seen = size
        standing = rule.look(at, (ours, seen - ours), 0, standing)
        if standing.stop:
            break
    return seen, standing.best


def run(plan, sigma, p, right):
    rule = Rule(plan, plan.alpha, lambda low, high: gaussian_radius(low, high, sigma))
    random = np.random.default_rng(1)
    rows = np.resize(
        np.random.default_rng(2).permutation(len(p)), max(DRAWS, 1) if len(p) > DRAWS else len(p) * -(-DRAWS // len(p))
    )
    found = np.array([walk(rule, p[i], random) for i in rows])
    return float(found[:, 0].mean()), found[:, 1], right[rows], p[rows]


def examine(path):
    log = read_log(path)
    sigma = Fraction(re.search(r"_s(\d\.\d+)\.tsv$", path.name).group(1))
    p, right, alpha = shares(log, float(sigma))
    fixed = N + COHEN.selection_samples
    step = 0.125 if sigma < Fraction(1, 5) else 0.25
    wanted = [r for r in np.arange(1, 25) * step if baseline(p, right, sigma, r) >= LEAST_SHARE]
    lines = []
    for radius in wanted:
        mean, best, good, drawn = run(Plan(N, mode="target", size=Fraction(radius)), sigma, p, right)
        ours, theirs = float(((best >= radius) & good).mean()), baseline(drawn, good, sigma, radius)
        used = mean + COHEN.selection_samples
        lines.append({"radius": radius, "samples": used, "fewer": fixed / used, "certified": ours, "cohen": theirs})
    mean, best, good, drawn = run(Plan(N, mode="grid", size=Fraction(step)), sigma, p, right)
    used = mean + COHEN.selection_samples
    losses = [baseline(drawn, good, sigma, r) - float(((best >= r) & good).mean()) for r in wanted]
    grid = {"step": step, "samples": used, "fewer": fixed / used, "largest_loss": max(losses)}
    middle = min(lines, key=lambda line: abs(line["radius"] - sigma))
    return {
        "log": path.name,
        "rows": len(p),
        "alpha_of_the_log": alpha,
        "radius": middle["radius"],
        "fewer": middle["fewer"],
        "loss": middle["cohen"] - middle["certified"],
        "fewer_over_all_radii": fixed / float(np.mean([line["samples"] for line in lines])),
        "largest_loss_of_all_radii": max(line["cohen"] - line["certified"] for line in lines),
        "targets": lines,
        "grid": grid,
    }


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
    parser.add_argument("logs", type=Path)
    asked = parser.parse_args()
    console, begun = Console(), time.perf_counter()
    logs = [examine(path) for path in sorted(asked.logs.glob("*.tsv"))]
    table = Table("log", "radius", "fewer", "loss", "all radii", "loss", "grid", "loss")
    for log in logs:
        cells = (
            log["log"].removesuffix(".tsv"),
            f"{log['radius']:g}",
            f"{log['fewer']:.1f}x",
            f"{100 * log['loss']:.2f}",
        )
        every = (f"{log['fewer_over_all_radii']:.1f}x", f"{100 * log['largest_loss_of_all_radii']:.2f}")
        table.add_row(*cells, *every, f"{log['grid']['fewer']:.1f}x", f"{100 * log['grid']['largest_loss']:.2f}")
    console.print(table)
    mean = float(np.mean([log["fewer"] for log in logs]))
    least = min(log["fewer"] for log in logs)
    met = {
        "each": bool(least >= TARGETS["each"]),
        "mean": bool(mean >= TARGETS["mean"]),
        "loss": bool(max(log["loss"] for log in logs) <= LARGEST_LOSS),
    }
    console.print(f"fewest {least:.1f}x (target {TARGETS['each']:g}x), mean {mean:.1f}x (target {TARGETS['mean']:g}x)")
    result = {
        "commit": commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("numpy", "scipy")},
        "targets": TARGETS | {"loss": LARGEST_LOSS},
        "met": met,
        "fewest": least,
        "mean": mean,
        "seconds": time.perf_counter() - begun,
        "logs": logs,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "smoothing_samples.json").write_text(json.dumps(result, indent=1) + "\n")
    console.print(met)
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
