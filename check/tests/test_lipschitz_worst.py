"""Lipschitz evidence at its worst: every rounding helper against Fractions, claims just above the truth refused."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from check_kit import Bundle, exact_matrix, mlp, model
from onnx import TensorProto, helper

from unmoved_check.check import Checker
from unmoved_check.floating_jacobian import maps, refuse
from unmoved_check.floating_lipschitz import Constant, opposed, slope
from unmoved_check.floating_matrices import Matrix, between, largest_sum, lengths, lost, product, schur, spectral, up
from unmoved_check.model.steps import Conv, Dense, Elementwise, Graph, Product, Rounded, Scale, Select, Sum
from unmoved_check.outcome import Rejection

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
"""What overflows must be refused: that is looked at here."""

F = Fraction
SCALES = [-880, -600, -500, -52, 0, 400, 500]
Rows = list[list[Fraction]]


def wild(rng: np.random.Generator, shape: tuple[int, ...], power: int) -> np.ndarray:
    """Numbers of many sizes, zeros, and pairs that cancel, around 2^power."""
    found = np.ldexp(rng.normal(size=shape), power + rng.integers(-40, 41, shape))
    found = np.where(rng.random(shape) < 0.15, 0.0, found)
    return np.where(rng.random(shape) < 0.4, np.ldexp(rng.choice([-1.0, 1.0], shape), power), found)


def plain(values: np.ndarray) -> Matrix:
    return Matrix(values, np.abs(values), 0)


def times(a: Rows, b: Rows) -> Rows:
    return [
        [sum((x * y for x, y in zip(row, column, strict=True)), F(0)) for column in zip(*b, strict=True)] for row in a
    ]


def holds(matrix: Matrix, truth: Rows) -> bool:
    """The invariant of Matrix, and `most`, in exact numbers."""
    doubt, most = F(lost(matrix.terms)), matrix.most
    return all(
        abs(t - F(v)) <= doubt * F(s) and abs(t) <= F(s) and abs(t) <= F(m)
        for rows in zip(truth, matrix.value.tolist(), matrix.size.tolist(), most.tolist(), strict=True)
        for t, v, s, m in zip(*rows, strict=True)
    )


def at_least(bound: float, matrix: Rows, vector: Sequence[Fraction]) -> bool:
    """Bound |v| >= |M v| in exact numbers."""
    moved = times(matrix, [[v] for v in vector])
    return F(bound) ** 2 * sum(v * v for v in vector) >= sum(m[0] ** 2 for m in moved)


def test_rounding_up() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        a, b = (abs(float(v)) for v in np.ldexp(rng.random(2), rng.integers(-540, 500, 2)))
        assert F(up(a * b)) >= F(a) * F(b)
        assert F(up(a + b)) >= F(a) + F(b)
        assert F(up(math.sqrt(a))) ** 2 >= F(a)
    assert F(up(5e-324 * 0.5)) >= F(5e-324) / 2
    for bad in (math.nan, math.inf, -1.0, -5e-324):
        with pytest.raises(Rejection):
            up(bad)


def test_lost_is_more_than_gamma() -> None:
    for n in (0, 1, 7, 1000, 1 << 20, 1 << 26):
        u = F(1, 2**53)
        assert F(lost(n)) >= (n + 2) * u / (1 - (n + 2) * u)
    with pytest.raises(Rejection):
        lost((1 << 26) + 1)


@pytest.mark.parametrize("power", SCALES)
def test_sums_and_lengths(power: int) -> None:
    rng = np.random.default_rng(1)
    sizes = np.abs(wild(rng, (9, 7), power))
    rows = exact_matrix(sizes)
    assert F(largest_sum(sizes, 1)) >= max(map(sum, rows))
    assert F(largest_sum(sizes, 0)) >= max(map(sum, zip(*rows, strict=True)))
    assert F(between(sizes)) ** 2 >= max(map(sum, rows)) * max(map(sum, zip(*rows, strict=True)))
    for found, column in zip(lengths(sizes).tolist(), zip(*rows, strict=True), strict=True):
        assert math.isinf(found) or F(found) ** 2 >= sum(v * v for v in column)
    assert largest_sum(np.zeros((0, 3)), 0) >= 0


@pytest.mark.parametrize("power", SCALES)
def test_norms_of_rank_one_and_of_wild_matrices(power: int) -> None:
    rng = np.random.default_rng(2)
    left, right = rng.integers(-9, 10, (6, 1)).astype(float), rng.integers(-9, 10, (1, 5)).astype(float)
    square = F(2) ** (2 * power) * F(float((left**2).sum() * (right**2).sum()))
    for squarings in (0, 3, 16):
        for turned in (left @ right, (left @ right).T):
            assert F(spectral(np.ldexp(turned, power), squarings)) ** 2 >= square
    a = wild(rng, (5, 6), power)
    v = [F(float(x)) for x in np.linalg.svd(np.ldexp(a, -power))[2][0]]
    rows = exact_matrix(a)
    assert at_least(plain(a).norm("2", 6), rows, v)
    assert F(plain(a).norm("inf", 0)) >= max(sum(map(abs, r)) for r in rows)
    assert F(plain(a).norm("1", 0)) >= max(sum(map(abs, c)) for c in zip(*rows, strict=True))
    both = np.abs(a @ a.T) if abs(power) < 500 else np.abs(np.ldexp(a, -power) @ np.ldexp(a, -power).T)
    q = [F(float(x)) for x in np.linalg.eigh(both / both.max())[1][:, -1]]
    assert at_least(schur(both), exact_matrix(both), q)


@pytest.mark.parametrize("power", SCALES)
def test_doubt_counts_after_cancellation(power: int) -> None:
    """Known to be `value` up to lost(terms) size: the norm takes in all of it, whatever the scale."""
    for size in np.ldexp(np.random.default_rng(8).random(30), power).tolist():
        for value, terms in ((0.0, 0), (0.0, 9), (size * 2.0**-30, 1), (size * 2.0**-45, 1000), (size, 7)):
            matrix = Matrix(np.array([[value]]), np.array([[size]]), terms)
            worst = F(value) + F(lost(terms)) * F(size)
            assert F(float(matrix.most[0, 0])) >= worst
            assert all(F(matrix.norm(kind, 4)) >= worst for kind in ("inf", "2", "1"))


@pytest.mark.parametrize(("p", "q"), [(0, 0), (-600, -500), (-600, 400), (500, 400), (-980, 440), (-980, 0), (0, 900)])
def test_products(p: int, q: int) -> None:
    rng = np.random.default_rng(3)
    a, b, c = wild(rng, (6, 3), p), wild(rng, (6, 4), q), wild(rng, (3, 2), 0)
    if max(p, q) >= 500:  # lengths square their numbers: this may only be refused
        with pytest.raises(Rejection):
            product(plain(a), plain(b))
        return
    first = product(plain(a), plain(b))
    truth = times([list(r) for r in zip(*exact_matrix(a), strict=True)], exact_matrix(b))
    assert holds(first, truth)
    second = times([list(r) for r in zip(*truth, strict=True)], exact_matrix(c))
    assert holds(product(first, plain(c)), second)


def bracket(s: Fraction) -> Any:
    return ((s, s), (F(0), F(0)))


def chain(steps: Sequence[Any], sizes: Sequence[int]) -> Matrix:
    graph = Graph("x", (1, sizes[0]), "y", len(steps), tuple(steps), tuple(sizes), {})
    return maps(graph, 0, range(1, len(steps) + 1))[len(steps)][0]


@pytest.mark.parametrize(
    "powers", [(0, 0, 0, 0), (-600, -600, 600, 600), (600, -600, 300, -900), (-1000, -70, 1000, 70)]
)
def test_chains_of_affine_steps(powers: tuple[int, ...]) -> None:
    """Dense, Scale, Select, Sum one after another: nothing is lost, also where numbers in between underflow."""
    rng = np.random.default_rng(4)
    one, two = wild(rng, (4, 3), powers[0]), wild(rng, (3, 4), powers[1])
    s, t = (F(float(v)) * F(2) ** min(max(p, -600), 600) for v, p in zip((1.1, -0.7), powers[2:], strict=True))
    steps = [
        Dense(0, 1, 3, 4, array("d", one.ravel())),
        Dense(1, 1, 4, 3, array("d", two.ravel())),
        Scale(2, (bracket(s / 3), bracket(t)), (0, 1, 0)),
        Select((2, 3, 3), (3, 1, -1, 8, 5), (F(7),)),
        Select((3, 2), (0, 1, 2, 3, 4), ()),
        Sum(4, 5, -1),
        Sum(6, 6, 1),
    ]
    second = times(exact_matrix(two), exact_matrix(one))
    third = [[f * v for v in row] for f, row in zip((s / 3, t, s / 3), second, strict=True)]
    joined = second + third + third
    fourth = [joined[3], joined[1], [F(0)] * 3, joined[8], joined[5]]
    fifth = [*third, *second][:5]
    truth = [[2 * (x - y) for x, y in zip(p, q, strict=True)] for p, q in zip(fourth, fifth, strict=True)]
    assert holds(chain(steps, (3, 4, 3, 3, 5, 5, 5, 5)), truth)


def test_convolutions() -> None:
    rng = np.random.default_rng(5)
    kernel = wild(rng, (2, 1, 2, 2), 0)
    step = Conv(0, 2, (3, 3), 2, (2, 2), (2, 2), (2, 2), (2, 1), (1, 0), 2, array("d", kernel.ravel()))
    truth = [[F(0)] * 18 for _ in range(8)]
    for o, y, x, i, j in np.ndindex(2, 2, 2, 2, 2):
        row, column = 2 * y + 2 * i - 1, 2 * x + j
        if 0 <= row < 3 and 0 <= column < 3:
            truth[o * 4 + y * 2 + x][o * 9 + row * 3 + column] += F(float(kernel[o, 0, i, j]))
    assert holds(chain([step], (18, 8)), truth)


@pytest.mark.parametrize("wide", [F(1, 2**40), F(1, 2**51)])
def test_a_constant_that_is_not_known_is_refused(wide: Fraction) -> None:
    for low, high in ((F(1), 1 + wide), (F(-1), F(-1) + wide), (F(0), wide), (-wide, wide), (F(1, 2**700),) * 2):
        step = Scale(0, (((low, high), (F(0), F(0))),), (0,))
        with pytest.raises(Rejection):
            chain([step], (1, 1))


@pytest.mark.parametrize("powers", [(0, 0, 0), (-300, 0, 0), (-250, 300, -600), (-250, -300, 300), (-520, -540, 20)])
def test_blocks(powers: tuple[int, int, int]) -> None:
    """|A + C D B| for corners D: A, B, C of very different sizes, and C'A + Lambda B that nearly cancels."""
    rng = np.random.default_rng(6)
    a, b = (np.ldexp(rng.normal(size=(3, 3)), k) for k in powers[:2])
    for c in (np.ldexp(rng.normal(size=(3, 3)), powers[2]), -np.ldexp(b.T, powers[0] - powers[1])):
        try:
            bound = opposed(plain(a), plain(c), plain(b), 4)
        except Rejection:
            assert powers[0] == -250  # weights overflow
            continue
        for corner in np.ndindex(2, 2, 2):
            inside = times(exact_matrix(c * np.array(corner)), exact_matrix(b))
            whole = [[x + y for x, y in zip(p, q, strict=True)] for p, q in zip(exact_matrix(a), inside, strict=True)]
            scale = max(abs(v) for row in whole for v in row)
            near = np.array([[float(v / scale) for v in row] for row in whole])
            assert at_least(bound, whole, [F(float(v)) for v in np.linalg.svd(near)[2][0]])


