"""What affine steps are as matrices: of every value between two cuts, with respect to where it starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product as every
from math import prod
from typing import Any

import numpy as np

from unmoved_check.floating_matrices import MOST_NUMBERS, TINY, Floats, Matrix, lost
from unmoved_check.model.steps import Conv, Dense, Graph, Maximum, Relu, Scale, Select, Step, Sum
from unmoved_check.outcome import Rejection

Starts = dict[int, Matrix]
"""A value as a sum of matrices times the values it starts from (and a constant, which is left out)."""

NARROW = Fraction(1, 2**52)
"""A constant that is known to lie in a bracket may be this wide, relatively."""


def refuse(step: Step) -> None:
    """Rejection of a step that is neither affine nor a ReLU or a maximum: nothing is known of how steep it is."""
    if not isinstance(step, Dense | Conv | Scale | Select | Sum | Relu | Maximum):
        raise Rejection(f"unchecked operator {type(step).__name__} under lipschitz")


def affine(step: Step) -> bool:
    """Whether a step, which `refuse` lets pass, is affine."""
    refuse(step)
    return not isinstance(step, Relu | Maximum)


def maps(graph: Graph, start: int, values: Sequence[int]) -> dict[int, Starts]:
    """Every one of the values (in order) from `start` and from the results of those steps that are not affine."""
    found: dict[int, Starts] = {start: {start: identity(graph.sizes[start])}}
    for value in values:
        step = graph.steps[value - 1]
        if affine(step):
            found[value] = _through(graph, step, found)
        else:
            found[value] = {value: identity(graph.sizes[value])}
    return found


def identity(size: int) -> Matrix:
    """The identity, exactly."""
    if size * size > MOST_NUMBERS:
        raise Rejection("a value is too large for its matrix")
    eye = np.eye(size)
    return Matrix(eye, eye, 0)


def _through(graph: Graph, step: Step, found: Mapping[int, Starts]) -> Starts:
    if isinstance(step, Sum):
        left, right = found[step.left], found[step.right]
        if step.sign < 0:
            right = {s: replace(m, value=-m.value) for s, m in right.items()}
        return {s: _added([part[s] for part in (left, right) if s in part]) for s in left | right}
    if isinstance(step, Select):
        return _selected(graph, step, found)
    if isinstance(step, Dense | Conv | Scale):
        return {s: _mapped(step, m) for s, m in found[step.source].items()}
    raise Rejection(f"unchecked operator {type(step).__name__} under lipschitz")


def _added(parts: Iterable[Matrix]) -> Matrix:
    first, *rest = parts
    for other in rest:
        terms = max(first.terms, other.terms) + 1
        first = Matrix(first.value + other.value, (first.size + other.size) * (1 + 2.0**-50), terms)
    return first


def _selected(graph: Graph, step: Select, found: Mapping[int, Starts]) -> Starts:
    """Rows taken from the sources laid end to end; filled places do not depend on anything."""
    which = np.asarray(step.which, dtype=np.int64)
    offset, result = 0, Starts()
    for source in step.sources:
        size = graph.sizes[source]
        here = (which >= offset) & (which < offset + size)
        for s, m in found[source].items():
            value, sizes = (np.zeros((len(which), m.value.shape[1])) for _ in range(2))
            value[here], sizes[here] = m.value[which[here] - offset], m.size[which[here] - offset]
            made = Matrix(value, sizes, m.terms)
            result[s] = _added([result[s], made]) if s in result else made
        offset += size
    return result


def _mapped(step: Dense | Conv | Scale, m: Matrix) -> Matrix:
    """The step's matrix times m; lost(8) TINY is more than what underflow takes, which later steps may enlarge."""
    if isinstance(step, Scale):
        factors = np.array([_factor(low, high) for (low, high), _ in step.pairs])[
            np.asarray(step.which, dtype=np.int64)
        ]
        value, size = factors[:, None] * m.value, np.abs(factors)[:, None] * m.size
        return Matrix(value, size * (1 + 2.0**-48) + TINY, m.terms + 8)
    weights = np.asarray(step.weights, dtype=np.float64)
    terms = step.inner if isinstance(step, Dense) else step.channels_in // step.groups * prod(step.kernel)
    if isinstance(step, Dense):
        value, size = _dense(step, weights, m.value), _dense(step, np.abs(weights), m.size)
    else:
        value, size = _convolved(step, weights, m.value), _convolved(step, np.abs(weights), m.size)
    return Matrix(value, size * (1 + lost(terms)) + TINY, m.terms + terms + 8)


def _factor(low: Fraction, high: Fraction) -> float:
    near = float(low)
    if low == high == 0:
        return 0.0
    if not 1e-200 < abs(near) < 1e200 or abs(high - low) > NARROW * abs(low):
        raise Rejection("a constant is not known closely enough for a norm")
    return near


def _dense(step: Dense, weights: Floats, columns: Floats) -> Floats:
    matrix = weights.reshape(step.outer, step.inner)
    found: Floats = matrix @ columns.reshape(step.rows, step.inner, -1)
    return found.reshape(step.rows * step.outer, -1)


def _convolved(step: Conv, weights: Floats, columns: Floats) -> Floats:
    """Tap by tap: the part of the padded input that meets it, through its matrix of channels."""
    width = columns.shape[1]
    image = columns.reshape(step.channels_in, *step.space_in, width)
    reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in _sides(step)]
    behind = [max(0, r - p - n) for r, p, n in zip(reach, step.pads, step.space_in, strict=True)]
    pads = [(0, 0), *zip(step.pads, behind, strict=True), (0, 0)]
    image = np.pad(image, pads)
    outer, inner = step.channels_out // step.groups, step.channels_in // step.groups
    kernel = weights.reshape(
        step.groups, step.channels_out // step.groups, step.channels_in // step.groups, *step.kernel
    )
    total = np.zeros((step.groups, outer, prod(step.space_out) * width))
    for tap in every(*(range(k) for k in step.kernel)):
        places = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s) for t, (o, s, _, d) in zip(tap, _sides(step), strict=True)
        )
        seen = image[(slice(None), *places)].reshape(step.groups, inner, -1)
        at: Any = (..., *tap)
        total += kernel[at] @ seen
    return total.reshape(step.channels_out * prod(step.space_out), width)


def _sides(step: Conv) -> list[tuple[int, int, int, int]]:
    return list(zip(step.space_out, step.strides, step.kernel, step.dilations, strict=True))
