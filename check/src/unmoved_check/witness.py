"""Witness evidence: a point of S, exactly, whose exact output is unsafe, as is the output that a runtime gave."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from unmoved_check.claim import Claim, Property, Sparse, fields, one_of, tensor, text
from unmoved_check.exact import ExactEngine
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region
from unmoved_check.tensor import Tensor

REAL_ONLY, RUNTIME_ONLY = "falsified under real only", "falsified under this runtime only"
"""What is left to say of a witness in one arithmetic only; it is no FALSIFIED."""


def check_witness(claim: Claim, tensors: Mapping[str, Tensor], engine: ExactEngine) -> str:
    """How far inside the unsafe set the exact output is, as a text; Rejection when the witness shows nothing."""
    evidence = fields(claim.evidence, "evidence", "kind tensor runtime")
    runtime = fields(evidence["runtime"], "evidence.runtime", "name version output")
    one_of(runtime["name"], "evidence.runtime.name", "onnxruntime")
    text(runtime["version"], "evidence.runtime.version")
    point = tensor(tensors, evidence["tensor"], "evidence.tensor", "F32")
    output = tensor(tensors, runtime["output"], "evidence.runtime.output", "F32 F64")
    strange = set(tensors) - claim.names - {str(evidence["tensor"]), str(runtime["output"])}
    if strange:
        raise Rejection(f"payload: {sorted(strange)[0]} is not used")
    if point.shape != claim.model.input_shape:
        raise Rejection("payload: the witness has not the input's shape")
    if claim.property.outputs != engine.graph.outputs or output.size != engine.graph.outputs:
        raise Rejection("the property, the recorded output and the model's output differ in size")
    numbers = point.fractions()
    inside = contains(claim.region, numbers) if claim.sparse is None else differs(claim.sparse, numbers)
    if not inside:
        raise Rejection("the witness is not in the threat's set")
    slack = exact_slack(claim.property, engine, tuple(float(v) for v in point.numbers))
    recorded = recorded_slack(claim.property, output.fractions())
    if slack < 0:
        alone = RUNTIME_ONLY if recorded >= 0 else "so is the runtime's"
        raise Rejection(f"the exact output at the witness is safe: {alone}")
    if recorded < 0:
        raise Rejection(f"the runtime's output at the witness is safe: {REAL_ONLY}")
    return f"unsafe by {float(slack):.6g}"


def differs(sparse: Sparse, point: list[Fraction]) -> bool:
    """Whether the point is in an l0 threat's set: exactly."""
    low, high = sparse.clip or (min(point), max(point))
    moved = sum(v != Fraction(c) for v, c in zip(point, sparse.center, strict=True))
    return moved <= sparse.size and all(low <= v <= high for v in point)


def contains(region: Region, point: list[Fraction]) -> bool:
    """Whether the point is in the region: exactly, without tolerance."""
    if region.clip is not None and not all(region.clip[0] <= v <= region.clip[1] for v in point):
        return False
    if region.box is not None:
        low, high = region.box
        return all(Fraction(a) <= v <= Fraction(b) for a, v, b in zip(low, point, high, strict=True))
    if region.ball is None:
        raise ValueError("a region without a ball or a box")
    gaps = [abs(v - Fraction(c)) for v, c in zip(point, region.ball.center, strict=True)]
    if region.ball.norm == "inf":
        return max(gaps) <= region.ball.eps
    if region.ball.norm == "1":
        return sum(gaps) <= region.ball.eps
    return sum(g * g for g in gaps) <= region.ball.eps**2


def exact_slack(prop: Property, engine: ExactEngine, point: tuple[float, ...]) -> Fraction:
    """The largest s such that all b - a . y >= s for some disjunct, from exact outputs (rounded down if irrational)."""
    bounds = engine.enclose(Region(ball=Ball(point, "inf", Fraction(0))))
    if bounds is None:
        raise ValueError("a point is an empty region")
    slacks = []
    for disjunct in prop.disjuncts:
        rows = [({j: -a for j, a in c.row.items()}, c.bound) for c in disjunct]
        slacks.append(min(engine.least(bounds, row, bound) for row, bound in rows))
    return max(slacks)


def recorded_slack(prop: Property, output: list[Fraction]) -> Fraction:
    """The same for outputs that are given."""
    return max(
        min(c.bound - sum((a * output[j] for j, a in c.row.items()), Fraction(0)) for c in disjunct)
        for disjunct in prop.disjuncts
    )
