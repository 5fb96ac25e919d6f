"""Small networks worth certifying."""

from __future__ import annotations

from torch import nn

from unmoved.core.errors import UsageError


def small_cnn(*, side: int = 28, channels: int = 1, classes: int = 10) -> nn.Sequential:
    """Return conv(16, 4, stride 2) - conv(32, 4, stride 2) - 100 - classes, batch norm and ReLU between.

    Inputs (n, channels, side, side); 167,000 parameters at 28x28.
    """
    if side < 4:
        raise UsageError("side", side, "at least 4 pixels")
    rest = side // 2 // 2
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * rest * rest, 100),
        nn.BatchNorm1d(100),
        nn.ReLU(),
        nn.Linear(100, classes),
    )


def mlp(*, inputs: int, hidden: tuple[int, ...] = (64, 64), classes: int = 10) -> nn.Sequential:
    """Return a plain perceptron with batch norm and ReLU after each hidden layer; inputs of any shape are flattened."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, classes))
