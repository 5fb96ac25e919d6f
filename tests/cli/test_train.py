"""`unmoved train` by its exit codes, output and files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unmoved.cli.app import run
from unmoved.loaders import Runtime, load_factory

FACTORY = """
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
def lipschitz():
    from unmoved.train.lipschitz import AolLinear, Sll
    return nn.Sequential(nn.Flatten(), AolLinear(16, 8), Sll(8, 8), AolLinear(8, 3))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "factory_of_train.py").write_text(FACTORY)
    rng = np.random.default_rng(0)
    x = rng.random((120, 1, 4, 4), np.float32)
    y = x.reshape(120, -1)[:, :3].argmax(1)
    np.savez(tmp_path / "train.npz", x=x[:90], y=y[:90])
    np.savez(tmp_path / "held.npz", x=x[90:], y=y[90:])
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def train(*more, factory="net", out="out"):
    head = ["train", f"factory_of_train:{factory}", "--data", "train.npz", "--batch", "30", "--out", out]
    return run([*head, *map(str, more)])


def test_weights_model_and_history_are_left_and_agree(place, capsys):
    code = train("--eps", 0.02, "--clip", "0,1", "--epochs", 6, "--validate", "held.npz", "--json")
    told = json.loads(capsys.readouterr().out)
    assert code == 0 and set(told["held_out"]) == {"clean", "certified by intervals"}
    module = load_factory("factory_of_train:net", place / "out" / "model.safetensors")
    x = np.load(place / "held.npz")["x"]
    with torch.no_grad():
        expected = module(torch.as_tensor(x)).numpy()
    runtime = Runtime((place / "out" / "model.onnx").read_bytes())
    assert np.allclose(runtime.run(x[:, None]).reshape(expected.shape), expected, atol=1e-5)
    history = json.loads((place / "out" / "history.json").read_text())
    assert [e["number"] for e in history["epochs"]] == [1, 2, 3, 4, 5, 6] and history["model"] == told["model"]
    assert history["objective"] == "ibp" and history["settings"]["eps"] == "0.02"


def test_the_same_command_again_gives_the_same_weights_and_another_one_is_refused(place, capsys):
    assert train("--objective", "noise", "--sigma", 0.1, "--epochs", 2) == 0
    first = load_file(place / "out" / "model.safetensors")
    assert train("--objective", "noise", "--sigma", 0.1, "--epochs", 2) == 0
    assert train("--objective", "noise", "--sigma", 0.1, "--epochs", 2, out="other") == 0
    for folder in ("out", "other"):
        again = load_file(place / folder / "model.safetensors")
        assert all(torch.equal(first[name], again[name]) for name in first)
    capsys.readouterr()
    assert train("--objective", "noise", "--sigma", 0.2, "--epochs", 2) == 2
    assert "same run" in capsys.readouterr().err


def test_a_lipschitz_net_is_deployed_as_plain_layers(place):
    assert train("--objective", "margin", "--eps", 0.1, "--epochs", 2, factory="lipschitz") == 0
    assert "1.weight" in load_file(place / "out" / "model.safetensors")


def test_early_stopping_is_asked_for_by_patience(place, capsys):
    asked = ("--eps", 0.02, "--epochs", 12, "--lr", 1e-6, "--validate", "held.npz", "--patience", 2, "--json")
    assert train(*asked) == 0
    assert json.loads(capsys.readouterr().out)["last"]["number"] == 8


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--objective", "ibp"), "--eps"),
        (("--objective", "magic"), "crown-ibp"),
        (("--eps", 0.1, "--clip", "1,0"), "--clip"),
        (("--eps", 0.1, "--clip", "x"), "--clip"),
        (("--eps", 0.1, "--patience", 3), "--patience"),
        (("--eps", 0.1, "--init", "magic"), "--init"),
        (("--eps", 0.1, "--precision", "float8"), "--precision"),
        (("--eps", 0.1, "--batch", 5000), "--batch"),
        (("--objective", "plain", "--lr", 1e30, "--epochs", 5), "--lr"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(place, capsys, arguments, word):
    assert train(*arguments) == 2
    err = capsys.readouterr().err
    assert word in err and "Traceback" not in err
