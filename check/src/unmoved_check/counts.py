"""Evidence of kind `counts`: the radius of a smoothed classifier, re-derived from the votes of its noisy copies.

What a radius follows from, once probabilities are bounded, is the noise's own theorem (`noise`, one file a family).
That probabilities as bounded hold with probability >= 1 - alpha over the samples: `top` was fixed before the
counts; the sampler is within `most` * deviation of the exact law in total variation, taken off alpha first; the look
at which the counts stand spends its share of what is left (`schedule`). Two-class: let j be the class other than `top`
with the largest true probability p_j; j does not depend on the counts, its own bound CPup(counts[j]) fails with
probability <= alpha'/2, and CPup grows with the count, so that of the largest count is no smaller. pB <= 1 - pA costs
nothing.

Norms: ||v||_2 <= ||v||_1, ||v||_2 <= sqrt(d) ||v||_inf, ||v||_1 <= sqrt(d) ||v||_2, ||v||_1 <= d ||v||_inf; so a radius
in the noise's norm is one in another norm, divided by that factor (rounded up).

Everything is exact rational arithmetic, or rounded so that the radius can only become smaller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any

from unmoved_check.binomial import clopper_pearson_high, clopper_pearson_low
from unmoved_check.classes import check_classes
from unmoved_check.detour import detour_high, sqrt_high
from unmoved_check.fields import constants, counted, fields, integer, part, rational
from unmoved_check.noise import law_of
from unmoved_check.noise_law import Law
from unmoved_check.outcome import Rejection
from unmoved_check.schedule import geometric, single
from unmoved_check.seed import check_seed
from unmoved_check.tensor import Tensor

__all__ = ["MOST_SAMPLES", "check_counts", "check_record", "read_center", "read_property"]

MOST_SAMPLES = 10**8
"""More samples than this are not checked (a check takes time in proportion to the square root of the samples)."""

_SEED = re.compile(r"[0-9a-f]{64}")
_BOUNDS = ("one-class", "two-class")
_EVIDENCE_FIELDS = (
    *("kind", "noise", "sigma", "grid", "offset", "on_grid", "bound", "looks", "samples", "selection_samples"),
    *("counts", "top", "alpha", "seed", "number", "sampler", "classes"),
)


@dataclass(frozen=True)
class _Votes:
    """What the evidence says, well formed but not believed; alpha is exact, `law` that of the noise.

    `samples` copies were counted, of `most` that the last look would have had; the look has this `share` of alpha.
    """

    counts: tuple[int, ...]
    top: int
    samples: int
    most: int
    share: Fraction
    bound: str
    alpha: Fraction
    law: Law
    grid: int
    on_grid: bool


def check_counts(manifest: dict[str, Any], tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> str:
    """Return a short text only if the claimed radius follows from the counts, with probability >= 1 - alpha.

    `tensors` are the payload's, `input_shape` the shape of the model's input. Raises Rejection with the reason
    otherwise. That the classes are those of the model and the seed is the producer's word: no model is run here.
    """
    evidence, claim = part(manifest, "evidence"), part(manifest, "claim")
    votes = _read_votes(evidence, input_shape)
    radius = _read_claim(claim, votes.alpha)
    eps, factor = _read_threat(part(manifest, "threat"), votes.law, prod(input_shape))
    if eps > radius:
        raise Rejection("threat.eps is larger than claim.radius")
    read_property(part(manifest, "property"), len(votes.counts), votes.top)
    center = read_center(part(manifest, "input"), tensors, input_shape)
    votes.law.admit(center)
    detour = detour_high(center, votes.grid, votes.law.norm, on_grid=votes.on_grid)
    proved = (votes.law.radius(*_bounds(votes), radius * factor + detour) - detour) / factor
    if not radius <= proved:
        raise Rejection(f"claim.radius {_decimal(radius)} is more than the counts prove: {_decimal(proved)}")
    check_record(evidence["classes"], tensors, votes.counts)
    check_seed(manifest, tensors[manifest["input"]["tensor"]], input_shape)
    return f"radius >= {_decimal(proved)} (claimed {_decimal(radius)})"


def _bounds(votes: _Votes) -> tuple[Fraction, Fraction]:
    """Return (pA, pB): together they hold with probability >= 1 - alpha. Rejection where they prove nothing."""
    alpha = votes.alpha - votes.most * votes.law.deviation
    if alpha <= 0:
        raise Rejection("alpha is used up by the sampler's distance from the exact law")
    alpha *= votes.share
    most, total = votes.counts[votes.top], votes.samples
    if votes.bound == "one-class":
        p_top = clopper_pearson_low(most, total, alpha)
        if 2 * p_top <= 1:
            raise Rejection("the top class is not proved to have more than half of the probability")
        return p_top, 1 - p_top
    p_top = clopper_pearson_low(most, total, alpha / 2)
    if p_top == 0:
        raise Rejection("the top class is not proved to have any probability")
    runner_up = max(count for label, count in enumerate(votes.counts) if label != votes.top)
    p_other = min(clopper_pearson_high(runner_up, total, alpha / 2), 1 - p_top)
    if p_top <= p_other:
        raise Rejection("the counts prove no positive radius")
    return p_top, p_other


def _decimal(value: Fraction) -> str:
    """Return `value` rounded down to nine decimals."""
    units = floor(abs(value) * 10**9) if value >= 0 else ceil(abs(value) * 10**9)
    whole, rest = divmod(units, 10**9)
    return f"{'-' if value < 0 else ''}{whole}.{rest:09d}"


def _read_votes(evidence: dict[str, Any], input_shape: tuple[int, ...]) -> _Votes:
    """Return the evidence after checking every field's type and range and that the counts add up."""
    fields(evidence, "evidence", _EVIDENCE_FIELDS)
    constants(evidence, "evidence", {"kind": "counts", "offset": "0"})
    seed, on_grid, counts, bound = (evidence[name] for name in ("seed", "on_grid", "counts", "bound"))
    if not (isinstance(seed, str) and _SEED.fullmatch(seed)):
        raise Rejection("evidence.seed is not 32 bytes in lower-case hex")
    if not isinstance(on_grid, bool):
        raise Rejection("evidence.on_grid is not true or false")
    if not (isinstance(bound, str) and bound in _BOUNDS):
        raise Rejection(f"evidence.bound is not one of {', '.join(_BOUNDS)}")
    if not (isinstance(counts, list) and len(counts) >= 2):
        raise Rejection("evidence.counts is not a list of two numbers or more")
    samples = integer(evidence, "evidence", "samples", least=1)
    if samples > MOST_SAMPLES:
        raise Rejection(f"evidence.samples is more than this checker takes, {MOST_SAMPLES}")
    integer(evidence, "evidence", "selection_samples", least=0)
    votes = tuple(counted(count, f"evidence.counts[{i}]", least=0) for i, count in enumerate(counts))
    if sum(votes) != samples:
        raise Rejection("evidence.counts do not add up to evidence.samples")
    top = integer(evidence, "evidence", "top", least=0)
    if top >= len(votes):
        raise Rejection("evidence.top is not a class")
    alpha = rational(evidence, "evidence", "alpha")
    if not 0 < alpha < 1:
        raise Rejection("evidence.alpha is not between 0 and 1")
    grid = integer(evidence, "evidence", "grid", least=0)
    law = law_of(evidence["noise"], rational(evidence, "evidence", "sigma"), grid, input_shape)
    constants(evidence, "evidence", {"sampler": law.sampler})
    most, share = _read_looks(evidence, samples)
    return _Votes(votes, top, samples, most, share, bound, alpha, law, grid, on_grid)


