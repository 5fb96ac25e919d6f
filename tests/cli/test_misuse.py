"""Every mistake gets one clear line (argument as typed, value, what was expected), exit code 2, and loses nothing."""

import sqlite3
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from unmoved.cli.app import run


@pytest.fixture(scope="module")
def work(bench, tmp_path_factory):
    """A folder of bad files, beside a finished run in `kept`."""
    folder = tmp_path_factory.mktemp("misuse")
    for name in ("relu.onnx", "one.onnx", "test.npz"):
        (folder / name).write_bytes(Path(bench.path(name)).read_bytes())
    hole, x, y = bench.x.copy(), bench.x, bench.y
    hole[3, 0, 1, 2] = np.nan
    bad = {
        "shape": (x[:, :, :3], y),
        "letters": (x.astype(str), y),
        "objects": (np.array([{}, 1, None], dtype=object), y),
        "range": (x, y + 3),
        "negative": (x, y - 5),
        "floats": (x, y.astype(float)),
        "few": (x, y[:4]),
        "hole": (hole, y),
        "empty": (x[:0], y[:0]),
        "bright": (x * 2, y),
        "flat": (x[:, 0, 0, 0], y),
    }
    for name, (inputs, labels) in bad.items():
        np.savez(folder / f"{name}.npz", x=inputs, y=labels)
    np.save(folder / "array.npy", x)
    for name in ("text.onnx", "text.npz", "text.sqlite"):
        (folder / name).write_text("these are words, and nothing else at all\n")
    (folder / "nothing.onnx").touch()
    (folder / "afile").touch()
    (folder / "factories.py").write_text(
        "def three():\n    return 3\ndef broken():\n    raise RuntimeError('no luck')\n"
    )
    sqlite3.connect(folder / "foreign.sqlite").execute("CREATE TABLE recipes (name TEXT)").connection.commit()
    two = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "abc"]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "two", two[:2], two[2:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "two.onnx")
    data, kept = folder / "test.npz", folder / "kept"
    assert run(["certify", str(folder / "relu.onnx"), "--data", str(data), "--out", str(kept)]) == 0
    return folder


def traces(folder):
    """Return what must not change: the files of the finished run, and the entries of its store."""
    kept = sorted(path for path in (folder / "kept").rglob("*") if path.is_file() and ".sqlite" not in path.name)
    database = sqlite3.connect(folder / "kept" / "store.sqlite")
    count = database.execute("SELECT count(*) FROM entries").fetchone()
    database.close()
    return count, [(path, sha256(path.read_bytes()).hexdigest()) for path in kept]


