"""`unmoved verify`, `supports` and `bench` by their output: tiny nets and queries whose answers are known by hand."""

import csv
import json
import subprocess
import sys
from fractions import Fraction
from itertools import product

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from unmoved.answer import Terms, Word, answer
from unmoved.cli.app import run
from unmoved.cli.verify import assignment, exact
from unmoved.core import Budget
from unmoved.loaders import load_onnx
from unmoved.loaders.vnnlib import read_vnnlib
from unmoved_check.model.lowering import RULES


def onnx_model(layers, *, last="Gemm"):
    """Gemm, Relu, Gemm ... with weights (out, in); `last` may be another operator on the last Gemm's output."""
    nodes, constants, at = [], [], "x"
    for i, (weight, bias) in enumerate(layers):
        weight, bias = np.float32(weight), np.float32(bias)
        constants += [numpy_helper.from_array(weight, f"W{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [at, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        at = f"z{i}"
        if i < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [at], [f"a{i}"]))
            at = f"a{i}"
    if last != "Gemm":
        nodes.append(helper.make_node(last, [at], ["s"]))
        at = "s"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, np.shape(layers[0][0])[1]])],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, [1, np.shape(layers[-1][0])[0]])],
        constants,
    )
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


ABSOLUTE = [([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])]
"""|x|"""
TRAP = [([[1.0]], [2.0**24]), ([[1.0]], [-(2.0**24)]), ([[1.0]], [0.0])]
"""relu(relu(x + 2^24) - 2^24): max(x, 0) in exact arithmetic, 2 at 1.5 in float32."""


def query(low, high, says, outputs=1):
    names = [*(f"X_{i}" for i in range(len(low))), *(f"Y_{j}" for j in range(outputs))]
    text = "".join(f"(declare-const {name} Real)\n" for name in names)
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        text += f"(assert (>= X_{i} {a}))\n(assert (<= X_{i} {b}))\n"
    return text + f"(assert {says})\n"


def second(says, kind="float32", name="net"):
    return f"""(vnnlib-version <2.0>)
(declare-network {name} (declare-input X {kind} [1,1]) (declare-output Y {kind} [1,1]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 2.0)))
(assert {says})
"""


@pytest.fixture
def files(tmp_path):
    def write(layers, text, **kwargs):
        model, path = tmp_path / "net.onnx", tmp_path / "query.vnnlib"
        model.write_bytes(onnx_model(layers, **kwargs))
        path.write_text(text)
        return path, model

    return write


@pytest.fixture
def verify(files, capsys):
    def ask(layers, text, *flags, name="", **kwargs):
        path, model = files(layers, text, **kwargs)
        code = run(["verify", str(path), "--network", f"{name}{model}", "--timeout", "60", *map(str, flags)])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return ask


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("(>= Y_0 2.5)", "unsat"),
        ("(>= Y_0 1.75)", "sat"),
        ("(<= Y_0 -0.1)", "unsat"),
        ("(or (<= Y_0 -1.5) (>= Y_0 2.01))", "unsat"),
        ("(or (<= Y_0 -0.5) (>= Y_0 1.5))", "sat"),
        ("(and (<= Y_0 1) (>= Y_0 1.5))", "unsat"),
        ("(and (<= X_0 0) (>= Y_0 1.5))", "unsat"),
        ("(or (and (<= X_0 0) (>= Y_0 1.5)) (and (>= X_0 1.5) (>= Y_0 3)))", "unsat"),
        ("(and (<= X_0 -2) (>= Y_0 0))", "unsat"),
    ],
)
def test_answers_known_by_hand(verify, says, expected):
    """|x| on [-1, 2]."""
    code, out, _ = verify(ABSOLUTE, query([-1], [2], says))
    assert (code, out[0]) == (0, expected)
    assert (len(out) > 1) == (expected == "sat")


