"""What must hold of the outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import Floats


@dataclass(frozen=True, eq=False)
class Disjunct:
    """One way to be unsafe: `rows @ y <= bounds` in every row. rows (k, outputs), k >= 1, bounds (k,), float64.

    Raises UsageError for other shapes, for NaN (which no comparison would ever violate) and for infinities.
    """

    rows: Floats
    bounds: Floats

    def __post_init__(self) -> None:
        """Check the arrays; float32 is widened, which is exact."""
        for name in ("rows", "bounds"):
            value = getattr(self, name)
            if not isinstance(value, np.ndarray) or value.dtype not in (np.float32, np.float64):
                raise UsageError(name, getattr(value, "dtype", type(value).__name__), "an array of float64")
            if not np.isfinite(value).all():
                raise UsageError(name, "NaN or infinity inside", "finite numbers")
            object.__setattr__(self, name, value.astype(np.float64))
        if self.rows.ndim != 2 or len(self.rows) == 0 or self.bounds.shape != self.rows.shape[:1]:
            shapes = f"rows {self.rows.shape}, bounds {self.bounds.shape}"
            raise UsageError("rows, bounds", shapes, "rows of shape (k, outputs) and bounds of shape (k,), k >= 1")


class Property(ABC):
    """A set of safe outputs, given by its complement: a union of polyhedra."""

    @abstractmethod
    def disjuncts(self, outputs: int) -> tuple[Disjunct, ...]:
        """Return the ways to be unsafe for a model with this many outputs; UsageError if they cannot be its."""

    def violated(self, y: npt.ArrayLike) -> bool:
        """Say whether outputs y (any shape, flattened) are unsafe; a tie, a NaN and an infinity are."""
        flat = np.asarray(y, dtype=np.float64).reshape(-1)
        if not np.isfinite(flat).all():
            return True
        return any(bool((d.rows @ flat <= d.bounds).all()) for d in self.disjuncts(flat.size))


@dataclass(frozen=True)
class SameClass(Property):
    """The output with index `label` is strictly the largest."""

    label: int

    def disjuncts(self, outputs: int) -> tuple[Disjunct, ...]:
        """One disjunct y_label - y_j <= 0 for every other class j, in order."""
        if outputs < 2:
            raise UsageError("label", self.label, "a model with two outputs or more: with one, no class can win")
        whole = isinstance(self.label, int | np.integer) and not isinstance(self.label, bool)
        if not whole or not 0 <= self.label < outputs:
            raise UsageError("label", self.label, f"a class from 0 to {outputs - 1} (the model has {outputs} outputs)")
        rows = np.eye(outputs)[self.label] - np.eye(outputs)
        return tuple(Disjunct(rows[j : j + 1], np.zeros(1)) for j in range(outputs) if j != self.label)


@dataclass(frozen=True)
class LinearProperty(Property):
    """The outputs avoid every one of the given polyhedra."""

    unsafe: tuple[Disjunct, ...]

    def disjuncts(self, outputs: int) -> tuple[Disjunct, ...]:
        """Return the polyhedra; UsageError when a row does not have one coefficient an output."""
        for d in self.unsafe:
            if d.rows.shape[1] != outputs:
                raise UsageError("unsafe", d.rows.shape, f"rows of shape (k, {outputs}) and bounds of shape (k,)")
        return self.unsafe
