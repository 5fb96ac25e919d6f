"""What a run leaves beside its store: the ledger, one bundle a certificate, and the model."""

from __future__ import annotations

import os
from pathlib import Path

from unmoved.cli.stores import fetch
from unmoved.core import UsageError
from unmoved.record import Run, write_bundle
from unmoved.store import Store, rows


def export(store: Store, run: Run, folder: Path) -> None:
    """Write `ledger-<run>.jsonl`, `certificates/<run>/*.zip` and `model.onnx` for a run; existing bundles stay.

    All of it is derived from the store, which is what counts: should it be lost, the same command writes it again.
    Raises UsageError where it cannot be written.
    """
    try:
        _export(store, run, folder)
    except OSError as error:
        expected = f"a folder that can be written ({error.strerror}); the answers are safe in the store"
        raise UsageError("out", str(folder), expected) from error


def _export(store: Store, run: Run, folder: Path) -> None:
    short = run.id[:12]
    answers = rows(store, run)
    lines = b"".join(row.to_json() + b"\n" for row in answers)
    _replace(folder / f"ledger-{short}.jsonl", lines)
    bundles = folder / "certificates" / short
    bundles.mkdir(parents=True, exist_ok=True)
    model = bundles / "model.onnx"
    if not model.exists():
        _replace(model, fetch(store, "model", run.model))
    for row in answers:
        for manifest, payload in row.bundles:
            path = bundles / f"{row.index:06d}-{manifest[:12]}.zip"
            if not path.exists():
                write_bundle(path, fetch(store, "manifest", manifest), fetch(store, "payload", payload))


def _replace(path: Path, data: bytes) -> None:
    # two runs may end in the same folder at the same time
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_bytes(data)
    os.replace(partial, path)
