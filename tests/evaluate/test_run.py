"""Runs over a data set: resumed after kill -9, grown, and refused at the door with the argument named."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from unmoved.core import Code, Finding, Guarantee, Reason, UsageError, Verdict
from unmoved.evaluate.run import dataset, execute
from unmoved.store import SqliteStore, done, rows, runs
from unmoved.threats import L2, Linf
from unmoved_check.check import Checker

WORKER = Path(__file__).with_name("worker.py")
_spec = spec_from_file_location("worker", WORKER)
worker = module_from_spec(_spec)
sys.modules["worker"] = worker
_spec.loader.exec_module(worker)
N = worker.INPUTS
TIMES = ("seconds", "check_seconds", "check", "at")


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "s.sqlite")
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The answers of a run that nothing interrupted."""
    return execute(worker.job(), SqliteStore(tmp_path_factory.mktemp("whole") / "s"))


def timeless(found):
    """Drop the times; margins, which are for people, may differ in the last bits with the company in a batch."""
    short = [replace(row, margin=row.margin and float(f"{row.margin:.9g}")) for row in found]
    return [{k: v for k, v in asdict(row).items() if k not in TIMES} for row in short]


def test_the_rows_are_the_answers(whole, store):
    job = worker.job()
    assert [row.index for row in whole] == list(range(N))
    assert {row.verdict for row in whole} == {"CERTIFIED", "FALSIFIED", "UNKNOWN"}
    found = execute(job, store)
    assert timeless(found) == timeless(whole)
    checker = Checker(store.read("model", job.network.digest))
    for row in found:
        assert row.label == job.data.y[row.index] and store.read("input", row.input)
        assert (row.radius == "1/3") is (row.verdict == "CERTIFIED") and row.certified is (row.verdict == "CERTIFIED")
        if row.verdict != "UNKNOWN":
            bundle = store.read("manifest", row.certificate), store.read("payload", row.payload)
            assert checker.check(*bundle, mode="exact").accepted
        else:
            assert row.certificate is row.payload is None and row.reason


@pytest.mark.parametrize("after", [0, 6])
def test_killed_and_run_again(tmp_path, whole, after):
    """Rows as if nothing had happened, each once; what was answered before the kill is not asked again."""
    path = tmp_path / "s.sqlite"
    process = subprocess.Popen([sys.executable, WORKER, path, str(N)], stdout=PIPE, text=True)
    for line in process.stdout:
        if int(line) >= after:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    store, job = SqliteStore(path), worker.job(rest=0.05)
    before = rows(store, job.run)
    assert after <= len(before) < N and len(before) % 3 == 0
    asked = []
    found = execute(job, store, progress=lambda d, n, fresh: asked.extend(row.index for row in fresh))
    assert timeless(found) == timeless(whole)
    assert sorted(asked + [row.index for row in before]) == list(range(N))
    assert [row for row in found if row.index not in asked] == before
    assert len(store.keys("row")) == N and len(runs(store)) == len(store.keys("run")) == 1
    assert set(store.keys("manifest")) == {row.certificate for row in found if row.certificate}
    assert len(store.keys("input")) == N


def test_two_runs_at_once_give_each_row_once(tmp_path, whole):
    path, job = tmp_path / "s.sqlite", worker.job(rest=0.05)
    other = subprocess.Popen([sys.executable, WORKER, path, str(N)], stdout=PIPE, text=True)
    assert other.stdout.readline() == "0\n"
    assert timeless(execute(job, SqliteStore(path))) == timeless(whole)
    assert other.communicate()[0].splitlines()[-1] == str(N) and other.returncode == 0
    assert timeless(rows(SqliteStore(path), job.run)) == timeless(whole)