@pytest.mark.parametrize("power", [-1074, -1000, -500, 0, 500])
def test_slopes(power: int) -> None:
    rng = np.random.default_rng(7)
    last = wild(rng, (3, 4), min(-power, 400))
    row = {0: F(3, 5) * F(2) ** power, 2: F(-2) ** 3 * F(2) ** power / 9}
    at = times([[row.get(j, F(0)) for j in range(3)]], exact_matrix(last))[0]
    found = {n: F(slope(Constant(1.0, plain(last)), row, n)) for n in ("inf", "2", "1")}
    assert found["inf"] >= sum(map(abs, at))
    assert found["1"] >= max(map(abs, at))
    assert found["2"] ** 2 >= sum(v * v for v in at)


def verdict(bundle: Bundle) -> tuple[bool, str]:
    outcome = Checker(bundle.model).check(*bundle.bytes())
    return outcome.accepted, str(outcome)


def claim(
    source: bytes, x: Sequence[float], eps: Fraction, norm: str, own: str = "", kind: type = np.float32
) -> Bundle:
    return Bundle(
        source,
        np.array([x], kind),
        threat={"kind": "lp", "norm": norm, "eps": str(eps), "clip": None},
        property={"kind": "same_class", "label": 0, "classes": 2},
        evidence={"kind": "lipschitz", "norm": own or norm, "squarings": 4},
    )


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], **attributes)


