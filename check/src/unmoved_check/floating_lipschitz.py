"""Lipschitz evidence: no x' in S brings a margin down by more than L times the distance, and the margin is larger.

The model is cut where every path passes one value. A part between two cuts is an affine map, a ReLU, a maximum, or a
block. Of y = A x + C relu(B x + b), two inputs are brought apart by A + C D B with a diagonal 0 <= D <= 1. Where C'A
is -Lambda B + E with a diagonal Lambda >= 0, and C'C <= diag(M) (Gershgorin, with weights), D^2 <= D gives

    |A + C D B|^2 <= |A|^2 + |B|^2 max_i (M_i - 2 Lambda_i)+ + 2 |E| |B|,

which is 1 for a residual step x - 2 W T^-1 relu(W'x + b) with T >= W'W (Araujo et al. 2023) and for sorted pairs. Any
block: |A| + |C| |B|. The product of all parts' norms is L, up to the last affine part, which the margin's row absorbs.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from unmoved_check.claim import Claim, Tensors, fields, integer, one_of
from unmoved_check.exact import ExactEngine
from unmoved_check.floating_jacobian import Starts, affine, identity, maps, refuse
from unmoved_check.floating_matrices import (
    TINY,
    Matrix,
    between,
    largest_sum,
    lost,
    product,
    symmetric,
    up,
    weighted_sums,
    weights,
)
from unmoved_check.model.steps import Graph, Maximum, Relu, sources
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region

MOST_SQUARINGS = 16

STRETCH = {("inf", "2"): 0.5, ("inf", "1"): 1.0, ("2", "1"): 0.5}
"""|x|_n <= d^power |x|_p for d elements, by (p, n); 0 for all others."""


@dataclass(frozen=True, eq=False)
class Constant:
    """What is between the input and the last affine part: its Lipschitz constant, and that part as a matrix."""

    constant: float
    last: Matrix


def check_lipschitz(claim: Claim, tensors: Tensors, engine: ExactEngine, known: dict[tuple[str, int], Constant]) -> str:
    """The least of margin / (L eps) over the disjuncts, as a text; Rejection where it is not above 1."""
    evidence = fields(claim.evidence, "evidence", "kind norm squarings")
    norm = one_of(evidence["norm"], "evidence.norm", "inf 2 1")
    squarings = integer(evidence["squarings"], "evidence.squarings")
    if not 0 <= squarings <= MOST_SQUARINGS:
        raise Rejection(f"manifest: evidence.squarings is not within 0 and {MOST_SQUARINGS}")
    ball, graph = claim.region.ball, engine.graph
    if ball is None:
        raise Rejection("manifest: lipschitz evidence is about balls")
    if claim.property.outputs != graph.outputs:
        raise Rejection("the property and the model's output differ in size")
    if (norm, squarings) not in known:
        known[norm, squarings] = constant(graph, norm, squarings)
    bound = known[norm, squarings]
    centre = engine.enclose(Region(ball=Ball(ball.center, "inf", Fraction(0))))
    if centre is None:
        raise ValueError("a point is an empty region")
    reach = _reach(ball, norm)
    used, worst = set(claim.names), math.inf
    for d, disjunct in enumerate(claim.property.disjuncts):
        name = f"weights/{d}"
        given = _weights(tensors, name, len(disjunct))
        used |= {name} & set(tensors)
        row: dict[int, Fraction] = {}
        for w, conjunct in zip(given, disjunct, strict=True):
            for j, a in conjunct.row.items():
                row[j] = row.get(j, Fraction(0)) + w * a
        offset = sum((w * c.bound for w, c in zip(given, disjunct, strict=True)), Fraction(0))
        margin = engine.least(centre, row, -offset)
        most = Fraction(slope(bound, row, norm)) * reach
        if margin <= most:
            raise Rejection(f"disjunct {d}: a margin of {float(margin):.6g} is not above {float(most):.6g}")
        worst = min(worst, float(margin / most) if most else math.inf)
    strange = set(tensors) - used
    if strange:
        raise Rejection(f"payload: {sorted(strange)[0]} is not used")
    return f"{worst:.6g} times the largest change"


def _weights(tensors: Tensors, name: str, count: int) -> list[Fraction]:
    if name not in tensors:
        return [Fraction(1)] * count
    found = tensors[name]
    if found.dtype != "F64" or found.shape != (count,):
        raise Rejection(f"payload: {name} is not one float64 a conjunct")
    numbers = found.fractions()
    if min(numbers) < 0 or not any(numbers):
        raise Rejection(f"payload: {name} has a negative number, or nothing else than 0")
    return numbers


def _reach(ball: Ball, norm: str) -> Fraction:
    """At least the size, in `norm`, of what the ball lets an input move."""
    power = STRETCH.get((ball.norm, norm), 0.0)
    return ball.eps * Fraction(up(float(len(ball.center)) ** power) if power else 1.0)


def slope(bound: Constant, row: dict[int, Fraction], norm: str) -> float:
    """At least the Lipschitz constant of row . y."""
    numbers = np.zeros(bound.last.value.shape[0])
    for j, a in row.items():
        numbers[j] = float(a)
    wide = Matrix(numbers[:, None], np.abs(numbers)[:, None] * (1 + 2.0**-50) + TINY, 1)
    at = product(wide, bound.last)
    sizes = at.most
    if norm == "2":
        scale = float(sizes.max())
        length = up(math.sqrt(up(float(np.square(sizes / scale).sum()) * (1 + lost(sizes.size)))) * scale)
    else:
        # of a functional on a space of norm inf: the sum; on one of norm 1: the largest
        length = largest_sum(sizes, 1) if norm == "inf" else up(float(sizes.max()))
    return up(length * bound.constant)


def constant(graph: Graph, norm: str, squarings: int) -> Constant:
    """The model's constant in `norm`."""
    needed = _needed(graph)
    for value in needed[1:]:
        refuse(graph.steps[value - 1])
    cuts = [v for v in needed if all(min(sources(graph.steps[w - 1])) >= v for w in needed if w > v)]
    parts: list[tuple[int, list[int]]] = []
    for start, end in pairwise(cuts):
        inside = [v for v in needed if start < v <= end]
        straight = all(affine(graph.steps[v - 1]) for v in inside)
        if straight and parts and all(affine(graph.steps[v - 1]) for v in parts[-1][1]):
            parts[-1][1].extend(inside)
        else:
            parts.append((start, inside))
    total, last = 1.0, None
    for number, (start, inside) in enumerate(parts):
        if number == len(parts) - 1 and all(affine(graph.steps[v - 1]) for v in inside):
            last = maps(graph, start, inside)[inside[-1]][start]
        else:
            total = up(total * _part(graph, start, inside, norm, squarings))
    return Constant(total, last or identity(graph.outputs))


