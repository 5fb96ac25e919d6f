"""Claims about float32 as it is deployed: no execution ever leaves the checked bounds, and every term is needed."""

import numpy as np
import onnxruntime
import pytest
from check_kit import Bundle, F, minimum, mlp, model, random_net
from onnx import TensorProto, helper

from unmoved_check import Checker
from unmoved_check.exact import ExactEngine
from unmoved_check.floating import FloatEngine, input_hull
from unmoved_check.leaf import Leaf
from unmoved_check.model.deployed import deployed
from unmoved_check.model.lowering import lower
from unmoved_check.model.profile import PROFILES
from unmoved_check.model.reader import read_model
from unmoved_check.model.steps import Elementwise
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region

U = F(1, 1 << 24)
F32 = np.float32
ENGINES = [ExactEngine, FloatEngine]


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


def graph(data, profile="float32"):
    return deployed(read_model(data), PROFILES[profile])


def ball(center, eps=0):
    return Region(ball=Ball(tuple(float(v) for v in np.ravel(center)), "inf", F(eps)))


def allowed(data, center, profile="float32"):
    """How far outputs at a point may be from the exact ones, by the exact engine; the floating one allows as much."""
    made, truth = graph(data, profile), exactly(data, center)
    bounds = ExactEngine(made).enclose(ball(center))
    assert bounds is not None
    last, fast = bounds[made.output], FloatEngine(made)._intervals(input_hull(ball(center)), ())[made.output]
    smooth, found = any(isinstance(step, Elementwise) for step in made.steps), []
    for low, high, a, b, t in zip(last.low, last.high, fast.low, fast.high, truth, strict=True):
        low, high, a, b = F(low) / F(2) ** last.exp, F(high) / F(2) ** last.exp, F(float(a)), F(float(b))
        found.append(max(high - t, t - low))
        # engines enclose smooth functions each in its own way
        slack = F(1, 1 << 50) * (1 + abs(t)) if smooth else 0
        assert a <= low + slack and high <= b + slack
        assert b - a <= 2 * found[-1] * (1 + F(1, 1 << 20)) + F(1, 1 << 44) * (1 + abs(t))
    return found


def run(data, x):
    """Every output of onnxruntime: with and without its optimisations."""
    made = []
    for level in (
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    ):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        made.append(session.run(None, {"x": np.asarray(x, F32)})[0].ravel())
    return made


def exactly(data, x):
    """The exact outputs at a point (a rational inside an enclosure of 2^-90 where there is a root)."""
    bounds = ExactEngine(lower(read_model(data))).enclose(ball(x))
    assert bounds is not None
    last = bounds[lower(read_model(data)).output]
    return [F(a) / F(2) ** last.exp for a in last.low]


def used(data, x, outputs=None, profile="float32"):
    """The largest share that an execution takes of what is allowed; AssertionError when one takes more than all."""
    truth, limits = exactly(data, x), allowed(data, x, profile=profile)
    worst = F(0)
    for output in run(data, x) if outputs is None else outputs:
        for y, t, e in zip(output, truth, limits, strict=True):
            assert abs(F(float(y)) - t) <= e, (float(y), float(t), float(e))
            worst = max(worst, abs(F(float(y)) - t) / e)
    return worst


def tree(rng, terms):
    """A float32 sum in a random order, of random shape."""
    terms = list(terms)
    while len(terms) > 1:
        i, j = sorted(rng.choice(len(terms), 2, replace=False))
        right = terms.pop(j)
        terms[i] = F32(terms[i] + right)
    return terms[0]


def fused(terms_w, terms_x, bias):
    """A chain of fused multiply-adds, each rounded once (of the float64 product and sum, exact here or nearly)."""
    total = F32(bias)
    for w, x in zip(terms_w, terms_x, strict=True):
        total = F32(float(F(float(w)) * F(float(x)) + F(float(total))))
    return total


def gemm(weight, bias):
    return model([node("Gemm", ["x", "W", "b"], "y", transB=1)], {"W": weight, "b": bias}, (1, weight.shape[1]))


