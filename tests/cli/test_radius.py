"""`unmoved radius`: on a linear model the radius is the distance to the nearest other class, in closed form."""

import os
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest

KINDS = {"linf": "inf", "l2": "2", "l1": "1"}
EPS = {"linf": Fraction(1, 5), "l2": Fraction(1, 2), "l1": Fraction(1)}
STEPS = 8


def asked(bench, word, *more):
    given = ("--data", bench.path("test.npz"), "--threat", f"{word}:{EPS[word]}", "--steps", STEPS)
    return ("radius", bench.path("line.onnx"), *given, *more)


@pytest.mark.parametrize("word", KINDS)
def test_between_the_certified_and_the_broken_size_lies_the_distance(unmoved, bench, tmp_path, word):
    exact, eps = bench.margins(KINDS[word]), EPS[word]
    done = unmoved(*asked(bench, word, "--json", "--out", tmp_path))
    assert done.code == 0, done.err
    unit, inputs = float(eps / 2**STEPS), done.data["inputs"]
    assert len(inputs) == bench.inputs and (exact < float(eps)).any() and (exact > float(eps)).any()
    for each, far in zip(inputs, exact, strict=True):
        proved = float(Fraction(each["certified"]))
        assert min(far, float(eps)) - 2 * unit <= proved <= far, (each, far)
        if far < float(eps) * 0.95:
            broken = float(Fraction(each["broken"]))
            assert far <= broken <= 1.1 * far + 2 * unit, (each, far)
        elif far > float(eps):
            assert each["broken"] is None and Fraction(each["certified"]) == eps
    assert Fraction(inputs[bench.wrong]["broken"]) == 0 and inputs[bench.wrong]["verdict"] == "FALSIFIED"
    sizes = [Fraction(each["certified"]) for each in inputs]
    mean = done.data["average_certified_radius"]
    assert (
        mean["value"] == pytest.approx(float(sum(sizes) / len(sizes))) and mean["low"] <= mean["value"] <= mean["high"]
    )
    # half of the inputs have at least the median
    assert sum(size >= Fraction(done.data["median"]) for size in sizes) >= len(sizes) / 2
    told = done.data["checks"]
    assert told["accepted"] == told["total"] == bench.inputs


def test_proofs_and_witnesses_are_kept_checked_again_and_reported(unmoved, bench, ledger, tmp_path):
    done = unmoved(*asked(bench, "linf", "--out", tmp_path))
    assert done.code == 0 and "average" in done.out and "median" in done.out and "broken" in done.out
    rows = ledger(tmp_path)
    beside = [row for row in rows if row["details"].get("broken")]
    both = [row for row in beside if row["verdict"] == "CERTIFIED"]
    assert both and len(beside) > len(both)
    names = {
        name for row in rows for name in (row["certificate"], (row["details"].get("broken") or {}).get("certificate"))
    }
    names.discard(None)
    again = unmoved("check", tmp_path, "--json")
    assert again.code == 0 and again.data["of"] == again.data["accepted"] == len(names) > len(rows)
    assert len(list((tmp_path / "certificates").glob("*/*.zip"))) == len(names)
    page = unmoved("report", tmp_path, "--out", tmp_path / "page.html", "--json")
    assert page.code == 0 and page.data["agreement"]["contradictions"] == []
    far, eps = bench.margins("inf"), float(EPS["linf"])
    for line in page.data["questions"]:
        size = float(Fraction(line["radius"]))
        clear = np.abs(far - size) > eps / 2**STEPS * 2
        count, found = ((far > size) & clear).sum(), line["certified"]["count"]
        assert count <= found <= count + (~clear).sum(), line
        assert found <= line["attacked"]["count"] <= bench.inputs