LAST = np.array([[1.0, -1.0]], np.float32)
"""y = (z, -z): the margin is 2 z."""
ONE = np.array([[1.0]], np.float32)

NETS: dict[str, tuple[list[Any], dict[str, np.ndarray], list[float], dict[str, Fraction]]] = {
    # name: nodes up to z, constants, x, and z's true distance to 0 at x by norm
    "3 4 12": (
        [node("MatMul", "x w", "z")],
        {"w": np.array([[3.0], [4.0], [12.0]], np.float32)},
        [1, 1, 1],
        {"inf": F(1), "2": F(19, 13), "1": F(19, 12)},
    ),
    "stretch after relu": (
        [node("Relu", "x", "r"), node("MatMul", "r w", "q"), node("Sub", "q one", "z")],
        {"w": 4 * ONE, "one": ONE},
        [1],
        dict.fromkeys(("inf", "2", "1"), F(3, 4)),
    ),
    "used twice": (
        [node("Add", "x x", "d"), node("Relu", "d", "r"), node("Add", "r d", "s"), node("Sub", "s one", "z")],
        {"one": ONE},
        [1],
        dict.fromkeys(("inf", "2", "1"), F(3, 4)),
    ),
    "residual": (
        [node("Relu", "x", "r"), node("MatMul", "r w", "q"), node("Sub", "x q", "s"), node("Add", "s three", "z")],
        {"w": 4 * ONE, "three": 3 * ONE},
        [0.5],
        dict.fromkeys(("inf", "2", "1"), F(1, 2)),
    ),
    "leaky": (
        [node("LeakyRelu", "x", "r", alpha=0.5), node("Sub", "r one", "z")],
        {"one": ONE / 2},
        [2],
        dict.fromkeys(("inf", "2", "1"), F(3, 2)),
    ),
    "maxima that overlap": (
        [
            node("Reshape", "x shape", "i"),
            node("MaxPool", "i", "m", kernel_shape=[2], strides=[1]),
            node("ReduceSum", "m axes", "s", keepdims=0),
            node("Sub", "s one", "z"),
        ],
        {"shape": np.array([1, 1, 3]), "axes": np.array([2]), "one": ONE},
        [0, 2, 0],
        {"inf": F(3, 2), "2": F(3, 2), "1": F(3, 2)},
    ),
}


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
@pytest.mark.parametrize("name", NETS)
def test_slightly_more_than_the_truth_is_refused(name: str, norm: str) -> None:
    """z is 0 at the true distance (known by hand): no own norm may reach it; a thousandth of it is well within."""
    nodes, constants, x, distance = NETS[name]
    source = model([*nodes, node("MatMul", "z last", "y")], {**constants, "last": LAST}, (1, len(x)))
    for own in ("inf", "2", "1"):
        assert not verdict(claim(source, x, distance[norm] * (1 + F(1, 2**60)), norm, own))[0]
        assert not verdict(claim(source, x, F(10) ** 300, norm, own))[0]
        assert verdict(claim(source, x, distance[norm] / 1000, norm, own))[0]
    if name == "3 4 12":
        assert verdict(claim(source, x, distance[norm] * (1 - F(1, 10**9)), norm))[0]


