"""Rewrites of a Network that keep its function in exact real arithmetic.

The result keeps `source` and `digest` of the network that it was made from, for it is a way to evaluate that model, not
another model. Its float32 outputs differ in the last bits, so whoever certifies with it says so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from unmoved.ir.network import Array, Network, Node

_DEFAULT_EPSILON = 1e-5
"""ONNX's default for BatchNormalization."""


@dataclass(frozen=True, eq=False)
class _Scaling:
    """What a BatchNormalization does to each channel: y = slope * x + shift, float64 (channels,)."""

    slope: Array
    shift: Array


def fold_batch_norm(network: Network) -> Network:
    """Return the network with every BatchNormalization that follows a Conv or a Gemm merged into it.

    The same function in exact arithmetic: y = s (W x + c - m) + b becomes (s W) x + (s (c - m) + b), computed in
    float64 and rounded once. A batch norm whose input somebody else reads too, or that takes the mean of its own
    batch, stays.
    """
    uses = Counter(name for node in network.nodes for name in node.inputs)
    uses[network.output] += 1
    constants, nodes = dict(network.constants), list(network.nodes)
    makers = {name: place for place, node in enumerate(nodes) for name in node.outputs}
    gone: set[int] = set()
    for place, node in enumerate(nodes):
        scaling = _scaling(node, network)
        before = makers.get(node.inputs[0]) if scaling is not None else None
        if scaling is None or before is None or uses[node.inputs[0]] != 1:
            continue
        merged = _merged(nodes[before], scaling, constants)
        if merged is not None:
            nodes[before] = replace(merged, outputs=node.outputs)
            makers[node.outputs[0]] = before
            gone.add(place)
    kept = tuple(node for place, node in enumerate(nodes) if place not in gone)
    return replace(network, nodes=kept, constants=constants)


def _scaling(node: Node, network: Network) -> _Scaling | None:
    """Return what a node scales by; None when it is no batch norm with fixed statistics and one output."""
    if node.op != "BatchNormalization" or node.attributes.get("training_mode", 0):
        return None
    if len([name for name in node.outputs if name]) != 1 or any(n not in network.constants for n in node.inputs[1:5]):
        return None
    gamma, beta, mean, variance = (np.asarray(network.constants[n], dtype=np.float64) for n in node.inputs[1:5])
    slope = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", _DEFAULT_EPSILON)))
    return _Scaling(slope, beta - mean * slope)


def _merged(node: Node, scaling: _Scaling, constants: dict[str, Array]) -> Node | None:
    """Return the Conv or Gemm with the scaling inside, its new constants added; None where it cannot take it."""
    fixed = [not name or name in constants for name in node.inputs]
    if node.op not in ("Conv", "Gemm") or fixed[0] or not all(fixed[1:]):
        return None
    weight = constants[node.inputs[1]]
    offset = constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1)
    channels, attributes = len(scaling.slope), dict(node.attributes)
    if node.op == "Conv":
        axis = 0
    else:
        axis = 0 if attributes.get("transB", 0) else 1
        # C may be broadcast along the rows of A B; only a row of channels (or one number) is a bias
        if offset.size not in (1, channels) or (offset.ndim == 2 and offset.shape[0] != 1):
            return None
        offset = offset.astype(np.float64) * float(attributes.pop("beta", 1.0))
    if weight.shape[axis] != channels:
        return None
    along = tuple(channels if i == axis else 1 for i in range(weight.ndim))
    out = node.outputs[0]
    values = {
        f"{out}.folded.weight": weight.astype(np.float64) * scaling.slope.reshape(along),
        f"{out}.folded.bias": offset.astype(np.float64).reshape(-1) * scaling.slope + scaling.shift,
    }
    constants.update({name: value.astype(weight.dtype) for name, value in values.items()})
    return replace(node, inputs=(node.inputs[0], *values), attributes=attributes)
