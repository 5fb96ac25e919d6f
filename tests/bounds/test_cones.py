"""The entries of windows' matrices are those of the dense matrix; rows are grouped by what they see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmoved.bounds.cones import Matrices, supports
from unmoved.bounds.rows import Rows
from unmoved.ir.network import Network, Node
from unmoved.ops import bind

WINDOWS = {
    "plain": ("Conv", 4, 3, {"kernel_shape": (3, 2), "strides": (1, 1), "pads": (0, 0, 0, 0)}, (5, 5)),
    "strided, uneven pads": ("Conv", 4, 3, {"kernel_shape": (3, 3), "strides": (2, 3), "pads": (1, 0, 2, 1)}, (4, 2)),
    "a rest is left": ("Conv", 4, 2, {"kernel_shape": (2, 2), "strides": (3, 3), "pads": (0, 0, 0, 0)}, (2, 2)),
    "dilated": ("Conv", 4, 3, {"kernel_shape": (2, 2), "dilations": (2, 3), "pads": (1, 1, 1, 1)}, (7, 5)),
    "grouped": ("Conv", 4, 6, {"kernel_shape": (3, 3), "group": 2, "pads": (1, 1, 1, 1)}, (7, 6)),
    "average": ("AveragePool", 4, 4, {"kernel_shape": (3, 2), "strides": (2, 2), "pads": (1, 0, 1, 0)}, (4, 3)),
    "average, ceil": ("AveragePool", 4, 4, {"kernel_shape": (2, 2), "strides": (2, 2), "ceil_mode": 1}, (4, 3)),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_entries_are_those_of_the_dense_matrix(name: str) -> None:
    kind, channels, out, attributes, size = WINDOWS[name]
    shapes = {"x": (1, channels, 7, 6), "y": (1, out, *size)}
    inputs, constants = ("x",), {}
    if kind == "Conv":
        shape = (out, channels // attributes.get("group", 1), *attributes["kernel_shape"])
        constants["w"] = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        inputs = ("x", "w")
    network = Network((Node(kind, "n", inputs, ("y",), attributes),), constants, "x", "y", shapes, b"", "")
    (op,) = bind(network, dtype=torch.float64)
    count = 7 * 6 * channels
    dense = op.linear(0, torch.eye(count, dtype=torch.float64).view(count, 1, channels, 7, 6)).flatten(1).T
    outputs, places, values = op.entries(0)
    made = torch.zeros_like(dense)
    made.index_put_((outputs, places), values, accumulate=True)
    torch.testing.assert_close(made, dense, rtol=0, atol=1e-13)
    assert len(set(zip(outputs.tolist(), places.tolist(), strict=True))) == len(outputs)
    wanted = torch.tensor([3, 0, dense.shape[0] - 1])
    columns, cut = Matrices((op,), shapes, dense).cut(op, 0, wanted)
    torch.testing.assert_close(cut, dense[wanted][:, columns], rtol=0, atol=1e-13)
    assert (dense[wanted].abs().sum(0) > 0).sum() <= len(columns) < count


def test_rows_are_grouped_by_what_they_see() -> None:
    coefficients = torch.zeros(5, 1, 9)
    coefficients[[0, 2, 3], 0, 1] = torch.tensor([1.0, 2.0, 3.0])
    coefficients[[1, 4], 0, 4] = torch.tensor([1.0, -1.0])
    groups = [(n.tolist(), p["t"].tolist()) for n, p in supports(Rows({"t": coefficients}, torch.zeros(5)))]
    assert groups == [([0, 2, 3], [1]), ([1, 4], [4])]


def test_rows_that_see_nearly_everything_stay_together() -> None:
    ((numbers, places),) = supports(Rows({"t": torch.ones(3, 1, 9)}, torch.zeros(3)))
    assert numbers.tolist() == [0, 1, 2] and places == {}
