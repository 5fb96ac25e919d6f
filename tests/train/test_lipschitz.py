from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from unmoved.bounds.norms import gram_kernel, gram_sums
from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.loaders.torch import load_torch
from unmoved.testing import ObjectiveContract
from unmoved.train import GaussianNoise, MarginLoss, Plan, fit, lipschitz_bound, lipschitz_cnn, margin_radii
from unmoved.train.lipschitz import AolConv2d, AolLinear, MaxMin, Sll, baked, kernel_norm, matrix_norm
from unmoved.train.lipschitz.margin import factor


class TestMarginLoss(ObjectiveContract):
    random = False

    def module(self):
        torch.manual_seed(0)
        return lipschitz_cnn(side=8, width=6)

    def objective(self):
        return MarginLoss(0.5)

    def equals(self):
        return [(MarginLoss(0.0, temperature=1.0), GaussianNoise(0.0))]


def dense(part, shape):
    """The matrix of a linear module without bias, row by row."""
    units = torch.eye(int(np.prod(shape)), dtype=torch.float64).view(-1, *shape)
    with torch.no_grad():
        return part(units).flatten(1).numpy().T


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (40, 9), (64, 64)])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e20])
def test_the_matrix_norm_is_never_below_and_tight(shape, size):
    rng = np.random.default_rng(0)
    for matrix in (rng.normal(size=shape), np.outer(*(rng.normal(size=n) for n in shape)), np.ones(shape)):
        exact = np.linalg.norm(matrix * size, 2)
        bound = matrix_norm(matrix * size)
        assert exact * (1 - 1e-13) <= bound <= exact * 1.0001


def test_the_matrix_norm_is_above_known_norms_exactly():
    """Hadamard matrices times h: norm sqrt(n) h. Columns (a, b): sqrt(a^2 + b^2), compared as rationals."""
    h = np.array([[1.0]])
    for _ in range(5):
        h = np.block([[h, h], [h, -h]])
        bound = Fraction(matrix_norm(h * 0.3))
        assert bound**2 >= len(h) * Fraction(0.3) ** 2
    rng = np.random.default_rng(1)
    for column in rng.normal(size=(50, 6)):
        assert Fraction(matrix_norm(column[:, None])) ** 2 >= sum(Fraction(v) ** 2 for v in column)


@pytest.mark.parametrize(("padding", "stride", "dilation"), [(0, 1, 1), (1, 1, 1), (2, 2, 1), (1, 1, 2)])
def test_the_kernel_norm_bounds_the_convolution_on_an_image(padding, stride, dilation):
    torch.manual_seed(0)
    for channels in ((2, 5), (5, 2)):
        part = nn.Conv2d(*channels, 3, padding=padding, stride=stride, dilation=dilation, bias=False).double()
        exact = np.linalg.norm(dense(part, (channels[0], 8, 8)), 2)
        bounds = [kernel_norm(part.weight.detach().numpy(), squarings=k) for k in (0, 1, 2, 3)]
        assert all(bound >= exact for bound in bounds)
        if (stride, padding, dilation) == (1, 1, 1):
            assert bounds[3] <= 1.25 * exact and bounds[3] < bounds[1]


def test_gram_sums_dominate_the_gram_matrix():
    torch.manual_seed(1)
    part = nn.Conv2d(3, 4, 3, padding=1, bias=False).double()
    matrix = dense(part, (3, 6, 6))
    q = np.array([0.5, 1.0, 2.0, 3.0])
    for sums in (gram_sums(part.weight.detach().numpy()), gram_sums(part.weight.detach().numpy(), q)):
        assert np.linalg.eigvalsh(np.diag(np.repeat(sums, 36)) - matrix @ matrix.T).min() >= 0
    weight = np.array([[1.0, 2.0], [0.5, -1.0]])
    assert gram_sums(weight) == pytest.approx([6.5, 2.75])
    assert gram_sums(weight, np.array([1.0, 4.0])) == pytest.approx([5 + 4 * 1.5, 1.25 + 1.5 / 4])


def test_the_gram_kernel_is_the_correlation_of_a_kernel_with_itself():
    k = np.random.default_rng(0).normal(size=(2, 3, 2, 3))
    gram, terms = gram_kernel(k)
    assert gram.shape == (3, 3, 3, 5) and terms == 12
    expected = sum(
        k[o, 0, t, u] * k[o, 2, t + 1, u - 1] for o in range(2) for t in range(1) for u in range(1, 3)
    )  # fmt: skip
    assert gram[0, 2, 2, 1] == pytest.approx(expected)


