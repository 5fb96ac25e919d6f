"""Small ReLU networks in exact rationals: evaluated, and on a segment searched exhaustively."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from unmoved.core import Disjunct, Property
from unmoved.ir import Network
from unmoved.loaders.onnx import load_onnx

Singles = npt.NDArray[np.float32]
Row = list[Fraction]


@dataclass(frozen=True, eq=False)
class Perceptron:
    """ReLU between affine layers (weight (out, in), bias (out,)), float32 numbers with few bits: exact everywhere."""

    layers: tuple[tuple[Singles, Singles], ...]

    def exact(self, point: Sequence[Fraction]) -> Row:
        """Return the outputs in exact rationals."""
        values = list(point)
        for depth, (weight, bias) in enumerate(self.layers):
            if depth:
                values = [max(v, Fraction(0)) for v in values]
            values = affine(weight, bias, values)
        return values

    def track(self, low: Fraction, high: Fraction) -> list[tuple[Fraction, Row]]:
        """Return points of [low, high] with their outputs, for one input: between neighbours the outputs are linear."""
        places = [low, high] if low < high else [low]
        values = [[p] for p in places]
        for depth, (weight, bias) in enumerate(self.layers):
            if depth:
                places, values = _split(places, values)
                values = [[max(v, Fraction(0)) for v in row] for row in values]
            values = [affine(weight, bias, row) for row in values]
        return list(zip(places, values, strict=True))

    @cached_property
    def network(self) -> Network:
        """The same function as an ONNX model, loaded."""
        nodes, constants, name = [], [], "x"
        for depth, (weight, bias) in enumerate(self.layers):
            if depth:
                nodes.append(helper.make_node("Relu", [name], [f"h{depth}"]))
                name = f"h{depth}"
            constants += [numpy_helper.from_array(weight, f"w{depth}"), numpy_helper.from_array(bias, f"b{depth}")]
            nodes.append(helper.make_node("Gemm", [name, f"w{depth}", f"b{depth}"], [f"z{depth}"], transB=1))
            name = f"z{depth}"
        ends = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, width])
            for n, width in (("x", self.layers[0][0].shape[1]), (name, self.layers[-1][0].shape[0]))
        ]
        graph = helper.make_graph(nodes, "known", ends[:1], ends[1:], constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return load_onnx(made.SerializeToString())


def safe_between(net: Perceptron, low: Fraction, high: Fraction, prop: Property) -> bool:
    """Say exactly whether the property holds of a net of one input on all of [low, high]."""
    track = [y for _, y in net.track(low, high)]
    segments = list(pairwise(track)) or [(track[0], track[0])]
    return not any(_meets(d, a, b) for d in prop.disjuncts(len(track[0])) for a, b in segments)


def _meets(disjunct: Disjunct, start: Row, end: Row) -> bool:
    """Say whether some point of the segment from start to end is in the polyhedron: an intersection of intervals."""
    low, high = Fraction(0), Fraction(1)
    for a, b in zip(slacks(disjunct, start), slacks(disjunct, end), strict=True):
        if a > 0 and b > 0:
            return False
        if a > 0:
            low = max(low, a / (a - b))
        elif b > 0:
            high = min(high, a / (a - b))
    return low <= high


def affine(weight: npt.NDArray[Any], bias: npt.NDArray[Any], values: Sequence[Fraction]) -> Row:
    """Return weight @ values + bias, exactly."""
    return [
        sum((Fraction(float(w)) * v for w, v in zip(row, values, strict=True)), Fraction(float(b)))
        for row, b in zip(weight, bias, strict=True)
    ]


def slacks(disjunct: Disjunct, y: Sequence[Fraction]) -> Row:
    """Return a . y - b, row by row."""
    return affine(disjunct.rows, -disjunct.bounds, y)


def _split(places: list[Fraction], values: list[Row]) -> tuple[list[Fraction], list[Row]]:
    """Insert every place where some value crosses zero between neighbours."""
    spots: list[Fraction] = []
    for (p, a), (q, b) in _pairs(places, values):
        crossings = {p + (q - p) * u / (u - v) for u, v in zip(a, b, strict=True) if u * v < 0}
        spots += [p, *sorted(crossings)]
    spots.append(places[-1])
    return spots, [_between(places, values, spot) for spot in spots]


def _pairs(places: list[Fraction], values: list[Row]) -> Iterator[tuple[tuple[Fraction, Row], tuple[Fraction, Row]]]:
    both = list(zip(places, values, strict=True))
    return pairwise(both)


def _between(places: list[Fraction], values: list[Row], spot: Fraction) -> Row:
    for (p, a), (q, b) in _pairs(places, values):
        if p <= spot <= q:
            share = (spot - p) / (q - p)
            return [u + share * (v - u) for u, v in zip(a, b, strict=True)]
    return values[places.index(spot)]
