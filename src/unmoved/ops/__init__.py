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
from unmoved.ops import (
    activations,
    affine,
    comparison,
    composite,
    convolution,
    curves,
    gates,
    idioms,
    maximum,
    normalisation,
    product,
    reshape,
)
from unmoved.ops.einsum import written_out
from unmoved.ops.op import Affine, Composite, Elementwise, Maximum, Op, Product, primitives
from unmoved.ops.scope import Scope

__all__ = [
    "RULES",
    "Affine",
    "Composite",
    "Elementwise",
    "Maximum",
    "Op",
    "Product",
    "Rule",
    "bind",
    "evaluate",
    "family",
    "primitives",
    "supported",
]


@dataclass(frozen=True)
class Rule:
    """The family of an operator and what makes Ops of its nodes (one, or one an output)."""

    family: str
    build: Callable[[Node, Scope], Op | tuple[Op, ...]]


RULES: Mapping[str, Rule] = {
    "Abs": Rule("Elementwise", activations.absolute),
    "Add": Rule("Affine", affine.add),
    "Atan": Rule("Elementwise", curves.atan),
    "AveragePool": Rule("Affine", convolution.average_pool),
    "BatchNormalization": Rule("Affine", affine.batch_normalization),
    "Cast": Rule("Affine", reshape.reshaped),
    "Celu": Rule("Elementwise", curves.elu),
    "Clip": Rule("Elementwise", activations.clip),
    "Concat": Rule("Affine", reshape.joined),
    "Conv": Rule("Affine", convolution.conv),
    "ConvTranspose": Rule("Affine", convolution.conv_transpose),
    "Cos": Rule("Elementwise", curves.wave),
    "Div": Rule("Composite", composite.divided),
    "Dropout": Rule("Affine", reshape.reshaped),
    "Elu": Rule("Elementwise", curves.elu),
    "Erf": Rule("Elementwise", curves.erf),
    "Exp": Rule("Elementwise", curves.exp),
    "Expand": Rule("Affine", affine.expand),
    "Flatten": Rule("Affine", reshape.reshaped),
    "Gather": Rule("Affine", reshape.gathered),
    "Gelu": Rule("Elementwise", gates.gate),
    "Gemm": Rule("Affine", affine.gemm),
    "GlobalAveragePool": Rule("Affine", affine.reduce),
    "GlobalMaxPool": Rule("Maximum", maximum.reduce_max),
    "Greater": Rule("Composite", comparison.compared),
    "GreaterOrEqual": Rule("Composite", comparison.compared),
    "GroupNormalization": Rule("Composite", normalisation.normalised),
    "HardSigmoid": Rule("Elementwise", activations.hard_sigmoid),
    "HardSwish": Rule("Elementwise", curves.hard_swish),
    "Identity": Rule("Affine", reshape.reshaped),
    "InstanceNormalization": Rule("Composite", normalisation.normalised),
    "LayerNormalization": Rule("Composite", normalisation.normalised),
    "LeakyRelu": Rule("Composite", composite.slanted),
    "Less": Rule("Composite", comparison.compared),
    "LessOrEqual": Rule("Composite", comparison.compared),
    "Log": Rule("Elementwise", curves.log),
    "LogSoftmax": Rule("Composite", composite.softmax),
    "MatMul": Rule("Product", product.matrices),
    "Max": Rule("Composite", composite.larger),
    "MaxPool": Rule("Maximum", maximum.max_pool),
    "Min": Rule("Composite", composite.larger),
    "Mish": Rule("Elementwise", gates.gate),
    "Mul": Rule("Product", product.multiplied),
    "Neg": Rule("Affine", affine.add),
    "PRelu": Rule("Composite", composite.slanted),
    "Pad": Rule("Affine", reshape.padded),
    "Pow": Rule("Elementwise", curves.power),
    "RMSNormalization": Rule("Composite", normalisation.normalised),
    "Reciprocal": Rule("Elementwise", curves.power),
    "ReduceMax": Rule("Maximum", maximum.reduce_max),
    "ReduceMean": Rule("Affine", affine.reduce),
    "ReduceMin": Rule("Composite", maximum.reduce_max),
    "ReduceSum": Rule("Affine", affine.reduce),
    "Relu": Rule("Elementwise", activations.relu),
    "Reshape": Rule("Affine", reshape.reshaped),
    "Resize": Rule("Affine", reshape.resized),
    "Selu": Rule("Elementwise", curves.elu),
    "Sigmoid": Rule("Elementwise", curves.sigmoid),
    "Sign": Rule("Elementwise", activations.sign),
    "Sin": Rule("Elementwise", curves.wave),
    "Slice": Rule("Affine", reshape.sliced),
    "Softmax": Rule("Composite", composite.softmax),
    "Softplus": Rule("Elementwise", curves.softplus),
    "Softsign": Rule("Elementwise", curves.softsign),
    "Split": Rule("Affine", reshape.split),
    "Sqrt": Rule("Elementwise", curves.power),
    "Squeeze": Rule("Affine", reshape.reshaped),
    "Sub": Rule("Affine", affine.add),
    "Sum": Rule("Affine", affine.add),
    "Swish": Rule("Elementwise", gates.gate),
    "Tanh": Rule("Elementwise", curves.tanh),
    "Tile": Rule("Affine", reshape.tiled),
    "Transpose": Rule("Affine", reshape.transposed),
    "Unsqueeze": Rule("Affine", reshape.reshaped),
    "Upsample": Rule("Affine", reshape.resized),
    "Where": Rule("Composite", comparison.where),
}
"""ONNX operator name -> rule."""


def supported() -> frozenset[str]:
    """Return the ONNX names of all operators that have a rule."""
    return frozenset(RULES)


def family(operator: str) -> str | None:
    """Return the family of an ONNX operator ("Affine", ..., "Composite"); None when it has no rule."""
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
    network = written_out(network)
    scope = Scope(network, dict(params or {}), dtype, torch.device(device))
    known = {network.input}
    ops: list[Op] = []
    nodes, found = idioms.fused(network, scope)
    for node in nodes:
        if node.outputs[0] in found:
            ops.append(found[node.outputs[0]])
            known.add(node.outputs[0])
            continue
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