@pytest.mark.parametrize("n", [1, 2, 5, 33, 200])
def test_sums_in_any_order_stay_within_what_is_allowed(n):
    rng = np.random.default_rng(n)
    worst = F(0)
    for _ in range(20):
        weight, x, bias = rng.normal(size=(1, n)).astype(F32), rng.normal(size=n).astype(F32), rng.normal(size=1)
        bias = bias.astype(F32)
        products = [F32(w * v) for w, v in zip(weight[0], x, strict=True)]
        outputs = [[tree(rng, [*products, bias[0]])] for _ in range(10)] + [[fused(weight[0], x, bias[0])]]
        worst = max(worst, used(gemm(weight, bias), x[None], [*outputs, *run(gemm(weight, bias), x[None])]))
    assert worst > F(1, 200)


@pytest.mark.parametrize("op", ["Gemm", "MatMul", "Conv", "ReduceSum"])
@pytest.mark.parametrize("n", [2, 100])
def test_the_longest_sum_takes_all_but_three_roundings(n, op):
    """1 + (2^-24)(1 - 2^-10) + ...: one after the other every term is lost; with fewer roundings counted it fails."""
    small = F32(2.0**-24 * (1 - 2.0**-10))
    weight = np.array([[1.0] + [small] * (n - 1)], F32)
    total = F32(0)
    for w in weight[0]:
        total = F32(total + w)
    assert total == 1
    x, shape = np.ones((1, n)), (1, n)
    if op == "Conv":
        x, weight, shape = x[:, None], weight[:, None], (1, 1, n)
    elif op == "ReduceSum":
        x = weight
    nodes = {
        "Gemm": node("Gemm", ["x", "W"], "y", transB=1),
        "MatMul": node("MatMul", ["x", "V"], "y"),
        "Conv": node("Conv", ["x", "W"], "y"),
        "ReduceSum": node("ReduceSum", ["x", "axes"], "y"),
    }
    constants = {"W": weight, "V": weight.reshape(1, n).T, "axes": np.array([1])}
    share = used(model([nodes[op]], constants, shape), x, [[total]])
    assert share > F(n - 1, n + 1) * F(99, 100)


@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_a_sum_of_variables_takes_a_whole_rounding(op):
    data = model(
        [
            node("Slice", ["x", "zero", "one", "one"], "l"),
            node("Slice", ["x", "one", "two", "one"], "r"),
            node(op, ["l", "r"], "y"),
        ],
        {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])},
        (1, 2),
    )
    small = F32(2.0**-24 * (1 - 2.0**-10)) * F32(1 if op == "Add" else -1)
    assert used(data, np.array([[1.0, small]], F32), [[F32(1)]]) > F(99, 100)


def test_a_large_bias_is_paid_for():
    data = gemm(np.ones((1, 1), F32), np.array([2.0**24], F32))
    assert used(data, np.array([[1.0]])) > F(1, 4)


NORM = {
    "s": np.array([0.7], F32),
    "b": np.array([0.0], F32),
    "m": np.array([1000.1], F32),
    "v": np.array([0.3], F32),
}


@pytest.mark.parametrize("before", ["nothing", "Conv"])
def test_batch_norm_folded_or_not(before):
    """The mean and the bias cancel: what is lost is of their size, not of the output's, when they are folded."""
    scale = NORM["s"] / np.sqrt(NORM["v"] + F32(1e-5))
    constants = {**NORM, "b": (NORM["m"] * scale).astype(F32)}
    nodes, at = [], "x"
    if before == "Conv":
        constants |= {"W": np.array([[[[0.3, 0.1]]]], F32), "c": np.array([0.2], F32)}
        nodes, at = [node("Conv", ["x", "W", "c"], "z")], "z"
    data = model([*nodes, node("BatchNormalization", [at, "s", "b", "m", "v"], "y")], constants, (1, 1, 1, 4))
    rng, worst = np.random.default_rng(5), F(0)
    for _ in range(20):
        x = rng.normal(size=(1, 1, 1, 4)).astype(F32)
        folded = F32(constants["b"] - F32(constants["m"] * scale))
        outputs = run(data, x)
        if before == "nothing":
            outputs.append([F32(F32(v * scale[0]) + folded[0]) for v in x.ravel()])
            outputs.append([F32(F32(F32(v - constants["m"][0]) * scale[0]) + constants["b"][0]) for v in x.ravel()])
        worst = max(worst, used(data, x, outputs))
    assert worst > F(1, 500)


