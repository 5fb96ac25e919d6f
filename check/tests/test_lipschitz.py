"""Lipschitz evidence: norms against known ones, constants against Jacobians and pairs, false claims refused."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from check_kit import Bundle, mlp, model
from onnx import helper

from unmoved_check.check import Checker
from unmoved_check.floating_lipschitz import constant, opposed, slope
from unmoved_check.floating_matrices import Matrix, spectral
from unmoved_check.model.lowering import lower
from unmoved_check.model.reader import read_model


def exact(values: np.ndarray) -> Matrix:
    return Matrix(values, np.abs(values), 0)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e20])
def test_spectral_norms_are_never_below_and_tight(scale: float) -> None:
    rng = np.random.default_rng(0)
    hadamard = np.array([[1.0]])
    for _ in range(4):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    bound = Fraction(spectral(hadamard * 0.3, 4))
    assert bound**2 >= 16 * Fraction(0.3) ** 2
    for shape in ((1, 1), (3, 7), (40, 9), (30, 30)):
        values = rng.normal(size=shape) * scale
        true = np.linalg.norm(values, 2)
        assert true * (1 - 1e-13) <= spectral(values, 8) <= true * 1.01


def test_a_residual_step_and_sorted_pairs_have_constant_one() -> None:
    swap, pair = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[1.0, -1.0]])
    assert 1 <= opposed(exact(swap), exact(pair.T.copy()), exact(pair), 4) <= 1 + 1e-9
    rng = np.random.default_rng(1)
    w = rng.normal(size=(5, 8))
    theta = 1 / np.abs(w.T @ w).sum(1)
    c = -2 * w * theta
    assert 1 <= opposed(exact(np.eye(5)), exact(c), exact(w.T.copy()), 4) <= 1 + 1e-7
    for factor in (1.5, 4.0):
        bound = opposed(exact(np.eye(5)), exact(c * factor), exact(w.T.copy()), 4)
        for _ in range(50):
            d = rng.integers(0, 2, 8)
            assert np.linalg.norm(np.eye(5) + (c * factor * d) @ w.T, 2) <= bound


def random_net(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    sizes = (4, 6, 5, 3)
    pairs = pairwise(sizes)
    return [(rng.normal(size=(b, a)).astype(np.float32), rng.normal(size=b).astype(np.float32)) for a, b in pairs]


def forward(layers: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> np.ndarray:
    for i, (w, b) in enumerate(layers):
        x = x @ w.T.astype(float) + b
        x = np.maximum(x, 0) if i < len(layers) - 1 else x
    return x


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_no_two_points_are_further_apart(norm: str) -> None:
    rng = np.random.default_rng(2)
    size = {"inf": np.inf, "2": 2, "1": 1}[norm]
    for _ in range(5):
        layers = random_net(rng)
        found = constant(lower(read_model(mlp(layers))), norm, 6)
        most = slope(found, {0: Fraction(1), 1: Fraction(-1)}, norm)
        near = rng.normal(size=(200, 4))
        far = near + rng.normal(size=(200, 4)) * 10.0 ** rng.uniform(-4, 1, (200, 1))
        change = np.abs((forward(layers, near) - forward(layers, far)) @ np.array([1.0, -1.0, 0.0]))
        assert (change <= most * np.linalg.norm(near - far, size, axis=1) * (1 + 1e-12)).all()


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_an_affine_model_is_certified_up_to_its_distance_and_not_beyond(norm: str) -> None:
    rng = np.random.default_rng(3)
    w, b = rng.normal(size=(2, 5)).astype(np.float32), np.zeros(2, np.float32)
    x = rng.normal(size=(1, 5)).astype(np.float32)
    y = x[0].astype(float) @ w.T.astype(float)
    label = int(y.argmax())
    row = (w[label].astype(float) - w[1 - label]).astype(float)
    distance = (y[label] - y[1 - label]) / np.linalg.norm(row, {"inf": 1, "2": 2, "1": np.inf}[norm])
    for factor, accepted in ((1 - 1e-9, True), (1 + 1e-9, False)):
        assert judged(mlp([(w, b)]), x, label, norm, Fraction(distance * factor), norm) is accepted


def judged(
    source: bytes, x: np.ndarray, label: int, norm: str, eps: Fraction, own: str, changed: dict | None = None
) -> bool:
    bundle = Bundle(
        source,
        x,
        threat={"kind": "lp", "norm": norm, "eps": str(eps.limit_denominator(10**15)), "clip": None},
        property={"kind": "same_class", "label": label, "classes": 2},
        evidence={"kind": "lipschitz", "norm": own, "squarings": 4} | (changed or {}),
    )
    outcome = Checker(source).check(*bundle.bytes())
    return type(outcome).__name__ == "Accepted"


def test_false_claims_are_never_accepted() -> None:
    """A planted counterexample inside the ball: whatever the evidence says, the claim is refused."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        layers = random_net(rng)
        layers[-1] = (layers[-1][0][:2], layers[-1][1][:2])
        x, z = rng.normal(size=(1, 4)).astype(np.float32), rng.normal(size=(1, 4)).astype(np.float32)
        label = int(forward(layers, x.astype(float)).argmax())
        if int(forward(layers, z.astype(float)).argmax()) == label:
            continue
        for norm, size in (("inf", np.inf), ("2", 2), ("1", 1)):
            eps = Fraction(float(np.linalg.norm((x - z).astype(float)[0], size)) * (1 + 1e-9))
            for own in ("inf", "2", "1"):
                assert not judged(mlp(layers), x, label, norm, eps, own)


