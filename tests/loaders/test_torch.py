"""torch modules: the same function as the module, under the module's own names, in every phrase users write."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from unmoved.core.errors import LoadError, UsageError
from unmoved.ir.network import Network
from unmoved.loaders import load
from unmoved.loaders.torch import load_torch
from unmoved.ops import bind, evaluate

torch.set_num_threads(1)


def randomised(module: nn.Module) -> nn.Module:
    """Give batch norms statistics that matter."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor in (part.running_mean, part.running_var, part.weight, part.bias):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module


class Wordy(nn.Module):
    """Normalisation inside, functional calls, views, cuts, and tensors put together."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.rows = nn.Linear(4, 4)
        self.last = nn.Linear(64, 3)
        self.register_buffer("mean", torch.tensor([0.3]))
        self.unused = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / 0.5
        x = functional.relu(self.conv(x))
        x = functional.avg_pool2d(x, 2)
        x = self.rows(x)
        x = functional.pad(x, (1, 0, 0, 2), value=0.25).clamp(-0.2, 0.9)[:, :, :-2, 1:]
        a, b = x.chunk(2, 1)
        x = torch.cat([b, -a], 1)
        return self.last(x.view(x.size(0), -1))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.n, self.last = nn.BatchNorm2d(2), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.n(self.a(x)), 0.1)
        y = torch.tanh(self.b(y) + x)
        return self.last(y.mean((2, 3)))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.two = nn.Linear(3, 3)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.sigmoid(self.one(x)))


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.exp(self.scale)


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)),
        (1, 5),
    ),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU6(),
            nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
            nn.Conv2d(4, 4, 3, groups=2, dilation=2, padding="same"),
            nn.Hardtanh(),
            nn.AvgPool2d(2, ceil_mode=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
        (1, 1, 13, 12),
    ),
    "wordy": (Wordy, (1, 1, 8, 8)),
    "residual": (Residual, (1, 2, 5, 5)),
    "shared": (Shared, (1, 3)),
}


@pytest.fixture(scope="module", params=list(MODULES))
def pair(request: pytest.FixtureRequest) -> tuple[nn.Module, Network]:
    torch.manual_seed(0)
    make, shape = MODULES[request.param]
    module = randomised(make())
    return module, load_torch(module, shape, trainable=True)


def named(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def test_network_module_and_onnxruntime_agree(pair: tuple[nn.Module, Network]) -> None:
    module, network = pair
    x = torch.randn(6, *network.input_shape[1:])
    wanted = module.eval()(x).detach().numpy()
    ours = evaluate(bind(network), network, x[:, None]).flatten(1).numpy()
    session = onnxruntime.InferenceSession(network.source, providers=["CPUExecutionProvider"])
    theirs = np.stack([session.run(None, {network.input: row[None].numpy()})[0].reshape(-1) for row in x])
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(theirs, wanted, rtol=1e-4, atol=1e-5)


def test_parameters_by_name_give_the_function_and_the_gradient_of_the_module(pair: tuple[nn.Module, Network]) -> None:
    module, network = pair
    module = module.eval()
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.add_(0.05)
    x = torch.randn(4, *network.input_shape[1:])
    parameters = dict(module.named_parameters())
    outputs = module(x), evaluate(bind(network, named(module)), network, x[:, None]).flatten(1)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(outputs[0])
    wanted, ours = (
        torch.autograd.grad((y * weights).sum(), list(parameters.values()), allow_unused=True) for y in outputs
    )
    for name, a, b in zip(parameters, wanted, ours, strict=True):
        assert (a is None) == (b is None), name
        if a is not None:
            torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4)


def test_file_holds_plain_operators_only(pair: tuple[nn.Module, Network]) -> None:
    plain = {
        "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "Div", "Flatten", "Gemm",
        "GlobalAveragePool", "Identity", "LeakyRelu", "MatMul", "MaxPool", "Neg", "Pad", "ReduceMean", "Relu",
        "Reshape", "Sigmoid", "Slice", "Sub", "Tanh",
    }  # fmt: skip
    assert set(pair[1].operators) <= plain
    assert b"site-packages" not in pair[1].source


def test_the_module_is_left_as_it_was_and_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    module = MODULES["mlp"][0]()
    module[3].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    flags = [part.training for part in module.modules()]
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_torch(module, (1, 5))
    assert [part.training for part in module.modules()] == flags
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert logging.root.manager.disable == level
    assert capfd.readouterr() == ("", "")


def test_same_module_same_bytes() -> None:
    module = MODULES["residual"][0]()
    assert load_torch(module, (1, 2, 5, 5)).digest == load_torch(module, (1, 2, 5, 5)).digest


def test_double_precision() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).double()
    network = load_torch(module, (1, 3))
    assert network.constants["0.weight"].dtype == np.float64
    assert module[0].weight.dtype == torch.float64


def test_half_precision_is_read_as_float32() -> None:
    module = nn.Linear(3, 4).half()
    assert load_torch(module, (1, 3)).constants["weight"].dtype == np.float32
    assert module.weight.dtype == torch.float16


def test_a_parameter_that_training_cannot_reach() -> None:
    with pytest.raises(LoadError, match="scale"):
        load_torch(Hidden(), (1, 3), trainable=True)
    network = load_torch(Hidden(), (1, 3))
    with pytest.raises(UsageError, match="scale"):
        bind(network, named(Hidden()))


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Dictionary(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": x}


@pytest.mark.parametrize(
    ("module", "message"), [(Noisy(), "two different outputs"), (Branching(), "export"), (Dictionary(), "dict")]
)
def test_modules_that_are_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(LoadError, match=message) as caught:
        load_torch(module, (1, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(), (2, 3), (1, 0), (1, 2.0), (1, 4)])
def test_shapes_that_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="example_shape"):
        load_torch(nn.Linear(3, 2), shape)


def test_load_takes_modules_and_networks() -> None:
    network = load(nn.Linear(3, 2), input_shape=(1, 3))
    assert load(network) is network
    assert load(network.source).digest == network.digest
    with pytest.raises(UsageError, match="input_shape"):
        load(nn.Linear(3, 2))
    with pytest.raises(UsageError, match="module"):
        load_torch("no module", (1, 3))
