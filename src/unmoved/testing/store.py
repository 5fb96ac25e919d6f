"""What every store must keep: append-only, content-addressed, all or nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from unmoved.core.errors import IntegrityError
from unmoved.store import Entry, Store

PARTS = [b"", b"\x00\xff\n", b"one", "été".encode(), bytes(range(256)) * 1000]


class StoreContract(ABC):
    """Inherit, name the class Test..., and give the hooks."""

    @abstractmethod
    def open(self, folder: Path) -> Store:
        """Return the store of this folder, made if missing; a second call opens the same one again."""

    @abstractmethod
    def corrupt(self, store: Store, kind: str, name: str, data: bytes) -> None:
        """Replace the stored bytes behind the store's back, as a fault of the disk or a forger would."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Give a new store."""
        store = self.open(tmp_path)
        yield store
        store.close()

    def test_reads_what_was_written(self, store: Store) -> None:
        """Byte for byte, whatever the bytes."""
        entries = [Entry.of("payload", data) for data in PARTS]
        store.write(entries)
        for entry in entries:
            assert store.read("payload", entry.name) == entry.data
        assert store.keys("payload") == sorted(entry.name for entry in entries)

    def test_kinds_are_apart(self, store: Store) -> None:
        """The same bytes of another kind are another entry."""
        entry = Entry.of("manifest", b"{}")
        store.write([entry])
        assert store.keys("payload") == []
        with pytest.raises(KeyError):
            store.read("payload", entry.name)

    def test_missing(self, store: Store) -> None:
        """What was never written is a KeyError."""
        assert store.keys("row") == []
        with pytest.raises(KeyError):
            store.read("row", "0" * 64)

    def test_idempotent(self, store: Store) -> None:
        """Writing again, alone or with others, changes nothing and is no error."""
        first, second = Entry.of("input", b"a"), Entry.of("input", b"b")
        store.write([first, first])
        store.write([first, second])
        store.write([])
        assert store.keys("input") == sorted([first.name, second.name])
        assert store.read("input", first.name) == b"a"

    def test_prefix(self, store: Store) -> None:
        """Keys of a prefix, sorted; its characters mean only themselves."""
        names = ["run/00000002", "run/00000010", "run_/1", "run%/1", "rün/1"]
        entries = [Entry.of("row", name.encode(), prefix=name) for name in names]
        store.write(reversed(entries))
        for prefix in ("run/", "run/0000001", "run_", "run%", "rün/", "r", "", "none"):
            assert store.keys("row", prefix) == sorted(e.name for e in entries if e.name.startswith(prefix)), prefix

    @pytest.mark.parametrize("name", ["0" * 64, "", "row/0", "../" + "a" * 64])
    def test_wrong_digest_is_refused(self, store: Store, name: str) -> None:
        """An entry whose name is not its content's is not written, nor anything with it."""
        good = Entry.of("input", b"good")
        with pytest.raises(IntegrityError):
            store.write([good, Entry("input", name, b"bad")])
        assert store.keys("input") == []

    def test_all_or_nothing(self, store: Store) -> None:
        """A batch that breaks while it is made leaves nothing."""

        def breaking() -> Iterator[Entry]:
            yield Entry.of("input", b"first")
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError):
            store.write(breaking())
        assert store.keys("input") == []
        store.write([Entry.of("input", b"later")])
        assert len(store.keys("input")) == 1

    def test_corruption_is_seen(self, store: Store) -> None:
        """Bytes that are not what their address says are never given out; a name is not freed by it."""
        entry = Entry.of("manifest", b"true words", prefix="a/b")
        store.write([entry])
        self.corrupt(store, "manifest", entry.name, b"false words")
        with pytest.raises(IntegrityError):
            store.read("manifest", entry.name)

    def test_outlives_its_process(self, tmp_path: Path) -> None:
        """What was written is there when the store is opened again, twice at once."""
        entry = Entry.of("model", b"weights")
        first = self.open(tmp_path)
        first.write([entry])
        first.close()
        second, third = self.open(tmp_path), self.open(tmp_path)
        assert second.read("model", entry.name) == third.read("model", entry.name) == b"weights"
        later = Entry.of("model", b"others")
        second.write([later])
        assert third.read("model", later.name) == b"others"
        second.close()
        third.close()
