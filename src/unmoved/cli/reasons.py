"""Why inputs stayed unknown, in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from unmoved.record import Row


def reasons(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each kind of reason, the most frequent first: how many inputs, and what one of them says."""
    kinds: dict[str, list[str]] = {}
    for row in rows:
        if row.reason is not None:
            code, _, detail = row.reason.partition(": ")
            kinds.setdefault(code, []).append(detail)
    for code, details in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
        such = ", one of them" if len(set(details)) > 1 else ""
        yield f"{len(details)} {code}{such}" + (f": {details[0]}" if details[0] else "")
