"""Times of interval and linear bounds on the nets of the acceptance table, one thread, as JSON.

    python benchmarks/bounds.py [--out FILE] [--runs N] [--rival PATH]

The weights are random (He's normal, a fixed seed): the worst case for rows that only undecided elements get. Radii are
those at which the linear bounds of such a net begin to say nothing. `--rival` is a folder that holds the package
auto_LiRPA, fetched by whoever runs this; without it only our own times are taken. Times are CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from unmoved.bounds import Enclosure, Query, interval, interval_low, linear
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind


class Residual(nn.Module):
    def __init__(self, inner: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.inner, self.skip = inner, skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(x) + self.skip(x))


def cnn_a(channels: int, side: int) -> nn.Module:
    convs = nn.Conv2d(channels, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*convs, nn.Linear(32 * (side // 4) ** 2, 100), nn.ReLU(), nn.Linear(100, 10))


def conv_small() -> nn.Module:
    convs = nn.Conv2d(1, 16, 4, 2), nn.ReLU(), nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*convs, nn.Linear(800, 100), nn.ReLU(), nn.Linear(100, 10))


def dense(layers: int, width: int) -> nn.Module:
    parts: list[nn.Module] = [nn.Flatten()]
    sizes = [784, *[width] * (layers - 1), 10]
    for a, b in itertools.pairwise(sizes):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def resnet_2b() -> nn.Module:
    def block(before: int, after: int, stride: int) -> nn.Module:
        first = nn.Conv2d(before, after, 3, stride, 1)
        inner = nn.Sequential(first, nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1))
        return Residual(inner, nn.Conv2d(before, after, 1, stride))

    start = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), block(8, 16, 2), block(16, 16, 2), nn.Flatten()
    return nn.Sequential(*start, nn.Linear(256, 100), nn.ReLU(), nn.Linear(100, 10))


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    eps: float
    batch: int


CASES = (
    Case("cifar cnn_a", lambda: cnn_a(3, 32), (3, 32, 32), 2 / 255, 20),
    Case("cifar cnn_a", lambda: cnn_a(3, 32), (3, 32, 32), 2 / 255, 100),
    Case("mnist cnn_a", lambda: cnn_a(1, 28), (1, 28, 28), 0.02, 100),
    Case("mnist conv_small", conv_small, (1, 28, 28), 0.02, 100),
    Case("mnist 6x100", lambda: dense(6, 100), (1, 28, 28), 0.01, 100),
    Case("resnet_2b", resnet_2b, (3, 32, 32), 1 / 255, 20),
)


def randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            fan_in = part.weight[0].numel()
            part.weight.data = torch.randn(part.weight.shape, generator=generator) * (2 / fan_in) ** 0.5
            part.bias.data = torch.randn(part.bias.shape, generator=generator) * 0.1
    return module.eval()


def margins(module: nn.Module, x: Tensor) -> Tensor:
    """The rows y_c - y_j of the predicted class c: (batch, 9, 10)."""
    with torch.no_grad():
        labels = module(x).argmax(1)
    eye = torch.eye(10)
    return torch.stack([(eye[c] - eye)[[j for j in range(10) if j != c]] for c in labels.tolist()])


def best(run: Callable[[], Tensor], runs: int) -> tuple[float, float]:
    """Return the least CPU seconds of some runs, and the mean of what they computed."""
    seconds, value = [], torch.zeros(())
    for _ in range(runs):
        started = time.process_time()
        with torch.no_grad():
            value = run()
        seconds.append(time.process_time() - started)
    return min(seconds), float(value.mean())


def ours(case: Case, module: nn.Module, x: Tensor, rows: Tensor, runs: int) -> dict[str, object]:
    network, result = load_torch(module, (1, *case.shape)), {}
    for dtype in (torch.float64, torch.float32):
        ops = bind(network, dtype=dtype)
        z = x.to(dtype).reshape(len(x), *network.input_shape)
        enclosure = Enclosure.of_box((z - case.eps).clamp(0, 1), (z + case.eps).clamp(0, 1))
        owner = torch.arange(len(x)).repeat_interleave(rows.shape[1])
        query = Query(owner, rows.flatten(0, 1).to(dtype), torch.zeros(len(owner), dtype=dtype))

        def plain(ops=ops, enclosure=enclosure, query=query) -> Tensor:
            return interval_low(ops, network, enclosure, interval(ops, network, enclosure.box), query)

        def crown(ops=ops, enclosure=enclosure, query=query) -> Tensor:
            return linear(ops, network, enclosure).low(query)

        for name, run in (("interval", plain), ("linear", crown)):
            seconds, mean = best(run, runs)
            result[f"{name} {str(dtype).removeprefix('torch.')}"] = {"seconds": seconds, "mean": mean}
    return result


def rival(case: Case, module: nn.Module, x: Tensor, rows: Tensor, runs: int) -> dict[str, object]:
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

    bounded = BoundedModule(module, x[:1], bound_opts={"conv_mode": "patches"})
    low, high = (x - case.eps).clamp(0, 1), (x + case.eps).clamp(0, 1)
    ball = PerturbationLpNorm(norm=float("inf"), x_L=low, x_U=high)
    result = {}
    for name in ("IBP", "CROWN"):

        def run(name: str = name) -> Tensor:
            inputs = (BoundedTensor(x, ball),)
            return bounded.compute_bounds(x=inputs, C=rows, method=name, bound_upper=False)[0]

        seconds, mean = best(run, runs)
        result[name] = {"seconds": seconds, "mean": mean}
    return result


def machine() -> dict[str, str]:
    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    model = [line.split(":")[1].strip() for line in said("lscpu").splitlines() if line.startswith("Model name")]
    return {
        "commit": said("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
        "processor": model[0] if model else platform.processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "threads": "1",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--rival", type=Path, help="a folder that holds the package auto_LiRPA")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.rival:
        sys.path.insert(0, str(asked.rival))
    rows = []
    for case in CASES:
        module = randomised(case.make())
        x = torch.rand(case.batch, *case.shape, generator=torch.Generator().manual_seed(1))
        wanted = margins(module, x)
        row = {
            "net": case.name,
            "eps": case.eps,
            "batch": case.batch,
            "ours": ours(case, module, x, wanted, asked.runs),
        }
        if asked.rival:
            row["auto_LiRPA"] = rival(case, module, x, wanted, asked.runs)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    text = json.dumps({"machine": machine(), "cases": rows}, indent=1)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
