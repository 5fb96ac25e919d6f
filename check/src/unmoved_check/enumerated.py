"""Evidence of kind `enumerated`: the exact votes of all copies of a finite noise; nothing is by chance.

Let class A have n_A of the votes and B n_B, ties going to the smaller label. A copy that a move changes takes at most
one vote from A and gives at most one to B; so A stays the answer while 2 c <= n_A - n_B - [B < A] for every B != A, c
the most copies that the move can change (Levine and Feizi 2020, arXiv 2002.10733, theorem 1; 2021, arXiv 2103.10834).
A copy whose class is none (a NaN) votes for nobody. All of it is whole numbers.

`columns`, `blocks`: f sees `band` neighbouring columns, or one square block, and `VALUE` elsewhere; they wrap around. A
patch of side m meets at most m + band - 1 of the columns' bands, and at most that many blocks each way.

`splitting-derandomized`: L = 2 lam q thresholds (v_i + t mod L + 1/2)/q for element i, one copy for each t. Moving x_i
from a grid point by delta crosses at most floor(q |delta| + 1/2) <= 2 q |delta| thresholds, each of which belongs to
one copy. So a move of L1 size r from a grid point, to any real x', changes at most 2 q r copies, and at most q r + d/2.
Off the grid the classifier is that of the rounded input, which moves by at most r + d/q, in whole steps: q r + d.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from unmoved_check.counts import check_record, read_center, read_property
from unmoved_check.detour import detour_high
from unmoved_check.fields import constants, counted, fields, integer, part, rational
from unmoved_check.outcome import Rejection
from unmoved_check.tensor import Tensor

__all__ = ["check_enumerated"]

_SHOWN = re.compile(r"(columns|blocks)\(([1-9][0-9]{0,8}), -?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:e[+-]?[0-9]{1,3})?\)")
_SPLIT = "splitting-derandomized"
_FIELDS = ("kind", "noise", "lam", "grid", "offsets", "on_grid", "copies", "counts", "invalid", "top", "classes")


@dataclass(frozen=True)
class _Finite:
    """How many copies there are, and the most that a move can change, of a size in the threat."""

    copies: int
    affected: Callable[[Fraction], int]


def check_enumerated(manifest: dict[str, Any], tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> str:
    """Return a short text only if the claimed radius follows from the votes of all copies, for certain.

    That the classes are those of the model is the producer's word: no model is run here. Raises Rejection otherwise.
    """
    evidence, claim = part(manifest, "evidence"), part(manifest, "claim")
    fields(evidence, "evidence", _FIELDS)
    constants(evidence, "evidence", {"kind": "enumerated"})
    constants(claim, "claim", {"verdict": "CERTIFIED", "function": "g", "semantics": "enumerated"})
    if claim["guarantee"] != {"kind": "deterministic"}:
        raise Rejection("claim.guarantee is not deterministic")
    told = evidence["counts"]
    if not (isinstance(told, list) and len(told) >= 2):
        raise Rejection("evidence.counts is not a list of two numbers or more")
    counts = tuple(counted(count, f"evidence.counts[{i}]", least=0) for i, count in enumerate(told))
    invalid = integer(evidence, "evidence", "invalid", least=0)
    top = integer(evidence, "evidence", "top", least=0)
    read_property(part(manifest, "property"), len(counts), top)
    center = read_center(part(manifest, "input"), tensors, input_shape)
    law = _law(evidence, center, input_shape, part(manifest, "threat"))
    if integer(evidence, "evidence", "copies", least=1) != law.copies or sum(counts) + invalid != law.copies:
        raise Rejection(f"evidence: not the votes of all {law.copies} copies")
    radius = rational(claim, "claim", "radius")
    if radius < _size(part(manifest, "threat")):
        raise Rejection("the threat is larger than claim.radius")
    margin = min(counts[top] - n - (label < top) for label, n in enumerate(counts) if label != top)
    changed = law.affected(radius)
    if 2 * changed > margin:
        raise Rejection(
            f"claim.radius is more than the votes prove: {changed} copies may change, the margin is {margin}"
        )
    check_record(evidence["classes"], tensors, (*counts, invalid))
    return f"margin {margin}, {changed} of {law.copies} copies may change"


def _size(threat: dict[str, Any]) -> Fraction:
    """The size of a threat that `_law` has read."""
    return Fraction(threat["side"]) if threat["kind"] == "patch" else rational(threat, "threat", "eps")


def _law(evidence: dict[str, Any], center: list[Fraction], shape: tuple[int, ...], threat: dict[str, Any]) -> _Finite:
    noise = evidence["noise"]
    if isinstance(noise, str) and noise == _SPLIT:
        return _split(evidence, center, threat)
    found = _SHOWN.fullmatch(noise) if isinstance(noise, str) else None
    if found is None:
        raise Rejection("evidence.noise is not one that this checker knows")
    fields(threat, "threat", ("kind", "side"))
    constants(threat, "threat", {"kind": "patch"})
    integer(threat, "threat", "side", least=0)
    if (evidence["lam"], evidence["grid"], evidence["offsets"], evidence["on_grid"]) != (None, 0, None, True):
        raise Rejection("evidence: lam, grid, offsets and on_grid are not null, 0, null and true")
    if len(shape) < 3:
        raise Rejection("a patch is a part of an image: inputs of three axes or more")
    band, (height, width) = int(found[2]), shape[-2:]
    if band > width or (found[1] == "blocks" and band > height):
        raise Rejection("evidence.noise shows more than there is")

    def columns(side: Fraction) -> int:
        return min(width, _whole(side) + band - 1) if side else 0

    def blocks(side: Fraction) -> int:
        reach = _whole(side) + band - 1
        return min(height, reach) * min(width, reach) if side else 0

    return _Finite(width, columns) if found[1] == "columns" else _Finite(height * width, blocks)


def _whole(side: Fraction) -> int:
    if side.denominator != 1 or side < 0:
        raise Rejection("claim.radius is not a whole number of places")
    return int(side)


def _split(evidence: dict[str, Any], center: list[Fraction], threat: dict[str, Any]) -> _Finite:
    fields(threat, "threat", ("kind", "norm", "eps", "clip"))
    constants(threat, "threat", {"kind": "lp", "norm": "1"})
    if threat["clip"] is not None or rational(threat, "threat", "eps") < 0:
        raise Rejection("threat: clip is not null, or eps is negative")
    grid = integer(evidence, "evidence", "grid", least=1)
    levels = 2 * rational(evidence, "evidence", "lam") * grid
    if levels <= 0 or levels.denominator != 1:
        raise Rejection("evidence: 2 lam grid is not a positive integer")
    offsets = rational(evidence, "evidence", "offsets")
    if offsets.denominator != 1 or not 0 <= offsets < 1 << 256:
        raise Rejection("evidence.offsets is not an integer from 0 to 2^256 - 1")
    if not isinstance(evidence["on_grid"], bool):
        raise Rejection("evidence.on_grid is not true or false")
    on_grid, elements = evidence["on_grid"], len(center)
    detour = detour_high(center, grid, "1", on_grid=True) if on_grid else Fraction(0)

    def affected(radius: Fraction) -> int:
        if radius < 0:
            raise Rejection("claim.radius is negative")
        steps = grid * (radius + detour)
        most = min(2 * steps, steps + Fraction(elements, 2)) if on_grid else steps + elements
        return min(int(levels), floor(most))

    return _Finite(int(levels), affected)
