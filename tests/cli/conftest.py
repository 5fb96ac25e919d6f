"""Models whose answers can be worked out by hand, a folder of them, and a runner that needs no subprocess."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unmoved.cli.app import run

SHAPE = (1, 4, 4)
CLASSES = 3
INPUTS = 12
WRONG = 5
"""The one input whose label is not what the model says."""


@dataclass(frozen=True)
class Outcome:
    """What a command ended in."""

    code: int
    out: str
    err: str

    @property
    def data(self):
        return json.loads(self.out)


@dataclass(frozen=True)
class Bench:
    """A folder with models and data; `weights` and `bias` are those of line.onnx."""

    folder: Path
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def path(self, name):
        return str(self.folder / name)

    wrong = WRONG

    @property
    def inputs(self):
        return len(self.y)

    def margins(self, norm):
        """Return each input's distance to the nearest change of answer of line.onnx, 0 where it is wrong."""
        found = []
        dual = {"inf": 1, "2": 2, "1": np.inf}[norm]
        for point, label in zip(self.x.reshape(self.inputs, 16).astype(np.float64), self.y, strict=True):
            gaps = []
            for other in set(range(CLASSES)) - {int(label)}:
                row = (self.weights[:, label] - self.weights[:, other]).astype(np.float64)
                gap = point @ row + float(self.bias[label]) - float(self.bias[other])
                gaps.append(gap / np.linalg.norm(row, dual))
            found.append(max(0.0, min(gaps)))
        return np.array(found)

    def between(self, values):
        """Return a size with some values above it and some below, as far from all of them as can be."""
        ordered = np.sort(values[values > 0])
        gaps = np.diff(ordered[2:-2])
        k = int(gaps.argmax()) + 2
        return float((ordered[k] + ordered[k + 1]) / 2)


@pytest.fixture
def unmoved(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def ledger():
    def read(folder):
        """Return the rows of the only ledger in a run's folder."""
        (path,) = Path(folder).glob("ledger-*.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    return read


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(7)
    x = (rng.integers(0, 256, (INPUTS, *SHAPE)) / np.float32(255)).astype(np.float32)
    weights = rng.normal(size=(16, CLASSES)).astype(np.float32)
    bias = rng.normal(size=CLASSES).astype(np.float32) * np.float32(0.1)
    y = (x.reshape(INPUTS, 16).astype(np.float64) @ weights + bias).argmax(1)
    y[WRONG] = (y[WRONG] + 1) % CLASSES
    for name, operator in (
        ("line", None),
        ("relu", "Relu"),
        ("abs", "Abs"),
        ("tangent", "Tan"),
        ("cosh", "Cosh"),
    ):
        write(folder / f"{name}.onnx", weights, bias, operator)
    write(folder / "one.onnx", weights[:, :1], bias[:1], None)
    np.savez(folder / "test.npz", x=x, y=y)
    return Bench(folder, x, y, weights, bias)


def write(path, weights, bias, operator):
    """Write Flatten, an elementwise operator (or none) and Gemm as an ONNX file with a dynamic batch."""
    middle = [] if operator is None else [helper.make_node(operator, ["flat"], ["bent"])]
    last = "flat" if operator is None else "bent"
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), *middle, helper.make_node("Gemm", [last, "w", "b"], ["out"])]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", weights.shape[1]])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, path)
