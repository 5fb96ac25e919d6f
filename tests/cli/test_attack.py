"""`unmoved attack`: what it breaks, it breaks where the distance says so, and nowhere inside a certificate."""


def test_a_linear_model_is_broken_where_its_distance_ends(unmoved, bench, ledger, tmp_path):
    far = bench.margins("inf")
    size = bench.between(far)
    arguments = (bench.path("line.onnx"), "--data", bench.path("test.npz"), "--threat", f"linf:{size!r}", "--json")
    done = unmoved("attack", *arguments, "--out", tmp_path / "a")
    assert done.code == 0
    assert [row["verdict"] == "FALSIFIED" for row in ledger(tmp_path / "a")] == list(far < size)
    assert done.data["questions"][0]["attacked"]["count"] == (far > size).sum()
    assert done.data["checks"]["accepted"] == done.data["checks"]["total"] == (far < size).sum()


def test_beside_certificates_it_says_that_they_held(unmoved, bench, tmp_path):
    common = (bench.path("relu.onnx"), "--data", bench.path("test.npz"), "--threat", "linf:0.02", "--clip", "0,1")
    unmoved("certify", *common, "--out", tmp_path)
    unmoved("attack", *common, "--out", tmp_path, "--steps", 5, "--restarts", 1)
    found = unmoved("report", tmp_path, "--out", tmp_path / "page.html", "--json").data
    assert found["agreement"]["tested"] > 0 and found["agreement"]["contradictions"] == []
    (question,) = found["questions"]
    assert question["certified"]["count"] <= question["attacked"]["count"] <= bench.inputs


def test_the_smoothed_model_can_be_attacked(unmoved, bench, tmp_path):
    common = ("--data", bench.path("test.npz"), "--threat", "l2:0.3", "--sigma", "0.1", "--samples", 200)
    more = ("--steps", 3, "--restarts", 1, "--limit", 3, "--out", tmp_path, "--json")
    done = unmoved("attack", bench.path("relu.onnx"), *common, *more)
    assert done.code == 0 and done.data["questions"][0]["function"] == "g"


def test_an_unknown_operator_cannot_be_attacked_and_that_is_said(unmoved, bench, tmp_path):
    done = unmoved("attack", bench.path("tangent.onnx"), "--data", bench.path("test.npz"), "--out", tmp_path)
    assert done.code == 0 and "unsupported" in done.out