DATA = ("certify", "relu.onnx", "--out", "kept", "--data")
GOOD = (*DATA, "test.npz")
SMOOTH = (*GOOD, "--threat", "l2:0.5", "--sigma", "0.5")
ATTACK = ("attack", *GOOD[1:])
CASES = [
    (("certify", "relu.onnx"), "--data: got nothing"),
    (("certify",), "MODEL: got nothing"),
    (("certify", "missing.onnx", *GOOD[2:]), "MODEL: got 'missing.onnx', expected an existing .onnx file"),
    (("certify", "text.onnx", *GOOD[2:]), "text.onnx is not an ONNX file"),
    (("certify", "nothing.onnx", *GOOD[2:]), "nothing.onnx is not an ONNX file"),
    (("certify", ".", *GOOD[2:]), "MODEL: got '.'"),
    (("certify", "two.onnx", *GOOD[2:]), "the model has 2 inputs and 1 outputs, expected one of each"),
    (("certify", "one.onnx", *GOOD[2:]), "at least two"),
    (("certify", "factories:three", *GOOD[2:]), "MODEL: got 'factories:three', expected"),
    (("certify", "factories:broken", *GOOD[2:]), "no luck"),
    (("certify", "factories:absent", *GOOD[2:]), "a name that factories has"),
    (("certify", "nowhere:net", *GOOD[2:]), "a module that can be imported"),
    ((*GOOD, "--weights", "w.safetensors"), "--weights: got 'w.safetensors', expected none"),
    ((*DATA, "missing.npz"), "--data: got 'missing.npz', expected an existing .npz file"),
    ((*DATA, "text.npz"), "text.npz is not an npz file"),
    ((*DATA, "array.npy"), "array.npy is not an npz file"),
    ((*DATA, "shape.npz"), "--data, array x: got 'inputs of shape (1, 3, 4)', expected the model's input shape"),
    ((*DATA, "letters.npz"), "--data, array x: got '<U"),
    ((*DATA, "objects.npz"), "objects.npz cannot be read"),
    ((*DATA, "flat.npz"), "--data, array x: got (12,)"),
    ((*DATA, "range.npz"), "expected labels from 0 to 2"),
    ((*DATA, "negative.npz"), "expected labels >= 0"),
    ((*DATA, "floats.npz"), "--data, array y: got 'float64', expected"),
    ((*DATA, "few.npz"), "--data, array y: got '4 labels'"),
    ((*DATA, "hole.npz"), "--data, array x: got 'NaN or infinity inside'"),
    ((*DATA, "empty.npz"), "at least one input"),
    ((*DATA, "bright.npz", "--clip", "0,1"), "expected values within the clip range [0, 1]"),
    ((*GOOD, "--x-name", "images"), "--x-name: got 'images', expected one of the arrays in test.npz: x, y"),
    *(
        ((*GOOD, "--threat", f"linf:{size}"), f"--threat: got 'linf:{size}'")
        for size in ("-1", "nan", "inf", "1e999", "")
    ),
    *(((*GOOD, "--threat", threat), f"--threat: got '{threat}', expected one of linf:") for threat in ("warp:3", "")),
    *(((*GOOD, "--clip", clip), f"--clip: got '{clip}'") for clip in ("1,0", "0", "0,1,2", "words", ",", "")),
    ((*GOOD, "--clip", "nan,1"), "--clip: got 'nan'"),
    (
        (*GOOD, "--method", "magic"),
        "--method: got 'magic', expected one of auto, interval, zonotope, intersection",
    ),
    ((*GOOD, "--method", "linear", "--sigma", "1"), "--sigma: got '1'"),
    ((*GOOD, "--threat", "l2:1", "--method", "smoothing"), "--sigma: got nothing"),
    ((*GOOD, "--samples", "100"), "--samples: got 100, expected a"),
    ((*GOOD, "--threat", "l0:1", "--sigma", "0.5"), "--threat: got 'l0:1', expected"),
    ((*SMOOTH, "--clip", "0,1"), "without a clip range"),
    *(
        ((*SMOOTH, "--alpha", alpha), f"--alpha: got '{alpha}'")
        for alpha in ("0", "1", "2", "-0.1", "nan", "1e-400", "a")
    ),
    *(((*SMOOTH[:-1], sigma), f"--sigma: got '{sigma}'") for sigma in ("0", "-1", "nan", "x")),
    ((*SMOOTH, "--samples", "20"), "--samples: got 20, expected at least"),
    ((*SMOOTH, "--samples", "0"), "--samples: got 0"),
    ((*SMOOTH, "--samples", "many"), "--samples: got 'many', expected a whole number"),
    ((*SMOOTH, "--threat", "l2:100"), "--threat: got 'l2:100', expected"),
    ((*SMOOTH, "--grid", "0"), "--grid: got 0"),
    ((*SMOOTH, "--tsv", "afile/log.tsv"), "--tsv: got 'afile/log.tsv'"),
    ((*GOOD, "--tsv", "log.tsv"), "--tsv: got 'log.tsv', expected a smoothing run"),
    *(((*GOOD, "--limit", limit), f"--limit: got {limit}") for limit in ("0", "-3")),
    ((*GOOD, "--limit", "1.5"), "--limit: got '1.5', expected a whole number"),
    ((*GOOD, "--limit"), "--limit"),
    *(((*GOOD, "--seconds", seconds), f"--seconds: got {float(seconds)}") for seconds in ("0", "-1", "nan")),
    ((*GOOD, "--seconds", "soon"), "--seconds: got 'soon', expected a number"),
    *(
        ((*GOOD, "--require", text), f"--require: got '{text}'")
        for text in ("certified>0,8", "luck>=1", "certified", "")
    ),
    ((*GOOD, "--nonsense"), "--nonsense"),
    ((*GOOD, "more"), "more"),
    ((*GOOD, "--out", "afile"), "--out: got 'afile', expected a folder that can be written"),
    ((*GOOD, "--out", "afile/below"), "--out: got 'afile/below'"),
    ((*GOOD, "--store", "afile/s.sqlite"), "--store: got 'afile/s.sqlite'"),
    ((*GOOD, "--store", "text.sqlite"), "--store: got 'text.sqlite', expected a store written by unmoved"),
    ((*GOOD, "--store", "foreign.sqlite"), "a database of another program"),
    ((*GOOD, "--store", "postgres://host/x"), "--store: got 'postgres://host/x', expected a path, or sqlite:///PATH"),
    ((*GOOD, "--store", ""), "--store: got"),
    ((*ATTACK, "--steps", "0"), "--steps: got 0"),
    ((*ATTACK, "--restarts", "-1"), "--restarts: got -1"),
    ((*ATTACK, "--threat", "linf:x"), "--threat: got 'linf:x'"),
    (("check", "missing"), "BUNDLE_OR_STORE: got 'missing', expected a bundle, a folder of bundles, or a store"),
    (("check", "foreign.sqlite"), "BUNDLE_OR_STORE: got 'foreign.sqlite', expected a store written by unmoved"),
    (("check", "kept", "--exact", "--float"), "--exact, --float: got 'both'"),
    (("check", "kept", "--limit", "0"), "--limit: got 0"),
    (("check", "kept", "--model", "relu.onnx"), "--model: got 'relu.onnx', expected no model"),
    (("check", "kept/certificates", "--model", "missing.onnx"), "--model: got 'missing.onnx'"),
    (("report", "missing"), "STORE: got 'missing'"),
    (
        ("report", "kept", "--out", "afile/page.html"),
        "--out: got 'afile/page.html', expected a file that can be written",
    ),
    (("report", "kept", "--out", "."), "--out: got '.'"),
    (("doctor", "missing.onnx"), "MODEL: got 'missing.onnx'"),
    (("doctor", "factories:three"), "MODEL: got 'factories:three'"),
    (("doctor", "relu.onnx", "--input-shape", "1,a"), "--input-shape: got '1,a', expected whole numbers with commas"),
    (("demo", "--out", "afile/demo"), "--out: got 'afile/demo'"),
    (("nonsense",), "nonsense"),
]


