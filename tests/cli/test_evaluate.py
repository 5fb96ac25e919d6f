"""`unmoved evaluate` and `compare` on models whose answers are known: y = W x, so that every radius is a distance."""

from fractions import Fraction

import numpy as np
import pytest

from unmoved.store import open_store, runs


@pytest.fixture
def sizes(bench):
    """A size with some distances below it and some above, and that the distances of halves are not near."""
    return bench.between(bench.margins("inf"))


def test_every_figure_is_that_of_the_distances(unmoved, bench, sizes, tmp_path):
    out = tmp_path / "out"
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, x=1 - bench.x[:5])
    command = ["evaluate", bench.path("line.onnx"), "--data", bench.path("test.npz"), "--threat", f"linf:{sizes}"]
    command += ["--method", "linear", "--sizes", "2", "--ood", foreign]
    command += ["--corruptions", "fog,pixelate", "--severities", "2,4"]
    done = unmoved(*command, "--out", out, "--json")
    assert done.code == 0, done.err
    (section,) = done.data["sections"]
    (found,) = section["defences"]
    margins = bench.margins("inf")
    assert found["clean"]["count"] == bench.inputs - 1 and found["contradicted"] == 0
    assert [Fraction(at["size"]) for at in found["sizes"]] == [Fraction(repr(sizes)) / 2, Fraction(repr(sizes))]
    for at, share in zip(found["sizes"], (sizes / 2, sizes), strict=True):
        assert at["certified"]["count"] == (margins > share).sum()
        assert at["attacked"]["count"] >= at["certified"]["count"]
        assert at["gap"]["count"] == at["attacked"]["count"] - at["certified"]["count"]
        assert at["coverage"]["count"] - at["certified"]["count"] in (0, 1)  # the wrong answer was asked about too
    assert found["out_of_distribution"]["outside"] == 5
    assert 0 <= found["out_of_distribution"]["auroc_radius"]["value"] <= 1
    cells = found["corrupted"]["families"]
    assert [(c["family"], c["severity"]) for c in cells] == [(f, s) for f in ("fog", "pixelate") for s in (2, 4)]
    assert all(c["certified"]["count"] <= c["right"]["count"] <= c["right"]["total"] == bench.inputs for c in cells)
    page = (out / "evaluation.html").read_text()
    assert "http:" not in page and "https:" not in page and "<script" not in page and "#1100" not in page
    # a report on the same store has a chapter for the data, none for what was made of it
    report = unmoved("report", out, "--out", tmp_path / "report.html")
    assert report.code == 0 and "fog" not in (tmp_path / "report.html").read_text()
    assert unmoved("check", out).code == 0


def test_it_resumes_and_shares_what_certify_answered(unmoved, bench, sizes, tmp_path):
    out, data = tmp_path / "out", ["--data", bench.path("test.npz"), "--out", tmp_path / "out"]
    assert unmoved("certify", bench.path("relu.onnx"), *data, "--threat", f"linf:{sizes}").code == 0
    store = open_store(out / "store.sqlite")
    before = {name: store.read("row", name) for name in store.keys("row")}
    command = ["evaluate", bench.path("relu.onnx"), *data, "--threat", f"linf:{sizes}", "--no-attack"]
    assert unmoved(*command).code == 0
    after = {name: store.read("row", name) for name in store.keys("row")}
    assert before.items() <= after.items()
    kinds = len(runs(store))
    assert unmoved(*command).code == 0 and len(runs(store)) == kinds
    assert {name: store.read("row", name) for name in store.keys("row")} == after


def test_methods_side_by_side_are_as_tight_as_they_are(unmoved, bench, sizes, tmp_path):
    command = ["evaluate", bench.path("relu.onnx"), "--data", bench.path("test.npz"), "--threat", f"linf:{sizes}"]
    done = unmoved(*command, "--method", "interval", "--method", "linear", "--out", tmp_path / "out", "--json")
    (section,) = done.data["sections"]
    certified = {d["method"]: d["sizes"][0]["certified"]["count"] for d in section["defences"]}
    assert set(certified) == {"interval", "linear"} and certified["linear"] >= certified["interval"]


