"""Elementwise functions, products and what is lowered to them: against onnxruntime, samples and the other engine."""

from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from check_kit import F, model
from onnx import helper

from unmoved_check.exact import ExactEngine
from unmoved_check.exact_numbers import times_power
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Choices, Leaf
from unmoved_check.model.steps import Elementwise, Product
from unmoved_check.onnx_reader import read_graph
from unmoved_check.region import Ball, Region

RNG = np.random.default_rng(11)


def w(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def node(op, inputs, output="y", **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


def one(op, **attributes):
    return [node(op, ["x"], **attributes)]


HALF, ONE, ROOT, CUBE = (np.float32(v) for v in (0.5, 1.0, 2**0.5, 0.044715))
TANH_SCALE = np.float32((2 / np.pi) ** 0.5)
SHIFTED = [node("Add", ["x", "three"], "p")]
"""Of inputs within (-2, 2), so that what follows is positive."""

GELU_ERF = [
    node("Div", ["x", "root"], "a"),
    node("Erf", ["a"], "b"),
    node("Add", ["b", "one"], "c"),
    node("Mul", ["x", "c"], "d"),
    node("Mul", ["d", "half"]),
]
GELU_TANH = [
    node("Pow", ["x", "cubed"], "a"),
    node("Mul", ["a", "cube"], "b"),
    node("Add", ["x", "b"], "c"),
    node("Mul", ["c", "scale"], "d"),
    node("Tanh", ["d"], "e"),
    node("Add", ["e", "one"], "f"),
    node("Mul", ["x", "half"], "g"),
    node("Mul", ["g", "f"]),
]
NUMBERS = {"half": HALF, "one": ONE, "root": ROOT, "cube": CUBE, "scale": TANH_SCALE, "cubed": np.float32(3)}
CLIPS = {"low": np.float32(-0.75), "high": np.float32(0.5)}
THREE = {"three": np.float32(3)}

CASES = {
    **{op.lower(): (one(op), {}, (1, 7), 17) for op in ("Sigmoid", "Tanh", "Exp", "Softplus", "Softsign", "Erf")},
    **{op.lower(): (one(op), {}, (1, 7), 17) for op in ("Sin", "Cos", "Atan", "HardSwish", "Elu", "Selu", "Celu")},
    "mish": (one("Mish"), {}, (1, 7), 18),
    "gelu": (one("Gelu"), {}, (1, 7), 20),
    "gelu-tanh": (one("Gelu", approximate="tanh"), {}, (1, 7), 20),
    "elu-half": (one("Elu", alpha=0.5), {}, (1, 7), 17),
    "hardsigmoid": (one("HardSigmoid", alpha=0.3, beta=0.4), {}, (1, 7), 17),
    "clip": ([node("Clip", ["x", "low", "high"])], CLIPS, (1, 7), 17),
    "log": ([*SHIFTED, node("Log", ["p"])], THREE, (1, 7), 17),
    "sqrt": ([*SHIFTED, node("Sqrt", ["p"])], THREE, (1, 7), 17),
    "reciprocal": ([*SHIFTED, node("Reciprocal", ["p"])], THREE, (1, 7), 17),
    "negative-reciprocal": (
        [*SHIFTED, node("Neg", ["p"], "q"), node("Reciprocal", ["q"])],
        THREE,
        (1, 7),
        17,
    ),
    "square": ([node("Pow", ["x", "two"])], {"two": np.float32(2)}, (1, 7), 17),
    "cube": ([node("Pow", ["x", "three"])], THREE, (1, 7), 17),
    "inverse-square": ([*SHIFTED, node("Pow", ["p", "e"])], {**THREE, "e": np.float32(-2)}, (1, 7), 17),
    "inverse-root": ([*SHIFTED, node("Pow", ["p", "e"])], {**THREE, "e": np.float32(-0.5)}, (1, 7), 17),
    "power-1.25": ([*SHIFTED, node("Pow", ["p", "e"])], {**THREE, "e": np.float32(1.25)}, (1, 7), 17),
    "silu": ([node("Sigmoid", ["x"], "s"), node("Mul", ["x", "s"])], {}, (1, 7), 17),
    "silu-scaled": (
        [node("Mul", ["x", "c"], "t"), node("Sigmoid", ["t"], "s"), node("Mul", ["s", "x"])],
        {"c": np.float32(1.702)},
        (1, 7),
        17,
    ),
    "gelu-erf": (GELU_ERF, NUMBERS, (1, 7), 17),
    "gelu-tanh-spelt": (GELU_TANH, NUMBERS, (1, 7), 17),
    "mish-spelt": ([node("Softplus", ["x"], "s"), node("Tanh", ["s"], "t"), node("Mul", ["x", "t"])], {}, (1, 7), 17),
    "x-times-x": ([node("Mul", ["x", "x"])], {}, (1, 7), 17),
    "x-cubed": ([node("Mul", ["x", "x"], "s"), node("Mul", ["s", "x"])], {}, (1, 7), 17),
    "mul-two": ([node("Transpose", ["x"], "t", perm=[0, 2, 1]), node("Mul", ["x", "t"])], {}, (1, 3, 3), 17),
    "mul-broadcast": (
        [node("ReduceSum", ["x", "axes"], "t"), node("Mul", ["x", "t"])],
        {"axes": np.array([2])},
        (1, 3, 2),
        17,
    ),
    "div-two": (
        [*SHIFTED, node("ReduceSum", ["p", "axes"], "t"), node("Div", ["x", "t"])],
        {**THREE, "axes": np.array([2])},
        (1, 3, 2),
        17,
    ),
    "div-constant-over": ([*SHIFTED, node("Div", ["c", "p"])], {**THREE, "c": w(1, 7)}, (1, 7), 17),
    "matmul-two": ([node("Transpose", ["x"], "t", perm=[0, 2, 1]), node("MatMul", ["x", "t"])], {}, (2, 3, 2), 17),
    "matmul-four": (
        [node("Transpose", ["x"], "t", perm=[0, 1, 3, 2]), node("MatMul", ["t", "x"])],
        {},
        (1, 2, 2, 3),
        17,
    ),
    "softmax": (one("Softmax"), {}, (1, 2, 4), 17),
    "softmax-axis": (one("Softmax", axis=1), {}, (1, 3, 2), 17),
    "softmax-old": (one("Softmax", axis=1), {}, (2, 2, 2), 11),
    "softmax-two": (one("Softmax"), {}, (3, 2), 17),
    "logsoftmax": (one("LogSoftmax"), {}, (1, 2, 4), 17),
}


def behind_a_layer(nodes, constants, shape):
    """The operator between two affine layers, so that its rows meet dependent inputs; |its input| < 2."""
    size = int(np.prod(shape))
    weight = w(size, size)
    weight = (weight / np.abs(weight).sum(axis=0)).astype(np.float32)
    front = [
        node("Reshape", ["x", "flat"], "x1"),
        node("MatMul", ["x1", "mixW"], "x2"),
        node("Reshape", ["x2", "shape"], "mid"),
    ]
    renamed = []
    for n in nodes:
        fresh = helper.make_node(n.op_type, ["mid" if i == "x" else i for i in n.input], list(n.output))
        fresh.attribute.extend(n.attribute)
        renamed.append(fresh)
    return [*front, *renamed], {**constants, "mixW": weight, "flat": np.array([1, -1]), "shape": np.array(shape)}


def output(engine, x):
    found = engine.enclose(Region(ball=Ball(tuple(map(float, np.ravel(x))), "inf", Fraction(0))))
    y = found[engine.graph.output]
    assert all(b - a < 1 << max(y.exp - 60, 0) for a, b in zip(y.low, y.high, strict=True))
    return [times_power(a, y.exp) for a in y.low]


@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "mixed"])
@pytest.mark.parametrize("name", CASES)
def test_operator(name, mixed):
    nodes, constants, shape, opset = CASES[name]
    if mixed:
        nodes, constants = behind_a_layer(nodes, constants, shape)
    data = model(nodes, constants, shape, opset=opset)
    graph = read_graph(data)
    exact, floating = ExactEngine(graph), FloatEngine(graph)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.clip(RNG.normal(size=shape), -1.7, 1.7).astype(np.float32)
    y = output(exact, x)
    expected = session.run(None, {"x": x})[0].ravel()
    assert np.allclose([float(v) for v in y], expected, rtol=2e-5, atol=2e-5)

    rng = np.random.default_rng(3)
    row = {j: F(float(c)) for j, c in enumerate(rng.normal(size=len(y)))}
    leaf, center = Leaf(0, row, F(1, 3)), tuple(map(float, x.ravel()))
    value = sum(c * y[j] for j, c in row.items()) + F(1, 3)
    for engine in (exact, floating):
        (at_point,) = engine.margins(Region(ball=Ball(center, "inf", F(0))), [leaf], "linear")
        assert 0 <= value - F(at_point) < F(1, 10**9)
    given = {}
    for v, step in enumerate(graph.steps, start=1):
        if isinstance(step, Elementwise):
            given[v] = tuple(float(s) for s in rng.normal(size=2 * graph.sizes[v]).astype(np.float32))
        if isinstance(step, Product):
            given[v] = tuple(int(s) for s in rng.integers(0, 256, size=2 * graph.sizes[v]))
    region = Region(ball=Ball(center, "inf", F(1, 7)))
    lows = []
    for mode, choices in (("interval", Choices()), ("linear", Choices()), ("linear", Choices(given=given))):
        low, fast = exact.margins(region, [leaf], mode, choices)[0], floating.margins(region, [leaf], mode, choices)[0]
        assert abs(F(fast) - low) < F(1, 10**8) * max(1, abs(low))
        lows += [low, F(fast)]
    if mixed and name not in ("sin", "cos") and not any(isinstance(step, Product) for step in graph.steps):
        assert lows[2] >= lows[0] - F(1, 10**8), "dependent inputs: intervals are no tighter"
    for k in range(6):
        step = rng.choice([-1.0, 1.0], size=shape) * (1 if k < 4 else rng.random(shape))
        there = output(exact, (x + step * 0.1428).astype(np.float32))
        assert max(lows) <= sum(c * there[j] for j, c in row.items()) + F(1, 3)
