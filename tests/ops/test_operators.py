"""Every operator against onnxruntime, and the four facts of an Affine against the dense matrix and each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from operator_cases import AFFINE, COMPOSED, OTHER, PRODUCTS, Case, bound, title

from unmoved.core.errors import UnsupportedError
from unmoved.ir.network import Network, Node
from unmoved.ops import Affine, Maximum, bind, evaluate

torch.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("case", AFFINE + PRODUCTS + COMPOSED + OTHER, ids=title)
def test_agrees_with_onnxruntime_for_every_input_of_a_batch(case: Case, rng) -> None:
    op, feeds = bound(case), [case.feeds(rng) for _ in range(3)]
    values = [torch.tensor(np.stack([fd[n] for fd in feeds]), dtype=torch.float64) for n in op.inputs]
    ours = op.apply(*values).numpy()
    theirs = np.stack([case.run(fd) for fd in feeds])
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("case", AFFINE, ids=title)
def test_facts_of_an_affine_against_its_dense_matrix(case: Case, rng) -> None:
    """The dense matrix comes from onnxruntime alone: f(e_j) - f(0), column by column."""
    op = bound(case)
    assert isinstance(op, Affine)
    zero = {n: np.zeros(s, dtype=np.float32) for n, s in case.variables.items()}
    at_zero = case.run(zero)
    bias = op.bias()
    ours = np.zeros(at_zero.shape) if bias is None else np.broadcast_to(bias.numpy(), at_zero.shape)
    np.testing.assert_allclose(ours, at_zero, rtol=1e-5, atol=2e-6)
    for index, name in enumerate(op.inputs):
        if op.inputs.count(name) > 1:
            continue
        shape = case.variables[name]
        size = int(np.prod(shape))
        units = [unit.reshape(shape) for unit in np.eye(size, dtype=np.float32)]
        columns = [(case.run(zero | {name: unit}) - at_zero).reshape(-1) for unit in units]
        dense = torch.tensor(np.stack(columns, axis=1), dtype=torch.float64)
        x = torch.tensor(rng.normal(size=(4, *shape)))
        rows = torch.tensor(rng.normal(size=(4, *at_zero.shape)))
        close = {"rtol": 1e-4, "atol": 2e-5}
        flat = x.reshape(4, -1)
        assert op.linear(index, x).shape == rows.shape
        assert op.absolute(index, x).shape == rows.shape
        assert op.adjoint(index, rows).shape == x.shape
        torch.testing.assert_close(op.linear(index, x).reshape(4, -1), flat @ dense.T, **close)
        torch.testing.assert_close(op.absolute(index, x.abs()).reshape(4, -1), flat.abs() @ dense.abs().T, **close)
        torch.testing.assert_close(op.adjoint(index, rows).reshape(4, -1), rows.reshape(4, -1) @ dense, **close)


@pytest.mark.parametrize("case", AFFINE, ids=title)
def test_adjoint_is_the_transpose_of_linear_to_the_last_bits(case: Case, rng) -> None:
    op = bound(case)
    for index, name in enumerate(op.inputs):
        x = torch.tensor(rng.normal(size=(2, *case.variables[name])))
        image = op.linear(index, x)
        rows = torch.tensor(rng.normal(size=tuple(image.shape)))
        torch.testing.assert_close((rows * image).sum(), (op.adjoint(index, rows) * x).sum(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", [c for c in OTHER if c.op == "MaxPool"], ids=title)
def test_windows_of_max_pool_name_the_inputs_of_each_maximum(case: Case, rng) -> None:
    op = bound(case)
    assert isinstance(op, Maximum)
    feeds = case.feeds(rng)
    flat = np.append(feeds["x"].reshape(-1), -np.inf)
    maxima = flat[op.windows.numpy()].max(axis=1)
    np.testing.assert_array_equal(maxima, case.run(feeds).reshape(-1))


EINSUMS = [
    ("bhid,bhjd->bhij", (1, 2, 3, 4), (1, 2, 5, 4)),
    ("bhij,bhjd->bihd", (1, 2, 3, 4), (1, 2, 4, 5)),
    ("ij,kj->ki", (3, 4), (2, 4)),
    ("i,j->ij", (3,), (4,)),
    ("abc,bd->acd", (2, 3, 4), (3, 5)),
]


@pytest.mark.parametrize(("equation", "a", "b"), EINSUMS)
@pytest.mark.parametrize("fixed", [False, True])
def test_einsum_is_what_numpy_says(equation: str, a, b, *, fixed: bool, rng) -> None:
    """Of two variables (cut out of one input) and of a variable and a constant."""
    first, second = int(np.prod(a)), int(np.prod(b))
    out = np.einsum(equation, np.zeros(a), np.zeros(b)).shape
    w = rng.normal(size=b).astype(np.float32)
    constants = {"sa": np.array(a), "sb": np.array(b), "n": np.array([first, second])}
    nodes = [
        Node("Split", "s", ("x", "n"), ("p", "q"), {"axis": 0}),
        Node("Reshape", "a", ("p", "sa"), ("a",)),
        Node("Reshape", "b", ("q", "sb"), ("b",)),
        Node("Einsum", "e", ("a", "w" if fixed else "b"), ("y",), {"equation": equation}),
    ]
    shapes = {"x": (first + second,), "p": (first,), "q": (second,), "a": a, "b": b, "y": out}
    network = Network(tuple(nodes), constants | ({"w": w} if fixed else {}), "x", "y", shapes, b"", "")
    x = rng.normal(size=(3, first + second))
    ours = evaluate(bind(network, dtype=torch.float64), network, torch.tensor(x)).numpy()
    for row, y in zip(x, ours, strict=True):
        right = w if fixed else row[first:].reshape(b)
        np.testing.assert_allclose(y, np.einsum(equation, row[:first].reshape(a), right), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("equation", ["ii,ij->ij", "i...,j->ij", "ij,jk", "ij,k->k", "ij,jk,kl->il"])
def test_other_einsums_are_unsupported(equation: str) -> None:
    node = Node("Einsum", "e", ("x", "x"), ("y",), {"equation": equation})
    network = Network((node,), {}, "x", "y", {"x": (2, 2), "y": (2, 2)}, b"", "")
    with pytest.raises(UnsupportedError, match="Einsum"):
        bind(network)
