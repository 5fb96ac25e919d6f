"""Forwards per CPU second of a whole certification, beside Cohen's loop and ART on the same nets; memory; overhead.

    python benchmarks/smoothing_speed.py [--cohen DIR] [--art DIR ...] [--out FILE] [--rounds N]

`--cohen` is a folder that holds the file core.py of locuslab/smoothing, `--art` folders that hold the package `art` and
what it needs, fetched by whoever runs this; a rival whose folder is not given is left out. Nets: the MNIST CNN of
`unmoved.train.architectures`, and a ResNet-20 for CIFAR (random weights: speed does not depend on them).

**Forwards per CPU second**: one thread, CPU seconds. Each contestant runs in a process of its own, as it would in use
(memory that one frees would speed up the next), all in turn, `--passes` times; its best round counts. Ours is
`Smoothed.certify` end to end (drawing, network, counting, record), fixed N. The rivals' is their sampling loop alone,
in float32, which is all they have, at our batch sizes and at their usual one (Cohen: 400, as in the commands of their
experiments; ART: 128). Cohen's loop says device="cuda": here that argument is dropped, nothing else. N is smaller than
1e5, for time; rates of ours and Cohen's do not depend on it, ART's falls with it, for it holds all N copies at once.

**Share not in the network**: the part of our CPU seconds outside `Engine.__call__`, in the same run.

**Memory**: most bytes resident during `certify` above those resident when the model is ready, in a process of its own
for each N; the copies themselves never accumulate, and what does is one byte a copy, so that N = 1e5 adds 1e5 bytes.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy.stats
import torch
from torch import nn

from unmoved.loaders import load_torch
from unmoved.smooth import Gaussian, Smoothed, Stream
from unmoved.smooth.statistics import COHEN
from unmoved.smooth.voting.engine import Setup, has_bfloat16, prepare
from unmoved.train.architectures import small_cnn

COMMAND = [sys.executable, __file__]
RESULTS = Path(__file__).parent / "results"
SIGMA = 0.25
TARGETS = {
    "mnist cnn": {"cohen": 2.4, "art": 3.3, "share": 0.25},
    "resnet-20": {"cohen": 3.0, "art": 2.8, "share": 0.10},
    "memory_bytes": 1e9,
}
MEMORY_AT = {"small net": (2_000, 10_000), "resnet-18 widths": (160, 640)}


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = stride == 1 and before == after
        self.skip = nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x) + self.skip(x))


def residual(start: nn.Sequential, widths: tuple[int, ...], depth: int, classes: int) -> nn.Sequential:
    """A residual net: `depth` blocks of each width, halving the image from each width to the next."""
    blocks, before = [], widths[0]
    for stage, width in enumerate(widths):
        for place in range(depth):
            blocks.append(Block(before, width, 2 if stage and not place else 1))
            before = width
    return nn.Sequential(start, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def resnet_20() -> nn.Sequential:
    start = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    return residual(start, (16, 32, 64), 3, 10)


def large() -> nn.Sequential:
    """For 3x224x224: the stem, widths and depth of a ResNet-18."""
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    return residual(nn.Sequential(*stem), (64, 128, 256, 512), 2, 1000)


def small() -> nn.Sequential:
    """For 3x224x224: little more than drawing the copies."""
    return nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 28 * 28, 10))


def seeded(make: Callable[[], nn.Sequential]) -> nn.Sequential:
    torch.manual_seed(0)
    net = make()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 2)
    return net.eval()


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], nn.Sequential]
    shape: tuple[int, ...]
    samples: int
    usual: dict[str, int]
    """The batch sizes of the rivals' own scripts."""


CASES = (
    Case("mnist cnn", small_cnn, (1, 28, 28), 20_480, {"cohen": 400, "art": 128}),
    Case("resnet-20", resnet_20, (3, 32, 32), 1_024, {"cohen": 400, "art": 128}),
)
Run = Callable[[], float]
"""Does the work once; returns the CPU seconds spent in the network, NaN where that is not known."""


def image(shape: tuple[int, ...]) -> np.ndarray:
    return (np.random.default_rng(0).integers(0, 256, shape) / 255).astype(np.float32)


class Timed:
    """An engine that adds up its CPU seconds."""

    def __init__(self, engine) -> None:
        self.engine, self.spent = engine, 0.0

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        begun = time.process_time()
        try:
            return self.engine(z)
        finally:
            self.spent += time.process_time() - begun


