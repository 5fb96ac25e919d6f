"""`unmoved attack`: what it breaks, it breaks where the distance says so, and nowhere inside a certificate."""

from itertools import combinations, product

import numpy as np
import pytest


def test_a_linear_model_is_broken_where_its_distance_ends(unmoved, bench, ledger, tmp_path):
    far = bench.margins("inf")
    size = bench.between(far)
    arguments = (bench.path("line.onnx"), "--data", bench.path("test.npz"), "--threat", f"linf:{size!r}", "--json")
    done = unmoved("attack", *arguments, "--out", tmp_path / "a")
    assert done.code == 0
    assert [row["verdict"] == "FALSIFIED" for row in ledger(tmp_path / "a")] == list(far < size)
    assert done.data["questions"][0]["attacked"]["count"] == (far > size).sum()
    assert done.data["checks"]["accepted"] == done.data["checks"]["total"] == (far < size).sum()


@pytest.mark.parametrize("number", [1, 2])
def test_few_elements_break_what_exhaustive_search_breaks(unmoved, bench, ledger, tmp_path, number):
    """Of a linear model the worst values are ends of the range: all sets of elements, all their ends."""
    broken = []
    for point, label in zip(bench.x.reshape(bench.inputs, 16).astype(np.float64), bench.y, strict=True):
        worst = np.inf
        for chosen in combinations(range(16), number):
            for ends in product((0.0, 1.0), repeat=number):
                moved = point.copy()
                moved[list(chosen)] = ends
                scores = moved @ bench.weights + bench.bias
                worst = min(worst, scores[label] - np.delete(scores, label).max())
        assert abs(worst) > 1e-4, "the question is open in float32"
        broken.append(worst < 0)
    asked = (bench.path("line.onnx"), "--data", bench.path("test.npz"), "--threat", f"l0:{number}")
    done = unmoved("attack", *asked, "--clip", "0,1", "--json", "--out", tmp_path / "a")
    assert done.code == 0 and any(broken) and not all(broken)
    assert [row["verdict"] == "FALSIFIED" for row in ledger(tmp_path / "a")] == broken
    assert done.data["checks"]["accepted"] == done.data["checks"]["total"] == sum(broken)
    assert unmoved("check", tmp_path / "a").code == 0
    refused = unmoved("attack", *asked, "--out", tmp_path / "b")
    assert refused.code == 2 and "--clip: got nothing, expected a range with l0" in refused.err
    assert unmoved("attack", *asked[:-1], "patch:2", "--clip", "0,1", "--out", tmp_path / "b").code == 2


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


def test_the_checks_are_told_and_stand_on_the_page(unmoved, bench, tmp_path):
    common = (bench.path("relu.onnx"), "--data", bench.path("test.npz"), "--threat", "linf:0.02", "--clip", "0,1")
    done = unmoved("attack", *common, "--suite", "quick", "--checks", 6, "--limit", 3, "--out", tmp_path)
    assert done.code == 0 and "vanishing" in done.out and "black-box" in done.out
    page = tmp_path / "page.html"
    unmoved("report", tmp_path, "--out", page)
    text = page.read_text()
    assert "mislead the attacks" in text or "not misled by gradients" in text


def test_a_certificate_that_an_attack_breaks_is_a_bug_of_ours(unmoved, bench, tmp_path, monkeypatch):
    """A false certificate is planted: a proof of the line at a size that breaks every input, let through by force."""
    from dataclasses import replace

    from unmoved.core import Check, Verdict
    from unmoved.core.certificate import Certificate
    from unmoved.evaluate import run

    def lying(problems, method, budget, *, seed, unchecked):
        found = zip(problems, method.decide(problems, budget, seed), strict=True)
        finding = [replace(f, radius=p.threat.eps) for p, f in found]
        check = Check(True, "exact", "accepted: planted", 0.0)
        return [Certificate(p, f, Verdict.CERTIFIED, None, check) for p, f in zip(problems, finding, strict=True)]

    common = (bench.path("line.onnx"), "--data", bench.path("test.npz"), "--threat", "linf:1", "--clip", "0,1")
    with monkeypatch.context() as patched:
        patched.setattr(run, "certify_all", lying)
        unmoved("certify", *common, "--method", "interval", "--out", tmp_path)
    done = unmoved("attack", *common, "--suite", "quick", "--out", tmp_path)
    assert done.code == 1 and "CONTRADICTED" in done.err and "bug of ours" in done.err
    told = unmoved("report", tmp_path, "--out", tmp_path / "page.html")
    assert told.code == 1 and "CONTRADICTED" in told.err
    assert "Contradiction" in (tmp_path / "page.html").read_text()


def test_a_suite_and_plain_steps_exclude_each_other(unmoved, bench, tmp_path):
    common = ("attack", bench.path("relu.onnx"), "--data", bench.path("test.npz"), "--out", tmp_path)
    assert unmoved(*common, "--suite", "odd").code == 2
    done = unmoved(*common, "--suite", "quick", "--steps", 3)
    assert done.code == 2 and "suite" in done.err
    assert unmoved(*common, "--checks", 3).code == 2
