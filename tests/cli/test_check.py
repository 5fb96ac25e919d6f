"""`unmoved check`: bundles, folders and stores alike; what was changed is rejected with its reason."""

import shutil
import sqlite3
import zipfile

import pytest


@pytest.fixture
def done(unmoved, bench, tmp_path):
    """A finished run."""
    folder = tmp_path / "out"
    arguments = ("--data", bench.path("test.npz"), "--threat", "linf:1/100", "--out", folder)
    unmoved("certify", bench.path("relu.onnx"), *arguments)
    return folder


@pytest.fixture
def settled(ledger, done):
    """How many of its inputs have a certificate."""
    return sum(row["certificate"] is not None for row in ledger(done))


@pytest.mark.parametrize("mode", [(), ("--exact",), ("--float",)])
@pytest.mark.parametrize("place", ["", "store.sqlite", "certificates"])
def test_store_and_bundles_give_the_same(unmoved, done, settled, mode, place):
    found = unmoved("check", done / place, *mode, "--json")
    assert found.code == 0
    assert found.data["accepted"] == found.data["of"] == len(found.data["results"]) == settled
    assert unmoved("check", done / place, *mode).out.splitlines()[-1].startswith(f"{settled} of {settled}")


def test_one_bundle_a_url_and_a_limit(unmoved, done):
    bundle = sorted(done.glob("certificates/*/*.zip"))[0]
    assert unmoved("check", bundle, "--json").data["of"] == 1
    assert unmoved("check", f"sqlite:///{done / 'store.sqlite'}", "--limit", 2, "--json").data["of"] == 2
    assert unmoved("check", done / "certificates", "--limit", 2, "--json").data["of"] == 2


def test_a_changed_bundle_is_rejected_and_the_others_are_not(unmoved, done, settled):
    bundle = sorted(done.glob("certificates/*/*.zip"))[0]
    with zipfile.ZipFile(bundle) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["manifest.json"] = parts["manifest.json"].replace(b'"eps":"1/100"', b'"eps":"1/50"')
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    found = unmoved("check", done / "certificates")
    assert found.code == 1 and found.out.count("rejected:") == 1
    assert f"{settled - 1} of {settled} certificates accepted" in found.out


def test_another_model_is_rejected(unmoved, done, bench):
    found = unmoved("check", done / "certificates", "--model", bench.path("line.onnx"))
    assert found.code == 1 and "not the one that the manifest names" in found.out


@pytest.mark.parametrize(
    "damage", ["UPDATE entries SET data = x'00' WHERE kind = 'payload'", "DELETE FROM entries WHERE kind = 'manifest'"]
)
def test_a_damaged_store_is_rejected_certificate_by_certificate(unmoved, done, settled, damage, tmp_path):
    shutil.copy(done / "store.sqlite", tmp_path / "damaged.sqlite")
    database = sqlite3.connect(tmp_path / "damaged.sqlite")
    database.execute(damage)
    database.commit()
    database.close()
    found = unmoved("check", tmp_path / "damaged.sqlite")
    assert found.code == 1 and f"0 of {settled} certificates accepted" in found.out


def test_a_run_without_certificates_is_nothing_to_check(unmoved, bench, tmp_path):
    arguments = ("--data", bench.path("test.npz"), "--limit", 1, "--out", tmp_path, "--threat", "linf:5")
    unmoved("certify", bench.path("relu.onnx"), *arguments)
    found = unmoved("check", tmp_path)
    assert found.code == 2 and found.err.startswith("error: BUNDLE_OR_STORE: got ")
