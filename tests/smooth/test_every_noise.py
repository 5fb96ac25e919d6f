"""Every noise from the command line to the checker, on a model whose smoothed answers are known; and its misuse."""

import json

import numpy as np
import pytest
import torch

from unmoved.certifier import certify
from unmoved.cli.app import run
from unmoved.core import Problem, SameClass, Verdict
from unmoved.evaluate.methods import Sampling, certifying
from unmoved.loaders import load
from unmoved.threats import parse

torch.set_num_threads(1)


class Halves(torch.nn.Module):
    """The brighter half of an image: left 0, right 1."""

    def __init__(self):
        super().__init__()
        left = torch.zeros(6, 6)
        left[:, :3] = 1
        self.linear = torch.nn.Linear(36, 2, bias=False)
        self.linear.weight.data = torch.stack([left.flatten(), 1 - left.flatten()])

    def forward(self, x):
        return self.linear(x.flatten(1))


@pytest.fixture(scope="module")
def network():
    return load(Halves().eval(), input_shape=(1, 1, 6, 6))


X = np.zeros((1, 1, 6, 6), np.float32)
X[..., :3] = 1

CASES = {
    "gaussian": ("l2:1", {"sigma": "0.5"}),
    "gaussian in L1": ("l1:1", {"sigma": "0.5"}),
    "gaussian in L_inf": ("linf:1/10", {"sigma": "0.5"}),
    "laplace": ("l1:1", {"noise": "laplace", "sigma": "0.5"}),
    "uniform": ("l1:1/3", {"noise": "uniform", "sigma": "0.5"}),
    "splitting": ("l1:1/3", {"noise": "splitting", "sigma": "0.5"}),
    "discrete": ("l0:1", {"noise": "discrete", "keep": "0.5", "grid": 5}),
    "ablation": ("l0:1", {"noise": "ablation", "keep": "8"}),
    "flips": ("l0:1", {"noise": "flips", "flip": "0.1,0.3", "grid": 1}),
    "splitting-all": ("l1:1/10", {"noise": "splitting-all", "sigma": "0.5"}),
    "columns": ("patch:1", {"noise": "columns", "band": "1"}),
    "blocks": ("patch:1", {"noise": "blocks", "band": "2"}),
}


@pytest.mark.parametrize("name", CASES)
def test_certified_and_accepted_by_the_checker(name, network):
    text, asked = CASES[name]
    chance = name not in ("splitting-all", "columns", "blocks")
    sampling = Sampling(**asked, shape=network.input_shape, **({"samples": 2000} if chance else {}))
    method, function = certifying("auto", parse(text), sampling)
    assert function == "g"
    made = certify(Problem(network, X, parse(text), SameClass(0)), method, seed=3)
    assert made.verdict is Verdict.CERTIFIED, made.reason
    assert made.check is not None and made.check.accepted
    assert made.radius >= parse(text).size
    wrong = certify(Problem(network, X, parse(text), SameClass(1)), method, seed=3)
    assert wrong.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("side", [1, 2])
def test_no_patch_within_the_radius_changes_exact_votes(side, network):
    """All squares, each filled with what helps the other class: what is certified must stand."""
    method, _ = certifying("smoothing", parse(f"patch:{side}"), Sampling(noise="blocks", band="1"))
    made = method.decide([Problem(network, X, parse("patch:0"), SameClass(0))], _forever(), 0)[0]
    for top in range(7 - side):
        for left in range(7 - side):
            moved = X.copy()
            moved[..., top : top + side, left : left + side] = np.where(np.arange(left, left + side) < 3, -9.0, 9.0)
            again = method.decide([Problem(network, moved, parse("patch:0"), SameClass(0))], _forever(), 0)[0]
            if made.radius is not None and made.radius >= side:
                assert again.prediction == 0


def _forever():
    from unmoved.core import Budget

    return Budget()


def test_the_command_line_end_to_end(tmp_path, network, capsys):
    (tmp_path / "m.onnx").write_bytes(network.source)
    np.savez(tmp_path / "d.npz", x=X, y=np.array([0]))
    common = ["certify", str(tmp_path / "m.onnx"), "--data", str(tmp_path / "d.npz"), "--out", str(tmp_path / "out")]
    for asked in (
        ["--threat", "l0:1", "--noise", "ablation", "--keep", "8", "--samples", "500"],
        ["--threat", "patch:1", "--noise", "columns", "--band", "1"],
        ["--threat", "l1:1/2", "--noise", "laplace", "--sigma", "0.5", "--samples", "500"],
    ):
        assert run([*common, *asked, "--json"]) == 0, asked
        assert json.loads(capsys.readouterr().out)
    assert run(["check", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == 3
    assert run(["check", str(tmp_path / "out"), "--resample", "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["good"] == 2


@pytest.mark.parametrize(
    ("asked", "argument"),
    [
        ("--threat l1:1 --noise columns --band 2", "--threat"),
        ("--threat l2:1 --noise laplace --sigma 1", "--threat"),
        ("--threat l0:2", "--threat"),
        ("--threat patch:2 --method linear", "--threat"),
        ("--threat l0:2 --noise discrete", "--keep"),
        ("--threat l0:2 --noise discrete --keep 0", "--keep"),
        ("--threat l0:2 --noise ablation --keep 1.5", "--keep"),
        ("--threat l0:2 --noise ablation --keep 4 --sigma 1", "--sigma"),
        ("--threat patch:2 --noise columns --band 2 --samples 5", "--samples"),
        ("--threat patch:2 --noise columns --band x", "--band"),
        ("--threat l0:1 --noise flips --flip .1", "--flip"),
        ("--threat l1:1 --noise laplace --sigma 0", "--sigma"),
        ("--threat l2:1 --noise foo", "--noise"),
        ("--threat linf:0.1 --method linear --noise laplace", "--noise"),
    ],
)
def test_misuse_is_one_line(asked, argument, tmp_path, capsys):
    assert run(["certify", str(tmp_path / "m.onnx"), "--data", "d.npz", *asked.split()]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and argument in error.split(" got")[0], error
