from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from unmoved.core.errors import IntegrityError, LoadError, UsageError
from unmoved.train import Checkpoints, GaussianNoise, Plan, Stopping, fit
from unmoved.train.checkpoint import Saved

SCRIPT = Path(__file__).with_name("worker.py")
_spec = importlib.util.spec_from_file_location("train_worker", SCRIPT)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one) and one.keys() == two.keys()


def told(history):
    return [(e.number, e.loss, dict(e.figures), e.watched) for e in history]


def test_a_run_that_is_killed_goes_on_to_the_same_weights_bit_for_bit(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path), "0.2"], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        ends = time.monotonic() + 120
        while time.monotonic() < ends and process.poll() is None:
            if (tmp_path / "state.json").exists() and json.loads((tmp_path / "state.json").read_text())["epoch"] >= 2:
                break
            time.sleep(0.01)
        assert process.poll() is None, "the worker was to be killed in the middle"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = json.loads((tmp_path / "state.json").read_text())["epoch"]
    assert 2 <= kept < worker.PLAN.epochs
    torch.rand(11)
    resumed, history = worker.run(tmp_path)
    whole, expected = worker.run(None)
    assert told(history) == told(expected)
    assert same(resumed.state_dict(), whole.state_dict())


def test_a_finished_run_is_read_back_without_a_step(tmp_path):
    first, history = worker.run(tmp_path)
    before = (tmp_path / "state.json").stat().st_mtime_ns
    again, repeated = worker.run(tmp_path)
    assert same(first.state_dict(), again.state_dict()) and told(history) == told(repeated)
    assert (tmp_path / "state.json").stat().st_mtime_ns == before and not again.training
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_another_run_is_refused(tmp_path):
    x, y = worker.data()
    plan, keep = Plan(epochs=1, batch=20), Checkpoints(tmp_path)
    fit(worker.net(), x, y, GaussianNoise(0.2), plan, checkpoints=keep)
    other = worker.net()
    with torch.no_grad():
        other[1].weight.add_(1e-3)
    cases = [
        (worker.net(), x, GaussianNoise(0.3), plan),
        (worker.net(), x, GaussianNoise(0.2), Plan(epochs=1, batch=20, seed=1)),
        (worker.net(), x + 1e-3, GaussianNoise(0.2), plan),
        (other, x, GaussianNoise(0.2), plan),
    ]
    for module, inputs, objective, asked in cases:
        with pytest.raises(UsageError, match="same run"):
            fit(module, inputs, y, objective, asked, checkpoints=keep)


def test_damage_is_found(tmp_path):
    keep = Checkpoints(tmp_path)
    assert keep.read("r") is None
    keep.write("r", 1, Saved({"a": torch.ones(2)}, {"k": 1}))
    assert torch.equal(keep.read("r").tensors["a"], torch.ones(2)) and keep.read("r").facts == {"k": 1}
    path = next(tmp_path.glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        keep.read("r")
    keep.state.write_text("{")
    with pytest.raises(LoadError):
        keep.read("r")


def test_tied_parameters_survive(tmp_path):
    x, y = worker.data()

    def net():
        torch.manual_seed(0)
        shared = nn.Linear(16, 16)
        return nn.Sequential(nn.Flatten(), shared, nn.ReLU(), shared, nn.Linear(16, 3))

    nets = [net(), net()]
    for module in nets:
        fit(module, x, y, GaussianNoise(0.1), Plan(epochs=1, batch=20), checkpoints=Checkpoints(tmp_path))
    assert same(nets[0].state_dict(), nets[1].state_dict()) and nets[1][1].weight is nets[1][3].weight


class Watched:
    def __init__(self, values):
        self.values, self.weights = list(values), []

    def __call__(self, module):
        assert not module.training
        self.weights.append(module[1].weight.detach().clone())
        return self.values[len(self.weights) - 1]


class Ramped(GaussianNoise):
    settled = 0.3


def test_it_stops_after_patience_epochs_and_keeps_the_best_weights():
    x, y = worker.data()
    watched, module = Watched([0.1, 0.5, 0.4, 0.5, 0.2, 0.3, 0.9]), worker.net()
    history = fit(module, x, y, GaussianNoise(0.1), Plan(epochs=9, batch=20), stopping=Stopping(watched, patience=3))
    assert [e.watched for e in history] == [0.1, 0.5, 0.4, 0.5, 0.2]
    assert torch.equal(module[1].weight, watched.weights[1]) and not module.training


def test_it_watches_only_when_the_objective_is_settled():
    x, y = worker.data()
    watched = Watched([0.1] * 10)
    history = fit(worker.net(), x, y, Ramped(0.1), Plan(epochs=10, batch=20), stopping=Stopping(watched, patience=2))
    assert [e.watched for e in history] == [None] * 3 + [0.1] * 3


def test_settings_are_checked():
    for wrong in (
        lambda: Stopping(len, patience=0),
        lambda: Plan(precision="float16"),
        lambda: Plan(device="abacus"),
    ):
        with pytest.raises(UsageError):
            wrong()
