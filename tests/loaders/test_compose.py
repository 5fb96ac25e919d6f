from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
import torch
from onnx import version_converter
from torch import nn

from unmoved.core.errors import UsageError
from unmoved.loaders import load_onnx, load_torch
from unmoved.loaders.compose import Composed, compose
from unmoved.loaders.runtime import Runtime
from unmoved.ops import bind, evaluate


def denoiser():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 1, 3, padding=1)).eval()


def classifier():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


X = np.random.default_rng(0).random((5, 1, 4, 4), np.float32)


def rows(network, x):
    return Runtime(network.source).run(x.reshape(len(x), *network.input_shape))


def test_two_networks_become_one_that_answers_as_one_after_the_other():
    first, second = load_torch(denoiser(), (1, 1, 4, 4)), load_torch(classifier(), (1, 1, 4, 4))
    both = compose(first, second)
    expected = rows(second, rows(first, X)).reshape(5, 3)
    assert np.allclose(rows(both, X).reshape(5, 3), expected, atol=1e-6)
    ours = evaluate(bind(both, dtype=torch.float64), both, torch.as_tensor(X).double()[:, None])
    assert np.allclose(ours.numpy().reshape(5, 3), expected, atol=1e-5)
    assert load_onnx(both.source).digest == both.digest


def test_modules_are_composed_too_and_give_the_same_network():
    module = Composed(denoiser(), classifier()).eval()
    network = load_torch(module, (1, 1, 4, 4))
    both = compose(load_torch(denoiser(), (1, 1, 4, 4)), load_torch(classifier(), (1, 1, 4, 4)))
    assert np.allclose(rows(network, X), rows(both, X), atol=1e-6)
    assert {name.partition(".")[0] for name, _ in module.named_parameters()} == {"first", "second"}


def test_shapes_of_one_size_are_reshaped():
    first = load_torch(nn.Sequential(nn.Flatten(), nn.Linear(16, 16)), (1, 1, 4, 4))
    second = load_torch(classifier(), (1, 1, 4, 4))
    both = compose(first, second)
    expected = rows(second, rows(first, X).reshape(5, 1, 1, 4, 4)).reshape(5, 3)
    assert np.allclose(rows(both, X).reshape(5, 3), expected, atol=1e-6)


def test_operator_sets_are_levelled_and_batches_of_any_size_pass():
    buffer = io.BytesIO()
    torch.onnx.export(
        denoiser(), (torch.zeros(2, 1, 4, 4),), buffer, dynamo=False, opset_version=13,
        input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
    )  # fmt: skip
    first = load_onnx(buffer.getvalue())
    second = load_torch(classifier(), (1, 1, 4, 4))
    both = compose(first, second)
    versions = [onnx.load_model_from_string(n.source).opset_import[0].version for n in (first, second, both)]
    assert versions[0] == 13 < versions[1] == versions[2]
    assert np.allclose(rows(both, X).reshape(5, 3), rows(second, rows(first, X)).reshape(5, 3), atol=1e-6)
    raised = version_converter.convert_version(onnx.load_model_from_string(first.source), versions[1])
    assert raised.opset_import[0].version == versions[1]


def test_models_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="takes the first's outputs"):
        compose(load_torch(classifier(), (1, 1, 4, 4)), load_torch(classifier(), (1, 1, 4, 4)))
