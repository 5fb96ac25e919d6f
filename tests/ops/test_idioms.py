"""Gates written as several operators are read as one function; what only looks like one is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmoved.ir.network import Network, Node
from unmoved.ops import bind, evaluate
from unmoved.ops.gates import Gate

Lines = list[tuple[str, tuple[str, ...], str]]


def net(lines: Lines, **constants: float) -> Network:
    nodes = tuple(Node(op, out, inputs, (out,)) for op, inputs, out in lines)
    arrays = {name: np.array(value, dtype=np.float32) for name, value in constants.items()}
    shapes = {"x": (1, 7)} | {out: (1, 7) for _, _, out in lines}
    return Network(nodes, arrays, "x", lines[-1][2], shapes, b"", "")


SILU: Lines = [("Sigmoid", ("x",), "s"), ("Mul", ("x", "s"), "y")]
QUICK: Lines = [("Mul", ("x", "c"), "z"), ("Sigmoid", ("z",), "s"), ("Mul", ("s", "x"), "y")]
ERF: Lines = [
    ("Div", ("x", "r"), "z"),
    ("Erf", ("z",), "e"),
    ("Add", ("e", "one"), "g"),
    ("Mul", ("x", "g"), "m"),
    ("Mul", ("m", "half"), "y"),
]
HALF_FIRST: Lines = [
    ("Mul", ("x", "half"), "h"),
    ("Div", ("x", "r"), "z"),
    ("Erf", ("z",), "e"),
    ("Add", ("one", "e"), "g"),
    ("Mul", ("h", "g"), "y"),
]
TANH: Lines = [
    ("Pow", ("x", "three"), "p"),
    ("Mul", ("p", "b"), "q"),
    ("Add", ("x", "q"), "z"),
    ("Mul", ("z", "a"), "w"),
    ("Tanh", ("w",), "t"),
    ("Add", ("t", "one"), "g"),
    ("Mul", ("half", "x"), "h"),
    ("Mul", ("h", "g"), "y"),
]
CUBED = [("Mul", ("x", "x"), "xx"), ("Mul", ("xx", "x"), "p"), *TANH[1:]]
MISH: Lines = [("Softplus", ("x",), "s"), ("Tanh", ("s",), "t"), ("Mul", ("x", "t"), "y")]
NUMBERS = {"r": 2**0.5, "one": 1.0, "half": 0.5, "three": 3.0, "a": (2 / np.pi) ** 0.5, "b": 0.044715, "c": 1.702}
F = torch.nn.functional


@pytest.mark.parametrize(
    ("lines", "gate", "truth"),
    [
        (SILU, "Silu", F.silu),
        (QUICK, "Silu", lambda x: x * torch.sigmoid(float(np.float32(1.702)) * x)),
        (ERF, "Gelu", F.gelu),
        (HALF_FIRST, "Gelu", F.gelu),
        (TANH, "Gelu(tanh)", lambda x: F.gelu(x, approximate="tanh")),
        (CUBED, "Gelu(tanh)", lambda x: F.gelu(x, approximate="tanh")),
        (MISH, "Mish", F.mish),
    ],
)
def test_a_gate_is_one_operator(lines: Lines, gate: str, truth) -> None:
    network = net(lines, **NUMBERS)
    (op,) = bind(network, dtype=torch.float64)
    assert isinstance(op, Gate) and op.gate == gate and (op.inputs, op.output) == (("x",), "y")
    x = torch.linspace(-9, 9, 70, dtype=torch.float64).view(10, 1, 7)
    torch.testing.assert_close(evaluate((op,), network, x), truth(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "lines",
    [
        [("Tanh", ("x",), "s"), ("Mul", ("x", "s"), "y")],
        [("Sigmoid", ("x",), "s"), ("Mul", ("s", "s"), "y")],
        [("Erf", ("x",), "e"), ("Add", ("e", "c"), "g"), ("Mul", ("x", "g"), "y")],
        [("Sin", ("x",), "z"), ("Sigmoid", ("z",), "s"), ("Mul", ("x", "s"), "y")],
        [("Sigmoid", ("x",), "s"), ("Mul", ("x", "wide"), "w"), ("Mul", ("w", "s"), "y")],
    ],
)
def test_what_is_no_gate_stays_as_it_is(lines: Lines) -> None:
    network = net(lines, **NUMBERS)
    wide = np.linspace(1, 2, 7, dtype=np.float32)
    network = Network(network.nodes, {**network.constants, "wide": wide}, "x", "y", network.shapes, b"", "")
    ops = bind(network, dtype=torch.float64)
    assert not any(isinstance(op, Gate) for op in ops) and len(ops) == len(lines)


def test_a_tensor_inside_that_others_read_stays() -> None:
    network = net([*SILU[:1], ("Mul", ("x", "s"), "m"), ("Add", ("m", "s"), "y")])
    ops = bind(network, dtype=torch.float64)
    assert [op.kind for op in ops] == ["Sigmoid", "Silu", "Add"]
    x = torch.linspace(-3, 3, 7, dtype=torch.float64).view(1, 1, 7)
    torch.testing.assert_close(evaluate(ops, network, x), F.silu(x) + torch.sigmoid(x))


def test_a_trainable_number_stays_trainable() -> None:
    network, rate = net(QUICK, **NUMBERS), torch.tensor(1.5, requires_grad=True)
    ops = bind(network, {"c": rate})
    assert not any(isinstance(op, Gate) for op in ops)
    evaluate(ops, network, torch.ones(1, 1, 7)).sum().backward()
    assert rate.grad is not None and rate.grad != 0
