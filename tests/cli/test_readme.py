"""What README.md and --help promise: every shown command runs, every option is documented."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from unmoved.cli.app import app
from unmoved_check.cli import main as checker

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHOWN = [line for kind, block in BLOCKS if kind != "python" for line in block.splitlines() if line.strip()]
COMMANDS = typer.main.get_command(app).commands


def words(line):
    return shlex.split(line, comments=True)


def test_every_shown_command_runs(unmoved, bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, source in (("model.onnx", "relu.onnx"), ("test.npz", "test.npz")):
        (tmp_path / name).write_bytes(Path(bench.path(source)).read_bytes())
    ours = [words(line)[1:] for line in SHOWN if words(line)[:1] == ["unmoved"]]
    assert {"certify", "attack", "check", "report", "doctor"} <= {line[0] for line in ours}
    for line in ours:
        done = unmoved(*line)
        assert done.code == 0, (line, done.err)
        machine = unmoved(*line, "--json")
        assert machine.code == 0 and isinstance(machine.data, dict), line
    assert (tmp_path / "report.html").is_file()
    theirs = [words(line)[1:] for line in SHOWN if words(line)[:1] == ["unmoved-check"]]
    assert theirs and all(checker(line) == 0 for line in theirs)


def test_the_python_snippet_runs(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(Path(bench.path("relu.onnx")).read_bytes())
    (snippet,) = (block for kind, block in BLOCKS if kind == "python")
    # seven is a class of digits; these models have three
    exec(compile(snippet.replace("SameClass(7)", "SameClass(0)"), "README.md", "exec"), {"x": bench.x, "y": bench.y})
    accuracy, verdict = capsys.readouterr().out.splitlines()[:2]
    assert 0 <= float(accuracy) <= 1 and verdict.split()[0] in ("CERTIFIED", "FALSIFIED", "UNKNOWN")


def test_make_has_the_targets_that_are_shown():
    targets = {word for line in SHOWN if words(line)[:1] == ["make"] for word in words(line)[1:] if "=" not in word}
    assert {"demo", "test"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_every_option_in_the_readme_exists():
    known = {option for command in COMMANDS.values() for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))
    assert named <= known


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("columns", ["80", "120"])
def test_every_option_is_explained_by_help(unmoved, monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", columns)
    done = unmoved(name, "--help")
    assert done.code == 0 and max(map(len, done.out.splitlines())) <= int(columns) and "…" not in done.out
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name
        if parameter.param_type_name == "option":
            assert max(parameter.opts, key=len) in done.out
        else:
            assert parameter.metavar in done.out
    assert name in unmoved("--help").out
