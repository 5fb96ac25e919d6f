"""Cost of a noise number: our grid sampler beside torch.randn, in the same run, on one thread.

    python benchmarks/sampler.py

Prints one JSON object: for each setting the best of several alternating rounds, in nanoseconds a number, and the ratio.
`ours` includes adding the input and dividing by q; `torch_randn` only draws (into a buffer that is already there).
"""

import json
import os
import platform
import subprocess
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import llvmlite
import numba
import numpy as np
import torch

from unmoved.smooth import Gaussian, Stream

SETTINGS = [
    (name, sigma, shape, rows)
    for name, shape, rows in (("mnist", (1, 28, 28), 500), ("cifar", (3, 32, 32), 128), ("imagenet", (3, 224, 224), 4))
    for sigma in ("1/4", "1/2", "1")
]
ROUNDS = 25


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def commit():
    folder = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        changed = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+changes" if changed.strip() else "")


def measure(sigma, shape, rows):
    noise, stream = Gaussian(sigma), Stream(bytes(32))
    point = noise.place(np.zeros(shape, np.float32))
    out = torch.empty((rows, *shape))
    view, size = out.numpy(), out.numel()
    jobs = {
        "ours": lambda: noise.sample(point, view, stream=stream, first=0),
        "torch_randn": lambda: torch.randn(out.shape, out=out),
    }
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            begun = time.perf_counter()
            job()
            best[name] = min(best[name], (time.perf_counter() - begun) / size * 1e9)
    return {
        **{name: round(value, 3) for name, value in best.items()},
        "ratio": round(best["ours"] / best["torch_randn"], 3),
    }


def main():
    torch.set_num_threads(1)
    rows = [
        {"setting": name, "sigma": sigma, "shape": shape, "rows": count, **measure(sigma, shape, count)}
        for name, sigma, shape, count in SETTINGS
    ]
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    versions |= {"numba": numba.__version__, "llvmlite": llvmlite.__version__}
    report = {
        "benchmark": "sampler",
        "unit": f"ns a number, best of {ROUNDS}, one thread",
        "target": "ratio <= 1.3",
        "commit": commit(),
        "machine": {"processor": processor(), "system": platform.platform(), "cores": os.cpu_count()},
        "versions": versions,
        "results": rows,
        "worst_ratio": max(row["ratio"] for row in rows),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