@pytest.mark.parametrize("op", ["MatMul", "Mul"])
@pytest.mark.parametrize("numbers", [(1e-200, 1e-200, 1e200, 1e200), (1e-190, 1e-190, 1e190, 1e190), (1e150,) * 4])
def test_what_underflows_between_two_layers_is_not_forgotten(numbers: Sequence[float], op: str) -> None:
    """Factors whose product is near 1, though half of them underflow (or that overflow): x = -1 is in the ball."""
    names = [f"w{i}" for i in range(4)]
    nodes = [node(op, f"{a} {w}", b) for a, w, b in zip(["x", *"abc"], names, [*"abc", "z"], strict=True)]
    constants = {w: np.array([[v]]) for w, v in zip(names, numbers, strict=True)} | {"last": LAST.astype(float)}
    source = model([*nodes, node("MatMul", "z last", "y")], constants, (1, 1), kind=TensorProto.DOUBLE)
    for own in ("inf", "2", "1"):
        assert not verdict(claim(source, [1.0], F(2), "inf", own, float))[0]


def test_tiny_rows_on_huge_outputs() -> None:
    """A row of subnormal numbers, halved by its weight to 0 in floating point: it speaks of outputs near 2^1000."""
    weight = np.array([[2.0**1000]])
    source = mlp([(weight, np.zeros(1))], kind=np.float64)
    bundle = claim(source, [1.0], F(2), "inf", kind=float).linear([[5e-324]], [0.0])
    bundle.tensors["weights/0"] = np.array([0.5])
    assert not verdict(bundle)[0]


