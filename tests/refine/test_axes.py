"""Where boxes are cut: along what moves the function or its undecided units, and never without end."""

from __future__ import annotations

import numpy as np
import torch

from unmoved.bounds import Enclosure, Query, linear
from unmoved.bounds.enclosure import Bounds
from unmoved.ops import bind
from unmoved.refine.axes import gains
from unmoved.testing.perceptron import Perceptron

Layer = tuple[np.ndarray, np.ndarray]


def best(layers: list[Layer], low: list[float], high: list[float]) -> int:
    """The axis that gains most for the first output."""
    network = Perceptron(tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers)).network
    ops = bind(network, dtype=torch.float64)
    box = Bounds(torch.tensor([low], dtype=torch.float64), torch.tensor([high], dtype=torch.float64))
    known = linear(ops, network, Enclosure(box, box.center, None, torch.zeros(1, dtype=torch.float64)))
    outputs = network.shapes[network.output][0]
    row = torch.eye(outputs, dtype=torch.float64)[:1]
    found = gains(known, Query(torch.tensor([0]), row, torch.zeros(1, dtype=torch.float64)))
    assert found.shape == (1, len(low)) and bool(found.isfinite().all())
    return int(found.argmax())


def test_a_line_is_cut_where_it_is_steep_and_wide() -> None:
    """No undecided unit: |slope| times width decides."""
    layers = [(np.eye(3), np.full(3, 100.0)), (np.array([[1.0, 2.0, 0.1]]), np.zeros(1))]
    assert best(layers, [0, 0, 0], [1, 1, 1]) == 1
    assert best(layers, [0, 0, 0], [1, 0.1, 1]) == 0
    assert best(layers, [0, 0, 0], [1, 0.1, 90]) == 2


def test_where_the_function_is_flat_its_undecided_units_decide() -> None:
    """relu(x0 + 3 x1 - 2) relu's sum stays dead: the output is constant, and only the first layer's units move."""
    first = (np.array([[1.0, 3.0], [-1.0, 2.0]]), np.array([0.1, -0.1]))
    dead = (np.array([[1.0, 1.0]]), np.array([-1000.0]))
    last = (np.array([[1.0]]), np.zeros(1))
    assert best([first, dead, last], [-1, -1], [1, 1]) == 1
    assert best([first, dead, last], [-1, -0.01], [1, 0.01]) == 0


def test_no_axis_is_forgotten() -> None:
    """An axis that seems of no use is cut once the others are thin."""
    layers = [(np.array([[1.0, 0.0]]), np.full(1, 100.0)), (np.ones((1, 1)), np.zeros(1))]
    low, high = [0.0, 0.0], [1.0, 1.0]
    network = Perceptron(tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers)).network
    ops = bind(network, dtype=torch.float64)
    ends = torch.tensor([low, low], dtype=torch.float64), torch.tensor([high, [1e-9, 1.0]], dtype=torch.float64)
    box = Bounds(*ends)
    known = linear(ops, network, Enclosure(box, box.center, None, torch.zeros(2, dtype=torch.float64)))
    query = Query(torch.tensor([0, 1]), torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    found = gains(known, query)
    assert found[0].argmax() == 0 and float(found[1, 1]) > 0
