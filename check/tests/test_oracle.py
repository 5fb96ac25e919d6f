"""Random certificates against the exact minimum of two-input nets: no false claim is ever accepted."""

import numpy as np
import pytest
from check_kit import Bundle, F, minimum, mlp, random_net, tree_evidence

from unmoved_check import Checker
from unmoved_check.exact import ExactEngine
from unmoved_check.floating import FloatEngine
from unmoved_check.leaf import Leaf, Split
from unmoved_check.onnx_reader import read_graph
from unmoved_check.region import Ball, Cut, Region

BOX = [(F(-1), F(1)), (F(-1), F(1))]


def random_case(seed, wild=False):
    rng = np.random.default_rng(seed)
    widths = [2, *rng.integers(2, 5, size=rng.integers(1, 4)), 2]
    layers = random_net(rng, widths, wild=wild)
    center, eps = rng.normal(size=2).astype(np.float32), F(int(rng.integers(0, 60)), 100)
    box = [(F(float(c)) - eps, F(float(c)) + eps) for c in center]
    return rng, layers, center, eps, box


def random_leaf(rng, graph, row, k=0, splits=()):
    """Random slopes and multipliers, sometimes none."""
    slopes = {}
    for value in graph.relu_inputs.values():
        if rng.random() < 0.7:
            slopes[value] = bytes(rng.integers(0, 256, size=graph.sizes[value], dtype=np.uint8))
    return Leaf(k, row, F(0), splits, slopes)


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("block", range(4))
def test_bounds_are_never_above_the_minimum(wild, block):
    above_exact = 0
    for seed in range(40 * block, 40 * block + 40):
        rng, layers, center, eps, box = random_case(seed, wild)
        graph = read_graph(mlp(layers))
        row = {0: F(1), 1: F(-1)}
        truth = minimum(layers, box, [F(1), F(-1)])
        region = Region(ball=Ball(tuple(map(float, center)), "inf", eps))
        for mode in ("interval", "linear"):
            for leaf in (Leaf(0, row, F(0)), random_leaf(rng, graph, row)):
                (exact,) = ExactEngine(graph).margins(region, [leaf], mode)
                (fast,) = FloatEngine(graph).margins(region, [leaf], mode)
                assert exact <= truth
                assert F(fast) <= truth
                above_exact += F(fast) > exact
    if not wild:
        # with wild scales a default slope may flip between two roundings of the same bounds
        assert above_exact == 0


@pytest.mark.parametrize("block", range(3))
def test_split_trees_are_never_above_the_minimum(block):
    """The least margin over the leaves of a random tree of ReLU and input splits, with random multipliers."""
    helped = 0
    for seed in range(1000 + 25 * block, 1025 + 25 * block):
        rng, layers, center, eps, box = random_case(seed, seed % 5 == 0)
        graph = read_graph(mlp(layers))
        row = {0: F(1), 1: F(-1)}
        truth = minimum(layers, box, [F(1), F(-1)])
        region = Region(ball=Ball(tuple(map(float, center)), "inf", eps))
        for engine in (ExactEngine(graph), FloatEngine(graph)):
            for mode in ("interval", "linear"):
                leaves: dict = {}
                plant(np.random.default_rng(seed), graph, center, leaves, (), (), 3)
                margins = []
                for cuts, splits in leaves.items():
                    part = Region(ball=region.ball, cuts=cuts)
                    group = [random_leaf(rng, graph, row, k, s) for k, s in enumerate(splits)]
                    margins += engine.margins(part, group, mode)
                known = [F(m) for m in margins if m is not None]
                assert known, "some leaf has a point"
                assert min(known) <= truth
                helped += min(known) > F(engine.margins(region, [Leaf(0, row, F(0))], mode)[0])
    assert helped > 0, "splits tighten some bounds, so that the tests above say something"


def plant(rng, graph, center, leaves, cuts, splits, depth):
    kind = rng.integers(0, 4 if depth else 1)
    if kind == 0:
        leaves.setdefault(cuts, []).append(splits)
    elif kind == 1:
        index = int(rng.integers(2))
        point = F(float(center[index])) + F(int(rng.integers(-5, 6)), 13)
        for below in (True, False):
            plant(rng, graph, center, leaves, (*cuts, Cut(index, point, below)), splits, depth - 1)
    else:
        value = list(graph.relu_inputs.values())[int(rng.integers(len(graph.relu_inputs)))]
        index = int(rng.integers(graph.sizes[value]))
        for positive in (True, False):
            multiplier = float(np.float32(abs(rng.normal()) * (rng.random() < 0.7)))
            plant(rng, graph, center, leaves, cuts, (*splits, Split(value, index, positive, multiplier)), depth - 1)


@pytest.mark.parametrize("mode", ["exact", "floating"])
def test_false_claims_are_rejected_and_true_ones_accepted(mode):
    """Claim y0 - y1 > b: false for b at or above the exact minimum; true (and found) for b below the bound."""
    accepted = 0
    for seed in range(3000, 3060):
        rng, layers, center, eps, box = random_case(seed, seed % 3 == 0)
        data = mlp(layers)
        truth = minimum(layers, box, [F(1), F(-1)])
        checker = Checker(data)
        threat = {"kind": "lp", "norm": "inf", "eps": str(eps), "clip": None}

        def verdict(bound, center=center, rng=rng, data=data, checker=checker, threat=threat):
            bundle = Bundle(data, center[None], threat=threat).linear([[1.0, -1.0]], [bound])
            if rng.random() < 0.5:
                bundle.tensors["slopes/0/z0"] = rng.integers(0, 256, size=widths0(data), dtype=np.uint8)
            return checker.check(*bundle.bytes(), mode=mode)

        above = float(truth)
        above = above if F(above) >= truth else np.nextafter(above, np.inf)
        for false in (above, np.nextafter(above, np.inf), above + abs(above) * 1e-9):
            assert not verdict(false).accepted
        graph = checker.graph
        region = Region(ball=Ball(tuple(map(float, center)), "inf", eps))
        (low,) = FloatEngine(graph).margins(region, [Leaf(0, {0: F(1), 1: F(-1)}, F(0))], "linear")
        bundle = Bundle(data, center[None], threat=threat)
        bundle.linear([[1.0, -1.0]], [low - abs(low) * 1e-6 - 1e-6])
        accepted += checker.check(*bundle.bytes(), mode=mode).accepted
    assert accepted == 60


