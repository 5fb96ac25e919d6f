"""How a composite is put together: parts one after the other, inner tensors named by their roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from unmoved.ops.affine import Weighted
from unmoved.ops.op import Composite, Op
from unmoved.ops.reshape import Reshaped
from unmoved.ops.scope import Shape


@dataclass
class Chain:
    """The parts of a composite as they are made; inner tensors are named after the output and their role."""

    base: dict[str, Any]
    parts: list[Op] = field(default_factory=list)

    def put(
        self, make: Callable[..., Op], kind: str, inputs: tuple[str, ...], shape: Shape, role: str = "", **fields: Any
    ) -> str:
        """Append a part and return its output's name: the composite's own where no role is given."""
        out = f"{self.base['output']}#{role}" if role else self.base["output"]
        self.parts.append(make(name=out, kind=kind, inputs=inputs, output=out, shape=shape, **fields))
        return out

    def weighted(
        self,
        inputs: Mapping[str, float | Tensor],
        shapes: Sequence[Shape],
        shape: Shape,
        role: str = "",
        offset: Tensor | None = None,
    ) -> str:
        """Append a weighted sum."""
        fields = {"scales": tuple(inputs.values()), "in_shapes": tuple(shapes), "out_shape": shape, "offset": offset}
        return self.put(Weighted, "Add", tuple(inputs), shape, role, **fields)

    def reshaped(self, name: str, before: Shape, shape: Shape, role: str = "") -> str:
        """Append a new shape; nothing where it is the old one and the tensor an inner one."""
        if before == shape and role:
            return name
        fields = {"in_shapes": (before,), "out_shape": shape, "filling": None}
        return self.put(Reshaped, "Reshape", (name,), shape, role, **fields)

    def made(self, function: Callable[..., Tensor]) -> Composite:
        """Return the composite."""
        return Composite(**self.base, parts=tuple(self.parts), function=function)