def test_smoothing_beside_bounds_in_l2(unmoved, bench, tmp_path):
    command = ["evaluate", bench.path("line.onnx"), "--data", bench.path("test.npz"), "--threat", "l2:0.05"]
    command += ["--method", "linear", "--method", "smoothing", "--sigma", "0.1", "--samples", "300", "--no-attack"]
    done = unmoved(*command, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    (section,) = done.data["sections"]
    by = {d["function"]: d for d in section["defences"]}
    assert set(by) == {"f", "g"} and by["g"]["average_radius"]["value"] > 0
    assert by["f"]["sizes"][0]["certified"]["count"] == (bench.margins("2") > 0.05).sum()


def test_compare_keeps_to_common_inputs_and_says_so(unmoved, bench, sizes, tmp_path):
    page = tmp_path / "page.html"
    for name, limit in (("relu", "12"), ("line", "7")):
        command = ["certify", bench.path(f"{name}.onnx"), "--data", bench.path("test.npz"), "--threat", f"linf:{sizes}"]
        assert unmoved(*command, "--limit", limit, "--out", tmp_path / name).code == 0
    done = unmoved("compare", tmp_path / "relu", tmp_path / "line", "--out", page, "--title", "Two", "--json")
    (section,) = done.data["sections"]
    assert section["inputs"] == 7 and section["restricted"]
    assert sorted(d["inputs"] for d in section["defences"]) == [7, 12]
    line = next(d for d in section["defences"] if d["model_name"] == "line.onnx")
    assert line["sizes"][0]["certified"]["count"] == (bench.margins("inf")[:7] > sizes).sum()
    text = page.read_text()
    assert "only those that all of them have are compared" in text and "<title>Two</title>" in text
    plain = unmoved("compare", tmp_path / "relu", tmp_path / "line", "--out", page)
    assert plain.code == 0 and max(map(len, plain.out.splitlines()[:-1])) <= 80


def test_runs_about_different_inputs_are_refused(unmoved, bench, tmp_path):
    other = tmp_path / "other.npz"
    np.savez(other, x=bench.x * np.float32(0.5), y=bench.y)
    for name, data in (("a", bench.path("test.npz")), ("b", other)):
        command = [
            "certify",
            bench.path("line.onnx"),
            "--data",
            data,
            "--threat",
            "linf:0.01",
            "--out",
            tmp_path / name,
        ]
        assert unmoved(*command).code == 0
    done = unmoved("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "page.html")
    assert done.code == 2 and "in common" in done.err and not (tmp_path / "page.html").exists()


def test_published_files_are_read(unmoved, bench, tmp_path):
    folder = tmp_path / "mnist-c" / "fog"
    folder.mkdir(parents=True)
    np.save(folder / "test_images.npy", np.rint(bench.x[:, 0, :, :, None] * 255).astype(np.uint8))
    np.save(folder / "test_labels.npy", bench.y)
    command = ["evaluate", bench.path("line.onnx"), "--data", bench.path("test.npz"), "--threat", "linf:0.01"]
    done = unmoved(*command, "--no-attack", "--corrupted", folder.parent, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    (section,) = done.data["sections"]
    (cell,) = section["defences"][0]["corrupted"]["families"]
    assert (cell["family"], cell["severity"], cell["right"]["count"]) == ("fog", None, bench.inputs - 1)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--corruptions", "mist"], "--corruptions"),
        (["--severities", "0"], "--severities"),
        (["--sizes", "0"], "--sizes"),
        (["--limit", "0"], "--limit"),
        (["--method", "magic"], "--method"),
        (["--threat", "ball:3"], "--threat"),
        (["--ood", "none.npz"], "--ood"),
        (["--corrupted", "nowhere"], "--corrupted"),
    ],
)
def test_misuse_is_one_line_and_names_the_option(unmoved, bench, tmp_path, extra, named):
    done = unmoved(
        "evaluate", bench.path("line.onnx"), "--data", bench.path("test.npz"), *extra, "--out", tmp_path / "o"
    )
    assert done.code == 2 and named in done.err and len(done.err.strip().splitlines()) == 1


def test_json_of_nothing_to_compare(unmoved, bench, tmp_path):
    assert unmoved("compare", tmp_path).code == 2
    out = tmp_path / "attacked"
    command = [
        "attack",
        bench.path("line.onnx"),
        "--data",
        bench.path("test.npz"),
        "--threat",
        "linf:0.01",
        "--steps",
        "2",
    ]
    assert unmoved(*command, "--out", out, "--limit", "2").code == 0
    done = unmoved("compare", out)
    assert done.code == 2 and "certif" in done.err


def test_the_report_shows_methods_of_one_size_against_time(unmoved, bench, sizes, tmp_path):
    command = ["certify", bench.path("relu.onnx"), "--data", bench.path("test.npz"), "--threat", f"linf:{sizes}"]
    page = tmp_path / "report.html"
    for method, shown in (("interval", False), ("linear", True)):
        assert unmoved(*command, "--method", method, "--out", tmp_path / "out").code == 0
        assert unmoved("report", tmp_path / "out", "--out", page).code == 0
        assert ("Tightness against time at" in page.read_text()) == shown