def ours(network, shape: tuple[int, ...], setup: Setup, samples: int) -> Run:
    engine = prepare(network, setup)
    timed, x = Timed(engine), image(shape)
    g = Smoothed(timed, Gaussian(SIGMA), engine.classes, engine.batch, model=engine.model)
    plan = COHEN.but(samples=samples, bound="two-class")

    def run() -> float:
        timed.spent = 0.0
        result = g.certify(x, plan)
        assert result.drawn == samples
        return timed.spent

    return run


def cohen(folder: Path, net: nn.Module, shape: tuple[int, ...], batch: int, samples: int) -> Run:
    """Their Smooth._sample_noise, as it is; names that today's libraries no longer have are put in their place."""
    borrow_statistics()
    sys.path.insert(0, str(folder))
    import core

    class Torch:
        """torch, but randn_like without the argument device="cuda"."""

        def __getattr__(self, name: str):
            return getattr(torch, name)

        def randn_like(self, batch: torch.Tensor, device: str) -> torch.Tensor:
            return torch.randn_like(batch)

    core.torch = Torch()
    smooth, x = core.Smooth(net, 10, SIGMA), torch.from_numpy(image(shape))

    def run() -> float:
        assert smooth._sample_noise(x, samples, batch).sum() == samples
        return float("nan")

    return run


def art(folders: list[Path], net: nn.Module, shape: tuple[int, ...], batch: int, samples: int) -> Run:
    """Their PyTorchRandomizedSmoothing._prediction_counts, as it is."""
    borrow_statistics()
    sys.path[:0] = [str(folder) for folder in folders]
    from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing

    loss = nn.CrossEntropyLoss()
    smooth = PyTorchRandomizedSmoothing(net, loss, shape, 10, device_type="cpu", scale=SIGMA)
    x = image(shape)

    def run() -> float:
        assert smooth._prediction_counts(x, n=samples, batch_size=batch).sum() == samples
        return float("nan")

    return run