def test_conjuncts_and_disjuncts() -> None:
    """y = x: {y <= 0} is 1 away; with {y >= 3} beside it (another disjunct) 2; both at once are impossible."""
    source = mlp([(ONE, np.zeros(1, np.float32))])
    for eps, accepted in ((F(999, 1000), True), (F(1001, 1000), False)):
        assert verdict(claim(source, [1.0], eps, "2").linear([[1.0]], [0.0]))[0] is accepted
        bundle = claim(source, [1.0], eps, "2").linear([[-1.0]], [-3.0])
        bundle.tensors |= {"more": np.array([[1.0]]), "zero": np.array([0.0])}
        bundle.manifest["property"]["disjuncts"].append({"rows": "more", "bounds": "zero"})
        assert verdict(bundle)[0] is accepted
    both = claim(source, [1.0], F(1000), "2").linear([[1.0], [-1.0]], [0.0, -3.0])
    assert verdict(both)[0]
    for weights in ([1.0, -1.0], [0.0, 0.0], [1.0, math.nan], [1.0], [1.0, math.inf], [1.0, 0.5]):
        both.tensors["weights/0"] = np.array(weights)
        assert not verdict(both)[0]


def test_no_room_at_all() -> None:
    """Eps 0: the margin itself must be positive; a tie is refused."""
    source = mlp([(np.array([[1.0], [-1.0]], np.float32), np.zeros(2, np.float32))])
    assert verdict(claim(source, [2.0**-140], F(0), "2"))[0]
    assert not verdict(claim(source, [0.0], F(0), "2"))[0]


def test_other_threats_and_semantics() -> None:
    source = mlp([(np.array([[1.0], [-1.0]], np.float32), np.zeros(2, np.float32))])
    bundle = claim(source, [1.0], F(1, 4), "inf")
    assert verdict(bundle)[0]
    bundle.manifest["threat"]["clip"] = ["0", "2"]  # only takes away from the ball
    assert verdict(bundle)[0]
    bundle.manifest["claim"] |= {"semantics": "float32-any-order", "profile": "ieee"}
    assert not verdict(bundle)[0]
    bundle = claim(source, [1.0], F(1, 4), "inf")
    bundle.manifest["claim"]["radius"] = "1/2"
    assert not verdict(bundle)[0]
    bundle = claim(source, [1.0], F(1, 4), "inf")
    bundle.tensors |= {"low": np.array([[0.9]]), "high": np.array([[1.1]])}
    bundle.manifest["threat"] = {"kind": "box", "low": "low", "high": "high"}
    bundle.manifest["claim"]["radius"] = None
    assert verdict(bundle) == (False, "rejected: manifest: lipschitz evidence is about balls")


@pytest.mark.parametrize(
    ("nodes", "step"),
    [
        ([node("Sigmoid", "x", "z")], "Elementwise"),
        ([node("Clip", "x low", "z")], "Elementwise"),
        ([node("Relu", "x", "r"), node("Exp", "r", "z")], "Elementwise"),
        ([node("Relu", "x", "r"), node("Mul", "r x", "z")], "Product"),
        ([node("Softplus", "x", "s"), node("Relu", "s", "r"), node("Add", "r x", "z")], "Elementwise"),
    ],
)
def test_other_steps_are_refused(nodes: list[Any], step: str) -> None:
    constants = {"last": LAST, "low": np.array(0.0, np.float32)}
    source = model([*nodes, node("MatMul", "z last", "y")], constants, (1, 1))
    accepted, says = verdict(claim(source, [1.0], F(1, 10**6), "2"))
    assert not accepted
    assert says == f"rejected: unchecked operator {step} under lipschitz"


def test_steps_of_a_deployed_graph_are_refused() -> None:
    for step in (Rounded(0, (0,), (), (1,), F(0), F(0), F(1)), Product(0, 0), Elementwise(0, None)):  # type: ignore[arg-type]
        with pytest.raises(Rejection, match="unchecked operator"):
            refuse(step)
