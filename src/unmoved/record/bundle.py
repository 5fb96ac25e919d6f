"""A certificate as a file: a stored zip of manifest, payload and, if asked for, the model."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from unmoved.core.errors import UsageError

# a fixed date, so that the same certificate is the same file
_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def write_bundle(path: Path, manifest: bytes, payload: bytes, model: bytes | None = None) -> None:
    """Write a bundle as a stored zip, byte for byte the same for the same content on every system.

    The file appears whole or not at all. Raises UsageError where it cannot be written.
    """
    parts = {"manifest.json": manifest, "payload.safetensors": payload}
    if model is not None:
        parts["model.onnx"] = model
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            for name, data in parts.items():
                archive.writestr(_info(name), data)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UsageError("path", str(path), f"a file that can be written ({error.strerror})") from error


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    # without these the bytes depend on the system, and `unzip` makes files that nobody may read
    info.create_system, info.external_attr = _UNIX, 0o644 << 16
    return info