def test_an_attack_beside_it_bears_on_the_radii(unmoved, bench, tmp_path):
    unmoved(*asked(bench, "linf", "--out", tmp_path))
    common = (bench.path("line.onnx"), "--data", bench.path("test.npz"), "--threat", "linf:0.05", "--out", tmp_path)
    assert unmoved("attack", *common, "--suite", "quick").code == 0
    found = unmoved("report", tmp_path, "--out", tmp_path / "page.html", "--json").data
    tested = int((bench.margins("inf") > 0.05 + 0.2 / 2**STEPS).sum())
    assert found["agreement"]["tested"] >= tested > 0 and found["agreement"]["contradictions"] == []
    assert unmoved("compare", tmp_path, "--out", tmp_path / "board.html").code == 2, "nothing but radii and attacks"


def test_what_is_killed_goes_on_where_it_stopped(bench, ledger, tmp_path, unmoved):
    """Killed after the first answers; the second run does the rest only, and ends as an undisturbed one does."""
    few = ("--limit", 7, "--steps", 4)
    arguments = [str(part) for part in asked(bench, "l2", *few, "--out", tmp_path / "a")]
    start = [sys.executable, "-c", "from unmoved.cli.app import main; main()", *arguments]
    child = subprocess.Popen(start, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    from unmoved.store import open_store, rows, runs

    path, kept = tmp_path / "a" / "store.sqlite", []
    for _ in range(600):
        if path.is_file() and child.poll() is None:
            store = open_store(path)
            kept = [row for run in runs(store) for row in rows(store, run)]
            store.close()
        if len(kept) >= 2 or child.poll() is not None:
            break
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert len(kept) >= 2
    assert unmoved(*asked(bench, "l2", *few, "--out", tmp_path / "a")).code == 0
    assert unmoved(*asked(bench, "l2", *few, "--out", tmp_path / "b")).code == 0
    one, other = ledger(tmp_path / "a"), ledger(tmp_path / "b")
    assert [row["radius"] for row in one] == [row["radius"] for row in other]
    assert [row["at"] for row in one[: len(kept)]] == [row.at for row in kept]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--threat", "l0:2"), "--threat: got 'l0:2', expected"),
        (("--threat", "linf:0"), "--threat: got 'linf:0', expected"),
        (("--threat", "linf:0.1", "--steps", 0), "--steps: got 0, expected a whole number from 1 to 30"),
        (("--method", "smoothing"), "--method: got 'smoothing', expected unmoved certify --sigma"),
        (("--method", "odd"), "--method"),
        (("--seconds", -1), "--seconds"),
    ],
)
def test_misuse_is_said_at_the_door(unmoved, bench, tmp_path, more, said):
    out = tmp_path / "out"
    done = unmoved("radius", bench.path("line.onnx"), "--data", bench.path("test.npz"), "--out", out, *more)
    assert done.code == 2 and said in done.err and not out.exists()


@pytest.mark.parametrize("word", KINDS)
def test_a_timeout_says_what_is_proved_of_a_smaller_size(unmoved, bench, ledger, tmp_path, word):
    """Without any time all but the wrong one are timeouts; what stands beside is below the distance, and is checked."""
    given = ("--data", bench.path("test.npz"), "--threat", f"{word}:{EPS[word]}", "--method", "branch")
    done = unmoved("certify", bench.path("line.onnx"), *given, "--seconds", "1e-9", "--out", tmp_path)
    assert done.code == 0 and "timeouts are proved at smaller sizes" in done.out
    rows, far, beside = ledger(tmp_path), bench.margins(KINDS[word]), 0
    for row, most in zip(rows, far, strict=True):
        if row["index"] == bench.wrong:
            assert row["verdict"] == "FALSIFIED"
            continue
        assert row["verdict"] == "UNKNOWN" and row["reason"].startswith("timeout") and row["radius"] is None
        if "smaller" in row["details"]:
            size, unit = float(Fraction(row["details"]["smaller"]["eps"])), float(EPS[word]) / 64
            assert min(most, float(EPS[word])) - unit <= size <= most
            beside += 1
    assert 1 <= beside <= sum(far > float(EPS[word]) / 64)
    again = unmoved("check", tmp_path, "--json")
    assert again.code == 0 and again.data["accepted"] == again.data["of"] == beside + 1
    page = unmoved("report", tmp_path, "--out", tmp_path / "page.html", "--json")
    assert page.data["questions"][0]["certified"]["count"] == 0
