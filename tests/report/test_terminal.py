import json
from fractions import Fraction

from rich.console import Console

from unmoved.evaluate import read_results
from unmoved.report import summary_json, summary_table


def printed(results, width=200):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(summary_table(results))
    return capture.get()


def test_the_table_says_what_the_rows_say(full):
    store, rows = full
    text = printed(read_results(store))
    certified = sum(r.verdict == "CERTIFIED" for r in rows["certify", "f", "1/10"])
    line = next(line for line in text.splitlines() if "L∞ ≤ 0.1 " in line)
    tenths = certified * 1000 // 60
    assert f"{tenths // 10}.{tenths % 10} %" in line and f"{certified}/{certified}" in line
    accepted = sum(r.check is not None for each in rows.values() for r in each)
    assert f"{accepted} of {accepted} certificates accepted" in " ".join(text.split())
    assert "UNCHECKED" not in text and "CONTRADICTED" not in text


def test_hostile_names_are_no_markup(store, fabricate):
    world = fabricate.World(5, names=("[bold red]x[/]\x1b[2J[/nope]", "g"))
    fabricate.certify_f(store, world, "1/10")
    text = printed(read_results(store))
    assert "[bold red]x[/]" in text and "\x1b" not in text


def test_unchecked_and_contradicted_are_loud(store, world, fabricate):
    run = fabricate.run_of(world, kind="certify", eps="1/10")
    said = {"verdict": "CERTIFIED", "reason": None, "radius": "1/10", "unchecked": True}
    world.f[:] = world.y
    fabricate.write(store, world, run, [fabricate.row_of(world, i, **said) for i in range(3)])
    world.fall[:] = 0.01
    fabricate.attack_f(store, world, "1/20")
    text = " ".join(printed(read_results(store)).split())
    assert "3 UNCHECKED" in text and "3 CONTRADICTED" in text


def test_json_is_exact_and_can_be_written(full):
    store, rows = full
    found = json.loads(json.dumps(summary_json(read_results(store)), allow_nan=False))
    line = next(q for q in found["questions"] if q["function"] == "f" and q["radius"] == "1/10")
    assert line["certified"]["count"] == sum(r.verdict == "CERTIFIED" for r in rows["certify", "f", "1/10"])
    assert line["attacked"]["count"] == sum(r.verdict == "UNKNOWN" for r in rows["attack", "f", "1/10"])
    assert sum(line["settled"].values()) == line["inputs"] == 60
    assert found["agreement"]["contradictions"] == [] and found["agreement"]["tested"] > 0
    assert Fraction(line["radius"]) == Fraction(1, 10)


def test_nothing_is_cut_off_at_80_columns(full):
    store, _ = full
    text = printed(read_results(store), width=80)
    assert "…" not in text and max(map(len, text.splitlines())) <= 80


def test_nothing_gives_no_table():
    assert summary_json([])["questions"] == [] and "0 of 0" in printed([])
