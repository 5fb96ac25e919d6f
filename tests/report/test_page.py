import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser

import numpy as np
import pytest

from unmoved.core import UsageError
from unmoved.record import digest
from unmoved.report import render, write_report
from unmoved.store import open_store

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Checks that tags nest and close, and collects ids, addresses and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.scripts, self.words, self.tags = [], [], [], [], [], set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), (tag, names)
        assert not any(name.startswith("on") for name in names), (tag, names)
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[name] for name in ("src", "href", "xlink:href", "action", "poster") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] in ("script", "style") else self.words).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def down(value):
    tenths = int(Fraction(value) * 1000)
    return f"{tenths // 10}.{tenths % 10} %"


def up(value):
    tenths = -int(-Fraction(value) * 1000 // 1)
    return f"{tenths // 10}.{tenths % 10} %"


def test_the_page_is_well_formed_and_needs_nothing_else(full):
    store, _ = full
    text = render(store)
    page = Reader(text)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "http:" not in text and "https:" not in text and "@import" not in text and "url(http" not in text
    assert not page.tags & {"link", "iframe", "object", "embed", "form"}
    assert "#1100" not in text, "a figure's stand-in colour was left on the page"


def test_the_policy_on_the_page_allows_its_own_script_and_no_other(full):
    import base64
    import hashlib

    text = render(full[0])
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    allowed = re.search(r"script-src 'sha256-([^']+)'", text)[1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed.replace("&#43;", "+")
    assert "default-src 'none'" in text and text.count("<script") == 1


def test_the_numbers_on_the_page_are_those_of_the_rows(full):
    store, rows = full
    text = Reader(render(store, eps="0.1")).text
    for eps in ("1/20", "1/10", "3/20", "1/5"):
        certified = sum(r.verdict == "CERTIFIED" and r.prediction == r.label for r in rows["certify", "f", eps])
        standing = sum(r.verdict == "UNKNOWN" for r in rows["attack", "f", eps])
        size = f"{float(Fraction(eps)):g}"
        line = re.search(rf"L∞ ≤ {size} f (.*?) (?:\d+) (?:\d+ abstained )?{certified} of {certified}", text)[1]
        assert down(Fraction(certified, 60)) in line and up(Fraction(standing, 60)) in line
    certified = sum(r.verdict == "CERTIFIED" for r in rows["certify", "f", "1/10"])
    wrong = sum(r.prediction != r.label for r in rows["certify", "f", "1/10"])
    broken = sum(r.verdict == "FALSIFIED" for r in rows["attack", "f", "1/10"]) - wrong
    left = 60 - certified - wrong - broken
    answer = text[text.index("On ") : text.index("Accepted by")]
    assert f"On {certified} of 60 inputs of made-up digits ({down(Fraction(certified, 60))};" in answer
    for number, said in ((wrong, "wrong before any change"), (broken, "broken by an attack"), (left, "neither")):
        assert not number or re.search(rf"\b{number} (is|are) {said}", answer)
    accepted = sum(r.check is not None for each in rows.values() for r in each)
    assert f"{accepted} of {accepted} certificates and witnesses" in text


def test_radii_in_the_table_are_never_above_the_proved_ones(full):
    store, rows = full
    text = render(store)
    table = text[text.index("against L2 changes") :]
    proved = {r.index: Fraction(r.radius) for r in rows["certify", "g", "0"] if r.radius}
    shown = re.findall(r'data-index="(\d+)".*?</td>\s*<td class="number">([\d.]+|–)</td>', table, re.DOTALL)
    shown = {int(i): value for i, value in shown if value != "–"}
    assert shown.keys() == proved.keys()
    for index, value in shown.items():
        assert proved[index] - Fraction(1, 1000) < Fraction(value) <= proved[index]


def test_hostile_names_stay_text(store, fabricate):
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 1234567 }}$x$‮"
    world = fabricate.World(12, names=(evil, evil + "g"))
    fabricate.certify_f(store, world, "1/10")
    fabricate.attack_f(store, world, "1/10")
    fabricate.certify_g(store, world)
    run = fabricate.run_of(
        world,
        kind="certify",
        eps="1/5",
        method=evil,
        data_name=evil,
        threat=evil,
        tool=evil,
        settings={evil: evil},
    )
    row = fabricate.row_of(
        world, 0, reason=f"unproved: {evil} ({evil})", check_mode=evil, at=evil, check="accepted: " + evil
    )
    other = fabricate.row_of(world, 1, reason=evil, check=evil)
    fabricate.write(store, world, run, [row, other])
    text = render(store, title=evil)
    page = Reader(text)
    assert text.count("<script") == 1 and "<img src=x" not in text and "‮" not in text
    assert "8641969" not in page.text and "{{ 7 * 1234567 }}" in page.text
    assert all(link.startswith(("#", "data:image/png")) for link in page.links)


