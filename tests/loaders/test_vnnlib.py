"""VNN-LIB files: decimals as rationals, boxes outward, the unsafe set as asserted; 2.0 through the package."""

import gzip
from fractions import Fraction

import numpy as np
import pytest

from unmoved.core import LoadError, UsageError
from unmoved.loaders.vnnlib import load_vnnlib, read_vnnlib


def first(body, inputs=2, outputs=2):
    names = [f"X_{i}" for i in range(inputs)] + [f"Y_{j}" for j in range(outputs)]
    return "\n".join(f"(declare-const {name} Real)" for name in names) + "\n" + body


def box(inputs=2, low="-1", high="1"):
    return "".join(f"(assert (>= X_{i} {low}))\n(assert (<= X_{i} {high}))\n" for i in range(inputs))


def cases(text, inputs=2, outputs=2):
    return read_vnnlib(text).cases((1, inputs), outputs)


def test_decimals_are_rationals_and_the_box_is_rounded_outward():
    (case,) = cases(first(box(low="0.1", high="0.30000000000000001") + "(assert (<= Y_0 Y_1))"))
    low, high = Fraction(float(case.box.low[0, 0])), Fraction(float(case.box.high[0, 0]))
    assert low < Fraction(1, 10) < Fraction(float(np.nextafter(case.box.low[0, 0], 1)))
    assert Fraction(float(np.nextafter(case.box.high[0, 0], 0))) < Fraction("0.30000000000000001") < high
    inner = case.inner_box
    assert Fraction(float(inner.low[0, 0])) > Fraction(1, 10)
    assert Fraction(float(inner.high[0, 0])) < Fraction("0.30000000000000001")
    assert np.nextafter(case.box.low[0, 0], 1) == inner.low[0, 0]


def test_ends_that_are_float64_stay_as_they_are():
    (case,) = cases(first(box(low="-0.5", high="1e-1") + "(assert (<= Y_0 0.25))"))
    assert case.box.low[0, 0] == case.inner_box.low[0, 0] == -0.5
    assert case.box.high[0, 0] > case.inner_box.high[0, 0]


def test_the_file_asserts_the_unsafe_set():
    (case,) = cases(first(box() + "(assert (>= Y_0 Y_1))(assert (<= Y_1 3))"))
    (way,) = case.prop.unsafe
    assert way.rows.tolist() == [[-1, 1], [0, 1]]
    assert way.bounds.tolist() == [0, 3]
    assert case.prop.violated([5, 2])
    assert not case.prop.violated([1, 2])
    assert not case.prop.violated([9, 4])


def test_thresholds_are_rounded_outward_for_proofs_and_inward_for_witnesses():
    (case,) = cases(first(box() + "(assert (>= Y_0 0.1))"))
    wide, narrow = case.prop.unsafe[0].bounds[0], case.inner_prop.unsafe[0].bounds[0]
    assert Fraction(float(narrow)) < -Fraction(1, 10) < Fraction(float(wide))
    assert np.nextafter(narrow, 1) == wide


def test_factors_that_no_float_holds_are_scaled_exactly():
    text = first(box() + "(assert (<= (+ (* 0.1 Y_0) (* 0.3 Y_1)) 0.7))")
    (case,) = cases(text)
    (way,) = case.prop.unsafe
    assert Fraction(float(way.rows[0, 1])) == 3 * Fraction(float(way.rows[0, 0]))
    assert Fraction(float(way.bounds[0])) >= 7 * Fraction(float(way.rows[0, 0]))


def test_a_disjunction_of_outputs_is_one_case():
    body = box() + "(assert (or (and (>= Y_0 2)) (and (<= Y_0 1) (>= Y_1 0)) (>= Y_1 7)))"
    (case,) = cases(first(body))
    assert [len(way.bounds) for way in case.prop.unsafe] == [1, 2, 1]


def test_disjunctions_of_inputs_are_cases_of_their_own():
    one = "(and (>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1) (<= Y_0 0))"
    two = "(and (>= X_0 2) (<= X_0 3) (>= X_1 0) (<= X_1 1) (<= Y_1 5))"
    again = "(and (>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1) (>= Y_1 9))"
    found = cases(first(f"(assert (or {one} {two} {again}))"))
    assert [case.box.low.tolist() for case in found] == [[[0, 0]], [[2, 0]]]
    assert [len(case.prop.unsafe) for case in found] == [2, 1]


def test_disjunctions_multiply_and_impossible_clauses_go():
    body = box() + "(assert (or (<= X_0 -0.5) (>= X_0 0.5) (>= X_0 2)))(assert (or (<= Y_0 0) (>= Y_1 0)))"
    query = read_vnnlib(first(body))
    assert len(query.clauses) == 6
    assert len(query.possible) == 4
    assert {tuple(c.box.low[0]) for c in query.cases((1, 2), 2)} == {(-1, -1), (0.5, -1)}