def test_an_inverse_root_off_by_two_units_in_the_last_place_is_covered():
    """inv (1 + 4 u), as a GPU's rsqrt may give it: half of the 8 roundings that are counted."""
    constants = {"s": [1.0], "b": [0.0], "m": [0.0], "v": [1 - 2.0**-10]}
    epsilon = 2.0**-10
    data = model(
        [node("BatchNormalization", ["x", "s", "b", "m", "v"], "y", epsilon=epsilon)],
        {k: np.array(v, F32) for k, v in constants.items()},
        (1, 1),
    )
    assert used(data, np.ones((1, 1)), [[F32(1 + 2.0**-22)]]) > F(49, 100)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Mul", ["x", "c"], "y")],
        [node("Add", ["x", "c"], "y")],
        [node("Sub", ["c", "x"], "y")],
        [node("Div", ["x", "c"], "y")],
        [node("Mul", ["x", "c"], "z"), node("Sub", ["z", "x"], "y")],
        [node("LeakyRelu", ["x"], "y", alpha=0.1)],
        [node("LeakyRelu", ["x"], "y", alpha=-1.3)],
        [node("PRelu", ["x", "c"], "y")],
        [node("PRelu", ["x", "shares"], "y")],
        [node("Sum", ["x", "c"], "y")],
        [node("Cast", ["x"], "z", to=1), node("Einsum", ["z", "M"], "y", equation="ij,kj->ik")],
        [
            node("Sum", ["x", "x"], "z"),
            node("Max", ["z", "c"], "m"),
            node("Min", ["m", "x"], "n"),
            node("Mul", ["n", "c"], "y"),
        ],
        [node("Reshape", ["x", "image"], "i"), node("ConvTranspose", ["i", "W", "b"], "y", strides=[2])],
        [node("Reshape", ["x", "image"], "i"), node("Conv", ["i", "V", "b"], "y")],
        [node("ReduceMean", ["x"], "y", axes=[1])],
        [node("ReduceSum", ["x", "axes"], "y")],
    ],
    ids=lambda nodes: "-".join(n.op_type for n in nodes),
)
def test_single_operators(nodes):
    rng, worst = np.random.default_rng(3), F(0)
    for _ in range(30):
        constants = {"c": rng.normal(size=7).astype(F32), "axes": np.array([1]), "image": np.array([1, 1, 7])}
        constants |= {"M": rng.normal(size=(3, 7)).astype(F32)}
        constants |= {"shares": rng.random(7).astype(F32), "b": rng.normal(size=2).astype(F32)}
        constants |= {"W": rng.normal(size=(1, 2, 3)).astype(F32), "V": rng.normal(size=(2, 1, 3)).astype(F32)}
        data = model(nodes, constants, (1, 7), opset=17)
        worst = max(worst, used(data, rng.normal(size=(1, 7)).astype(F32)))
    assert worst > F(1, 20)


EXACT = ("MaxPool", "Clip", "Relu", "Abs", "GlobalMaxPool", "ReduceMax", "ReduceMin")