def nudged(part):
    """The layer with every parameter moved, as training would."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return part


LAYERS = {
    "aol wide": (AolLinear(9, 5), (9,)),
    "aol tall": (AolLinear(5, 9), (5,)),
    "aol conv": (AolConv2d(3, 5), (3, 6, 6)),
    "aol conv down": (AolConv2d(5, 3), (5, 6, 6)),
    "sll": (Sll(6, 9), (6,)),
    "sll conv": (Sll(3, 4, 3), (3, 6, 6)),
    "maxmin": (MaxMin(), (6, 4, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_no_two_inputs_are_brought_further_apart(name):
    """The largest singular value of the Jacobian at random points, where the layer is bent too."""
    part, shape = LAYERS[name]
    for layer in (part, nudged(part)):
        plain = layer.baked() if hasattr(layer, "baked") else layer
        bound = factor(plain)
        assert 0.3 < bound <= 1 + 1e-6
        plain = plain.double()
        for seed in range(5):
            x = torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            jacobian = torch.autograd.functional.jacobian(plain, x).reshape(plain(x).numel(), -1)
            assert float(torch.linalg.matrix_norm(jacobian, 2)) <= bound * (1 + 1e-12)
        with torch.no_grad():
            assert torch.allclose(layer(x.float()).double(), plain(x), atol=1e-5)


def test_a_residual_step_that_is_too_long_is_found_out():
    plain = nudged(Sll(6, 9)).baked()
    assert factor(plain) == 1.0
    with torch.no_grad():
        plain.theta.mul_(20)
    bound, worst = factor(plain), 0.0
    wide = plain.double()
    for seed in range(30):
        x = torch.randn(1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        jacobian = torch.autograd.functional.jacobian(wide, x).reshape(6, -1)
        worst = max(worst, float(torch.linalg.matrix_norm(jacobian, 2)))
    assert 1 < worst <= bound


def test_layers_without_a_rule_are_refused():
    with pytest.raises(UnsupportedError, match="Sigmoid"):
        lipschitz_bound(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()))
    with pytest.raises(UnsupportedError):
        lipschitz_bound(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")))
    with pytest.raises(UsageError):
        margin_radii(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), np.zeros((1, 2)), np.zeros(1, int))
    with pytest.raises(UsageError):
        matrix_norm([[1.0, np.nan]])


def test_radii_of_a_linear_model_are_its_distances_and_never_above():
    net = nn.Sequential(nn.Flatten(), nn.Linear(5, 3))
    x, y = np.random.default_rng(0).normal(size=(20, 5)), np.arange(20) % 3
    found = margin_radii(net, x, y)
    weight, bias = (t.detach().double().numpy() for t in (net[1].weight, net[1].bias))
    for i in range(20):
        others = [j for j in range(3) if j != y[i]]
        margins = [(weight[y[i]] - weight[j]) @ x[i] + bias[y[i]] - bias[j] for j in others]
        sizes = [np.linalg.norm(weight[y[i]] - weight[j]) for j in others]
        exact = max(0.0, min(m / s for m, s in zip(margins, sizes, strict=True)))
        assert found.radii[i] <= exact and found.radii[i] == pytest.approx(exact, rel=1e-12, abs=1e-15)
        assert found.margins[i] <= min(margins) + 1e-15
    assert found.unchecked


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = (rng.random((300, 1, 8, 8)) * 0.3).astype(np.float32)
    for i, label in enumerate(y):
        x[i, 0, 2 * label : 2 * label + 3, :] += 0.6
    torch.manual_seed(0)
    net = lipschitz_cnn(side=8, classes=3, width=4)
    fit(net, x, y, MarginLoss(0.5), Plan(epochs=6, batch=50, lr=5e-3, l1=0))
    return net, x, y


def test_a_net_learns_wide_margins_that_no_attack_undercuts(trained):
    net, x, y = trained
    found = margin_radii(net, x, y)
    assert (found.radii > 0.3).mean() > 0.6
    assert lipschitz_bound(net) <= 1 + 1e-3
    plain, rows = baked(net).double(), np.flatnonzero(found.radii > 0)
    start, labels = torch.as_tensor(x[rows]).double(), torch.as_tensor(y[rows])[:, None]
    sizes = torch.as_tensor(found.radii[rows]).view(-1, 1, 1, 1)
    move = torch.zeros_like(start)
    for _ in range(15):
        move.requires_grad_(True)
        outputs = plain(start + move)
        margin = (outputs.gather(1, labels) - outputs).scatter(1, labels, torch.inf).amin(1)
        assert (margin > 0).all()
        (gradient,) = torch.autograd.grad(margin.sum(), move)
        gradient = gradient / gradient.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
        move = move.detach() - sizes / 4 * gradient
        move = move * (sizes / move.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)).clamp(max=1)


def test_what_is_deployed_is_what_was_trained_and_can_be_exported(trained):
    net, x, _ = trained
    plain = baked(net)
    with torch.no_grad():
        assert torch.allclose(net(torch.as_tensor(x[:20])), plain(torch.as_tensor(x[:20])), atol=1e-5)
    network = load_torch(plain, (1, 1, 8, 8))
    assert {"Conv", "Gemm", "Relu"} <= set(network.operators)
