"""`unmoved demo`, at a scale of seconds: what it says of itself is what its ledgers and its store say."""

import json
import re
from dataclasses import replace

from unmoved.cli import demo
from unmoved.loaders.digits import SOURCES, load

EACH = 3
"""One digit in so many is used."""
TINY = demo.Scale(6, 6, 20, 4, 300, ("0.01", "0.02"), ("0.1",))


def test_the_whole_road(unmoved, tmp_path, monkeypatch):
    digits = load(SOURCES[-1])
    few = replace(digits, x=digits.x[::EACH], y=digits.y[::EACH])
    monkeypatch.setattr(demo, "QUICK", TINY)
    monkeypatch.setattr(demo, "load_digits_5k", lambda: few)
    done = unmoved("demo", "--quick", "--out", tmp_path, "--json")
    assert done.code == 0
    assert "8x8 digits instead" in done.err
    found = done.data
    assert found["checked"]["accepted"] == found["checked"]["of"] > 0
    assert found["attacks"]["certificates_that_held"] == found["attacks"]["of"] > 0
    assert found["agreement"]["contradictions"] == []
    rows = {p.stem: [json.loads(line) for line in p.read_text().splitlines()] for p in tmp_path.glob("ledger-*.jsonl")}
    certified = [q for q in found["questions"] if q["function"] == "f" and q["kind"] == "certify"]
    assert {q["radius"] for q in certified} == {"1/100", "1/50"}
    for question in certified:
        mine = rows[f"ledger-{question['run'][:12]}"]
        proved = sum(row["verdict"] == "CERTIFIED" and row["prediction"] == row["label"] for row in mine)
        assert (question["certified"]["count"], question["inputs"]) == (proved, len(mine)) == (proved, TINY.inputs)
        assert question["clean"]["count"] == sum(row["prediction"] == row["label"] for row in mine)
        assert question["certified"]["count"] <= question["attacked"]["count"] <= question["clean"]["count"]
    bundles = list(tmp_path.glob("certificates/*/*.zip"))
    assert len(bundles) == sum(row["certificate"] is not None for each in rows.values() for row in each)
    page = (tmp_path / "report.html").read_text()
    assert str(tmp_path / "report.html") == found["report"] and demo.TITLE in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert {path.name for path in tmp_path.glob("*.onnx")} == {"ibp.onnx", "smooth.onnx"}
