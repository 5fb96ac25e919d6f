"""Published corrupted test sets: folders of .npy files as CIFAR-10-C, CIFAR-100-C and MNIST-C have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmoved.core import LoadError, UsageError
from unmoved.evaluate.corruption.families import SEVERITIES

LABELS = "labels.npy"
MNIST_IMAGES, MNIST_LABELS = "test_images.npy", "test_labels.npy"


@dataclass(frozen=True)
class Corrupted:
    """Images x (n, channels, height, width) in [0, 1] and labels y (n,), as one family and severity leave them.

    `severity` is None where the data set has only one.
    """

    family: str
    severity: int | None
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]


def read_corrupted(folder: str | Path, *, limit: int | None = None) -> Iterator[Corrupted]:
    """Return what a folder holds, read as it is asked for: the first `limit` images of each.

    CIFAR-C: `<family>.npy` with the five severities one after the other, and `labels.npy`. MNIST-C: a folder a family,
    with `test_images.npy` and `test_labels.npy`. Images are 8-bit, (n, height, width[, channels]). Raises UsageError
    at once for a folder of neither kind, LoadError later for a file that is not such an array.
    """
    place = Path(folder)
    single = sorted(path.parent for path in place.glob(f"*/{MNIST_IMAGES}"))
    if (place / LABELS).is_file():
        return _stacked(place, limit)
    if not single:
        expected = f"a folder with {LABELS} and <family>.npy (CIFAR-10-C), or <family>/{MNIST_IMAGES} (MNIST-C)"
        raise UsageError("corrupted", str(folder), expected)
    return _single(single, limit)


def _single(folders: list[Path], limit: int | None) -> Iterator[Corrupted]:
    for each in folders:
        x, y = _images(each / MNIST_IMAGES), _array(each / MNIST_LABELS)
        yield _part(each.name, None, x[:limit], y[:limit])


def _stacked(place: Path, limit: int | None) -> Iterator[Corrupted]:
    labels = _array(place / LABELS)
    for path in sorted(place.glob("*.npy")):
        if path.name == LABELS:
            continue
        x = _images(path)
        size, rest = divmod(len(x), len(SEVERITIES))
        if rest or len(labels) not in (size, len(x)):
            raise LoadError(f"{path}: {len(x)} images and {len(labels)} labels, expected five severities of as many")
        for severity in SEVERITIES:
            part = slice((severity - 1) * size, severity * size)
            own = labels[part] if len(labels) == len(x) else labels
            yield _part(path.stem, severity, x[part][:limit], own[:limit])


def _part(family: str, severity: int | None, x: npt.NDArray[np.uint8], y: npt.NDArray[Any]) -> Corrupted:
    if len(x) != len(y):
        raise LoadError(f"{family}: {len(x)} images and {len(y)} labels")
    last = x[..., None] if x.ndim == 3 else x
    values = np.divide(np.moveaxis(last, -1, 1), 255, dtype=np.float32)
    return Corrupted(family, severity, np.ascontiguousarray(values), y.astype(np.int64))


def _images(path: Path) -> npt.NDArray[np.uint8]:
    found = _array(path)
    if found.dtype != np.uint8 or found.ndim not in (3, 4):
        raise LoadError(f"{path}: {found.dtype} of shape {found.shape}, expected 8-bit images (n, h, w[, channels])")
    return found


def _array(path: Path) -> npt.NDArray[Any]:
    try:
        # mapped, not read: CIFAR-10-C is 2.9 GB
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise LoadError(f"{path}: not an array of numbers ({error})") from error
