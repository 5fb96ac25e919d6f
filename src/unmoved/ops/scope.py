"""What a builder may look at when it turns one node into an Op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.ir.network import Array, Network, Node

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Scope:
    """A network, the tensors that stand in for some of its constants, and where the bound tensors shall live."""

    network: Network
    params: Mapping[str, Tensor]
    dtype: torch.dtype
    device: torch.device

    def __post_init__(self) -> None:
        """Refuse a parameter that is no constant of the network (integer ones are ignored) or has another shape."""
        for name, tensor in self.params.items():
            if name not in self.network.constants:
                if tensor.is_floating_point():
                    raise UsageError("params", name, "names of the network's constants")
            elif tuple(tensor.shape) != self.network.constants[name].shape:
                expected = f"the shape {self.network.constants[name].shape} of the constant {name}"
                raise UsageError("params", tuple(tensor.shape), expected)

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor at batch size 1."""
        if name in self.network.constants:
            return self.network.constants[name].shape
        return self.network.shapes[name]

    def fixed(self, name: str) -> bool:
        """Say whether a tensor is a constant."""
        return name in self.network.constants

    def variables(self, node: Node) -> Shape:
        """Return the positions of the node's inputs that are variables."""
        return tuple(i for i, name in enumerate(node.inputs) if name and not self.fixed(name))

    def array(self, node: Node, index: int) -> Array | None:
        """Return the value of a constant input; None where it is omitted; UnsupportedError when it is a variable."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        if not self.fixed(node.inputs[index]):
            raise UnsupportedError(f"{node.op} (with a variable input {index})", "ops")
        return self.network.constants[node.inputs[index]]

    def tensor(self, node: Node, index: int) -> Tensor | None:
        """Return the same as a tensor of the scope's dtype and device; a parameter stays differentiable."""
        array = self.array(node, index)
        if array is None:
            return None
        given = self.params.get(node.inputs[index])
        if given is None:
            # A copy: the network's arrays are shared by everybody and may be read-only.
            return torch.tensor(array, dtype=self.dtype, device=self.device)
        return given.to(device=self.device, dtype=self.dtype)

    def required(self, node: Node, index: int) -> Tensor:
        """Return a constant input that the operator cannot do without."""
        tensor = self.tensor(node, index)
        if tensor is None:
            raise UnsupportedError(f"{node.op} (without its input {index})", "ops")
        return tensor

    def variable(self, node: Node, index: int = 0) -> Shape:
        """Return the shape of the input `index`, which must be the node's only variable one."""
        if self.variables(node) != (index,):
            raise UnsupportedError(f"{node.op} (of {len(self.variables(node))} variables)", "ops")
        return self.shape(node.inputs[index])

    def base(self, node: Node) -> dict[str, Any]:
        """Return the fields that every Op has."""
        inputs = tuple(node.inputs[i] for i in self.variables(node))
        out = node.outputs[0]
        return {"name": node.name, "kind": node.op, "inputs": inputs, "output": out, "shape": self.shape(out)}

    def integers(self, node: Node, index: int, attribute: str = "") -> Shape | None:
        """Return a list of integers that is an attribute in old operator sets and a constant input in newer ones."""
        if attribute and attribute in node.attributes:
            return tuple(int(i) for i in node.attributes[attribute])
        array = self.array(node, index)
        return None if array is None else tuple(int(i) for i in array.reshape(-1))
