"""A made-up store, clearly test data: two models, proofs at several eps, attacks, a smoothing run and its attack."""

import io
import sys
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import save

from unmoved.record import Row, Run, canonical, digest
from unmoved.store import Entry, open_store, row_entry

SIDE = 28
MODEL_F, MODEL_G, DATA = digest(b"model f"), digest(b"model g"), digest(b"data")
EPS = ("1/20", "1/10", "3/20", "1/5")


@dataclass
class World:
    """What is true of each made-up input: label, answer of f, certified threshold, break threshold."""

    n: int
    seed: int = 0
    names: tuple[str, str] = ("digits-ibp.onnx", "digits-noise.onnx")
    x: np.ndarray = field(init=False)

    def __post_init__(self):
        g = self.generator = np.random.default_rng(self.seed)
        self.y = g.integers(0, 10, self.n)
        self.f = np.where(g.random(self.n) < 0.03, (self.y + 1) % 10, self.y)
        self.proof = np.clip(g.normal(0.17, 0.05, self.n), 0.005, None)
        self.fall = self.proof + g.exponential(0.02, self.n)
        self.p_low = np.clip(1 - g.exponential(0.08, self.n), 0.2, 0.9992)
        self.g = np.where(g.random(self.n) < 0.05, (self.y + 3) % 10, self.y)
        self.x = self.pictures()

    def pictures(self):
        a, b = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
        shift = self.y[:, None, None] / 12
        ring = np.exp(-(((np.hypot(a - 0.5, b - 0.3 - shift * 0.5) - 0.12 - shift * 0.2) / 0.05) ** 2))
        return (np.rint(ring * 255) / 255).astype(np.float32)[:, None]


def npy(array):
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def run_of(world, *, kind, eps, function="f", norm="inf", clip=("0", "1"), **changes):
    method = {"certifyf": "auto", "attackf": "pgd", "certifyg": "smoothing", "attackg": "smoothed-pgd"}[kind + function]
    smooth = {"sigma": "1/2", "samples": "10000", "selection_samples": "100", "alpha": "1/1000", "bound": "two-class"}
    word = {"inf": "linf", "2": "l2", "1": "l1"}[norm]
    run = Run(
        kind=kind,
        model=MODEL_F if function == "f" else MODEL_G,
        model_name=world.names[0 if function == "f" else 1],
        data=DATA,
        data_name="made-up digits",
        threat=f"{word}:{eps}",
        eps=eps,
        norm=norm,
        clip=clip,
        function=function,
        method=method,
        settings=smooth if function == "g" else {"batch": "64"},
        seed=0,
        tool="0.1.0",
    )
    return replace(run, **changes)


def row_of(world, i, **changes):
    row = Row(
        index=int(i),
        label=int(world.y[i]),
        prediction=int(world.f[i]),
        verdict="UNKNOWN",
        reason="unproved: the lower bound is -0.12 (try a smaller eps)",
        radius=None,
        margin=None,
        method="linear",
        seconds=0.004,
        check=None,
        check_mode=None,
        check_seconds=None,
        certificate=None,
        payload=None,
        input=digest(npy(world.x[i])),
        at="2025-01-02T03:04:05+00:00",
    )
    return replace(row, **changes)


ACCEPTED = {"check": "accepted: made-up evidence", "check_mode": "floating", "check_seconds": 0.01}


def bundle(claim, tensors):
    payload = save(tensors)
    manifest = canonical({"schema": "test", "claim": claim, "payload": {"sha256": digest(payload)}})
    return Entry.of("manifest", manifest), Entry.of("payload", payload)


def write(store, world, run, rows, extra=()):
    store.write([Entry.of("run", run.to_json()), *extra])
    store.write(Entry.of("input", npy(world.x[row.index])) for row in rows)
    store.write(row_entry(run, row) for row in rows)


def certify_f(store, world, eps):
    size, run, rows, extra = float(Fraction(eps)), run_of(world, kind="certify", eps=eps), [], []
    for i in range(world.n):
        row = row_of(world, i)
        if world.f[i] == world.y[i] and world.proof[i] >= size:
            parts = bundle({"semantics": "real"}, {"center": world.x[i], "slopes/0/a": np.full(1, i % 256, np.uint8)})
            extra += parts
            names = {"certificate": parts[0].name, "payload": parts[1].name}
            row = replace(row, verdict="CERTIFIED", reason=None, radius=eps, **ACCEPTED, **names)
        rows.append(row)
    write(store, world, run, rows, extra)
    return run, rows


