"""`unmoved audit` by its exit codes and output, and `unmoved certify --tsv` read back by it."""

import json
import re
import sys
from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy import stats

from unmoved.cli import main

HEAD = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
CLOCK = re.compile(r"\d+:[0-5]\d:[0-5]\d\.\d{6}")


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unmoved", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return run


@pytest.fixture
def log(tmp_path):
    """A log of Cohen's kind: N = 100000, alpha = .01, sigma .25, every hundredth of 50000, rounded to nearest."""
    rng, n = np.random.default_rng(0), 100_000
    k = rng.binomial(n, np.where(rng.random(500) < 0.3, 1, stats.norm.cdf(rng.uniform(0.1, 3.6, 500))))
    radii = 0.25 * stats.norm.ppf(stats.beta.ppf(0.01, k, n - k + 1))
    lines = [
        f"{100 * i}\t7\t7\t{r:.3}\t1\t0:02:30.000000\n" if r > 0 else f"{100 * i}\t7\t-1\t0.0\t0\t0:02:30.000000\n"
        for i, r in enumerate(radii)
    ]
    path = tmp_path / "some.tsv"
    path.write_text(HEAD + "".join(lines))
    return path


def test_a_whole_log_is_zero_and_says_how_it_was_made(command, log):
    code, out, _ = command("audit", log, "--json")
    found = json.loads(out)["logs"][0]
    assert code == 0 and found["rows"] == 500 and found["data"]["expected"] == 500
    setting = found["setting"]
    assert (setting["sigma"], setting["samples"], setting["alpha"]) == (0.25, 100_000, 0.01)
    assert setting["probability"] > 0.999 and setting["unmatched"] == 0
    assert [flag["kind"] for flag in found["flags"]] == ["rounded-to-nearest", "alpha"]
    lines = [line.split("\t") for line in log.read_text().splitlines()[1:]]
    assert found["acr_exact"] == str(sum(Fraction(line[3]) for line in lines) / 500)


def test_people_see_the_alpha_and_the_curve(command, log):
    code, out, _ = command("audit", log, log)
    assert code == 0
    assert "N = 100000, alpha = 0.01" in out and "not the 0.001" in out and "rounded to nearest" in out
    assert "Certified accuracy" in out and "0.75" in out


def test_a_partial_log_is_one_and_says_which(command, log):
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:428]))
    code, out, err = command("audit", log)
    assert code == 1 and "427 of 500" in out and "serious: partial, in some.tsv" in err
    code, out, _ = command("audit", log, "--json", "--data-size", "42700")
    assert code == 0 and json.loads(out)["logs"][0]["data"]["size_known"] == "given"


def test_not_a_number_is_one(command, tmp_path):
    path = tmp_path / "log.tsv"
    path.write_text(HEAD + "0\t1\t1\tnan\t1\t1.5\n")
    code, out, err = command("audit", path)
    assert code == 1 and "line 2" in out and "not-finite" in err


@pytest.mark.parametrize("text", ["", "no header\n", HEAD + "0\t1\t1\t0.5\t1\n", HEAD])
def test_malformed_is_two_in_one_line(command, tmp_path, text):
    path = tmp_path / "log.tsv"
    path.write_text(text)
    code, _, err = command("audit", path)
    assert code == 2 and "log.tsv" in err and "Traceback" not in err


@pytest.mark.parametrize("option", [("--sigma", "0"), ("--sigma", "much"), ("--data-size", "0")])
def test_misuse_is_two(command, log, option):
    code, _, err = command("audit", log, *option)
    assert code == 2 and option[0][2:] in err


def test_no_log_is_two(command):
    assert command("audit")[0] == 2
    assert command("audit", "none.tsv")[0] == 2


@pytest.fixture
def model(tmp_path):
    """A linear model of 2 inputs and 3 classes, and 40 inputs on the grid of 255ths, many labels wrong."""
    weights = np.array([[4, -2, -2], [0, 3, -3]], np.float32)
    offsets = np.array([-1.5, 0.5, 0.6], np.float32)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    graph = helper.make_graph(
        [node],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(offsets, "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    rng = np.random.default_rng(1)
    x = (rng.integers(0, 256, (40, 2)) / 255).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=rng.integers(0, 3, 40))
    return tmp_path


def test_certify_writes_a_log_that_audit_reads_back_without_a_flag(command, model):
    path = model / "run_s0.25.tsv"
    smoothing = ("--threat", "l2:0", "--sigma", "0.25", "--samples", "1000")
    arguments = ("certify", model / "m.onnx", "--data", model / "d.npz", *smoothing, "--out", model / "out")
    assert command(*arguments, "--tsv", path)[0] == 0
    ledger = next((model / "out").glob("ledger-*.jsonl"))
    answers = [json.loads(line) for line in ledger.read_text().splitlines()]
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert lines[0] == HEAD.split() and len(lines) == 41
    for row, (index, label, predict, radius, correct, time) in zip(answers, lines[1:], strict=True):
        assert (int(index), int(label)) == (row["index"], row["label"])
        assert int(predict) == (-1 if row["prediction"] is None else row["prediction"])
        assert int(correct) == (row["prediction"] == row["label"]) and CLOCK.fullmatch(time)
        proved = row["details"].get("sample_radius") if row["prediction"] is not None else 0.0
        assert 0 <= Fraction(proved) - Fraction(radius) < Fraction(1, 10**6)
        if row["verdict"] == "CERTIFIED":
            assert Fraction(radius) <= Fraction(row["radius"])
    answered = {line[2] for line in lines[1:]}
    assert {"0", "1"} & answered and any(line[4] == "0" and line[2] != "-1" for line in lines[1:])
    code, out, _ = command("audit", path, "--data-size", "40", "--json")
    found = json.loads(out)["logs"][0]
    assert code == 0 and [flag for flag in found["flags"] if flag["level"] != "note"] == []
    assert found["clean"]["count"] == sum(row["prediction"] == row["label"] for row in answers)
    certified = [Fraction(line[3]) for line in lines[1:] if line[4] == "1"]
    assert found["acr_exact"] == str(sum(certified) / 40)


def test_the_log_is_of_smoothing_only(command, model):
    arguments = ("certify", model / "m.onnx", "--data", model / "d.npz", "--out", model / "out")
    code, _, err = command(*arguments, "--threat", "linf:0.01", "--tsv", model / "log.tsv")
    assert code == 2 and "tsv" in err and not (model / "log.tsv").exists()
    smoothing = ("--threat", "l2:0", "--sigma", "0.25", "--samples", "100", "--limit", "1")
    code, _, err = command(*arguments, *smoothing, "--tsv", model / "nowhere" / "log.tsv")
    assert code == 2 and "tsv" in err
