"""From ONNX nodes to steps: one table of rules, one walk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from unmoved_check.model import (
    affine,
    choosing,
    deconvolution,
    einsum,
    functions,
    maxima,
    normalisation,
    pooling,
    products,
    resizing,
    shaping,
    slanted,
    softmax,
)
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import MOST_ELEMENTS
from unmoved_check.model.reader import Node, Source
from unmoved_check.model.steps import Graph
from unmoved_check.outcome import Rejection

Rule = Callable[[Builder, Node, list[Value | None]], Value | tuple[Value, ...]]


@dataclass(frozen=True)
class Entry:
    """A rule, how many inputs it takes (least, most), and the attributes it understands."""

    rule: Rule
    least: int
    most: int
    attributes: frozenset[str]


def _entry(rule: Rule, inputs: tuple[int, int], attributes: str = "") -> Entry:
    return Entry(rule, *inputs, frozenset(attributes.split()))


_WINDOW = "auto_pad dilations kernel_shape pads strides"
_REDUCED = "axes keepdims noop_with_empty_axes"
_RESIZED = (
    "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
    "keep_aspect_ratio_policy mode nearest_mode"
)

RULES: dict[str, Entry] = {
    "Abs": _entry(slanted.absolute, (1, 1)),
    "Add": _entry(affine.add, (2, 2)),
    "And": _entry(shaping.logic, (2, 2)),
    "Atan": _entry(functions.plain, (1, 1)),
    "AveragePool": _entry(pooling.average_pool, (1, 1), f"{_WINDOW} ceil_mode count_include_pad"),
    "BatchNormalization": _entry(affine.batch_normalization, (5, 5), "epsilon momentum training_mode"),
    "Cast": _entry(shaping.cast, (1, 1), "to saturate"),
    "Celu": _entry(functions.elu, (1, 1), "alpha"),
    "Clip": _entry(functions.clip, (1, 3), "min max"),
    "Concat": _entry(shaping.concat, (1, 1 << 20), "axis"),
    "Constant": _entry(shaping.constant, (0, 0), "value value_int value_ints value_float value_floats"),
    "ConstantOfShape": _entry(shaping.constant_of_shape, (1, 1), "value"),
    "Conv": _entry(affine.conv, (2, 3), f"{_WINDOW} group"),
    "ConvTranspose": _entry(deconvolution.conv_transpose, (2, 3), f"{_WINDOW} group output_padding output_shape"),
    "Cos": _entry(functions.plain, (1, 1)),
    "Div": _entry(products.divide, (2, 2)),
    "Dropout": _entry(shaping.dropout, (1, 3), "ratio seed"),
    "Einsum": _entry(einsum.einsum, (2, 2), "equation"),
    "Elu": _entry(functions.elu, (1, 1), "alpha"),
    "Equal": _entry(shaping.compare, (2, 2)),
    "Erf": _entry(functions.plain, (1, 1)),
    "Exp": _entry(functions.plain, (1, 1)),
    "Expand": _entry(shaping.expand, (2, 2)),
    "Flatten": _entry(shaping.flatten, (1, 1), "axis"),
    "Gather": _entry(shaping.gather, (2, 2), "axis"),
    "Gelu": _entry(functions.gelu, (1, 1), "approximate"),
    "Gemm": _entry(affine.gemm, (2, 3), "alpha beta transA transB"),
    "GlobalAveragePool": _entry(pooling.global_average_pool, (1, 1)),
    "GlobalMaxPool": _entry(maxima.global_max_pool, (1, 1)),
    "Greater": _entry(choosing.compare, (2, 2)),
    "GreaterOrEqual": _entry(choosing.compare, (2, 2)),
    "GroupNormalization": _entry(normalisation.channels, (3, 3), "epsilon num_groups stash_type"),
    "HardSigmoid": _entry(functions.hard_sigmoid, (1, 1), "alpha beta"),
    "HardSwish": _entry(functions.plain, (1, 1)),
    "Identity": _entry(shaping.identity, (1, 1)),
    "InstanceNormalization": _entry(normalisation.channels, (3, 3), "epsilon"),
    "LayerNormalization": _entry(normalisation.layer, (2, 3), "axis epsilon stash_type"),
    "LeakyRelu": _entry(slanted.leaky_relu, (1, 1), "alpha"),
    "Less": _entry(choosing.compare, (2, 2)),
    "LessOrEqual": _entry(choosing.compare, (2, 2)),
    "Log": _entry(functions.plain, (1, 1)),
    "LogSoftmax": _entry(softmax.softmax, (1, 1), "axis"),
    "MatMul": _entry(products.matmul, (2, 2)),
    "Max": _entry(maxima.larger, (1, 1 << 10)),
    "MaxPool": _entry(pooling.max_pool, (1, 1), f"{_WINDOW} ceil_mode storage_order"),
    "Min": _entry(maxima.larger, (1, 1 << 10)),
    "Mish": _entry(functions.plain, (1, 1)),
    "Mul": _entry(products.multiply, (2, 2)),
    "Neg": _entry(affine.negative, (1, 1)),
    "Not": _entry(shaping.logic, (1, 1)),
    "Or": _entry(shaping.logic, (2, 2)),
    "PRelu": _entry(slanted.p_relu, (2, 2)),
    "Pad": _entry(shaping.pad, (1, 4), "mode pads value"),
    "Pow": _entry(functions.power, (2, 2)),
    "RMSNormalization": _entry(normalisation.layer, (2, 2), "axis epsilon stash_type"),
    "Range": _entry(shaping.range_node, (3, 3)),
    "Reciprocal": _entry(functions.power, (1, 1)),
    "ReduceMax": _entry(maxima.reduce_max, (1, 2), _REDUCED),
    "ReduceMean": _entry(pooling.reduce, (1, 2), _REDUCED),
    "ReduceMin": _entry(maxima.reduce_max, (1, 2), _REDUCED),
    "ReduceProd": _entry(shaping.reduce_prod, (1, 1), "axes keepdims"),
    "ReduceSum": _entry(pooling.reduce, (1, 2), _REDUCED),
    "Relu": _entry(slanted.relu, (1, 1)),
    "Reshape": _entry(shaping.reshape, (2, 2), "allowzero"),
    "Resize": _entry(resizing.resize, (2, 4), _RESIZED),
    "Selu": _entry(functions.elu, (1, 1), "alpha gamma"),
    "Shape": _entry(shaping.shape_node, (1, 1), "start end"),
    "Sigmoid": _entry(functions.plain, (1, 1)),
    "Sign": _entry(functions.plain, (1, 1)),
    "Sin": _entry(functions.plain, (1, 1)),
    "Size": _entry(shaping.size, (1, 1)),
    "Slice": _entry(shaping.slice_node, (1, 5), "starts ends axes"),
    "Softmax": _entry(softmax.softmax, (1, 1), "axis"),
    "Softplus": _entry(functions.plain, (1, 1)),
    "Softsign": _entry(functions.plain, (1, 1)),
    "Split": _entry(choosing.split, (1, 2), "axis num_outputs split"),
    "Sqrt": _entry(functions.power, (1, 1)),
    "Squeeze": _entry(shaping.squeeze, (1, 2), "axes"),
    "Sub": _entry(affine.add, (2, 2)),
    "Sum": _entry(affine.total, (1, 1 << 10)),
    "Swish": _entry(functions.swish, (1, 1), "alpha"),
    "Tanh": _entry(functions.plain, (1, 1)),
    "Tile": _entry(choosing.tile, (2, 2)),
    "Transpose": _entry(shaping.transpose, (1, 1), "perm"),
    "Unsqueeze": _entry(shaping.unsqueeze, (1, 2), "axes"),
    "Upsample": _entry(resizing.resize, (1, 2), "mode scales"),
    "Where": _entry(choosing.where, (3, 3)),
}


def lower(source: Source) -> Graph:
    """The steps of everything the first output depends on; Rejection("unchecked operator X") for an X we don't know."""
    return lowered(source)[0]