@pytest.mark.parametrize("op", ["AveragePool", "GlobalAveragePool", *EXACT])
def test_pools_and_clips(op):
    attributes = {"kernel_shape": [2, 3]} if op in ("AveragePool", "MaxPool") else {}
    attributes = {"axes": [2], "keepdims": 0} if op.startswith("Reduce") else attributes
    inputs = ["x", "low", "high"] if op == "Clip" else ["x"]
    constants = {"low": np.array(-0.3, F32), "high": np.array(0.4, F32), "c": np.array(F32(0.37))}
    rng, worst = np.random.default_rng(4), F(0)
    for scaled in (False, True):
        before = [node("Mul", ["x", "c"], "z")] if scaled else []
        data = model(
            [*before, node(op, ["z" if scaled else "x", *inputs[1:]], "y", **attributes)], constants, (1, 2, 4, 5)
        )
        x = rng.normal(size=(1, 2, 4, 5)).astype(F32)
        worst = max(worst, used(data, x))
        if op in EXACT and not scaled:
            assert max(allowed(data, x)) < F(1, 1 << 90), "exact operators add next to nothing"
    assert worst > F(1, 50)


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Erf", "Exp"])
def test_smooth_functions_are_as_accurate_as_the_profile_assumes(op):
    rng, worst = np.random.default_rng(6), F(0)
    data = model([node("Mul", ["x", "c"], "z"), node(op, ["z"], "y")], {"c": np.array(0.37, F32)}, (1, 40))
    for scale in (0.1, 1, 10):
        worst = max(worst, used(data, (rng.normal(size=(1, 40)) * scale).astype(F32)))
    assert worst > F(1, 100)
    with pytest.raises(Rejection, match="unchecked"):
        graph(model([node("Softplus", ["x"], "y")], {}, (1, 2)))


@pytest.mark.parametrize("op", ["Mul", "MatMul"])
def test_products_of_variables(op):
    rng, worst, shape = np.random.default_rng(7), F(0), (1, 3, 3)
    nodes = [node("Mul", ["x", "c"], "z"), node("Transpose", ["x"], "t", perm=[0, 2, 1]), node(op, ["z", "t"], "y")]
    for _ in range(10):
        data = model(nodes, {"c": rng.normal(size=shape).astype(F32)}, shape)
        worst = max(worst, used(data, rng.normal(size=shape).astype(F32)))
    assert worst > F(1, 30)
    data = model(nodes, {"c": np.ones(shape, F32)}, shape)
    tiny = np.full(shape, 2.0**-70, F32)
    used(data, tiny, [np.zeros(9, F32)])
    factors = [node("Slice", ["x", "zero", "one", "one"], "l"), node("Slice", ["x", "one", "two", "one"], "r")]
    ends = {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])}
    data = model([*factors, node("Mul", ["l", "r"], "y")], ends, (1, 2))
    used(data, np.array([[2.0**-130, 2.0**100]], F32), [[flushed(2.0**-130, 2.0**100)]])


def flushed(*factors):
    """A product in which every result and operand below 2^-126 is zero."""
    total = F32(1)
    for factor in factors:
        factor = F32(0) if abs(factor) < 2.0**-126 else F32(factor)
        total = F32(total * factor)
        total = F32(0) if abs(total) < 2.0**-126 else total
    return total


def test_underflow_to_zero_is_paid_for():
    for w, x in ((2.0**-30, 2.0**-100), (1.0, 2.0**-130), (2.0**-130, 1.0)):
        data = model([node("Mul", ["x", "c"], "y")], {"c": np.array(w, F32)}, (1, 1))
        assert F(w) * F(x) <= allowed(data, [x])[0]
        used(data, np.array([[x]], F32), [[flushed(x, w)]])
    relu = model([node("Relu", ["x"], "y")], {}, (1, 1))
    used(relu, np.array([[2.0**-130]], F32), [[F32(0)]])


def test_constants_that_vanish_when_they_are_merged_are_paid_for():
    """x (2^-70 2^-70) is 0 where the constants are multiplied first, and 2^-40 where they are not."""
    for power, op in ((70, "Mul"), (130, "Mul"), (70, "MatMul")):
        data = model(
            [node(op, ["x", "a"], "z"), node(op, ["z", "b"], "y")],
            {"a": np.full((1, 1), 2.0**-70, F32), "b": np.full((1, 1), 2.0 ** (-power), F32)},
            (1, 1),
        )
        used(data, np.array([[2.0**100]], F32), [[flushed(F32(2.0**100), flushed(2.0**-70, 2.0**-power))]])


