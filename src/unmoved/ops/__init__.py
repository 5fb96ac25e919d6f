"""What a layer is, as mathematical facts; a new operator is one builder and one line in `RULES`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.ir.network import Network, Node
from unmoved.ops import activations, affine, convolution, maximum, reshape
from unmoved.ops.op import Affine, Elementwise, Maximum, Op
from unmoved.ops.scope import Scope

__all__ = ["RULES", "Affine", "Elementwise", "Maximum", "Op", "Rule", "bind", "evaluate", "family", "supported"]


@dataclass(frozen=True)
class Rule:
    """The family of an operator and what makes Ops of its nodes (one, or one an output)."""

    family: str
    build: Callable[[Node, Scope], Op | tuple[Op, ...]]


RULES: Mapping[str, Rule] = {
    "Add": Rule("Affine", affine.add),
    "AveragePool": Rule("Affine", convolution.average_pool),
    "BatchNormalization": Rule("Affine", affine.batch_normalization),
    "Cast": Rule("Affine", reshape.reshaped),
    "Clip": Rule("Elementwise", activations.clip),
    "Concat": Rule("Affine", reshape.joined),
    "Conv": Rule("Affine", convolution.conv),
    "Div": Rule("Affine", affine.multiply),
    "Dropout": Rule("Affine", reshape.reshaped),
    "Expand": Rule("Affine", affine.expand),
    "Flatten": Rule("Affine", reshape.reshaped),
    "Gather": Rule("Affine", reshape.gathered),
    "Gemm": Rule("Affine", affine.gemm),
    "GlobalAveragePool": Rule("Affine", affine.reduce),
    "Identity": Rule("Affine", reshape.reshaped),
    "LeakyRelu": Rule("Elementwise", activations.leaky_relu),
    "MatMul": Rule("Affine", affine.matmul),
    "Max": Rule("Elementwise", activations.one_sided),
    "MaxPool": Rule("Maximum", maximum.max_pool),
    "Min": Rule("Elementwise", activations.one_sided),
    "Mul": Rule("Affine", affine.multiply),
    "Neg": Rule("Affine", affine.add),
    "Pad": Rule("Affine", reshape.padded),
    "ReduceMean": Rule("Affine", affine.reduce),
    "ReduceSum": Rule("Affine", affine.reduce),
    "Relu": Rule("Elementwise", activations.relu),
    "Reshape": Rule("Affine", reshape.reshaped),
    "Sigmoid": Rule("Elementwise", activations.sigmoid),
    "Slice": Rule("Affine", reshape.sliced),
    "Split": Rule("Affine", reshape.split),
    "Squeeze": Rule("Affine", reshape.reshaped),
    "Sub": Rule("Affine", affine.add),
    "Sum": Rule("Affine", affine.add),
    "Tanh": Rule("Elementwise", activations.tanh),
    "Transpose": Rule("Affine", reshape.transposed),
    "Unsqueeze": Rule("Affine", reshape.reshaped),
}
"""ONNX operator name -> rule."""


def supported() -> frozenset[str]:
    """Return the ONNX names of all operators that have a rule."""
    return frozenset(RULES)


def family(operator: str) -> str | None:
    """Return "Affine", "Elementwise" or "Maximum" for an ONNX operator name; None when it has no rule."""
    rule = RULES.get(operator)
    return None if rule is None else rule.family


def bind(
    network: Network,
    params: Mapping[str, Tensor] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> tuple[Op, ...]:
    """Return the network's Ops in topological order, constants bound as tensors of this dtype on this device.

    `params` stand in for constants by name and stay differentiable (spare integer ones, such as a count of batches,
    are ignored). Raises UnsupportedError for an operator, or a use of it, that has no rule; UsageError for a parameter
    that is not a constant of the network.
    """
    scope = Scope(network, dict(params or {}), dtype, torch.device(device))
    known = {network.input}
    ops: list[Op] = []
    for node in network.nodes:
        rule = RULES.get(node.op)
        if rule is None:
            raise UnsupportedError(node.op, "ops")
        if any(node.inputs[i] not in known for i in scope.variables(node)):
            raise UnsupportedError(f"{node.op} (of a second output)", "ops")
        built = rule.build(node, scope)
        made = built if isinstance(built, tuple) else (built,)
        known.update(op.output for op in made)
        ops.extend(made)
    if network.output not in known:
        raise UnsupportedError("Constant (as the output)", "ops")
    return tuple(ops)


@overload
def evaluate(ops: Sequence[Op], network: Network, x: Tensor, keep: None = None) -> Tensor: ...


@overload
def evaluate(ops: Sequence[Op], network: Network, x: Tensor, keep: Iterable[str]) -> dict[str, Tensor]: ...


def evaluate(
    ops: Sequence[Op], network: Network, x: Tensor, keep: Iterable[str] | None = None
) -> Tensor | dict[str, Tensor]:
    """Return the network's output, (batch, *output shape), for x of shape (batch, *input_shape).

    With `keep`, return these tensors by name instead. Any other value is freed after its last use.
    """
    if tuple(x.shape[1:]) != network.input_shape:
        raise UsageError("x", tuple(x.shape), f"the shape (batch, {', '.join(map(str, network.input_shape))})")
    wanted = {network.output} if keep is None else set(keep)
    uses = Counter(name for op in ops for name in op.inputs)
    values = {network.input: x}
    for op in ops:
        values[op.output] = op.apply(*(values[name] for name in op.inputs))
        for name in op.inputs:
            uses[name] -= 1
            if not uses[name] and name not in wanted:
                values.pop(name, None)
    if keep is not None:
        return {name: values[name] for name in wanted}
    return values[network.output]
