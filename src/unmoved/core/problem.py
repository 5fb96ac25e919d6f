"""One question: whether the property holds of the model for every input in S(x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from unmoved.core.errors import UsageError
from unmoved.core.property import Property
from unmoved.core.semantics import REAL, Semantics
from unmoved.core.threat import AnyFloats, Threat


class Model(Protocol):
    """What the vocabulary needs to know of a model; `ir.Network` is one. Hashed by identity."""

    def __hash__(self) -> int: ...

    @property
    def digest(self) -> str:
        """sha256 of the model's bytes, lower-case hex."""

    @property
    def source(self) -> bytes:
        """The model's bytes: the ONNX file that certificates speak of."""

    @property
    def input(self) -> str:
        """Name of the input tensor."""

    @property
    def output(self) -> str:
        """Name of the output tensor."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input at batch size 1, as ONNX has it (so usually starting with 1)."""

    @property
    def outputs(self) -> int:
        """Number of output elements at batch size 1."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Does `prop` hold of `model` for every x' in S(x)? x has the model's `input_shape`, float32 or float64.

    `semantics` says of which arithmetic a proof is to speak: of real numbers, or of every deployed execution.

    Raises UsageError when x, the threat and the property do not fit the model or one another.
    """

    model: Model
    x: AnyFloats
    threat: Threat
    prop: Property
    semantics: Semantics = REAL

    def __post_init__(self) -> None:
        """Check shape, dtype and finiteness of x at the door, and that threat and property fit the model."""
        x = self.x
        if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
            raise UsageError("x", getattr(x, "dtype", type(x).__name__), "an array of float32 or float64")
        if x.shape != self.model.input_shape:
            raise UsageError("x", x.shape, f"the model's input shape {self.model.input_shape}")
        if not np.isfinite(x).all():
            raise UsageError("x", "NaN or infinity inside", "finite numbers")
        if not isinstance(self.threat, Threat):
            raise UsageError("threat", self.threat, "a Threat")
        shape = self.threat.region(x[None]).low.shape[1:]
        if shape != x.shape:
            raise UsageError("threat", f"a set of inputs of shape {shape}", f"the model's input shape {x.shape}")
        if not isinstance(self.prop, Property):
            raise UsageError("prop", self.prop, "a Property")
        self.prop.disjuncts(self.model.outputs)
        if not isinstance(self.semantics, Semantics):
            raise UsageError("semantics", self.semantics, "REAL, FLOAT32 or TF32")
