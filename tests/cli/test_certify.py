"""`unmoved certify`: its verdicts against worked-out distances, its files, its JSON, its exit codes."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import unmoved_check
from unmoved.loaders import Runtime
from unmoved_check.model.lowering import RULES


@pytest.mark.parametrize("method", ["auto", "interval", "linear"])
@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_a_linear_model_is_certified_where_its_distance_allows(unmoved, bench, ledger, tmp_path, method, norm):
    if method == "interval" and norm != "inf":
        pytest.skip("interval bounds know the box only, which is not tight for these balls")
    far = bench.margins(norm)
    size = bench.between(far)
    threat = f"{'linf' if norm == 'inf' else 'l' + norm}:{size!r}"
    arguments = ("--data", bench.path("test.npz"), "--threat", threat, "--method", method, "--out", tmp_path)
    done = unmoved("certify", bench.path("line.onnx"), *arguments, "--json")
    (question,) = done.data["questions"]
    assert done.code == 0
    assert [row["verdict"] == "CERTIFIED" for row in ledger(tmp_path)] == list(far > size)
    assert question["certified"]["count"] == (far > size).sum() and question["inputs"] == bench.inputs
    assert question["clean"]["count"] == bench.inputs - 1


def test_everything_is_kept_and_a_stranger_accepts_it(unmoved, bench, ledger, tmp_path):
    arguments = ("--data", bench.path("test.npz"), "--threat", "linf:0.01", "--clip", "0,1", "--out", tmp_path)
    done = unmoved("certify", bench.path("relu.onnx"), *arguments)
    rows = ledger(tmp_path)
    assert [row["index"] for row in rows] == list(range(bench.inputs))
    assert rows[bench.wrong]["verdict"] == "FALSIFIED"
    proved = [row for row in rows if row["verdict"] != "UNKNOWN"]
    bundles = list(tmp_path.glob("certificates/*/*.zip"))
    assert len(bundles) == len(proved) > 6
    assert f"{len(proved)} of {len(proved)} certificates accepted" in done.out
    stranger = subprocess.run(
        [sys.executable, "-m", "unmoved_check", str(tmp_path / "certificates"), "--exact"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(unmoved_check.__file__).parents[1]), "PATH": ""},
        check=False,
    )
    assert stranger.returncode == 0, stranger.stdout + stranger.stderr
    assert stranger.stdout.splitlines()[-1] == f"{len(proved)} of {len(proved)} accepted"


@pytest.mark.parametrize(("criterion", "code"), [("certified>=0.5", 0), ("certified>0.99", 1), ("clean<0.5", 1)])
def test_a_criterion_decides_the_exit_code(unmoved, bench, ledger, tmp_path, criterion, code):
    arguments = ("--data", bench.path("test.npz"), "--threat", "linf:0.0001", "--out", tmp_path, "--require", criterion)
    plain = unmoved("certify", bench.path("line.onnx"), *arguments)
    assert plain.code == code and ("NOT met" in plain.out) == (code == 1)
    machine = unmoved("certify", bench.path("line.onnx"), *arguments, "--json")
    assert machine.code == code and machine.data["require"]["met"] is (code == 0)


def test_a_growing_limit_answers_only_what_is_new(unmoved, bench, ledger, tmp_path):
    arguments = ("certify", bench.path("relu.onnx"), "--data", bench.path("test.npz"), "--out", tmp_path)
    unmoved(*arguments, "--limit", 4)
    first = ledger(tmp_path)
    unmoved(*arguments)
    assert ledger(tmp_path)[:4] == first and len(ledger(tmp_path)) == bench.inputs
    fewer = unmoved(*arguments, "--limit", 2, "--json")
    assert fewer.data["questions"][0]["inputs"] == 2
    assert len(ledger(tmp_path)) == bench.inputs


def test_a_changed_model_is_another_run(unmoved, bench, ledger, tmp_path):
    for name in ("line", "relu"):
        (tmp_path / "model.onnx").write_bytes(Path(bench.path(f"{name}.onnx")).read_bytes())
        unmoved("certify", tmp_path / "model.onnx", "--data", bench.path("test.npz"), "--out", tmp_path / "out")
    assert len(list(tmp_path.glob("out/ledger-*.jsonl"))) == 2
    assert unmoved("check", tmp_path / "out").code == 0


def test_a_store_elsewhere_is_named_in_what_comes_next(unmoved, bench, tmp_path):
    url = f"sqlite:///{tmp_path / 'kept.sqlite'}"
    arguments = ("--data", bench.path("test.npz"), "--store", url, "--out", tmp_path / "out", "--limit", 3)
    done = unmoved("certify", bench.path("relu.onnx"), *arguments)
    assert f"unmoved check {url}" in done.out and (tmp_path / "kept.sqlite").is_file()
    assert unmoved("check", url).code == 0
    assert unmoved("report", url, "--out", tmp_path / "page.html").code == 0


def test_a_module_of_ones_own_with_weights(unmoved, bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ownnets.py").write_text(
        "from torch import nn\ndef line():\n    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))\n"
    )
    weights = {"1.weight": np.ascontiguousarray(bench.weights.T), "1.bias": bench.bias}
    save_file(weights, tmp_path / "w.safetensors")
    arguments = ("--data", bench.path("test.npz"), "--weights", "w.safetensors", "--threat", "linf:0.001", "--json")
    done = unmoved("certify", "ownnets:line", *arguments)
    assert done.code == 0 and done.data["questions"][0]["clean"]["count"] == bench.inputs - 1
    assert unmoved("doctor", "ownnets:line", "--input-shape", "1,1,4,4").code == 0


def test_smoothing_speaks_of_g_and_its_alpha(unmoved, bench, ledger, tmp_path):
    arguments = ("--data", bench.path("test.npz"), "--threat", "l2:0", "--sigma", "0.1", "--samples", 300)
    done = unmoved("certify", bench.path("tangent.onnx"), *arguments, "--alpha", "0.01", "--out", tmp_path, "--json")
    (question,) = (q for q in done.data["questions"] if q["radius"] == "0")
    assert done.code == 0 and question["function"] == "g" and question["certified"]["count"] > 0
    assert done.data["checks"]["accepted"] == done.data["checks"]["total"] > 0
    assert {row["details"]["alpha"] for row in ledger(tmp_path)} == {"1/100"}


def test_what_the_checker_cannot_check_is_unknown_or_marked_everywhere(unmoved, bench, ledger, tmp_path, monkeypatch):
    monkeypatch.delitem(RULES, "Abs")
    arguments = ("certify", bench.path("abs.onnx"), "--data", bench.path("test.npz"), "--threat", "linf:0.0001")
    kept = unmoved(*arguments, "--out", tmp_path / "a")
    assert {row["verdict"] for row in ledger(tmp_path / "a")} == {"UNKNOWN"}
    assert "unchecked" in kept.out and "--unchecked" in kept.out
    through = unmoved(*arguments, "--out", tmp_path / "b", "--unchecked")
    assert "UNCHECKED" in through.out and "UNCHECKED" in through.err
    assert all(row["unchecked"] for row in ledger(tmp_path / "b"))
    machine = unmoved(*arguments, "--out", tmp_path / "b", "--unchecked", "--json")
    assert machine.data["checks"]["unchecked"] == bench.inputs
    assert unmoved("check", tmp_path / "b").code == 1


def test_an_unknown_operator_is_unsupported_and_clean_accuracy_still_right(unmoved, bench, ledger, tmp_path):
    arguments = ("--data", bench.path("test.npz"), "--out", tmp_path)
    done = unmoved("certify", bench.path("cosh.onnx"), *arguments)
    said = Runtime(Path(bench.path("cosh.onnx")).read_bytes()).run(bench.x[:, None]).argmax(1)
    assert "unsupported" in done.out and "Cosh" in done.out
    assert [row["prediction"] for row in ledger(tmp_path)] == said.tolist()
    assert {row["verdict"] for row in ledger(tmp_path)} == {"UNKNOWN"}


def test_pixels_are_scaled_and_it_is_said_where_it_cannot_spoil_json(unmoved, bench, tmp_path):
    pixels = (bench.x * 255).round().astype(np.uint8)
    np.savez(tmp_path / "u8.npz", images=pixels, labels=bench.y)
    names = ("--x-name", "images", "--y-name", "labels")
    done = unmoved(
        "certify", bench.path("line.onnx"), "--data", tmp_path / "u8.npz", *names, "--out", tmp_path, "--json"
    )
    assert "divided by 255" in done.err and done.data["questions"][0]["clean"]["count"] == bench.inputs - 1


def test_the_table_fits_eighty_columns(unmoved, bench, tmp_path):
    done = unmoved("certify", bench.path("relu.onnx"), "--data", bench.path("test.npz"), "--out", tmp_path)
    table = done.out.split("certificates accepted")[0]
    assert max(map(len, table.splitlines())) <= 80 and "…" not in table
    assert all(word in table for word in ("relu.onnx", "clean", "certified", "attacked", "8/255"))


def test_semantics_are_claimed_kept_and_said(unmoved, bench, ledger, tmp_path):
    """The bundles name them, the JSON and the page say them, and real is another run in the same store."""
    arguments = ("--data", bench.path("test.npz"), "--threat", "linf:0.0001", "--limit", "3", "--out", tmp_path)
    deployed = unmoved("certify", bench.path("relu.onnx"), *arguments, "--semantics", "float32-any-order", "--json")
    assert deployed.code == 0, deployed.err
    assert [question["semantics"] for question in deployed.data["questions"]] == ["float32-any-order"]
    bundles = list(tmp_path.glob("certificates/*/*.zip"))
    claims = [json.loads(zipfile.ZipFile(path).read("manifest.json"))["claim"] for path in bundles]
    proved = [claim for claim in claims if claim["verdict"] == "CERTIFIED"]
    assert proved and all(c["semantics"] == "float32-any-order" and c["profile"] == "float32" for c in proved)
    assert unmoved("certify", bench.path("relu.onnx"), *arguments).code == 0
    assert unmoved("check", tmp_path).code == 0
    page = tmp_path / "page.html"
    assert unmoved("report", tmp_path, "--out", page).code == 0
    assert "float32-any-order" in page.read_text() and "exact real arithmetic" in page.read_text()


@pytest.mark.parametrize("extra", [(), ("--sigma", "0.5")])
def test_semantics_that_there_are_not(unmoved, bench, tmp_path, extra):
    name = "float32-any-order" if extra else "float64"
    threat = "l2:0.1" if extra else "linf:0.1"
    arguments = ("--data", bench.path("test.npz"), "--threat", threat, "--out", tmp_path, *extra)
    done = unmoved("certify", bench.path("relu.onnx"), *arguments, "--semantics", name)
    assert done.code == 2 and "--semantics" in done.err and name in done.err