def _needed(graph: Graph) -> list[int]:
    wanted = {graph.output}
    for value in range(graph.output, 0, -1):
        if value in wanted:
            wanted.update(sources(graph.steps[value - 1]))
    return sorted(wanted | {0})


def _part(graph: Graph, start: int, inside: list[int], norm: str, squarings: int) -> float:
    """At least the constant of a part, from one cut to the next."""
    steps = [graph.steps[v - 1] for v in inside]
    if len(steps) == 1 and isinstance(steps[0], Relu):
        return 1.0
    if len(steps) == 1 and isinstance(steps[0], Maximum):
        return _overlap(steps[0], norm)
    found, end = maps(graph, start, inside), inside[-1]
    sizes = {start: 1.0}
    for value, step in zip(inside, steps, strict=True):
        if affine(step):
            continue
        source = sources(step)[0]
        own = _overlap(step, norm) if isinstance(step, Maximum) else 1.0
        sizes[value] = up(own * _triangle(found[source], sizes, norm, squarings))
    best = _triangle(found[end], sizes, norm, squarings)
    relus = [v for v, s in zip(inside, steps, strict=True) if isinstance(s, Relu)]
    if norm == "2" and len(sizes) == 2 and len(relus) == 1 and set(found[end]) == {start, relus[0]}:
        inner = found[sources(graph.steps[relus[0] - 1])[0]][start]
        best = min(best, opposed(found[end][start], found[end][relus[0]], inner, squarings))
    return best


def _triangle(parts: Starts, sizes: dict[int, float], norm: str, squarings: int) -> float:
    total = 0.0
    for s, m in parts.items():
        total = up(total + up(m.norm(norm, squarings) * sizes[s]))
    return total


def _overlap(step: Maximum, norm: str) -> float:
    """A maximum changes by no more than the most that one member does; an input may be a member of several windows."""
    if norm == "inf":
        return 1.0
    shared = Counter(i for window in step.windows for i in set(window))
    most = float(max(shared.values()))
    return most if norm == "1" else up(math.sqrt(most))


def opposed(a: Matrix, c: Matrix, b: Matrix, squarings: int) -> float:
    """At least max over D of |A + C D B|_2: the formula in this file's docstring."""
    across, gram = product(c, a), product(c, c)
    length = np.square(b.value).sum(1)
    factors = np.where(length > 0, -(across.value * b.value).sum(1) / np.maximum(length, 1e-290), 0.0).clip(0)
    if not np.isfinite(factors).all():
        raise Rejection("a block is not finite")
    left = Matrix(
        across.value + factors[:, None] * b.value,
        (across.size + factors[:, None] * b.size) * (1 + 2.0**-50),
        max(across.terms, b.terms) + 4,
    ).most
    error = between(left)
    sizes = symmetric(gram.most)
    floor = max(1e-12 * float(factors.max(initial=0.0)), 1e-290)
    sums = weighted_sums(sizes, weights(sizes / np.maximum(factors, floor)[:, None]))
    excess = float(np.maximum(sums - 2 * factors * (1 - 2.0**-50), 0.0).max())
    whole, inner = a.norm("2", squarings), b.norm("2", squarings)
    return up(math.sqrt(up(up(whole * whole) + up(up(inner * inner) * up(excess)) + up(2 * error * inner))))