def test_a_part_of_the_ball_s_size_is_claimed_in_another_norm() -> None:
    w, x = np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]], np.float32), np.array([[1.0, 0, 0, 0]], np.float32)
    source = mlp([(w, np.zeros(2, np.float32))])
    assert judged(source, x, 0, "inf", Fraction(49, 100), "2")  # sqrt(4) * 0.49 < 1
    assert not judged(source, x, 0, "inf", Fraction(51, 100), "2")
    assert judged(source, x, 0, "1", Fraction(99, 100), "2")


@pytest.mark.parametrize(
    "changed", [{"squarings": -1}, {"squarings": 99}, {"squarings": "4"}, {"norm": "3"}, {"extra": 1}, {"norm": None}]
)
def test_other_fields_are_refused(changed: dict[str, object]) -> None:
    w, x = np.eye(2, dtype=np.float32), np.array([[1.0, 0]], np.float32)
    source = mlp([(w, np.zeros(2, np.float32))])
    assert judged(source, x, 0, "2", Fraction(1, 10), "2")
    assert not judged(source, x, 0, "2", Fraction(1, 10), "2", changed)


def test_maxima_and_convolutions() -> None:
    """The constant of Conv, MaxPool (overlapping), Gemm against changes between points."""
    rng = np.random.default_rng(5)
    kernel, bias = rng.normal(size=(3, 2, 3, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    last = rng.normal(size=(2, 3 * 9)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["c"], pads=[1, 1, 1, 1], strides=[1, 1]),
        helper.make_node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    source = model(nodes, {"k": kernel, "b": bias, "w": last}, (1, 2, 4, 4))
    import onnxruntime

    session = onnxruntime.InferenceSession(source)
    for norm, size in (("inf", np.inf), ("2", 2), ("1", 1)):
        found = constant(lower(read_model(source)), norm, 4)
        most = slope(found, {0: Fraction(1), 1: Fraction(-1)}, norm)
        for _ in range(40):
            a = rng.normal(size=(1, 2, 4, 4)).astype(np.float32)
            b = a + rng.normal(size=a.shape).astype(np.float32)
            ya, yb = (session.run(None, {"x": v})[0][0].astype(float) for v in (a, b))
            change = abs((ya[0] - ya[1]) - (yb[0] - yb[1]))
            assert change <= most * np.linalg.norm((a - b).astype(float).ravel(), size) + 1e-4