@pytest.mark.parametrize(("arguments", "said"), CASES, ids=[" ".join(arguments) for arguments, _ in CASES])
def test_one_clear_line_and_nothing_lost(unmoved, work, monkeypatch, arguments, said):
    monkeypatch.chdir(work)
    before = traces(work)
    done = unmoved(*arguments)
    assert done.code == 2
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: ")
    assert said in lines[0]
    assert done.out == ""
    assert traces(work) == before


def test_a_damaged_store_is_said_to_be_one(unmoved, work, tmp_path, monkeypatch):
    monkeypatch.chdir(work)
    damaged = bytearray((work / "kept" / "store.sqlite").read_bytes())
    damaged[5000::97] = bytes(255 - value for value in damaged[5000::97])
    path = tmp_path / "damaged.sqlite"
    path.write_bytes(damaged)
    for arguments in ((*GOOD, "--store", path), ("check", path), ("report", path, "--out", tmp_path / "page.html")):
        done = unmoved(*arguments)
        assert done.code in (1, 2) and "Traceback" not in done.err
        assert done.code == 1 or done.err.splitlines()[-1].startswith("error: ")


def test_the_installed_command_ends_with_the_code_and_without_a_traceback(work):
    command = [sys.executable, "-c", "from unmoved.cli import main; main()"]
    wrong = subprocess.run([*command, "doctor", "missing.onnx"], cwd=work, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr and wrong.stderr.count("\n") == 1
    bare = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    assert bare.returncode == 2 and "certify" in bare.stdout and bare.stderr == ""