def test_a_witness_is_in_the_form_of_the_competition_and_satisfies_the_query(verify, files):
    text = query(["-0.1", "0.2"], ["0.3", "0.7"], "(>= Y_1 Y_0)", outputs=2)
    layers = [([[1, -1], [2, 0.5]], [0.0, 0.1]), ([[1, 0], [0, 1]], [0, 0])]
    _, out, _ = verify(layers, text)
    assert out[0] == "sat"
    body = " ".join(out[1:])
    assert body[0] == "(" and body[-1] == ")"
    pairs = dict(pair.split() for pair in body[1:-1].strip("()").split(") ("))
    assert list(pairs) == ["X_0", "X_1", "Y_0", "Y_1"]
    x = [Fraction(pairs[f"X_{i}"]) for i in range(2)]
    assert Fraction("-0.1") <= x[0] <= Fraction("0.3")
    assert Fraction("0.2") <= x[1] <= Fraction("0.7")
    session = onnxruntime.InferenceSession(onnx_model(layers), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.float32([[float(v) for v in x]])})
    assert [float(Fraction(pairs[f"Y_{j}"])) for j in range(2)] == y[0].tolist()
    assert y[0, 1] >= y[0, 0]


@pytest.mark.parametrize("value", [0.1, -1.5, 1e-40, 3e38, -0.0, 1 / 3])
def test_numbers_are_written_with_every_digit(value):
    assert Fraction(exact(np.float32(value))) == Fraction(float(np.float32(value)))


def test_certificates_are_kept_and_accepted(verify, tmp_path, capsys):
    """Two disjuncts in one box and one in another: two cases, two certificates."""
    body = "(or (and (<= X_0 0) (or (<= Y_0 -1) (>= Y_0 1.5))) (and (>= X_0 0.5) (>= Y_0 3)))"
    _, out, _ = verify(ABSOLUTE, query([-1], [2], body), "--certificate", tmp_path / "proofs")
    assert out == ["unsat"]
    assert len(list((tmp_path / "proofs").glob("*.zip"))) == 2
    assert run(["check", str(tmp_path / "proofs")]) == 0
    assert "2 of 2" in capsys.readouterr().out


def test_assignments_are_serialised(verify, tmp_path):
    _, out, _ = verify(ABSOLUTE, query([-1], [2], "(>= Y_0 1.75)"), "--serialise-assignments", tmp_path / "found")
    assert out == ["sat"]
    x, y = (numpy_helper.to_array(onnx.load_tensor(tmp_path / "found" / f"{name}.pb")) for name in "XY")
    assert (x.shape, x.dtype, y.shape) == ((1, 1), np.float32, (1, 1))
    assert abs(x[0, 0]) == y[0, 0] >= 1.75


def test_rounding_is_never_taken_for_a_violation(verify):
    """The float net reaches 2, the exact one 1.5: neither `sat` nor anything but a proof for the exact net."""
    assert verify(TRAP, query([0], ["1.5"], "(>= Y_0 1.9)"))[1][0] != "sat"
    assert verify(TRAP, query([0], ["1.5"], "(>= Y_0 1)"))[1][0] == "sat"


def test_a_decimal_bound_is_not_its_float():
    """x <= 0.1 as written: the float32 nearest to 0.1 lies above it, and may not be the witness."""
    text = query(["0.09999999"], ["0.1"], "(>= Y_0 0.0999999940395355224609375)")
    found = answer(read_vnnlib(text), load_onnx(onnx_model(ABSOLUTE)), Budget(20))
    assert found.word is Word.SAT
    assert Fraction(float(found.point[0, 0])) <= Fraction(1, 10) < Fraction(float(np.float32(0.1)))
    text = query(["0.1"], ["0.1000000014"], "(>= Y_0 0)")
    # no float32 lies between these bounds, so no witness of ours does, and there is nothing to prove
    assert answer(read_vnnlib(text), load_onnx(onnx_model(ABSOLUTE)), Budget(20)).word is Word.UNKNOWN


def test_operators_that_the_checker_does_not_know(verify, monkeypatch):
    monkeypatch.delitem(RULES, "Abs")
    code, out, err = verify(ABSOLUTE, query([-1], [2], "(<= Y_0 -0.01)"), last="Abs")
    assert (code, out) == (0, ["unknown"])
    assert "Abs" in err


