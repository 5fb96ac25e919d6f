"""The command, its exit codes, zip and directory bundles, and what a check imports."""

import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from check_kit import Bundle, mlp, random_net
from test_tampering import LABEL, MODEL, good

import unmoved_check
from unmoved_check.cli import main

SOURCE = str(Path(unmoved_check.__file__).parents[1])


def store(path, *, model=True, bundle=None, compression=zipfile.ZIP_STORED, extra=()):
    manifest, payload = (bundle or good()).bytes()
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")
        archive.writestr("manifest.json", manifest)
        archive.writestr("payload.safetensors", payload)
        if model:
            archive.writestr("model.onnx", MODEL)
        for name in extra:
            archive.writestr(name, b"x")
    return path


def spoiled():
    bundle = good()
    bundle.manifest["property"]["label"] = (LABEL + 1) % 4
    return bundle


def directory(path, bundle=None):
    path.mkdir(parents=True)
    manifest, payload = (bundle or good()).bytes()
    (path / "manifest.json").write_bytes(manifest)
    (path / "payload.safetensors").write_bytes(payload)
    return path


@pytest.mark.parametrize("flags", [[], ["--exact"], ["--float"]])
def test_zip_with_its_model(tmp_path, capsys, flags):
    assert main([str(store(tmp_path / "a.zip")), *flags]) == 0
    out = capsys.readouterr().out
    assert "accepted: dual-tree evidence" in out and "1 of 1 accepted" in out
    assert ("exact arithmetic" in out) == (flags == ["--exact"])


def test_directories_and_where_the_model_is_found(tmp_path, capsys):
    one = directory(tmp_path / "all" / "one")
    assert main([str(one)]) == 1
    assert "no model" in capsys.readouterr().out
    for place in (one / "model.onnx", tmp_path / "all" / "model.onnx", tmp_path / "model.onnx"):
        place.write_bytes(MODEL)
        assert main([str(one)]) == 0
        place.unlink()
    (tmp_path / "elsewhere.onnx").write_bytes(MODEL)
    assert main([str(one), "--model", str(tmp_path / "elsewhere.onnx")]) == 0
    directory(tmp_path / "all" / "two", spoiled())
    (tmp_path / "all" / "model.onnx").write_bytes(MODEL)
    store(tmp_path / "all" / "three.zip", model=False)
    capsys.readouterr()
    assert main([str(tmp_path / "all"), "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("accepted") for line in lines] == [True, True, False, 2]
    assert lines[-1] == {"accepted": 2, "checked": 3}


def test_folders_of_folders_and_a_damaged_zip_among_sound_ones(tmp_path, capsys):
    (tmp_path / "certificates" / "run").mkdir(parents=True)
    sound = store(tmp_path / "certificates" / "run" / "a.zip")
    directory(tmp_path / "certificates" / "other" / "b")
    (tmp_path / "certificates" / "model.onnx").write_bytes(MODEL)
    assert main([str(tmp_path / "certificates")]) == 0
    assert "2 of 2 accepted" in capsys.readouterr().out
    (sound.parent / "c.zip").write_bytes(sound.read_bytes()[:200])
    assert main([str(tmp_path / "certificates")]) == 1
    assert "2 of 3 accepted" in capsys.readouterr().out


def test_misuse(tmp_path, capsys):
    assert main([str(tmp_path / "missing")]) == 2
    assert main([str(tmp_path)]) == 2
    assert main([str(store(tmp_path / "a.zip")), "--model", str(tmp_path / "missing.onnx")]) == 2
    assert capsys.readouterr().err.count("unmoved-check:") == 3
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        main(["x", "--exact", "--float"])
    assert stop.value.code == 2


@pytest.mark.parametrize("name", ["../manifest.json", "/etc/x", "notes.txt", "a\\..\\b"])
def test_strange_members(tmp_path, capsys, name):
    assert main([str(store(tmp_path / "a.zip", extra=[name]))]) == 1
    assert "member" in capsys.readouterr().out


def test_compressed_duplicate_and_broken_zips(tmp_path, capsys):
    assert main([str(store(tmp_path / "a.zip", compression=zipfile.ZIP_DEFLATED))]) == 1
    assert "compressed" in capsys.readouterr().out
    assert main([str(store(tmp_path / "b.zip", extra=["manifest.json"]))]) == 1
    assert "twice" in capsys.readouterr().out
    (tmp_path / "c.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:200])
    assert main([str(tmp_path / "c.zip")]) == 1
    assert "not a sound zip" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("manifest.json", b"{}")
    assert main([str(tmp_path / "d.zip")]) == 1
    assert "no payload" in capsys.readouterr().out


def test_the_id_is_the_digest_of_the_manifest():
    from hashlib import sha256

    from unmoved_check.bundle import parse

    manifest, payload = good().bytes()
    assert parse(manifest, payload).id == sha256(manifest).hexdigest()


PROBE = """
import sys
from pathlib import Path
from unmoved_check.cli import main
code = main(sys.argv[1:])
foreign = ("torch", "onnx", "onnxruntime", "unmoved", "safetensors", "scipy", "numpy")
print("LOADED", *(m for m in foreign if m in sys.modules))
sys.exit(code)
"""


@pytest.mark.parametrize(("flag", "expected"), [("--exact", "LOADED"), ("--float", "LOADED numpy")])
def test_a_check_loads_nothing_else(tmp_path, flag, expected):
    path = store(tmp_path / "a.zip")
    run = subprocess.run(
        [sys.executable, "-c", PROBE, str(path), flag],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": SOURCE, "PATH": ""},
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == expected


def test_no_source_file_imports_what_it_must_not():
    import ast

    allowed = {"numpy", "unmoved_check"} | set(sys.stdlib_module_names)
    for path in Path(SOURCE, "unmoved_check").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                assert name.split(".")[0] in allowed, f"{path.name} imports {name}"
                assert name.split(".")[0] != "numpy" or path.name.startswith("floating"), path.name


def test_a_784_100_100_10_net_is_checked_exactly_in_seconds():
    rng = np.random.default_rng(0)
    layers = random_net(rng, [784, 100, 100, 10])
    layers = [(w / np.sqrt(w.shape[1]).astype(np.float32), b) for w, b in layers]
    data = mlp(layers)
    x = rng.random((1, 784)).astype(np.float32)
    y = x[0]
    for i, (w, b) in enumerate(layers):
        y = w @ y + b
        y = y if i == 2 else np.maximum(y, 0)
    bundle = Bundle(
        data,
        x,
        threat={"kind": "lp", "norm": "inf", "eps": "1/1000", "clip": ["0", "1"]},
        property={"kind": "same_class", "label": int(y.argmax()), "classes": 10},
    )
    bundle.manifest["evidence"]["trees"] = [["leaf", k] for k in range(9)]
    result = unmoved_check.Checker(data).check(*bundle.bytes(), mode="exact")
    assert result.accepted and result.seconds < 30, str(result)
