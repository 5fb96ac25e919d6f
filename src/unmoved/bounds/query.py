"""What is asked of the outputs: lower bounds of rows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Query:
    """R linear functions `rows[r] @ y - offsets[r]` of the outputs y of input `owner[r]` of a batch.

    owner (R,) int64, rows (R, outputs), offsets (R,).
    """

    owner: Tensor
    rows: Tensor
    offsets: Tensor