@pytest.mark.parametrize("engine", ENGINES)
def test_what_may_overflow_is_refused(engine):
    def refused(nodes, constants, x):
        made = graph(model(nodes, constants, (1, len(x))))
        leaf = [Leaf(0, {0: F(1)}, F(0))]
        with pytest.raises(Rejection, match="too large for float32"):
            engine(made).margins(ball(x), leaf, "linear")

    cancel = [node("Gemm", ["x", "W"], "y", transB=1)]
    refused(cancel, {"W": np.array([[2.0**100, -(2.0**100)]], F32)}, [2.0**26, 2.0**26])
    refused([node("Add", ["x", "c"], "y")], {"c": np.array(2.0**127, F32)}, [0.0])
    twice = [node("Mul", ["x", "c"], "z"), node("Mul", ["z", "c"], "y")]
    refused(twice, {"c": np.array(2.0**65, F32)}, [2.0**-60])
    fine = graph(model(twice, {"c": np.array(2.0**60, F32)}, (1, 1)))
    assert engine(fine).margins(ball([2.0**-60]), [Leaf(0, {0: F(1)}, F(0))], "linear")[0] > 0


def test_tensor_cores_round_the_factors():
    """Factors cut off to 11 bits: covered by the profile tf32, and not by float32."""
    rng, worst = np.random.default_rng(8), F(0)
    for _ in range(20):
        weight, x = rng.normal(size=(1, 30)).astype(F32), rng.normal(size=30).astype(F32)
        short = [(v.view(np.uint32) & np.uint32(0xFFFFE000)).view(F32) for v in (weight[0], x)]
        output = tree(rng, [F32(a * b) for a, b in zip(*short, strict=True)])
        worst = max(worst, used(gemm(weight, np.zeros(1, F32)), x[None], [[output]], "tf32"))
        with pytest.raises(AssertionError):
            used(gemm(weight, np.zeros(1, F32)), x[None], [[output]])
    assert worst > F(1, 20)


def test_both_factors_of_a_tensor_core_are_cut_off():
    """(1 + 2^-10 - 2^-23) squared, 1 and 1 once cut off to 11 bits: nearly all that two factors may lose."""
    near = F32(1 + 2.0**-10 - 2.0**-23)
    assert used(gemm(np.array([[near]]), np.zeros(1, F32)), [[near]], [[F32(1)]], "tf32") > F(9, 10)


def executed(rng, layers, x):
    """One float32 execution of a net: every sum in an order of its own, or fused."""
    values = np.asarray(x, F32)
    for i, (weight, bias) in enumerate(layers):
        if rng.random() < 0.5:
            made = [fused(row, values, b) for row, b in zip(weight, bias, strict=True)]
        else:
            made = [
                tree(rng, [*(F32(w * v) for w, v in zip(row, values, strict=True)), b])
                for row, b in zip(weight, bias, strict=True)
            ]
        values = np.array(made, F32)
        values = values if i == len(layers) - 1 else np.maximum(values, 0)
    return values


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("mode", ["interval", "linear"])
def test_no_execution_goes_below_the_bound(mode, wild):
    """Random nets and boxes: floating <= exact <= the least of many executions; both are below the real minimum."""
    below = refused = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, wild])
        layers = random_net(rng, [2, *rng.integers(2, 5, size=rng.integers(1, 4)), 2], wild=wild)
        center, eps = rng.normal(size=2).astype(F32), F(int(rng.integers(0, 60)), 100) * F(10) ** -int(rng.integers(7))
        made, row = graph(mlp(layers)), [Leaf(0, {0: F(1), 1: F(-1)}, F(0))]
        try:
            exact, fast = (kind(made).margins(ball(center, eps), row, mode)[0] for kind in ENGINES)
        except Rejection as rejection:
            assert "too large for float32" in str(rejection) and wild
            refused += 1
            continue
        assert F(fast) <= exact + abs(exact) * F(1, 1 << 30) if wild else F(fast) <= exact
        box = [(F(float(c)) - eps, F(float(c)) + eps) for c in center]
        assert exact <= minimum(layers, box, [F(1), F(-1)])
        for _ in range(6):
            point = [F32(np.nextafter(F32(rng.choice(ends)), F32(c))) for ends, c in zip(box, center, strict=True)]
            point = [p if a <= F(float(p)) <= b else c for p, c, (a, b) in zip(point, center, box, strict=True)]
            y = executed(rng, layers, point)
            found = F(float(y[0])) - F(float(y[1]))
            assert exact <= found
            below += found < minimum(layers, [(F(float(p)),) * 2 for p in point], [F(1), F(-1)])
    assert below > 20 and refused < 50