def test_limit_grows(store, whole):
    """Growing the limit asks only what is new; a smaller limit returns its rows and asks nothing."""
    steps = []
    job = worker.job()
    for limit in (1, 5, 5, 2, None, 99):
        fresh = []
        found = execute(job, store, limit=limit, progress=lambda d, n, new, fresh=fresh: fresh.append((d, n, len(new))))
        assert timeless(found) == timeless(whole)[:limit]
        steps.append((fresh[0], sum(new for *_, new in fresh), fresh[-1][:2]))
    assert steps == [
        ((0, 1, 0), 1, (1, 1)),
        ((1, 5, 0), 4, (5, 5)),
        ((5, 5, 0), 0, (5, 5)),
        ((2, 2, 0), 0, (2, 2)),
        ((5, N, 0), N - 5, (N, N)),
        ((N, N, 0), 0, (N, N)),
    ]
    assert len(store.keys("row")) == N


@pytest.mark.parametrize(
    "changes",
    [
        *({"threat": Linf("1/17", (0, 1))}, {"threat": Linf("1/3")}, {"threat": L2("1/3")}, {"seed": 1}),
        *({"kind": "attack"}, {"unchecked": True}, {"seconds": 60.0}, {"method": worker.Slow("float32")}),
    ],
    ids=str,
)
def test_another_question_is_another_run(store, changes):
    job = worker.job()
    execute(job, store, limit=2)
    other = replace(job, **changes)
    assert other.run.id != job.run.id and done(store, other.run) == set()
    assert len(execute(other, store, limit=1)) == 1 and len(runs(store)) == 2


def test_other_names_are_the_same_run(store):
    job = worker.job()
    execute(job, store, limit=2)
    renamed = replace(job, model_name="other", data=replace(job.data, name="other"), seconds=float("inf"))
    assert done(store, renamed.run) == {0, 1} and len(execute(renamed, store, limit=2)) == 2
    assert len(runs(store)) == 1
    assert replace(job, seconds=60).run.id == replace(job, seconds=60.0).run.id


def test_other_data_is_another_run():
    job = worker.job()
    x, y = job.data.x.copy(), job.data.y.copy()
    x[-1].flat[0] = np.nextafter(x[-1].flat[0], np.float32(2))
    y[-1] = (y[-1] + 1) % 3
    ids = {replace(job, data=replace(job.data, **part)).run.id for part in ({}, {"x": x}, {"y": y}, {"x": x[:-1]})}
    assert len(ids) == 4


@dataclass(frozen=True)
class Numpy(worker.LinearMethod):
    """Says the same with numpy's numbers, and details that JSON cannot hold."""

    def decide(self, problems, budget, seed):
        details = {"a": np.float32(0.5), "b": np.array([1, 2]), "c": float("nan"), "d": {"e": (np.int64(3), np.inf)}}
        found = super().decide(problems, budget, seed)
        wild = {"prediction": np.int64(1), "margin": np.float32(np.inf), "seconds": np.float32(0.5)}
        return [replace(finding, **wild, details=details | {"f": Fraction(1, 3)}) for finding in found]


def test_numbers_of_numpy_are_kept_plain(store):
    for row in execute(replace(worker.job(), method=Numpy()), store, limit=4):
        assert (row.prediction, row.margin, row.seconds) == (1, None, 0.5)
        assert row.details == {"a": 0.5, "b": [1, 2], "c": None, "d": {"e": [3, None]}, "f": "1/3"}


@dataclass(frozen=True)
class OfG(worker.LinearMethod):
    """Speaks of g where it was asked of f."""

    def decide(self, problems, budget, seed):
        return [replace(f, guarantee=Guarantee("g")) for f in super().decide(problems, budget, seed)]


@dataclass(frozen=True)
class Liar(worker.LinearMethod):
    """CERTIFIED, whatever was asked, without evidence."""

    def decide(self, problems, budget, seed):
        return [Finding(Verdict.CERTIFIED, "liar", radius=Fraction(9), prediction=p.prop.label) for p in problems]


@dataclass(frozen=True)
class TooFew(worker.LinearMethod):
    """Forgets the last."""

    def decide(self, problems, budget, seed):
        reason = Reason(Code.TIMEOUT)
        return [Finding(Verdict.UNKNOWN, "few", reason=reason) for _ in problems[1:]]


