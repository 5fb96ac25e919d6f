"""certify with noise, and check --resample, as typed: what comes out, and what is refused in one line."""

import json
import zipfile

import numpy as np
import pytest

from unmoved.cli import app as command_line
from unmoved.cli.console import MISUSE, NOT_MET, OK
from unmoved.smooth.voting.engine import has_bfloat16
from unmoved.testing import Perceptron

NET = Perceptron(((np.array([[-1, 0], [1, 0]], np.float32), np.zeros(2, np.float32)),)).network
DISTANCES = (0.9, 0.7, 0.05, -0.8)


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    (tmp_path / "m.onnx").write_bytes(NET.source)
    x = np.round(np.array([[[d, 0]] for d in DISTANCES]) * 255) / 255
    np.savez(tmp_path / "d.npz", x=x.astype(np.float32), y=np.ones(len(x), np.int64))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["unmoved", *words])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        told = capsys.readouterr()
        return left.value.code or 0, told.out, told.err

    return run


CERTIFY = ("certify", "m.onnx", "--data", "d.npz", "--sigma", "0.5", "--samples", "3000", "--out", "o")


@pytest.mark.parametrize(
    ("asked", "certified"),
    [
        (("--threat", "l2:0"), 3),
        (("--threat", "l2:0.5", "--mode", "target"), 2),
        (("--threat", "l2:0", "--mode", "grid", "--label-known"), 2),
        (("--threat", "l2:0.5", "--mode", "fixed"), 2),
        (("--threat", "l2:0.5", "--cohen", "--alpha", "0.01"), 2),
        (("--threat", "l2:0.5", "--family", "bonferroni"), 2),
        (("--threat", "l2:0.5", "--family", "holm"), 2),
    ],
)
def test_modes_and_families(call, tmp_path, asked, certified):
    code, out, err = call(*CERTIFY, *asked, "--json")
    told = json.loads(out)
    assert code == OK and "copies a second" in err
    rows = [json.loads(line) for path in tmp_path.glob("o/ledger-*.jsonl") for line in path.read_text().splitlines()]
    assert abs(sum(row["verdict"] == "CERTIFIED" for row in rows) - certified) <= ("l2:0" in asked)
    if "--family" in asked:
        assert told["family"]["kind"] in asked and told["family"]["inputs"] == 4 and "all" in told["family"]["says"]
        assert all(row["details"]["family"] == told["family"] for row in rows)
    else:
        assert told["family"] is None
    if "--label-known" in asked:
        assert "skipped" in rows[3]["reason"] and rows[3]["details"]["drawn"] == 0
    assert call("check", "o")[0] == OK


def test_resample(call, tmp_path):
    assert call(*CERTIFY, "--threat", "l2:0.5")[0] == OK
    code, out, _ = call("check", "o", "--resample", "1000", "--json")
    told = json.loads(out)
    assert code == OK and told["good"] == told["of"] == 2
    for result in told["results"]:
        assert result["redrawn"]["redrawn"] == 1000 and result["redrawn"]["mismatches"] == 0
        assert 0 < result["supported"] < float(result["redrawn"]["claimed"])
    bundle = next(tmp_path.glob("o/certificates/*/*.zip"))
    code, out, _ = call("check", str(bundle), "--resample", "100")
    assert code == OK and "1 of 1 certificates stand" in out and "supported at 99%" in out


@pytest.mark.skipif(not has_bfloat16(), reason="this processor does not compute in bfloat16 itself")
def test_bfloat16_is_said_and_copies_are_drawn_again_in_it(call, tmp_path):
    assert call(*CERTIFY, "--threat", "l2:0.5", "--precision", "bfloat16")[0] == OK
    bundle = next(tmp_path.glob("o/certificates/*/*.zip"))
    with zipfile.ZipFile(bundle) as files:
        told = json.loads(files.read("manifest.json"))
    assert told["provenance"]["engine"].startswith("bfloat16, batch")
    code, out, _ = call("check", "o", "--resample", "3000", "--json")
    told = json.loads(out)
    assert code == OK and told["good"] == told["of"] == 2


def test_resample_finds_another_model_out(call, tmp_path):
    """Another model under the certified one's name: rejected before anything is drawn."""
    assert call(*CERTIFY, "--threat", "l2:0.5")[0] == OK
    other = Perceptron(((np.array([[1, 0], [-1, 0]], np.float32), np.zeros(2, np.float32)),)).network
    for path in tmp_path.glob("o/certificates/*/model.onnx"):
        path.write_bytes(other.source)
    bundle = next(tmp_path.glob("o/certificates/*/*.zip"))
    code, out, _ = call("check", str(bundle), "--resample", "100")
    assert code == NOT_MET and "0 of 1" in out and "not the one" in out


@pytest.mark.parametrize(
    "asked",
    [
        ("--mode", "best"),
        ("--family", "sidak"),
        ("--cohen", "--mode", "grid"),
        ("--family", "holm", "--mode", "grid"),
        ("--threat", "l2:3", "--mode", "target"),
        ("--precision", "float16"),
        ("--jobs", "0"),
    ],
)
def test_mistakes_are_one_line(call, asked):
    threat = () if "--threat" in asked else ("--threat", "l2:0.5")
    code, out, err = call(*CERTIFY, *threat, *asked)
    assert code == MISUSE and out == "" and err.startswith("error: ") and err.count("\n") == 1
    code, _, err = call("check", "o", "--resample", "0")
    assert code == MISUSE