def borrow_statistics() -> None:
    """Make the imports of statsmodels and scipy.stats.binom_test succeed; the timed loops call neither."""
    scipy.stats.binom_test = getattr(scipy.stats, "binom_test", scipy.stats.binomtest)
    for name in ("statsmodels", "statsmodels.stats", "statsmodels.stats.proportion"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["statsmodels.stats.proportion"].proportion_confint = None


def contestant(case: Case, name: str, batch: int, asked: argparse.Namespace) -> dict[str, float]:
    """Run one contestant, and return its best rate and what share of that round was not in the network."""
    net = seeded(case.make)
    if name == "cohen":
        run = cohen(asked.cohen, net, case.shape, batch, case.samples)
    elif name == "art":
        run = art(asked.art, net, case.shape, batch, case.samples)
    else:
        run = ours(load_torch(net, (1, *case.shape)), case.shape, Setup(name, batch=batch), case.samples)
    run()
    best = (float("inf"), 0.0)
    for _ in range(asked.rounds):
        begun = time.process_time()
        inside = run()
        best = min(best, (time.process_time() - begun, inside))
    drawn = case.samples + (0 if name in ("cohen", "art") else COHEN.selection_samples)
    return {"rate": drawn / best[0], "share": 1 - best[1] / best[0]}


def measured(case: Case, asked: argparse.Namespace) -> dict[str, object]:
    network = load_torch(seeded(case.make), (1, *case.shape))
    precisions = ["float32", *(["bfloat16"] if has_bfloat16() else [])]
    batches = {name: prepare(network, Setup(name)).batch for name in precisions}
    entries = [*batches.items()]
    for rival in [name for name in ("cohen", "art") if getattr(asked, name)]:
        entries += [(rival, batch) for batch in sorted({*batches.values(), case.usual[rival]})]
    best: dict[tuple[str, int], dict[str, float]] = {}
    for _ in range(asked.passes):
        for entry in entries:
            found = subprocess.run(
                [*COMMAND, *sys.argv[1:], "--contestant", case.name, entry[0], str(entry[1])],
                capture_output=True,
                text=True,
                check=True,
            )
            figures = json.loads(found.stdout.splitlines()[-1])
            if entry not in best or figures["rate"] > best[entry]["rate"]:
                best[entry] = figures
    report: dict[str, object] = {"samples": case.samples}
    report["forwards_per_cpu_second"] = {f"{name}, batch {n}": row["rate"] for (name, n), row in best.items()}
    report["share_not_in_the_network"] = {name: best[name, batches[name]]["share"] for name in precisions}
    for rival in ("cohen", "art"):
        theirs = {batch: row["rate"] for (name, batch), row in best.items() if name == rival}
        for name in precisions:
            if theirs:
                mine, same = best[name, batches[name]]["rate"], theirs[batches[name]]
                report[f"{name} against {rival}"] = {
                    "same batch": mine / same,
                    "their usual batch": mine / theirs[case.usual[rival]],
                    "their best batch": mine / max(theirs.values()),
                }
    return report


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def child(name: str, samples: int) -> None:
    """Certify once for 3x224x224 and print the most bytes above those of the ready model."""
    torch.set_num_threads(1)
    network = load_torch(seeded({"small net": small, "resnet-18 widths": large}[name]), (1, 3, 224, 224))
    g = Smoothed(network, Gaussian(SIGMA), setup=Setup("bfloat16" if has_bfloat16() else "float32"))
    x = image((3, 224, 224))
    corner = Gaussian(SIGMA).place(np.ascontiguousarray(x[:, :1, :1]))
    Gaussian(SIGMA).sample(corner, np.empty((1, 3, 1, 1), np.float32), stream=Stream(bytes(32)), first=0)  # compiles
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    result = g.certify(x, COHEN.but(samples=samples, bound="two-class", selection_samples=16))
    bytes_above = resident("VmHWM") - before
    print(json.dumps({"samples": result.drawn, "bytes": bytes_above, "engine": result.engine}))


def memory() -> dict[str, object]:
    found = {}
    for name, numbers in MEMORY_AT.items():
        found[name] = []
        for number in numbers:
            command = [*COMMAND, "--child", name, str(number)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model,
        "bfloat16": has_bfloat16(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno", "--", "../src") else "")


def beside_targets(nets: dict[str, dict], memory_found: dict[str, list]) -> dict[str, dict[str, object]]:
    """Each figure of ours (in bfloat16 where there is, the fastest setup) beside its target."""
    precision = "bfloat16" if has_bfloat16() else "float32"
    rows: dict[str, dict[str, object]] = {}
    for net, report in nets.items():
        for rival in ("cohen", "art"):
            target = TARGETS[net][rival]
            for batch, figure in report.get(f"{precision} against {rival}", {}).items():
                row = {"figure": figure, "target": f">= {target}", "met": figure >= target}
                rows[f"{net}: times {rival}, {batch}"] = row
        share = report["share_not_in_the_network"][precision]
        limit = TARGETS[net]["share"]
        rows[f"{net}: share outside"] = {"figure": share, "target": f"<= {limit}", "met": share <= limit}
    if memory_found:
        most = max(row["bytes"] for rows_of in memory_found.values() for row in rows_of) + 100_000
        limit = TARGETS["memory_bytes"]
        rows["memory, N = 1e5, 3x224x224"] = {"figure": most, "target": f"<= {limit:.0f}", "met": most <= limit}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohen", type=Path, help="a folder that holds core.py of locuslab/smoothing")
    parser.add_argument("--art", type=Path, nargs="*", help="folders that hold the package art and its needs")
    parser.add_argument("--out", type=Path, default=RESULTS / "smoothing_speed.json")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.child:
        child(asked.child[0], int(asked.child[1]))
        return
    if asked.contestant:
        net, name, batch = asked.contestant
        case = next(case for case in CASES if case.name == net)
        print(json.dumps(contestant(case, name, int(batch), asked)))
        return
    begun = time.perf_counter()
    nets = {case.name: measured(case, asked) for case in CASES}
    found = {} if asked.no_memory else memory()
    names = ("torch", "numpy", "scipy", "numba")
    report = {
        "benchmark": "smoothing_speed",
        "unit": f"forwards per CPU second, best of {asked.passes} processes of {asked.rounds} rounds, one thread",
        "commit": commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "beside_targets": beside_targets(nets, found),
        "nets": nets,
        "memory": found,
        "seconds": time.perf_counter() - begun,
    }
    text = json.dumps(report, indent=1)
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(text + "\n", encoding="utf-8")
    print(json.dumps(report["beside_targets"], indent=1))


if __name__ == "__main__":
    main()
