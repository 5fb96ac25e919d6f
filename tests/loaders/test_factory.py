"""Factories and their weights: every wrong name and every file that does not fit gets one clear line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unmoved.core.errors import LoadError, UsageError
from unmoved.loaders import load
from unmoved.loaders.factory import load_factory

CODE = """
import torch
from torch import nn
def make():
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU())
def number():
    return 3
def fails():
    raise ValueError("broken\\nfactory")
ready = nn.Linear(3, 2)
text = "no factory"
class Space:
    make = staticmethod(make)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "user_nets_for_tests.py").write_text(CODE)
    (tmp_path / "user_broken_for_tests.py").write_text("import no_such_package_anywhere\n")
    (tmp_path / "user_raises_for_tests.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    for name in ("nets", "broken", "raises"):
        monkeypatch.delitem(sys.modules, f"user_{name}_for_tests", raising=False)
    return tmp_path


def test_module_in_the_current_folder_with_weights(folder: Path) -> None:
    state = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.tensor([1.0, -1.0])}
    save_file(state, folder / "w.safetensors")
    before = list(sys.path)
    module = load_factory("user_nets_for_tests:make", folder / "w.safetensors")
    assert sys.path == before
    assert not module.training
    assert module(torch.ones(1, 3)).tolist() == [[4.0, 11.0]]
    network = load("user_nets_for_tests:make", weights=folder / "w.safetensors", input_shape=(1, 3))
    assert network.constants["0.weight"].tolist() == state["0.weight"].tolist()


@pytest.mark.parametrize("name", ["Space.make", "ready"])
def test_dotted_names_and_ready_modules(name: str, folder: Path) -> None:
    assert isinstance(load_factory(f"user_nets_for_tests:{name}"), torch.nn.Module)


@pytest.mark.parametrize("spec", ["nets", "nets:", "a b:c", "no_such_module_at_all:make", "os.nothing_here:make"])
def test_names_that_lead_nowhere(spec: str, folder: Path) -> None:
    with pytest.raises(UsageError, match="model"):
        load_factory(spec)


@pytest.mark.parametrize("name", ["nothing", "Space.nothing", "number", "text"])
def test_factories_that_are_none(name: str, folder: Path) -> None:
    with pytest.raises(UsageError, match="model"):
        load_factory(f"user_nets_for_tests:{name}")


@pytest.mark.parametrize(
    "spec", ["user_nets_for_tests:fails", "user_broken_for_tests:make", "user_raises_for_tests:make"]
)
def test_code_that_fails_gives_one_line(spec: str, folder: Path) -> None:
    with pytest.raises(LoadError, match=r"broken|no_such_package_anywhere|division") as caught:
        load_factory(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"0.weight": torch.zeros(2, 3)}, r"missing: 0\.bias"),
        ({"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(2), "z": torch.zeros(1)}, "not in the module: z"),
        ({"0.weight": torch.zeros(3, 2), "0.bias": torch.zeros(2)}, r"0\.weight \(3, 2\) for \(2, 3\)"),
        ({"0.weight": torch.zeros(2, 3), "0.bias": torch.full((2,), torch.nan)}, r"NaN or infinite: 0\.bias"),
    ],
)
def test_weights_that_do_not_fit(state: dict[str, torch.Tensor], message: str, folder: Path) -> None:
    save_file(state, folder / "w.safetensors")
    with pytest.raises(LoadError, match=message):
        load_factory("user_nets_for_tests:make", folder / "w.safetensors")


def test_weights_that_are_no_file(folder: Path) -> None:
    with pytest.raises(UsageError, match="weights"):
        load_factory("user_nets_for_tests:make", folder / "none.safetensors")
    (folder / "w.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(LoadError, match="not a safetensors file"):
        load_factory("user_nets_for_tests:make", folder / "w.safetensors")


def test_load_refuses_what_is_no_model(folder: Path) -> None:
    for wrong in ("no_such_file.onnx", "what is this", str(folder), 3):
        with pytest.raises(UsageError, match="model"):
            load(wrong)
    (folder / "net.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="weights"):
        load(folder / "net.onnx", weights="w.safetensors")
    with pytest.raises(LoadError, match="not an ONNX file"):
        load(str(folder / "net.onnx"))