def attack_f(store, world, eps):
    size, run, rows, extra = float(Fraction(eps)), run_of(world, kind="attack", eps=eps), [], []
    for i in range(world.n):
        row = row_of(world, i, method="pgd", reason="unproved: the attack found no violation, which proves nothing")
        right = world.f[i] == world.y[i]
        if not right or world.fall[i] <= size:
            sign = np.where(world.generator.random(world.x[i].shape) < 0.5, -1, 1)
            reach = np.nextafter(np.float32(min(world.fall[i], size)), np.float32(0))
            point = np.clip(world.x[i] + reach * sign, 0, 1).astype(np.float32) if right else world.x[i]
            output = np.eye(10, dtype=np.float32)[(world.y[i] + 5) % 10]
            parts = bundle(
                {"semantics": "real+onnxruntime"}, {"center": world.x[i], "witness": point, "witness_output": output}
            )
            extra += parts
            names = {"certificate": parts[0].name, "payload": parts[1].name}
            row = replace(row, verdict="FALSIFIED", reason=None, **ACCEPTED, **names)
        rows.append(row)
    write(store, world, run, rows, extra)
    return run, rows


def sample_radius(world, i):
    from scipy.stats import norm

    return float(0.5 * norm.ppf(world.p_low[i])) if world.p_low[i] > 0.5 else 0.0


def certify_g(store, world):
    run, rows = run_of(world, kind="certify", eps="0", function="g", norm="2", clip=None), []
    for i in range(world.n):
        radius = sample_radius(world, i)
        details = {
            "p_low": world.p_low[i],
            "p_high": 1 - world.p_low[i],
            "counts": [9000, 1000],
            "samples": 10000,
            "n0": 100,
        }
        details |= {"sigma": "1/2", "alpha": "1/1000", "sample_radius": radius, "f_prediction": int(world.f[i])}
        row = row_of(world, i, method="smoothing", seconds=0.4, prediction=int(world.g[i]), details=details)
        if radius <= 0:
            reason = "abstained: the top class is not ahead for certain: more samples or a smaller sigma may settle it"
            row = replace(row, prediction=None, reason=reason)
        elif world.g[i] != world.y[i]:
            row = replace(row, reason=f"unproved: g answers class {world.g[i]}, not {world.y[i]}")
        else:
            row = replace(row, verdict="CERTIFIED", reason=None, radius=str(Fraction(radius)), **ACCEPTED)
        rows.append(row)
    write(store, world, run, rows)
    return run, rows


def attack_g(store, world, eps):
    run, rows = run_of(world, kind="attack", eps=eps, function="g", norm="2", clip=None), []
    for i in range(world.n):
        radius, size = sample_radius(world, i), float(Fraction(eps))
        reach = radius + world.fall[i] - world.proof[i] + 0.3
        details = {"broken": False, "distance": None, "answer": None}
        row = row_of(world, i, method="smoothed-pgd", prediction=int(world.g[i]), details=details)
        if world.g[i] != world.y[i]:
            row = replace(row, details={"broken": True, "distance": 0.0, "answer": int(world.g[i])})
        elif reach <= size and radius > 0:
            row = replace(row, details={"broken": True, "distance": reach, "answer": int((world.y[i] + 2) % 10)})
        elif radius <= 0:
            row = replace(row, prediction=None, details={"broken": True, "distance": 0.0, "answer": -1})
        rows.append(row)
    write(store, world, run, rows)
    return run, rows


@pytest.fixture
def world():
    return World(60)


@pytest.fixture
def fabricate():
    """This module, for tests that make stores of their own."""
    return sys.modules[__name__]


@pytest.fixture
def store(tmp_path):
    found = open_store(tmp_path / "store.db")
    yield found
    found.close()


@pytest.fixture
def full(store, world):
    """A store with everything, and the rows by (kind, function, eps)."""
    rows = {}
    for eps in EPS:
        rows["certify", "f", eps] = certify_f(store, world, eps)[1]
        rows["attack", "f", eps] = attack_f(store, world, eps)[1]
    rows["certify", "g", "0"] = certify_g(store, world)[1]
    for eps in ("1/4", "1/2", "1"):
        rows["attack", "g", eps] = attack_g(store, world, eps)[1]
    return store, rows