def widths0(data):
    graph = read_graph(data)
    return graph.sizes[graph.relu_inputs["z0"]]


@pytest.mark.parametrize("power", [20, 30, 40, 52, 53, 54, 60])
@pytest.mark.parametrize("mode", ["exact", "floating"])
def test_huge_biases(power, mode):
    """y = relu(relu(x + 2^p) - 2^p) - 1/2 is relu(x) - 1/2, whatever float64 makes of it: least -1/2 on [-1, 1]."""
    big = 2.0**power
    layers = [
        (np.array([[1.0], [0.0]]), np.array([big, 0.0])),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([-big, 0.0])),
        (np.array([[1.0, 0.0]]), np.array([-0.5])),
    ]
    data = mlp(layers)
    checker = Checker(data)
    threat = {"kind": "lp", "norm": "inf", "eps": "1", "clip": None}

    def accepted(bound, center=0.0, intermediate="linear"):
        bundle = Bundle(data, np.array([[center]], dtype=np.float32), threat=threat).linear([[1.0]], [bound])
        bundle.manifest["evidence"] = tree_evidence([["leaf", 0]], intermediate)
        return checker.check(*bundle.bytes(), mode=mode).accepted

    for intermediate in ("linear", "interval"):
        assert not accepted(-0.5, intermediate=intermediate)
        assert not accepted(np.nextafter(-0.5, 1), intermediate=intermediate)
        # on [1, 3] the truth is 0.5
        assert not accepted(0.5, 2.0, intermediate)
    if mode == "exact":
        assert accepted(0.5 - 2.0**-20, 2.0)


def test_order_detecting_net():
    """sum of (2^60, x, -2^60): any order of summation must be covered, the truth on [1, 2] is x >= 1."""
    layers = [
        (np.array([[0.0], [1.0], [0.0]]), np.array([2.0**60, 0.0, 2.0**60])),
        (np.array([[1.0, 1.0, -1.0]]), np.zeros(1)),
    ]
    for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 0, 1]):
        first, last = layers
        data = mlp([(first[0][order], first[1][order]), (last[0][:, order], last[1])])
        graph = read_graph(data)
        region = Region(ball=Ball((1.5,), "inf", F(1, 2)))
        (fast,) = FloatEngine(graph).margins(region, [Leaf(0, {0: F(1)}, F(0))], "linear")
        (exact,) = ExactEngine(graph).margins(region, [Leaf(0, {0: F(1)}, F(0))], "linear")
        assert F(fast) <= 1 and exact == 1


def test_default_slope_is_one_exactly_when_high_is_not_less_than_minus_low():
    """relu(x) on [-1, 1] with coefficient 1: slope 1 gives -1 (slope 0 would give 0); on [-1, 1/2] slope 0 gives 0."""
    layers = [(np.array([[1.0]]), np.zeros(1)), (np.array([[1.0]]), np.zeros(1))]
    engine = ExactEngine(read_graph(mlp(layers)))
    leaf = Leaf(0, {0: F(1)}, F(0))
    assert engine.margins(Region(ball=Ball((0.0,), "inf", F(1))), [leaf], "linear") == [-1]
    assert engine.margins(Region(ball=Ball((-0.25,), "inf", F(3, 4))), [leaf], "linear") == [0]


@pytest.mark.parametrize("seed", range(12))
def test_metamorphic(seed):
    """Powers of two, permutations and dead neurons change no exact bound; a larger box never raises it."""
    rng, layers, center, eps, _ = random_case(5000 + seed)
    row, ball = {0: F(1), 1: F(-1)}, Ball(tuple(map(float, center)), "inf", eps)

    def bound(some, region=None):
        return ExactEngine(read_graph(mlp(some))).margins(region or Region(ball=ball), [Leaf(0, row, F(0))], "linear")[
            0
        ]

    base = bound(layers)
    (w0, b0), (w1, b1), *rest = layers
    scale = 2.0 ** rng.integers(-8, 9, size=len(b0))
    assert abs(bound([(w0 * scale[:, None], b0 * scale), (w1 / scale, b1), *rest]) - base) < F(1, 10**15)
    order = rng.permutation(len(b0))
    assert abs(bound([(w0[order], b0[order]), (w1[:, order], b1), *rest]) - base) < F(1, 10**15)
    dead = np.vstack([w0, [[0.0, 0.0]]]), np.append(b0, -1.0)
    assert abs(bound([dead, (np.hstack([w1, rng.normal(size=(len(b1), 1))]), b1), *rest]) - base) < F(1, 10**15)
    larger = Region(ball=Ball(ball.center, "inf", eps + F(1, 50)))
    interval = ExactEngine(read_graph(mlp(layers)))
    leaf = [Leaf(0, row, F(0))]
    assert interval.margins(larger, leaf, "interval")[0] <= interval.margins(Region(ball=ball), leaf, "interval")[0]
