"""Data sets in npz files."""

from __future__ import annotations

import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import LoadError, UsageError
from unmoved.loaders.runtime import first_line

Inputs = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

_BROKEN = (OSError, EOFError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def load_npz(path: str | PathLike[str], x: str = "x", y: str = "y") -> tuple[Inputs, Labels, str]:
    """Return the inputs (n, ...) as finite float32, the labels (n,) as int64 >= 0, and a remark on what was changed.

    `x` and `y` are the names of the two arrays. uint8 inputs are divided by 255; the remark, "" if there is nothing to
    say, tells so. Raises UsageError for a missing file, a missing name, and data that no model could take; LoadError
    for a file that is not an npz. Pickled objects are never read.
    """
    arrays = _arrays(_file(path, "data"), (x, y))
    inputs, remark = _inputs(arrays[x], x)
    labels = _labels(arrays[y], y)
    if len(inputs) != len(labels):
        raise UsageError(y, f"{len(labels)} labels", f"one for each of the {len(inputs)} inputs in {x}")
    return inputs, labels, remark


def load_inputs(path: str | PathLike[str], x: str = "x", argument: str = "data") -> tuple[Inputs, str]:
    """Return the inputs of a file alone, as `load_npz` does, with its remark: of these nobody asks for labels.

    `argument` is what a mistake in the path is called.
    """
    return _inputs(_arrays(_file(path, argument), (x,), argument)[x], x)


def _file(path: str | PathLike[str], argument: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise UsageError(argument, str(file), "an existing .npz file")
    return file


def _arrays(file: Path, names: tuple[str, ...], argument: str = "data") -> dict[str, npt.NDArray[Any]]:
    try:
        opened = np.load(file, allow_pickle=False)
    except _BROKEN as error:
        # numpy takes any other bytes for a pickle, and would advise to trust them
        detail = "these bytes are no archive of arrays" if isinstance(error, ValueError) else first_line(error)
        raise LoadError(f"{file.name} is not an npz file: {detail}") from error
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise LoadError(f"{file.name} is not an npz file: it holds one array, write it with numpy.savez(..., x=x, y=y)")
    with opened:
        for name in names:
            if name not in opened.files:
                raise UsageError(
                    argument, name, f"one of the arrays in {file.name}: {', '.join(opened.files) or 'none'}"
                )
        try:
            return {name: opened[name] for name in names}
        except _BROKEN as error:
            objects = "Python objects inside, which are never unpickled; save arrays of numbers"
            detail = objects if "Object arrays" in str(error) else first_line(error)
            raise LoadError(f"{file.name} cannot be read: {detail}") from error


def _inputs(array: npt.NDArray[Any], name: str) -> tuple[Inputs, str]:
    if array.dtype.kind not in "fiu":
        raise UsageError(name, str(array.dtype), "an array of numbers")
    if array.ndim < 2:
        raise UsageError(name, array.shape, "the shape (n, ...): one input a row")
    if not array.size:
        raise UsageError(name, array.shape, "at least one input")
    if array.dtype == np.uint8:
        return np.divide(array, 255, dtype=np.float32), f"{name} is uint8 and was divided by 255"
    if not np.isfinite(array).all():
        raise UsageError(name, "NaN or infinity inside", "finite numbers")
    with np.errstate(over="ignore"):
        inputs = array.astype(np.float32)
    if not np.isfinite(inputs).all():
        raise UsageError(name, "numbers beyond the range of float32", "numbers that fit float32")
    changed = array.dtype != np.float32 and bool((inputs.astype(np.float64) != array).any())
    return inputs, f"{name} is {array.dtype} and was rounded to float32" if changed else ""


def _labels(array: npt.NDArray[Any], name: str) -> Labels:
    if array.dtype.kind not in "iu":
        raise UsageError(name, str(array.dtype), "an array of whole-number labels, such as int64")
    if array.ndim != 1:
        raise UsageError(name, array.shape, "the shape (n,): one label an input")
    outside = (array < 0) | (array > np.iinfo(np.int64).max)
    if outside.any():
        raise UsageError(name, int(array[outside][0]), "labels >= 0")
    return array.astype(np.int64)