def lowered(source: Source) -> tuple[Graph, Mapping[str, Value]]:
    """The same, and every tensor of it by name."""
    if prod(source.input_shape) > MOST_ELEMENTS:
        raise Rejection("model: the input is too large")
    build = Builder(source.opset, sizes=[prod(source.input_shape)])
    known: dict[str, Value] = dict(source.constants)
    known[source.input] = Variable(0, source.input_shape)
    for node in _needed(source):
        entry = RULES.get(node.op)
        if entry is None:
            raise Rejection(f"unchecked operator {node.op}")
        strange = set(node.attributes) - entry.attributes
        if strange or not entry.least <= len(node.inputs) <= entry.most:
            raise node.refuse(f"with attributes {sorted(strange)} and {len(node.inputs)} inputs")
        inputs = [_lookup(known, name) for name in node.inputs]
        if node.op != "Where" and any(isinstance(v, Variable) and v.value in build.truths for v in inputs):
            raise node.refuse("of truth values")
        if node.op == "Relu" and isinstance(inputs[0], Variable):
            build.relu_inputs[node.inputs[0]] = inputs[0].value
        build.output = node.outputs[0] if node.outputs else ""
        made = entry.rule(build, node, inputs)
        results = made if isinstance(made, tuple) else (made,)
        if not node.outputs or len(results) > len(node.outputs):
            raise node.refuse("with too few outputs")
        for name, result in zip(node.outputs, results, strict=False):
            if prod(result.shape) > MOST_ELEMENTS:
                raise node.refuse("with too large an output")
            if isinstance(result, Variable):
                if not result.size:
                    raise node.refuse("that makes an empty tensor")
                build.names[name] = result.value
            known[name] = result
    output = _lookup(known, source.output)
    if not isinstance(output, Variable):
        raise Rejection("model: the output does not depend on the input")
    graph = Graph(
        source.input,
        source.input_shape,
        source.output,
        output.value,
        tuple(build.steps),
        tuple(build.sizes),
        build.relu_inputs,
        build.bent,
        build.names,
    )
    return graph, known


def _needed(source: Source) -> list[Node]:
    """The nodes that the output depends on, in order."""
    wanted = {source.output}
    nodes = []
    for node in reversed(source.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(filter(None, node.inputs))
            nodes.append(node)
    return nodes[::-1]


def _lookup(known: dict[str, Value], name: str) -> Value | None:
    if not name:
        return None
    if name not in known:
        raise Rejection(f"model: {name!r} is an output that the checker doesn't compute")
    return known[name]