def test_an_empty_store_is_a_clear_misuse(store, tmp_path):
    with pytest.raises(UsageError, match=r"store: got .* expected a store with at least one answered input"):
        write_report(store, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_folder_in_the_way_is_a_clear_misuse(full, tmp_path):
    with pytest.raises(UsageError, match="out: got"):
        write_report(full[0], tmp_path)


def test_the_labels_of_the_sample_are_said(store, world, fabricate):
    world.y[:] = 4
    world.y[:7] = 1
    fabricate.certify_f(store, world, "1/10")
    assert "labels 1 (7 times), 4 (53 times)" in Reader(render(store)).text


def test_the_file_is_written_where_asked(full, tmp_path):
    path = write_report(full[0], tmp_path / "new" / "report.html", title="My title")
    assert path == tmp_path / "new" / "report.html" and "<title>My title</title>" in path.read_text(encoding="utf-8")


def test_only_unknown_rows(store, world, fabricate):
    run = fabricate.run_of(world, kind="certify", eps="1/10")
    fabricate.write(store, world, run, [fabricate.row_of(world, i) for i in range(20)])
    page = Reader(render(store))
    assert "On 0 of 20 inputs" in page.text and "No attack was run" in page.text
    assert "not tried" in page.text


def test_only_smoothing(store, world, fabricate):
    fabricate.certify_g(store, world)
    text = Reader(render(store)).text
    assert "smoothed with Gaussian noise of σ = 0.5" in text and "f and g side by side" in text
    assert "with probability at least 99.9 %" in text
    assert "α · m ≤ 0.06 false ones" in text
    assert "Witnesses were confirmed" not in text


def test_smoothing_that_certifies_nothing(store, world, fabricate):
    world.p_low[:] = 0.4
    fabricate.certify_g(store, world)
    text = Reader(render(store)).text
    assert "On 0 of 60" in text and "60 are without an answer" in text


def test_only_an_attack_proves_nothing(store, world, fabricate):
    fabricate.attack_f(store, world, "1/10")
    text = Reader(render(store)).text
    assert "Nothing is proved" in text and "left standing by an attack" in text


def test_unchecked_certificates_are_said_first_and_everywhere(store, world, fabricate):
    run = fabricate.run_of(world, kind="certify", eps="1/10", unchecked=True)
    said = {"verdict": "CERTIFIED", "reason": None, "radius": "1/10", "unchecked": True}
    rows = [fabricate.row_of(world, i, **said, check="rejected: unchecked operator Mish") for i in range(5)]
    fabricate.write(store, world, run, rows)
    text = Reader(render(store)).text
    right = sum(world.f[:5] == world.y[:5])
    assert text.index("Not re-checked") < text.index(f"On {right} of 5")
    assert "is claimed, without an independent check, to keep" in text and "is proved to keep" not in text
    assert "5 certificates were let through without an independent check" in text
    assert "0 of 5 certificates and witnesses" in text and text.count("unchecked") >= 5 + 2


def test_runs_of_different_inputs_are_not_joined_by_a_line(store, world, fabricate):
    fabricate.certify_f(store, world, "1/20")
    run = fabricate.run_of(world, kind="certify", eps="1/10")
    fabricate.write(store, world, run, [fabricate.row_of(world, i) for i in range(5)])
    assert "The runs are about different inputs" in Reader(render(store)).text


def test_a_contradiction_is_said_first(store, world, fabricate):
    world.f[:] = world.y
    world.proof[:] = 0.3
    world.fall[:] = 0.05
    fabricate.certify_f(store, world, "1/10")
    fabricate.attack_f(store, world, "1/10")
    text = Reader(render(store)).text
    assert text.index("Contradiction 60 certified inputs were broken") < text.index("inputs of made-up digits")
    assert "0 of 60 certificates that were attacked" in text


def test_rejected_evidence_is_said_first(store, world, fabricate):
    run = fabricate.run_of(world, kind="certify", eps="1/10")
    bad = fabricate.row_of(world, 0, reason="rejected: bound is 0", check="rejected: bound is 0")
    fabricate.write(store, world, run, [bad, fabricate.row_of(world, 1)])
    text = Reader(render(store)).text
    assert text.index("Rejected evidence The independent checker did not accept 1") < text.index("On 0 of 2")


def test_what_is_not_proved_is_said(full):
    text = Reader(render(full[0])).text
    limits = text[text.index("What is not proved The arithmetic") :]
    for said in ("float32", "deploy g", "1 − α", "α · m ≤ 0.06", "many seeds", "fair coins", "about one input", "void"):
        assert said in limits
    for said in ("Other threats", "sample", "MEASURE 2.7", "Article 15", "unmoved-check BUNDLE"):
        assert said in text
    assert "complian" not in text.lower()


def test_an_auditor_finds_every_id(full, fabricate):
    store, _ = full
    text = Reader(render(store)).text
    for name in store.keys("run"):
        from unmoved.record import Run

        assert Run.from_json(store.read("run", name)).id in text
    for said in (fabricate.MODEL_F, fabricate.MODEL_G, fabricate.DATA, "unmoved/certificate/1", "2025-01-02 03:04Z"):
        assert said in text


def test_no_name_of_this_machine(full):
    import getpass
    import platform
    from pathlib import Path

    text = render(full[0])
    assert str(Path.cwd()) not in text and str(full[0].path.parent) not in text
    assert platform.node() not in text or len(platform.node()) < 4
    assert f"/{getpass.getuser()}/" not in text


def test_inputs_that_are_no_images_are_shown_as_numbers(store, fabricate):
    world = fabricate.World(8)
    world.x = np.arange(8 * 5, dtype=np.float32).reshape(8, 5) / 40
    fabricate.certify_f(store, world, "1/10")
    text = render(store)
    assert "0.125, 0.15, 0.175, 0.2, 0.225" in text and "<img" not in text
    assert "every input value at once" in text


def test_missing_inputs_are_no_crash(tmp_path, world, fabricate):
    store = open_store(tmp_path / "bare.db")
    run = fabricate.run_of(world, kind="certify", eps="1/10")
    from unmoved.store import Entry, row_entry

    store.write([Entry.of("run", run.to_json())])
    store.write([row_entry(run, replace(fabricate.row_of(world, 0), input=digest(b"gone")))])
    assert "<img" not in render(store)


def test_a_thousand_inputs_stay_a_page_that_opens(store, fabricate):
    world = fabricate.World(1000)
    fabricate.certify_f(store, world, "1/10")
    fabricate.attack_f(store, world, "1/10")
    text = render(store)
    assert len(text.encode()) < 6_000_000
    assert "The first 500 of 1 000 inputs" in Reader(text).text


def test_only_the_runs_that_are_asked_for(full, fabricate, world):
    store, _ = full
    run = fabricate.run_of(world, kind="certify", eps="1/10")
    text = render(store, only={run.id})
    assert run.id in text and "smoothed" not in Reader(text).text


def test_the_same_store_gives_the_same_page_but_for_its_date(full):
    first, second = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", render(full[0])) for _ in range(2))
    assert first == second