def claim(data, center, eps, rows, bounds, *, profile="float32", intermediate="linear"):
    threat = {"kind": "lp", "norm": "inf", "eps": str(eps), "clip": None}
    bundle = Bundle(data, np.asarray(center, F32)[None], threat=threat).linear(rows, bounds)
    bundle.manifest["evidence"]["intermediate"] = intermediate
    if profile is not None:
        bundle.manifest["claim"] |= {"semantics": "float32-any-order", "profile": profile}
    return bundle


def accepted(data, *args, mode="floating", **parts):
    return Checker(data).check(*claim(data, *args, **parts).bytes(), mode=mode)


@pytest.mark.parametrize("mode", ["exact", "floating"])
@pytest.mark.parametrize("power", [24, 30, 40, 53, 60])
def test_what_real_numbers_prove_and_float32_does_not_do(mode, power):
    """relu(relu(x + 2^p) - 2^p) is x on [0.6, 0.9] in real numbers, and 0 in float32."""
    big = F32(2.0**power)
    one = np.ones((1, 1), F32)
    layers = [(one, np.array([big])), (one, np.array([-big])), (one, np.zeros(1, F32))]
    data = mlp(layers)
    assert all(output[0] == 0 for output in run(data, np.array([[0.75]])))
    assert accepted(data, [0.75], F(1, 8), [[1.0]], [0.5], profile=None, mode="exact").accepted
    for intermediate in ("interval", "linear"):
        result = accepted(data, [0.75], F(1, 8), [[1.0]], [0.5], mode=mode, intermediate=intermediate)
        assert not result.accepted and "not proved" in result.reason
    # y < 1 on [0, 1.5]: false in real numbers, true or not in float32, refused in any case
    assert not accepted(data, [0.75], F(3, 4), [[-1.0]], [-1.0], mode=mode).accepted


@pytest.mark.parametrize("mode", ["exact", "floating"])
def test_a_net_that_detects_the_order(mode):
    """x + 2^30 - 2^30: x or 0 by the order of summation; no order may be left out."""
    layers = [
        (np.array([[0.0], [1.0], [0.0]], F32), np.array([2.0**30, 0.0, 2.0**30], F32)),
        (np.array([[1.0, 1.0, -1.0]], F32), np.zeros(1, F32)),
    ]
    for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 0, 1]):
        data = mlp([(layers[0][0][order], layers[0][1][order]), (layers[1][0][:, order], layers[1][1])])
        assert accepted(data, [1.5], F(1, 2), [[1.0]], [0.5], profile=None, mode="exact").accepted
        assert not accepted(data, [1.5], F(1, 2), [[1.0]], [0.5], mode=mode).accepted
        assert accepted(data, [1.5], F(1, 2), [[1.0]], [-1000.0], mode=mode).accepted


