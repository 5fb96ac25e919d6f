"""Inputs as small pictures: a PNG inside the page, or numbers where an input is no image."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import numpy.typing as npt

LARGEST_SIDE = 64
Numbers = npt.NDArray[np.floating]


def read_array(data: bytes) -> Numbers | None:
    """Return the array of .npy bytes, or None when they hold no array of numbers (nothing is ever unpickled)."""
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None
    return np.asarray(found, np.float64) if found.dtype.kind in "fiu" and np.isfinite(found).all() else None


def as_image(x: Numbers) -> Numbers | None:
    """Return x as an image (height, width, 1 or 3), or None when it has another shape than images have.

    Accepted, axes of size 1 aside: (height, width), (3, height, width), (height, width, 3), each side at least 4.
    """
    core = x.reshape([n for n in x.shape if n != 1])
    if core.ndim == 2:
        core = core[:, :, None]
    elif core.ndim == 3 and core.shape[0] == 3 and core.shape[2] != 3:
        core = np.moveaxis(core, 0, 2)
    if core.ndim != 3 or core.shape[2] not in (1, 3) or min(core.shape[:2]) < 4:
        return None
    return core


def data_uri(image: Numbers, low: float, high: float) -> str:
    """Return an image (height, width, 1 or 3) as the `data:` address of a PNG; [low, high] is shown as black to white.

    Sides beyond 64 pixels are thinned out.
    """
    step = max(1, -(-max(image.shape[:2]) // LARGEST_SIDE))
    thin = image[::step, ::step]
    scaled = (thin - low) / (high - low) if high > low else np.zeros_like(thin)
    pixels = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def span(image: Numbers) -> tuple[float, float]:
    """Return the range to show an image in: [0, 1] or [0, 255] where it fits, else its own."""
    low, high = float(image.min()), float(image.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (0.0, 255.0) if low >= 0 and 1 < high <= 255 else (low, high)


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels (height, width, 1 or 3) of 8 bits as a PNG file (ISO/IEC 15948), without any metadata."""
    height, width, channels = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def numbers(x: Numbers, most: int = 6) -> str:
    """Write the first values of an input that is no image."""
    flat = x.reshape(-1)
    text = ", ".join(f"{value:.4g}" for value in flat[:most])
    return text + (f", … ({flat.size} values)" if flat.size > most else "")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
