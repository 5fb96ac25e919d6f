"""Column and block smoothing against patches (Levine and Feizi 2020, arXiv 2002.10733): deterministic.

f sees one band of the image at a time; all bands are tried (they wrap around), and each has one vote. A square patch of
side m meets at most m + b - 1 column bands of width b, and at most (m + b - 1)^2 blocks of side b. So class c is
certain when n_c >= max(n_c' + [c > c']) + 2 (m + b - 1), or 2 (m + b - 1)^2; see `smooth.classifiers.enumeration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.inversion import check, place_bits
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.noises.ablation import check_blank, copy_shape, hide

_CHANNELS = 4
"""Grey, colours, colours with transparency: no image to certify is so narrow and has more channels than that."""


@dataclass(frozen=True)
class Columns:
    """Shows `band` neighbouring columns of an image (C, H, W) or (H, W) at a time: W copies.

    `blank`: as in `smooth.noises.ablation.Ablation`. Certifies patches of `size` columns, of any height.
    """

    band: int
    blank: float | None = None
    norm = "patch"
    step = Fraction(1)

    def __post_init__(self) -> None:
        _check_band(self.band)
        check_blank(self.blank)

    @property
    def kind(self) -> str:
        """The name, with the width of a band."""
        return f"columns({self.band}, {'mask' if self.blank is None else self.blank})"

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the point for `x`, exactly `x`. Raises UsageError unless it is an image at least `band` wide."""
        return _place(x, self.band, self.blank)

    def copies(self, point: GridPoint) -> int:
        """Return W."""
        return point.shape[-1]

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the copies `first`, `first` + 1, ..., copy t showing the columns t ... t + band - 1 modulo W."""
        check(point, out, first)
        height, width = point.shape[-2:]
        shown = _bands(np.arange(first, first + len(out)), width, self.band)
        masks = np.broadcast_to(shown[:, None, :], (len(out), height, width)).reshape(len(out), -1)
        hide(point, masks, out, self.blank)

    def affected(self, point: GridPoint, size: int) -> int:
        """Return min(W, size + band - 1): the bands that meet `size` neighbouring columns."""
        return min(point.shape[-1], size + self.band - 1) if size else 0


@dataclass(frozen=True)
class Blocks:
    """Shows one square block of side `band` of an image (C, H, W) or (H, W) at a time: H * W copies.

    `blank`: as in `smooth.noises.ablation.Ablation`. Certifies square patches of side `size`.
    """

    band: int
    blank: float | None = None
    norm = "patch"
    step = Fraction(1)

    def __post_init__(self) -> None:
        _check_band(self.band)
        check_blank(self.blank)

    @property
    def kind(self) -> str:
        """The name, with the side of a block."""
        return f"blocks({self.band}, {'mask' if self.blank is None else self.blank})"

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the point for `x`, exactly `x`. Raises UsageError unless it is an image that holds a block."""
        point = _place(x, self.band, self.blank)
        if x.shape[-2] < self.band:
            raise UsageError("x", x.shape, f"an image at least {self.band} high")
        return point

    def copies(self, point: GridPoint) -> int:
        """Return H * W."""
        return point.shape[-2] * point.shape[-1]

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the copies `first`, ..., copy t = W u + v showing the rows from u and the columns from v, wrapped."""
        check(point, out, first)
        height, width = point.shape[-2:]
        number = np.arange(first, first + len(out))
        rows, columns = _bands(number // width, height, self.band), _bands(number % width, width, self.band)
        hide(point, (rows[:, :, None] & columns[:, None, :]).reshape(len(out), -1), out, self.blank)

    def affected(self, point: GridPoint, size: int) -> int:
        """Return min(H, size + band - 1) * min(W, size + band - 1): the blocks that meet a patch."""
        height, width = point.shape[-2:]
        reach = size + self.band - 1
        return min(height, reach) * min(width, reach) if size else 0


def _bands(start: npt.NDArray[np.int64], length: int, band: int) -> npt.NDArray[np.bool_]:
    """Return (starts, length) masks of the places start ... start + band - 1 modulo length."""
    return (np.arange(length)[None, :] - start[:, None]) % length < band


def _check_band(band: object) -> None:
    if isinstance(band, bool) or not isinstance(band, int) or band < 1:
        raise UsageError("band", band, "an integer >= 1")


def _place(x: npt.NDArray[np.float32], band: int, blank: float | None) -> GridPoint:
    point = place_bits(x, copy_shape(x.shape, blank))
    if x.ndim > 2 and x.shape[-1] <= _CHANNELS < x.shape[-3]:
        expected = "an image with channels first, (C, H, W); this looks like (H, W, C): put a transposition before f"
        raise UsageError("x", x.shape, expected)
    image = x.ndim in (2, 3) or (x.ndim == 4 and x.shape[0] == 1)
    if not image or x.shape[-1] < band:
        raise UsageError("x", x.shape, f"an image (1, C, H, W), (C, H, W) or (H, W), at least {band} wide")
    return point
