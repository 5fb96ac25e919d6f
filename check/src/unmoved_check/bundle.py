"""A certificate bundle, read strictly: a directory, or a zip that stores its members uncompressed."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from unmoved_check import canonical, safetensors
from unmoved_check.canonical import Json
from unmoved_check.outcome import Rejection
from unmoved_check.tensor import Tensor

MANIFEST, PAYLOAD, MODEL = "manifest.json", "payload.safetensors", "model.onnx"
LARGEST_FILE = 1 << 31


@dataclass(frozen=True)
class Bundle:
    """The manifest as an object, the tensors, and the certificate's id: the sha256 of the manifest's bytes."""

    id: str
    manifest: dict[str, Json]
    tensors: Mapping[str, Tensor]
    payload_digest: str


@dataclass(frozen=True)
class Files:
    """The bytes of a bundle; `model` is None when it doesn't carry one."""

    manifest: bytes
    payload: bytes
    model: bytes | None


def parse(manifest: bytes, payload: bytes) -> Bundle:
    """The bundle of these bytes; Rejection when one is malformed or the manifest names another payload."""
    value = canonical.parse(manifest)
    if not isinstance(value, dict):
        raise Rejection("manifest: not an object")
    return Bundle(sha256(manifest).hexdigest(), value, safetensors.parse(payload), sha256(payload).hexdigest())


def read(path: Path) -> Files:
    """The files of the bundle at `path`; OSError when it can't be read, Rejection when it is malformed."""
    return _read_directory(path) if path.is_dir() else _read_zip(path)


def _read_directory(path: Path) -> Files:
    parts: dict[str, bytes] = {}
    for name in (MANIFEST, PAYLOAD, MODEL):
        part = path / name
        if part.is_file():
            if part.stat().st_size > LARGEST_FILE:
                raise Rejection(f"bundle: {name} is too large")
            parts[name] = part.read_bytes()
    return _files(parts)


def _read_zip(path: Path) -> Files:
    parts: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename
                if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
                    raise Rejection(f"bundle: the member name {name!r} leaves the bundle")
                if name not in (MANIFEST, PAYLOAD, MODEL):
                    raise Rejection(f"bundle: unexpected member {name!r}")
                if name in parts:
                    raise Rejection(f"bundle: {name} is there twice")
                if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                    raise Rejection(f"bundle: {name} is compressed or encrypted")
                if info.file_size != info.compress_size or info.file_size > LARGEST_FILE:
                    raise Rejection(f"bundle: {name} has a wrong size")
                parts[name] = archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise Rejection(f"bundle: not a sound zip file ({error})") from None
    return _files(parts)


def _files(parts: Mapping[str, bytes]) -> Files:
    for name in (MANIFEST, PAYLOAD):
        if name not in parts:
            raise Rejection(f"bundle: no {name}")
    return Files(parts[MANIFEST], parts[PAYLOAD], parts.get(MODEL))
