"""Nets that are 1-Lipschitz in L2: layers, a loss for wide margins, and what the margin proves."""

from unmoved.bounds.norms import kernel_norm, matrix_norm
from unmoved.train.lipschitz.layers import AolConv2d, AolLinear, MaxMin, Residual, Sll, lipschitz_cnn
from unmoved.train.lipschitz.margin import MarginLoss, MarginRadii, baked, lipschitz_bound, margin_radii

__all__ = [
    "AolConv2d",
    "AolLinear",
    "MarginLoss",
    "MarginRadii",
    "MaxMin",
    "Residual",
    "Sll",
    "baked",
    "kernel_norm",
    "lipschitz_bound",
    "lipschitz_cnn",
    "margin_radii",
    "matrix_norm",
]
