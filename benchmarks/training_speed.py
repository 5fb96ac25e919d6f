"""Time of one step of IBP training, same net and batch, beside auto_LiRPA's and CTBench's trainers, one thread.

    python benchmarks/training_speed.py [--lirpa DIR] [--ctbench DIR] [--steps N] [--out FILE]

The small CNN with batch norm on 256 images of 28x28 (random: time does not depend on them much), Adam. A step is the
whole of it: clean pass, bounds, loss, backward, clipping, optimiser. `ramp` is while eps grows, with the regulariser of
Shi et al. 2021 (CTBench has it too; auto_LiRPA's example has none), `settled` after it. DIR are checkouts, fetched by
whoever runs this. The trainers take turns, each several times; the least CPU seconds of a step count.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from training import machine

from unmoved.train import Ibp, interval_init, small_cnn
from unmoved.train.objective import Moment

EPS, BATCH, CLIP = 0.1, 256, 10.0
RESULTS = Path(__file__).parent / "results" / "training_speed.json"
Step = Callable[[Tensor, Tensor], None]


def fresh() -> nn.Sequential:
    module = small_cnn()
    interval_init(module, 0)
    return module.train()


def finish(loss: Tensor, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP)
    optimiser.step()


def ours(progress: float) -> Step:
    module = fresh()
    loss, optimiser = Ibp(EPS).start(module, (1, 28, 28)), torch.optim.Adam(module.parameters(), foreach=True)

    def step(x: Tensor, y: Tensor) -> None:
        moment = Moment(progress, torch.Generator().manual_seed(0))
        finish(loss(x, y, moment).loss, module, optimiser)

    return step


def lirpa(eps: float) -> Step:
    """Its examples/vision/simple_training.py, bound type IBP."""
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

    module = BoundedModule(fresh(), torch.zeros(2, 1, 28, 28))
    module.train()
    optimiser, cross = torch.optim.Adam(module.parameters()), nn.CrossEntropyLoss()

    def step(x: Tensor, y: Tensor) -> None:
        eye = torch.eye(10)
        c = eye[y].unsqueeze(1) - eye.unsqueeze(0)
        c = c[~(y.unsqueeze(1) == torch.arange(10).unsqueeze(0))].view(len(x), 9, 10)
        low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
        cross(module(BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=eps, x_L=low, x_U=high))), y).item()
        bound, _ = module.compute_bounds(IBP=True, C=c, method=None)
        padded = torch.cat((torch.zeros(len(x), 1), bound), 1)
        finish(cross(-padded, torch.zeros(len(x), dtype=torch.int64)), module, optimiser)

    return step


def ctbench(ramp: bool) -> Step:
    """Its mix_train.py with --use-ibp-training, --fast-reg while eps grows."""
    # its data loaders ask for torchvision, and nothing here for its data loaders
    sys.modules.setdefault("loaders", types.ModuleType("loaders")).get_loaders = None  # type: ignore[attr-defined]
    from AIDomains.abstract_layers import Sequential
    from AIDomains.concrete_layers import Normalization
    from model_wrapper import BoxModelWrapper
    from regularization import compute_fast_reg

    plain = nn.Sequential(Normalization((1, 28, 28), [0.0], [1.0]), *fresh())
    net = Sequential.from_concrete_network(plain, (1, 28, 28), disconnect=False)
    net.set_dim(torch.zeros(BATCH, 1, 28, 28))
    net.train()
    wrapper = BoxModelWrapper(
        net, nn.CrossEntropyLoss(), (1, 28, 28), "cpu", SimpleNamespace(train_eps=EPS, test_eps=EPS)
    )
    wrapper.robust_weight, wrapper.summary_accu_stat, wrapper.freeze_BN = 1.0, False, False
    wrapper.store_box_bounds = ramp
    optimiser, eps = torch.optim.Adam(net.parameters()), EPS / 2 if ramp else EPS

    def step(x: Tensor, y: Tensor) -> None:
        (loss, _, _), _, _ = wrapper.compute_model_stat(x, y, eps)
        if ramp:
            loss = loss + 0.5 * (1 - eps / EPS) * compute_fast_reg(net, eps)
        net.reset_bounds()
        finish(loss, net, optimiser)

    return step


def timed(step: Step, x: Tensor, y: Tensor, steps: int) -> float:
    started = time.process_time()
    for _ in range(steps):
        step(x, y)
    return (time.process_time() - started) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lirpa", type=Path)
    parser.add_argument("--ctbench", type=Path)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    contestants: dict[str, Step] = {"ours, ramp": ours(0.3), "ours, settled": ours(0.9)}
    for folder in (asked.lirpa, asked.ctbench):
        if folder is not None:
            sys.path.insert(0, str(folder))
    if asked.lirpa is not None:
        contestants["auto_LiRPA"] = lirpa(EPS)
    if asked.ctbench is not None:
        contestants |= {"CTBench, ramp": ctbench(True), "CTBench, settled": ctbench(False)}
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(BATCH, 1, 28, 28, generator=generator), torch.randint(0, 10, (BATCH,), generator=generator)
    seconds = dict.fromkeys(contestants, float("inf"))
    for _ in range(asked.rounds):
        for name, step in contestants.items():
            seconds[name] = min(seconds[name], timed(step, x, y, asked.steps))
    told = {"machine": machine(), "batch": BATCH, "CPU seconds of a step": {k: round(v, 4) for k, v in seconds.items()}}
    print(json.dumps(told, indent=1))
    asked.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
