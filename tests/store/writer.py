"""A process of its own that writes transactions of three entries, and says on stdout which it has committed."""

import sys
from pathlib import Path

from unmoved.store import Entry, SqliteStore


def batch(who: str, number: int) -> list[Entry]:
    """Return transaction `number`: a row, and two payloads that it goes with, large enough for several pages."""
    parts = [f"{who} {number} {k} ".encode() * 700 for k in range(2)]
    return [
        Entry.of("row", f"{who} {number}".encode(), prefix=f"{who}/{number:08d}"),
        *(Entry.of("payload", p) for p in parts),
    ]


if __name__ == "__main__":
    path, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = SqliteStore(path)
    for number in range(count):
        store.write(batch(who, number))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