def _read_looks(evidence: dict[str, Any], samples: int) -> tuple[int, Fraction]:
    """Return the copies at the last look, and the share of alpha of the look at `samples`; the lists must be ours."""
    looks = part(evidence, "looks")
    fields(looks, "evidence.looks", ("sizes", "shares", "at"))
    sizes, shares = looks["sizes"], looks["shares"]
    if not (isinstance(sizes, list) and isinstance(shares, list) and 1 <= len(sizes) == len(shares) <= 64):
        raise Rejection("evidence.looks: sizes and shares are not two lists of one length")
    numbers = tuple(counted(size, f"evidence.looks.sizes[{i}]", least=1) for i, size in enumerate(sizes))
    parts = tuple(rational({"share": share}, "evidence.looks", "share") for share in shares)
    if numbers[-1] > MOST_SAMPLES:
        raise Rejection(f"evidence.samples is more than this checker takes, {MOST_SAMPLES}")
    if (numbers, parts) not in (single(numbers[-1]), geometric(numbers[-1])):
        raise Rejection("evidence.looks is not a schedule that was fixed beforehand")
    at = integer(looks, "evidence.looks", "at", least=0)
    if at >= len(numbers) or numbers[at] != samples:
        raise Rejection("evidence.samples is not the size of the look evidence.looks.at")
    return numbers[-1], parts[at]


