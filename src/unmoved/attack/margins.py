"""A property as a loss: how far outputs are from each way to be unsafe. Zero or less is a violation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unmoved.core.property import Property, SameClass


@dataclass(frozen=True)
class ClassMargins:
    """SameClass for a batch: labels (n,) int64."""

    labels: Tensor

    def of(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Return y_label - y_j (k, classes) for outputs (k, classes) of the inputs `rows` (k,); inf at j = label."""
        labels = self.labels[rows][:, None]
        return (outputs.gather(1, labels) - outputs).scatter(1, labels, torch.inf)


@dataclass(frozen=True)
class PolyhedronMargins:
    """Any properties for a batch: disjunct d of input i is unsafe iff a[i, d] @ y <= b[i, d] in each of its rows.

    a (n, disjuncts, rows, outputs), b (n, disjuncts, rows); shorter ones are padded with what changes nothing:
    rows 0 <= inf, which always hold, and disjuncts 0 <= -inf, which never do.
    """

    a: Tensor
    b: Tensor

    def of(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Return max over rows of a @ y - b (k, disjuncts) for outputs (k, outputs) of the inputs `rows` (k,)."""
        values = torch.einsum("ndro,no->ndr", self.a[rows].to(outputs.dtype), outputs)
        return (values - self.b[rows].to(outputs.dtype)).amax(2)


Margins = ClassMargins | PolyhedronMargins


def margins(properties: Sequence[Property], outputs: int, device: str = "cpu") -> Margins:
    """Return the loss of one property an input, for a model with `outputs` outputs; UsageError if one does not fit."""
    classes = [prop for prop in properties if isinstance(prop, SameClass)]
    if classes and len(classes) == len(properties):
        for prop in set(classes):
            prop.disjuncts(outputs)
        labels = [prop.label for prop in classes]
        return ClassMargins(torch.tensor(labels, dtype=torch.int64, device=device))
    unsafe = [prop.disjuncts(outputs) for prop in properties]
    most = max(1, *(len(ways) for ways in unsafe))
    longest = max([1, *(len(way.bounds) for ways in unsafe for way in ways)])
    a = np.zeros((len(unsafe), most, longest, outputs))
    b = np.full((len(unsafe), most, longest), np.inf)
    for i, ways in enumerate(unsafe):
        b[i, len(ways) :] = -np.inf
        for j, way in enumerate(ways):
            a[i, j, : len(way.bounds)], b[i, j, : len(way.bounds)] = way.rows, way.bounds
    return PolyhedronMargins(torch.as_tensor(a, device=device), torch.as_tensor(b, device=device))
