"""--device: what this machine lacks is refused at the door with what there is; the CPU is the default and the same."""

import pytest
import torch

from unmoved.core import UsageError
from unmoved.evaluate.methods import Sampling, attacking, certifying
from unmoved.ops import device
from unmoved.threats import L2, Linf

COMMANDS = {
    "certify": ("line.onnx", ()),
    "certify --sigma": ("line.onnx", ("--threat", "l2:0", "--sigma", "0.25", "--samples", "200", "--limit", "1")),
    "radius": ("line.onnx", ("--steps", "2", "--limit", "1")),
    "attack": ("line.onnx", ("--suite", "quick", "--limit", "2")),
    "evaluate": ("line.onnx", ("--no-attack", "--limit", "4")),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_not_here_is_named_with_those_that_are(unmoved, bench, tmp_path, command):
    model, more = COMMANDS[command]
    asked = (command.split()[0], bench.path(model), "--data", bench.path("test.npz"), *more, "--out", tmp_path / "a")
    for name in ("cuda:99", "tpu"):
        done = unmoved(*asked, "--device", name)
        assert done.code == 2 and f"--device: got {name!r}, expected cpu" in done.err, done.err
        assert not (tmp_path / "a").exists()
    assert unmoved(*asked, "--device", "cpu").code == 0


def test_training_says_the_same(unmoved, bench, tmp_path):
    asked = ("train", "unmoved.train:small_mlp", "--data", bench.path("test.npz"), "--out", tmp_path, "--eps", "0.1")
    done = unmoved(*asked, "--device", "tpu")
    assert done.code == 2 and "--device: got 'tpu', expected cpu" in done.err


def test_where_there_is_a_gpu_methods_are_placed_on_it(monkeypatch):
    """Without one: torch is made to say that there are two. Nothing runs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.reachable("cuda") == "cuda" and device.reachable("cuda:1") == "cuda:1"
    with pytest.raises(UsageError, match="cpu, cuda:0, cuda:1"):
        device.reachable("cuda:2")
    on = Sampling(device="cuda:1")
    for name in ("interval", "zonotope", "intersection", "linear", "optimised", "branch"):
        assert certifying(name, Linf("0.1"), on)[0].device == "cuda:1"
    for timed in (False, True):
        assert {each.device for each in certifying("auto", Linf("0.1"), on, timed=timed)[0].methods} == {"cuda:1"}
    assert attacking(Linf("0.1"), on)[0].device == "cuda:1"
    smoothing = certifying("smoothing", L2(0), Sampling(sigma="0.5", device="cuda:1"))[0]
    assert smoothing.device == "cuda:1" and "cuda:1" in smoothing.settings()["engine"]
    for name in ("milp", "sdp"):
        with pytest.raises(UsageError, match="cpu with method"):
            certifying(name, Linf("0.1"), on)
    with pytest.raises(UsageError, match="cpu with --sigma"):
        attacking(L2("0.5"), Sampling(sigma="0.5", device="cuda"))
    with pytest.raises(UsageError, match="worker processes"):
        certifying("smoothing", L2(0), Sampling(sigma="0.5", device="cuda", jobs=2))