def test_the_tightest_bound_counts_and_the_order_does_not():
    body = "(assert (<= X_0 5))(assert (<= X_0 1))(assert (>= X_0 -3))(assert (>= X_0 0.5))(assert (<= 0 Y_0))"
    (case,) = cases(first(body, 1, 1), 1, 1)
    assert (case.box.low[0, 0], case.box.high[0, 0]) == (0.5, 1)


@pytest.mark.parametrize("seed", range(5))
def test_normal_form_agrees_with_the_formula(seed):
    """Random nested formulas on a grid of points, against direct evaluation of the tree."""
    rng = np.random.default_rng(seed)

    def tree(depth):
        if depth == 0 or rng.random() < 0.3:
            name = rng.choice(["X_0", "X_1", "Y_0", "Y_1"])
            return [rng.choice(["<=", ">="]), name, str(rng.integers(-2, 3))]
        return [rng.choice(["and", "or"]), *(tree(depth - 1) for _ in range(rng.integers(1, 4)))]

    def text(node):
        return node if isinstance(node, str) else f"({' '.join(map(text, node))})"

    def value(node, at):
        if node[0] in ("and", "or"):
            return (all if node[0] == "and" else any)(value(part, at) for part in node[1:])
        left, right = at[node[1]], int(node[2])
        return left <= right if node[0] == "<=" else left >= right

    formula = tree(3)
    query = read_vnnlib(first(box(low="-2", high="2") + f"(assert {text(formula)})"))
    for x in np.ndindex(5, 5):
        for y in np.ndindex(5, 5):
            at = {"X_0": x[0] - 2, "X_1": x[1] - 2, "Y_0": y[0] - 2, "Y_1": y[1] - 2}
            point, output = np.array([at["X_0"], at["X_1"]], float), np.array([at["Y_0"], at["Y_1"]], float)
            assert query.satisfied(point, output) == value(formula, at)
            member = [c for c in query.cases((2,), 2) if c.box.contains(point, point)] if value(formula, at) else []
            assert not value(formula, at) or any(c.prop.violated(output) for c in member)


def test_a_point_just_outside_of_a_decimal_bound_does_not_satisfy():
    query = read_vnnlib(first("(assert (>= X_0 0.1))(assert (<= X_0 0.1))(assert (<= Y_0 0))", 1, 1))
    near = np.float64(0.1)  # not one tenth
    assert not query.satisfied(np.array([near]), np.array([-1.0]))
    (case,) = query.cases((1,), 1)
    assert case.inner_box is None
    assert case.box.low[0] < case.box.high[0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("(assert (>= X_0 0))(assert (<= X_1 1))(assert (>= X_1 0))", "X_0 has not an upper bound"),
        ("(assert (<= X_0 0))", "X_0 has not a lower bound"),
        (
            "(assert (or (and (>= X_0 0) (<= X_0 1)) (<= X_0 5)))(assert (>= X_1 0))(assert (<= X_1 1))",
            "X_0 has not a lower",
        ),
        ("(assert (<= X_7 0))", "X_7 is not declared"),
        ("(assert (<= X_0 zero))", "'zero' is neither"),
        ("(assert (<= X_0 1/3))", "'1/3' is neither"),
        ("(assert (<= X_0 nan))", "neither"),
        ("(assert (<= X_0 1e99999999))", "neither"),
        ("(assert (< X_0))", "is not a condition"),
        ("(assert (xor (<= X_0 1) (<= X_0 2)))", "is not a condition"),
        ("(assert (<= (* X_0 Y_0) 1))", "product of variables"),
        ("(assert (<= X_0 1)", "never closed"),
        ("assert", "outside of all parentheses"),
        ("(frob 1)", "neither a declaration nor an assertion"),
        ("(declare-const X_0 Real)", "declared twice"),
        ("(declare-const Z_0 Real)", "not X_i"),
        ("(" * 500 + ")" * 500, "deep"),
    ],
)
def test_bad_files_are_refused_with_the_reason(body, says):
    with pytest.raises(LoadError, match=says.replace("(", r"\(")):
        read_vnnlib(first(body))


def test_gaps_in_the_declarations_are_refused():
    with pytest.raises(LoadError, match="without a gap"):
        read_vnnlib("(declare-const X_1 Real)(declare-const Y_0 Real)")


def test_too_many_cases_are_refused_quickly():
    body = box() + "".join(f"(assert (or (<= Y_0 {k}) (>= Y_1 {k})))" for k in range(60))
    with pytest.raises(LoadError, match="disjunctive normal form"):
        read_vnnlib(first(body))