@pytest.mark.parametrize("mode", ["exact", "floating"])
def test_a_residual_read_twice_and_splits_of_what_was_rounded(mode):
    nodes = [
        node("Gemm", ["x", "W", "b"], "z", transB=1),
        node("Relu", ["z"], "h"),
        node("Add", ["h", "z"], "s"),
        node("Gemm", ["s", "V"], "y", transB=1),
    ]
    rng = np.random.default_rng(2)
    constants = {"W": rng.normal(size=(2, 2)), "b": rng.normal(size=2), "V": np.array([[1.0, 0.5]])}
    data = model(nodes, {k: v.astype(F32) for k, v in constants.items()}, (1, 2))
    bundle = claim(data, [0.1, 0.2], F(1, 2), [[1.0]], [-20.0])
    bundle.manifest["evidence"]["trees"] = [["relu", "z", 1, ["leaf", 0], ["relu", "z", 0, ["leaf", 1], ["leaf", 2]]]]
    bundle.tensors["multipliers/1"] = np.array([0.25, 0.5], F32)
    bundle.tensors["slopes/2/z"] = np.array([10, 200], np.uint8)
    result = Checker(data).check(*bundle.bytes(), mode=mode)
    assert result.accepted, result
    used(data, np.array([[0.1, 0.2]], F32))


def test_profiles_are_part_of_the_claim():
    data = mlp(random_net(np.random.default_rng(1), [2, 3, 1]))
    bounds = []
    for profile in (None, "float32", "tf32"):
        made = graph(data, profile) if profile else Checker(data).graph
        bounds.append(FloatEngine(made).margins(ball([0.5, 0.5], F(1, 10)), [Leaf(0, {0: F(1)}, F(0))], "linear")[0])
    assert bounds[0] > bounds[1] > bounds[2]
    between = (bounds[1] + bounds[2]) / 2
    assert accepted(data, [0.5, 0.5], F(1, 10), [[1.0]], [between]).accepted
    assert not accepted(data, [0.5, 0.5], F(1, 10), [[1.0]], [between], profile="tf32").accepted
    for wrong in ("float64", "", 1, None, ["float32"]):
        bundle = claim(data, [0.5, 0.5], F(1, 10), [[1.0]], [between])
        bundle.manifest["claim"]["profile"] = wrong
        result = Checker(data).check(*bundle.bytes())
        assert not result.accepted and "claim.profile" in result.reason


def test_what_has_no_rule_is_refused():
    def reason(data):
        with pytest.raises(Rejection) as caught:
            graph(data)
        return str(caught.value)

    double = mlp(random_net(np.random.default_rng(1), [2, 2, 1]), kind=np.float64)
    assert "not float32" in reason(double)
    half = model([node("Relu", ["x"], "y")], {}, (1, 2), kind=TensorProto.FLOAT16)
    assert "not float32" in reason(half)
    folded = [node("Mul", ["a", "a"], "c"), node("Mul", ["x", "c"], "y")]
    assert "not all of it is float32" in reason(model(folded, {"a": np.array(0.1, F32)}, (1, 1)))
    graph(model(folded, {"a": np.array(0.5, F32)}, (1, 1)))
    statistics = {"s": [1.0], "b": [0.0], "m": [0.0], "v": [-0.000005]}
    norm = [node("BatchNormalization", ["x", "s", "b", "m", "v"], "y")]
    constants = {k: np.array(v, F32) for k, v in statistics.items()}
    assert "statistics out of range" in reason(model(norm, constants, (1, 1)))
    three = [node("Sum", ["x", "c", "x"], "y")]
    assert "more than two terms" in reason(model(three, {"c": np.ones(1, F32)}, (1, 1)))
    assert "slope beyond 64" in reason(model([node("LeakyRelu", ["x"], "y", alpha=-65.0)], {}, (1, 1)))
    assert "LayerNormalization under" in reason(
        model([node("LayerNormalization", ["x", "c"], "y")], {"c": np.ones(2, F32)}, (1, 2))
    )


def test_an_operand_flushed_to_zero_before_a_slope_is_paid_for():
    data = model([node("LeakyRelu", ["x"], "y", alpha=-64.0)], {}, (1, 1))
    assert used(data, np.array([[2.0**-149 - 2.0**-126]], F32), [[0.0]]) > F(1, 3)