def test_a_liar_certifies_no_row(store):
    found = execute(replace(worker.job(), method=Liar()), store)
    assert {(row.verdict, row.radius, row.certified, row.certificate) for row in found} == {
        ("UNKNOWN", None, False, None)
    }


def test_a_method_that_loses_answers_leaves_no_row(store):
    job = replace(worker.job(), method=TooFew())
    with pytest.raises(ValueError, match=r"shorter|longer"):
        execute(job, store)
    assert rows(store, job.run) == []


def test_a_run_of_f_keeps_nothing_of_g(store, monkeypatch):
    """Were a checker to accept it: a certificate of the smoothed model never stands in a run about the model."""
    monkeypatch.setattr(worker.sys.modules["unmoved.certifier"], "_checker", lambda model: _Yes())
    with pytest.raises(UsageError, match=r"^function: got 'f', expected 'g'"):
        execute(replace(worker.job(), method=OfG()), store)
    assert store.keys("row") == []


class _Yes:
    def check(self, manifest, payload):
        from unmoved_check.outcome import Accepted

        return Accepted("dual-tree", "exact", "", 0.0)


X, Y = np.zeros((3, 4), np.float32), np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("x", "y", "argument", "expected"),
    [
        (np.zeros((0, 4)), Y[:0], "x", "at least one input"),
        (np.float32(0), Y, "x", "at least one input"),
        (np.zeros((3, 5)), Y, "x", "model's input shape (1, 4)"),
        (np.zeros(4), np.arange(4), "x", "model's input shape (1, 4)"),
        (np.zeros((3, 2, 2)), Y, "x", "model's input shape (1, 4)"),
        (np.full((3, 4), "a"), Y, "x", "an array of numbers"),
        (np.zeros((3, 4), bool), Y, "x", "an array of numbers"),
        (np.zeros((3, 4), complex), Y, "x", "an array of numbers"),
        (np.full((3, 4), None), Y, "x", "an array of numbers"),
        ([[1.0], [1.0, 2.0]], Y, "x", "the same shape"),
        (X * np.nan, Y, "x", "finite float32 numbers"),
        (X + np.inf, Y, "x", "finite float32 numbers"),
        (np.full((3, 4), 1e39), Y, "x", "finite float32 numbers"),
        (X, Y[:2], "y", "one label an input, shape (3,)"),
        (X, Y[:, None], "y", "one label an input, shape (3,)"),
        (X, Y.astype(float), "y", "integer labels"),
        (X, Y.astype(str), "y", "integer labels"),
        (X, np.array([0, 1, 3]), "y", "labels from 0 to 2"),
        (X, np.array([0, -1, 1]), "y", "labels from 0 to 2"),
        (X, np.array([0, 1, 2**63], np.uint64), "y", "labels from 0 to 2"),
    ],
)
def test_bad_data_is_refused(x, y, argument, expected):
    with pytest.raises(UsageError) as caught:
        dataset(worker.job().network, x, y)
    assert caught.value.argument == argument and expected in str(caught.value)


@pytest.mark.parametrize("x", [X, X.reshape(3, 1, 4), X.astype(np.float64), X.astype(np.uint8), X.tolist()], ids=type)
def test_good_data(x):
    data = dataset(worker.job().network, x, list(Y))
    assert data.x.shape == (3, 1, 4) and data.x.dtype == np.float32 and data.y.dtype == np.int64


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3", float("nan")])
def test_bad_limit_is_refused(store, limit):
    with pytest.raises(UsageError, match=r"^limit: "):
        execute(worker.job(), store, limit=limit)
    assert store.keys("run") == []


def test_an_input_outside_the_clip_range_is_said_before_the_run(store):
    job = worker.job()
    x = job.data.x.copy()
    x[-1] += 1
    with pytest.raises(UsageError, match=r"^x: .*clip range \[0, 1\]"):
        execute(replace(job, data=replace(job.data, x=x)), store)
    assert store.keys("run") == []
    # inputs beyond the limit are not asked about
    assert len(execute(replace(job, data=replace(job.data, x=x)), store, limit=2)) == 2