def check_record(record: object, tensors: Mapping[str, Tensor], counts: tuple[int, ...]) -> None:
    """Check the record of the classes, if there is one, against the counts."""
    if record is None:
        return
    if not isinstance(record, dict):
        raise Rejection("evidence.classes is neither an object nor null")
    fields(record, "evidence.classes", ("root", "bits", "tensor"))
    name = record["tensor"]
    if name is not None and not (isinstance(name, str) and name in tensors):
        raise Rejection("evidence.classes.tensor is not a tensor of the payload")
    check_classes(record, None if name is None else tensors[name], counts)


def _read_claim(claim: dict[str, Any], alpha: Fraction) -> Fraction:
    """Return the claimed radius (>= 0) after checking the claim is the one that counts can support, at `alpha`."""
    fields(claim, "claim", ("verdict", "function", "semantics", "guarantee", "radius"))
    constants(claim, "claim", {"verdict": "CERTIFIED", "function": "g", "semantics": "sampled"})
    guarantee = claim["guarantee"]
    if not isinstance(guarantee, dict):
        raise Rejection("claim.guarantee is not an object")
    fields(guarantee, "claim.guarantee", ("kind", "alpha"))
    constants(guarantee, "claim.guarantee", {"kind": "probabilistic"})
    if rational(guarantee, "claim.guarantee", "alpha") != alpha:
        raise Rejection("claim.guarantee.alpha is not evidence.alpha")
    radius = rational(claim, "claim", "radius")
    if radius < 0:
        raise Rejection("claim.radius is negative")
    return radius


def _read_threat(threat: dict[str, Any], law: Law, dimension: int) -> tuple[Fraction, Fraction]:
    """Return the threat's size (>= 0), and the factor that takes a size in its norm to one in the noise's norm.

    The threat is an unclipped ball of a norm that the noise speaks of.
    """
    if law.norm == "0":
        fields(threat, "threat", ("kind", "size"))
        constants(threat, "threat", {"kind": "l0"})
        return Fraction(integer(threat, "threat", "size", least=0)), Fraction(1)
    fields(threat, "threat", ("kind", "norm", "eps", "clip"))
    constants(threat, "threat", {"kind": "lp"})
    if threat["clip"] is not None:
        raise Rejection("threat.clip is not null: the radius of a smoothed model is that of the whole ball")
    eps = rational(threat, "threat", "eps")
    if eps < 0:
        raise Rejection("threat.eps is negative")
    one, root = Fraction(1), sqrt_high(Fraction(dimension))
    factors = {
        "2": {"1": one, "2": one, "inf": root},
        "1": {"1": one, "2": root, "inf": Fraction(dimension)},
    }[law.norm]
    norm = threat["norm"]
    if not (isinstance(norm, str) and norm in factors):
        raise Rejection(f"threat.norm is not one of {', '.join(factors)}")
    return eps, factors[norm]


def read_property(asked: dict[str, Any], classes: int, top: int) -> None:
    """Check that the property is that the class stays `top`, among so many classes."""
    fields(asked, "property", ("kind", "label", "classes"))
    constants(asked, "property", {"kind": "same_class"})
    if integer(asked, "property", "classes", least=2) != classes:
        raise Rejection("property.classes is not the number of evidence.counts")
    if integer(asked, "property", "label", least=0) != top:
        raise Rejection("property.label is not evidence.top")


def read_center(source: dict[str, Any], tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> list[Fraction]:
    """Return the elements of the centre, exactly; it must be a float32 or float64 tensor of `input_shape`."""
    fields(source, "input", ("tensor",))
    name = source["tensor"]
    if not (isinstance(name, str) and name in tensors):
        raise Rejection("input.tensor is not a tensor of the payload")
    tensor = tensors[name]
    if tensor.dtype not in ("F32", "F64"):
        raise Rejection("the centre is neither float32 nor float64")
    if tensor.shape != input_shape:
        raise Rejection(f"the centre has shape {list(tensor.shape)}, the model's input {list(input_shape)}")
    return tensor.fractions()
