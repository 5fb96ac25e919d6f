"""What must hold of the outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import Floats


@dataclass(frozen=True)
class Disjunct:
    """One way to be unsafe: `rows @ y <= bounds` in every row. rows (k, outputs), bounds (k,), float64."""

    rows: Floats
    bounds: Floats


class Property(ABC):
    """A set of safe outputs, given by its complement: a union of polyhedra."""

    @abstractmethod
    def disjuncts(self, outputs: int) -> tuple[Disjunct, ...]:
        """Return the ways to be unsafe for a model with this many outputs; UsageError if they cannot be its."""

    def violated(self, y: npt.ArrayLike) -> bool:
        """Say whether outputs y (any shape, flattened) are unsafe; a tie and a NaN are."""
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
        if isinstance(self.label, bool) or not 0 <= self.label < outputs:
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
            if d.rows.ndim != 2 or d.rows.shape[1] != outputs or d.bounds.shape != d.rows.shape[:1]:
                raise UsageError("unsafe", d.rows.shape, f"rows of shape (k, {outputs}) and bounds of shape (k,)")
        return self.unsafe
