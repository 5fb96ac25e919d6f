"""The SQLite store: the shipped contract, kill -9, two processes at once, and files that are no store."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from subprocess import PIPE
from threading import Timer

import pytest

from unmoved.core import IntegrityError, UsageError
from unmoved.store import Entry, SqliteStore, open_store
from unmoved.testing import StoreContract

WRITER = Path(__file__).with_name("writer.py")
_spec = spec_from_file_location("writer", WRITER)
writer = module_from_spec(_spec)
_spec.loader.exec_module(writer)


def start(path, who, count):
    return subprocess.Popen([sys.executable, WRITER, path, who, str(count)], stdout=PIPE, text=True)


class TestSqliteStore(StoreContract):
    def open(self, folder):
        return SqliteStore(folder / "store.sqlite")

    def corrupt(self, store, kind, name, data):
        with sqlite3.connect(store.path) as db:
            assert db.execute("UPDATE entries SET data = ? WHERE kind = ? AND name = ?", (data, kind, name)).rowcount


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.011, 0.05])
def test_kill_leaves_whole_transactions(tmp_path, delay):
    """After kill -9 the store opens, holds every transaction that was reported, and no part of any other."""
    path = tmp_path / "s.sqlite"
    process = start(path, "a", 10**6)
    assert process.stdout.readline() == "0\n"
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    reported = 1 + len([line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")])
    process.wait()
    store = SqliteStore(path)
    rows = store.keys("row")
    numbers = [int(name.split("/")[1]) for name in rows]
    assert numbers == list(range(len(rows))) and len(rows) >= reported
    wanted = [entry for n in numbers for entry in writer.batch("a", n)]
    assert set(store.keys("payload")) == {e.name for e in wanted if e.kind == "payload"}
    for entry in wanted:
        assert store.read(entry.kind, entry.name) == entry.data
    store.write(writer.batch("a", len(rows)))
    assert len(store.keys("row")) == len(rows) + 1
    store.close()


def test_two_processes_at_once(tmp_path):
    """Both open a store that is not there yet, write, and lose nothing; a third reads meanwhile."""
    path, count = tmp_path / "s.sqlite", 40
    both = [start(path, who, count) for who in ("a", "b")]
    assert both[0].stdout.readline() == "0\n"
    reader = SqliteStore(path, create=False)
    while any(process.poll() is None for process in both):
        for name in reader.keys("row")[-3:]:
            assert reader.read("row", name)
        time.sleep(0.01)
    assert [process.wait() for process in both] == [0, 0]
    assert len(reader.keys("row", "a/")) == len(reader.keys("row", "b/")) == count
    assert len(reader.keys("payload")) == 4 * count


def test_opening_waits_for_another_that_is_making_the_store(tmp_path):
    """SQLite says `database is locked` at once, whatever the timeout, when asked to switch to the write-ahead log."""
    path = tmp_path / "s"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    Timer(0.2, lambda: other.execute("ROLLBACK")).start()
    store = SqliteStore(path)
    store.write([Entry.of("row", b"1")])
    assert len(store.keys("row")) == 1
    other.close()


def test_journal_is_a_write_ahead_log(tmp_path):
    SqliteStore(tmp_path / "s").close()
    with sqlite3.connect(tmp_path / "s") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_writer_that_fails_leaves_no_transaction_open(tmp_path):
    """Another process holds the store: the failure is said, and the next write works."""
    store, entry = SqliteStore(tmp_path / "s"), Entry.of("row", b"1")
    store._db.execute("PRAGMA busy_timeout=50")
    with sqlite3.connect(tmp_path / "s", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UsageError, match=r"^store: .*can be written \(database is locked\)"):
            store.write([entry])
        other.execute("ROLLBACK")
    store.write([entry])
    assert store.keys("row") == [entry.name]


def test_a_full_disk_is_said_and_rolled_back(tmp_path):
    store = SqliteStore(tmp_path / "s")
    store._db.execute("PRAGMA max_page_count=20")
    with pytest.raises(UsageError, match="full"):
        store.write([Entry.of("row", bytes([i]) * 9000) for i in range(30)])
    assert store.keys("row") == [] and not store._db.in_transaction
    store.write([Entry.of("row", b"small")])
    assert len(store.keys("row")) == 1


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"PK\x03\x04" + bytes(2000), b"x"], ids=["text", "zip", "x"]
)
@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database(tmp_path, content, create):
    path = tmp_path / "s"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"^store: .*written by unmoved"):
        SqliteStore(path, create=create)
    assert path.read_bytes() == content


@pytest.mark.parametrize("table", ["CREATE TABLE photos (id INTEGER)", "CREATE TABLE entries (id INTEGER)"])
@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_another_program_is_left_alone(tmp_path, table, create):
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as db:
        db.execute(table)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"^store: "):
        SqliteStore(path, create=create)
    assert path.read_bytes() == before


def test_a_torn_file(tmp_path):
    """A page overwritten behind our back is an IntegrityError, or a UsageError at the door: never other bytes."""
    path = tmp_path / "s"
    store, entries = SqliteStore(path), [Entry.of("row", bytes([i]) * 3000) for i in range(50)]
    store.write(entries)
    store.close()
    data = bytearray(path.read_bytes())
    data[4096 * 5 :] = os.urandom(len(data) - 4096 * 5)
    path.write_bytes(data)
    try:
        torn = SqliteStore(path)
    except UsageError:
        return
    seen = 0
    for entry in entries:
        try:
            assert torn.read("row", entry.name) == entry.data
        except (IntegrityError, KeyError):
            seen += 1
    assert seen


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UsageError, match=r"^store: .*existing store file"):
        SqliteStore(tmp_path / "none", create=False)
    with pytest.raises(UsageError, match=r"^store: "):
        SqliteStore(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match=r"^store: .*folder that can be written"):
        SqliteStore(file / "s")
    made = SqliteStore(tmp_path / "a" / "b" / "s")
    assert made.path.is_file()


def test_read_only_folder(tmp_path):
    """As a user without rights (root has them all, so the test drops them): one clear error, no traceback of SQLite."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    code = """
import os, sys
from pathlib import Path
from unmoved.core import UsageError
from unmoved.store import open_store
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
for name in ("s.sqlite", "below/s.sqlite"):
    try:
        open_store(name)
    except UsageError as error:
        assert error.argument == "store" and "can be written" in str(error), error
    else:
        sys.exit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(folder.iterdir()) == []


class TestUrls:
    def test_forms_of_the_same_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        entry = Entry.of("row", b"1")
        first = open_store(tmp_path / "s.db")
        first.write([entry])
        for url in (
            str(tmp_path / "s.db"),
            "s.db",
            Path("s.db"),
            "sqlite:///s.db",
            f"sqlite:///{tmp_path}/s.db",
            "./s.db",
        ):
            assert open_store(url, create=False).keys("row") == [entry.name], url

    def test_names_that_mean_something_to_sqlite(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in (":memory:", "file:x?mode=memory", "ünï code.db"):
            store = open_store(name)
            store.write([Entry.of("row", b"1")])
            store.close()
            assert len(open_store(name, create=False).keys("row")) == 1

    @pytest.mark.parametrize(
        "url", ["postgres://host/db", "sqlite://s.db", "sqlite:///", "sqlite:s.db", "http://x", "://", "SQLITE:/s"]
    )
    def test_refused(self, url, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match=r"^store: .*sqlite:///PATH"):
            open_store(url)
        assert list(tmp_path.iterdir()) == []
