"""A run that is killed, or stopped by Ctrl-C, goes on from where it was: nothing lost, nothing twice."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial

SECONDS = 40
TIMES = ("seconds", "check_seconds", "check", "at")


def arguments(bench, out):
    """Return a run that takes a quarter of a second for each input: signals must come before its end."""
    settings = ("--threat", "l2:0.05", "--sigma", "0.1", "--samples", "400000", "--mode", "fixed")
    return ["certify", bench.path("relu.onnx"), "--data", bench.path("test.npz"), *settings, "--out", str(out)]


def answered(folder):
    """Return how many answers the store holds."""
    path = folder / "store.sqlite"
    if not path.is_file():
        return 0
    try:
        return sqlite3.connect(path).execute("SELECT count(*) FROM entries WHERE kind = 'row'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def stop_after(bench, out, number, sign):
    """Start the run in a process of its own and send it a signal once `number` answers are there."""
    command = [sys.executable, "-c", "from unmoved.cli import main; main()", *arguments(bench, out)]
    # tests that run in the background of a shell inherit a SIGINT that is ignored
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    until = time.monotonic() + SECONDS
    while answered(out) < number and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(sign)
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def bare(rows):
    """Return the rows without what is different each time."""
    return [{k: v for k, v in row.items() if k not in TIMES} | {"details": None} for row in rows]


def test_kill_and_go_on(unmoved, bench, ledger, tmp_path):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for number in (1, 3):
        code, _, _ = stop_after(bench, broken, number, signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert number <= answered(broken) < bench.inputs
    kept = sqlite3.connect(broken / "store.sqlite").execute("SELECT data FROM entries WHERE kind = 'row'").fetchall()
    code, out, err = stop_after(bench, broken, answered(broken) + 1, signal.SIGINT)
    assert code == 130 and "Traceback" not in err and out == ""
    assert err.splitlines()[-1].startswith("stopped;")
    assert unmoved(*arguments(bench, broken)).code == 0
    assert unmoved(*arguments(bench, whole)).code == 0
    rows = ledger(broken)
    assert [row["index"] for row in rows] == list(range(bench.inputs))
    assert bare(rows) == bare(ledger(whole))
    assert all(json.loads(data) in rows for (data,) in kept)
    assert unmoved("check", broken).code == 0


def test_two_at_once_in_one_folder(unmoved, bench, ledger, tmp_path):
    first = ["certify", bench.path("relu.onnx"), "--data", bench.path("test.npz"), "--out", str(tmp_path)]
    command = [sys.executable, "-c", "from unmoved.cli import main; main()"]
    process = subprocess.Popen([*command, *first], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    second = unmoved(*first)
    _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, second.code) == (0, 0), err
    assert [row["index"] for row in ledger(tmp_path)] == list(range(bench.inputs))
    assert unmoved("check", tmp_path).code == 0
