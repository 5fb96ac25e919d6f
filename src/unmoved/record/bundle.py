"""A certificate as a file: a stored zip of manifest, payload and, if asked for, the model."""

from __future__ import annotations

import zipfile
from pathlib import Path

# a fixed date, so that the same certificate is the same file
_DATE = (1980, 1, 1, 0, 0, 0)


def write_bundle(path: Path, manifest: bytes, payload: bytes, model: bytes | None = None) -> None:
    """Write a bundle as a stored zip, byte for byte the same for the same content."""
    parts = {"manifest.json": manifest, "payload.safetensors": payload}
    if model is not None:
        parts["model.onnx"] = model
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