def test_shapes_must_be_the_models():
    query = read_vnnlib(first(box() + "(assert (<= Y_0 0))"))
    with pytest.raises(LoadError, match="2 inputs, and the model has 3"):
        query.cases((1, 3), 2)
    with pytest.raises(LoadError, match="2 outputs, and the model has 1"):
        query.cases((1, 2), 1)


def test_files_comments_and_gzip(tmp_path):
    text = "; a (comment\n" + first(box() + "(assert (<= Y_0 0)) ; (\n(check-sat)")
    path, packed = tmp_path / "q.vnnlib", tmp_path / "q.vnnlib.gz"
    path.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for file in (path, packed):
        assert len(load_vnnlib(file).clauses) == 1
    with pytest.raises(UsageError, match="an existing"):
        load_vnnlib(tmp_path / "none.vnnlib")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LoadError, match="not a readable text"):
        load_vnnlib(path)


def test_a_large_file_is_read_quickly():
    import time

    n = 3072
    text = first("".join(f"(assert (<= X_{i} 0.{i:017}))\n(assert (>= X_{i} -0.5))\n" for i in range(n)), n, 10)
    text += "(assert (or" + "".join(f"(and (>= Y_{j} Y_0))" for j in range(1, 10)) + "))"
    start = time.process_time()
    (case,) = cases(text, n, 10)
    assert time.process_time() - start < 2
    assert len(case.prop.unsafe) == 9


def second(body, kind="real", shape="[1,2]", extra=""):
    return f"""(vnnlib-version <2.0>)
(declare-network net
    (declare-input X {kind} {shape})
    {extra}
    (declare-output Y {kind} [2])
)
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] -1.0) (<= X[0,1] 0.1)))
{body}
"""


class TestSecond:
    @pytest.fixture(autouse=True)
    def _package(self):
        pytest.importorskip("vnnlib")

    def test_boxes_names_and_types(self):
        query = read_vnnlib(second("(assert (<= Y[0] 0.5))", "float32"))
        assert (query.version, query.name, query.input.name, query.input.type) == ("2.0", "net", "X", "float32")
        assert query.input.shape == (1, 2)
        (case,) = query.cases((1, 2), 2)
        assert Fraction(float(case.box.high[0, 1])) > Fraction(1, 10) > Fraction(float(case.inner_box.high[0, 1]))

    def test_strict_and_equal_and_unequal(self):
        query = read_vnnlib(second("(assert (== Y[0] 1.0))(assert (!= Y[1] 2.0))(assert (< X[0,0] 1.0))"))
        x = np.zeros((1, 2))
        assert query.satisfied(x, np.array([1.0, 3.0]))
        assert query.satisfied(x, np.array([1.0, 1.0]))
        assert not query.satisfied(x, np.array([1.0, 2.0]))
        assert not query.satisfied(np.array([[1.0, 0.0]]), np.array([1.0, 3.0]))
        (case,) = query.cases((1, 2), 2)
        assert case.box.high[0, 0] == 1 > case.inner_box.high[0, 0]
        for way in case.inner_prop.unsafe:
            assert not (way.rows @ [1.0, 2.0] <= way.bounds).all()
        assert any((way.rows @ [1.0, 2.0] <= way.bounds).all() for way in case.prop.unsafe)

    def test_conditions_on_several_inputs(self):
        query = read_vnnlib(second("(assert (>= (+ (* 0.5 X[0,0]) X[0,1]) 0.25))(assert (<= Y[0] 0.0))"))
        (case,) = query.cases((1, 2), 2)
        assert case.admits(np.array([[0.5, 0.0]]))
        assert not case.admits(np.array([[0.25, 0.0]]))
        assert case.start.tolist() == [[1.0, pytest.approx(0.1)]]
        impossible = read_vnnlib(second("(assert (>= (+ X[0,0] X[0,1]) 1.11))"))
        assert impossible.cases((1, 2), 2) == []

    def test_what_is_not_read_keeps_witnesses_from_counting(self):
        for body in ("(assert (>= (* Y[0] Y[1]) 4.0))", "(assert (>= Y[0] X[0,0]))", "(assert (>= H[0] 1.0))"):
            query = read_vnnlib(second(body, extra='(declare-hidden H real [1] "h")'))
            (case,) = query.cases((1, 2), 2)
            assert case.inner_box is None
            assert not query.satisfied(np.zeros((1, 2)), np.array([9.0, 9.0]))

    @pytest.mark.parametrize("text", ["(vnnlib-version <2.0>)", second("(assert (<= Z[0] 1.0))")])
    def test_bad_texts_are_refused(self, text):
        with pytest.raises(LoadError):
            read_vnnlib(text)
