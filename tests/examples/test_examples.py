"""Every script in examples/ runs at small size, and what it returns can be true."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


def run(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.__doc__ and f"examples/{name}.py" in module.__doc__
    return module.main(small=True)


def test_every_example_is_tested():
    named = {"images", "tabular", "regression", "smoothed_sklearn", "vision_transformer"}
    assert {path.stem for path in FOLDER.glob("*.py")} == named


def test_images():
    found = run("images")
    assert 0.5 < found["clean"] <= 1 and 0.2 < found["certified"] <= found["clean"]
    assert found["re-checked"] >= 20 * found["certified"]


def test_tabular():
    found = run("tabular")
    assert found["immutable"] == 10 and 0.5 < found["certified"] <= found["clean"]


def test_regression():
    found = run("regression")
    assert 0 < found["proved"] <= 1 and found["tightest for the first"] < 3


def test_a_smoothed_classifier():
    found = run("smoothed_sklearn")
    assert found["accuracy"] + found["abstained"] <= 1 and found["accuracy"] > 0.3
    # 300 copies, alpha 0.001: no radius is above sigma * Phi^-1(0.001^(1/300)) = 0.5
    assert 0 < found["mean radius"] < 0.51


def test_a_vision_transformer():
    found = run("vision_transformer")
    verdicts = {word: found[word] for word in ("CERTIFIED", "FALSIFIED", "UNKNOWN") if word in found}
    assert sum(verdicts.values()) == 3 and found["clean"] > 0.3
    # proved through softmax, the products of attention and the ReLUs, and followed by the checker
    assert found.get("CERTIFIED", 0) >= 1


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_they_are_short(path):
    assert len(path.read_text().splitlines()) <= 90