def test_exhaustive_small_nets_are_never_contradicted():
    """Random 2-3-2 nets against the outputs on a grid of exact points: no `unsat` where a grid point satisfies."""
    rng = np.random.default_rng(0)
    words = []
    for _ in range(12):
        w = [rng.integers(-4, 5, (3, 2)) / 4, rng.integers(-4, 5, (2, 3)) / 4]
        b = [rng.integers(-4, 5, 3) / 4, rng.integers(-4, 5, 2) / 4]
        threshold = rng.integers(-8, 9) / 4
        text = query([-1, -1], [1, 1], f"(and (>= Y_0 {threshold}) (<= Y_1 Y_0))", outputs=2)
        found = answer(read_vnnlib(text), load_onnx(onnx_model(list(zip(w, b, strict=True)))), Budget(10))
        grid = np.array(list(product(np.linspace(-1, 1, 17), repeat=2)))
        y = np.maximum(grid @ w[0].T + b[0], 0) @ w[1].T + b[1]
        reachable = bool(((y[:, 0] >= threshold) & (y[:, 1] <= y[:, 0])).any())
        assert not (found.word is Word.UNSAT and reachable)
        words.append(found.word)
    assert {Word.SAT, Word.UNSAT} <= set(words)


class TestSecond:
    @pytest.fixture(autouse=True)
    def _package(self):
        pytest.importorskip("vnnlib")

    def test_an_assignment_in_the_standards_form(self, verify):
        _, out, _ = verify(ABSOLUTE, second("(>= Y[0,0] 1.75)"), name="net=")
        assert out[0] == "sat"
        assert (out[1], out[3]) == ("X float32 [1,1]", "Y float32 [1,1]")
        assert Fraction(out[4]) == abs(Fraction(out[2])) >= Fraction("1.75")

    def test_a_proof_in_real_arithmetic_answers_no_query_about_float32(self, verify):
        """|x| <= 2 leaves 2^-23 to the query: enough in real numbers, and less than what float32 may round."""
        near = second("(>= Y[0,0] 2.00000011920928955078125)")
        assert verify(ABSOLUTE, near)[1] == ["unknown"]
        assert verify(ABSOLUTE, near, "--real")[1] == ["unsat"]
        assert verify(ABSOLUTE, near.replace("float32", "real"))[1] == ["unsat"]
        assert verify(ABSOLUTE, near.replace("float32", "real"), "--semantics", "float32-any-order")[1] == ["unknown"]

    def test_a_proof_about_every_float32_execution_answers_a_query_about_float32(self, verify):
        _, out, err = verify(ABSOLUTE, second("(>= Y[0,0] 2.5)"))
        assert out == ["unsat"] and "float32-any-order" in err
        assert verify(ABSOLUTE, second("(>= Y[0,0] 2.5)"), "--real")[1] == ["unsat"]
        assert verify(ABSOLUTE, second("(>= Y[0,0] 2.5)", "real"))[1] == ["unsat"]

    def test_names_and_types_must_be_the_querys(self, verify):
        code, out, err = verify(ABSOLUTE, second("(>= Y[0,0] 2.5)"), name="other=")
        assert (code, out) == (2, [])
        assert "net=MODEL.onnx" in err
        code, out, err = verify(ABSOLUTE, second("(>= Y[0,0] 2.5)", "float64"))
        assert (code, out) == (2, [])
        assert "float64" in err and "float32" in err

    def test_shapes_of_one_size_are_not_the_same(self, verify):
        layers = [([[1.0, 0, 0, 0]], [0.0])]
        for shape, code in (("[4]", 0), ("[1,4]", 0), ("[2,2]", 2)):
            at = ["[0]", "[1]", "[2]", "[3]"] if shape == "[4]" else [f"[{i},{j}]" for i in range(2) for j in range(2)]
            at = [f"[0,{i}]" for i in range(4)] if shape == "[1,4]" else at
            bounds = "".join(f"(assert (and (>= X{i} 0.0) (<= X{i} 1.0)))\n" for i in at)
            head = f"(declare-network net (declare-input X real {shape}) (declare-output Y real [1]))"
            text = f"(vnnlib-version <2.0>)\n{head}\n{bounds}(assert (>= Y[0] 2.0))\n"
            got, out, err = verify(layers, text)
            assert (got, out) == (code, [] if code else ["unsat"]), err

    def test_an_unread_condition_is_no_ground_for_sat(self, verify):
        assert verify(ABSOLUTE, second("(>= (* Y[0,0] X[0,0]) 1.0)"), "--real")[1] == ["unknown"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify"], "QUERY"),
        (["verify", "{query}"], "--network"),
        (["verify", "{query}", "--network", "none.onnx"], "--network"),
        (["verify", "none.vnnlib", "--network", "{model}"], "QUERY"),
        (["verify", "{query}", "--network", "{model}", "--network", "{model}"], "once"),
        (["verify", "{query}", "--network", "{model}", "--timeout", "0"], "--timeout"),
        (["verify", "{query}", "--network", "{model}", "--memory", "-1"], "--memory"),
        (["verify", "{query}", "--network", "{model}", "--method", "magic"], "--method"),
        (["verify", "{model}", "--network", "{model}"], "net.onnx"),
        (["bench", "none"], "instances.csv"),
        (["supports", "--everything"], "--onnx-operators"),
    ],
)
def test_misuse_is_one_line_on_stderr_and_nothing_on_stdout(files, capsys, arguments, says):
    path, model = files(ABSOLUTE, query([-1], [2], "(>= Y_0 2.5)"))
    assert run([a.format(query=path, model=model) for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err and "Traceback" not in err


def test_supports_speaks_the_words_of_the_standard(capsys):
    def ask(name):
        assert run(["supports", name]) == 0
        return capsys.readouterr().out.splitlines()

    assert ask("--onnx-opset-versions") == ["8", "25"]
    assert ask("--onnx-element-types") == ["real", "float32"]
    assert {"Conv", "Gemm", "Relu"} <= set(ask("--onnx-operators"))
    assert ask("--vnnlib-versions")[0] == "1.0"
    assert ask("--serialise-assignments") == ["true"]
    assert ask("--multiple-network-theories") == ["SNET"]
    for option in ("--name", "--version"):
        assert run([option]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_process_that_is_late_says_so_and_a_start_imports_no_more_than_it_needs(files):
    """One process for both: the watchdog fires in the middle of a computation that never ends."""
    path, model = files(ABSOLUTE, query([-1], [2], "(>= Y_0 2.5)"))
    program = f"""
import sys, time
from unmoved.cli import verify
from unmoved.cli.app import run
assert run(["verify", {str(path)!r}, "--network", {str(model)!r}]) == 0
assert not {{"sympy", "scipy.stats", "pandas", "matplotlib"}} & set(sys.modules), "slow to start"
verify._answer = lambda *_: time.sleep(60)
run(["verify", {str(path)!r}, "--network", {str(model)!r}, "--timeout", "0.5"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.stdout.splitlines(), done.returncode) == (["unsat", "timed-out"], 0), done.stderr


def test_bench_compares_with_what_is_known(tmp_path, capsys):
    (tmp_path / "abs.onnx").write_bytes(onnx_model(ABSOLUTE))
    (tmp_path / "up.vnnlib").write_text(query([-1], [2], "(>= Y_0 2.5)"))
    (tmp_path / "instances.csv").write_text("./abs.onnx,./up.vnnlib,60\n")
    columns = ["onnx", "vnnlib", "result"]
    for known, code in (("unsat", 0), ("sat", 1)):
        with (tmp_path / "expected.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, ["abs.onnx", "up.vnnlib", known]])
        out = tmp_path / "out" / "bench.json"
        assert run(["bench", str(tmp_path), "--out", str(out), "--memory", "16"]) == code
        text = capsys.readouterr().out
        assert "1 of 1 solved" in text and ("WRONG" in text) == bool(code)
        (outcome,) = json.loads(out.read_text())["outcomes"]
        assert (outcome["answer"], outcome["wrong"]) == ("unsat", bool(code))
        assert outcome["cpu_seconds"] > 0


def test_the_first_clause_of_a_wide_query_does_not_hide_the_others():
    """sat although the first hundred boxes are unsat; assignments come from the box that is."""
    parts = " ".join(f"(and (>= X_0 {k}) (<= X_0 {k + 1}) (>= Y_0 {k + 5 if k < 100 else k}))" for k in range(102))
    text = query([0], [200], f"(or {parts})")
    read = read_vnnlib(text)
    found = answer(read, load_onnx(onnx_model(ABSOLUTE)), Budget(60), Terms())
    assert found.word is Word.SAT
    assert found.point[0, 0] >= 100
    assert next(iter(assignment(found, read))).startswith("((X_0 10")
