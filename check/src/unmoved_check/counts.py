"""Evidence of kind `counts`: the radius of a smoothed classifier, re-derived from the votes of its noisy copies.

Theorem (Cohen, Rosenfeld, Kolter 2019, Theorem 1). If under N(0, sigma^2 I) noise at x class c has probability
>= pA and every other class <= pB, then c stays the most probable class at every x' with
||x' - x||_2 < R = sigma/2 (Phi^-1(pA) - Phi^-1(pB)); with pB = 1 - pA this is R = sigma Phi^-1(pA).
The integer noise of the format page is Gaussian noise rounded to the grid, hence the theorem holds for
f composed with the rounding. The R computed here is strictly below that of the theorem (`normal` encloses
strictly), so the closed ball of radius R is covered.

That probabilities as bounded hold with probability >= 1 - alpha over the samples: `top` was fixed before the
counts; the sampler is within samples * d * tv of the exact law in total variation, taken off alpha first. Two-class:
let j be the class other than `top` with the largest true probability p_j; j does not depend on the counts, its own
bound CPup(counts[j]) fails with probability <= alpha'/2, and CPup grows with the count, so that of the largest
count is no smaller. pB <= 1 - pA costs nothing.

Everything is exact rational arithmetic, or rounded so that R can only become smaller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isqrt, prod
from typing import Any

from unmoved_check.binomial import clopper_pearson_high, clopper_pearson_low
from unmoved_check.normal import normal_quantile_bounds
from unmoved_check.outcome import Rejection
from unmoved_check.tensor import Tensor

__all__ = ["MOST_SAMPLES", "check_counts"]

MOST_SAMPLES = 10**8
"""More samples than this are not checked (a check takes time in proportion to the square root of the samples)."""

_RATIONAL = re.compile(r"[+-]?[0-9]{1,1000}(/[0-9]{1,1000}|(\.[0-9]{1,1000})?([eE][+-]?[0-9]{1,3})?)")
_SEED = re.compile(r"[0-9a-f]{64}")
_NOISE = "gaussian-grid"
_SAMPLER = "philox4x32-10/grid/1"
_BOUNDS = ("one-class", "two-class")
_EVIDENCE_FIELDS = (
    *("kind", "noise", "sigma", "grid", "offset", "on_grid", "bound", "samples", "selection_samples"),
    *("counts", "top", "alpha", "seed", "sampler"),
)


@dataclass(frozen=True)
class _Votes:
    """What the evidence says, well formed but not believed; sigma and alpha are exact."""

    counts: tuple[int, ...]
    top: int
    samples: int
    bound: str
    alpha: Fraction
    sigma: Fraction
    grid: int
    on_grid: bool


def check_counts(manifest: dict[str, Any], tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> str:
    """Return a short text only if the claimed radius follows from the counts, with probability >= 1 - alpha.

    `tensors` are the payload's, `input_shape` the shape of the model's input. Raises Rejection with the reason
    otherwise. That the counts are those of the model and the seed is the producer's word: no model is run here.
    """
    evidence, claim = _part(manifest, "evidence"), _part(manifest, "claim")
    votes = _read_votes(evidence)
    radius = _read_claim(claim, votes.alpha)
    eps = _read_threat(_part(manifest, "threat"))
    if eps > radius:
        raise Rejection("threat.eps is larger than claim.radius")
    _read_property(_part(manifest, "property"), votes)
    center = _read_center(_part(manifest, "input"), tensors, input_shape)
    proved = _radius_low(votes, prod(input_shape)) - _detour_high(votes, center)
    if not radius <= proved:
        raise Rejection(f"claim.radius {_decimal(radius)} is more than the counts prove: {_decimal(proved)}")
    return f"radius >= {_decimal(proved)} (claimed {_decimal(radius)})"


def _radius_low(votes: _Votes, dimension: int) -> Fraction:
    """Return a lower bound of R at the grid point, positive; Rejection if there is none."""
    reach = ceil(10 * votes.sigma * votes.grid)
    alpha = votes.alpha - votes.samples * dimension * Fraction(2 * reach + 2, 1 << 64)
    if alpha <= 0:
        raise Rejection("alpha is used up by the sampler's distance from the exact law")
    most, total = votes.counts[votes.top], votes.samples
    if votes.bound == "one-class":
        p_top = clopper_pearson_low(most, total, alpha)
        if 2 * p_top <= 1:
            raise Rejection("the top class is not proved to have more than half of the probability")
        radius = votes.sigma * normal_quantile_bounds(p_top)[0]
    else:
        p_top = clopper_pearson_low(most, total, alpha / 2)
        if p_top == 0:
            raise Rejection("the top class is not proved to have any probability")
        runner_up = max(count for label, count in enumerate(votes.counts) if label != votes.top)
        p_other = min(clopper_pearson_high(runner_up, total, alpha / 2), 1 - p_top)
        gap = normal_quantile_bounds(p_top)[0] - normal_quantile_bounds(p_other)[1]
        radius = votes.sigma / 2 * gap
    if radius <= 0:
        raise Rejection("the counts prove no positive radius")
    return radius


def _detour_high(votes: _Votes, center: list[Fraction]) -> Fraction:
    """Return an upper bound of what the centre's distance from the grid costs the radius.

    On the grid: its L2 distance from the nearest grid point, each element of which must be within 2^-24 of its own
    size. Off the grid: sqrt(d) / grid, twice the largest distance from a grid point (the centre and x' both move).
    """
    grid = votes.grid
    if not votes.on_grid:
        return _sqrt_high(Fraction(len(center), grid * grid))
    squares: dict[int, int] = {}
    for index, value in enumerate(center):
        scaled, denominator = grid * value.numerator, value.denominator
        rest = scaled - (2 * scaled + denominator) // (2 * denominator) * denominator
        if abs(rest) << 24 > abs(scaled):
            raise Rejection(f"element {index} of the centre is not on the grid of 1/{grid}")
        squares[denominator] = squares.get(denominator, 0) + rest * rest
    total = sum((Fraction(s, (grid * d) ** 2) for d, s in squares.items()), Fraction(0))
    return _sqrt_high(total)


def _sqrt_high(value: Fraction) -> Fraction:
    """Return a multiple of 2^-128 that is >= sqrt(value), value >= 0; exactly 0 for 0."""
    scaled = ceil(value * (1 << 256))
    root = isqrt(scaled)
    return Fraction(root + (root * root < scaled), 1 << 128)


def _decimal(value: Fraction) -> str:
    """Return `value` rounded down to nine decimals."""
    units = floor(abs(value) * 10**9) if value >= 0 else ceil(abs(value) * 10**9)
    whole, rest = divmod(units, 10**9)
    return f"{'-' if value < 0 else ''}{whole}.{rest:09d}"


def _read_votes(evidence: dict[str, Any]) -> _Votes:
    """Return the evidence after checking every field's type and range and that the counts add up."""
    _fields(evidence, "evidence", _EVIDENCE_FIELDS)
    _constants(evidence, "evidence", {"kind": "counts", "noise": _NOISE, "sampler": _SAMPLER, "offset": "0"})
    seed, on_grid, counts, bound = (evidence[name] for name in ("seed", "on_grid", "counts", "bound"))
    if not (isinstance(seed, str) and _SEED.fullmatch(seed)):
        raise Rejection("evidence.seed is not 32 bytes in lower-case hex")
    if not isinstance(on_grid, bool):
        raise Rejection("evidence.on_grid is not true or false")
    if not (isinstance(bound, str) and bound in _BOUNDS):
        raise Rejection(f"evidence.bound is not one of {', '.join(_BOUNDS)}")
    if not (isinstance(counts, list) and len(counts) >= 2):
        raise Rejection("evidence.counts is not a list of two numbers or more")
    samples = _integer(evidence, "evidence", "samples", least=1)
    if samples > MOST_SAMPLES:
        raise Rejection(f"evidence.samples is more than this checker takes, {MOST_SAMPLES}")
    _integer(evidence, "evidence", "selection_samples", least=0)
    votes = tuple(_counted(count, f"evidence.counts[{i}]", least=0) for i, count in enumerate(counts))
    if sum(votes) != samples:
        raise Rejection("evidence.counts do not add up to evidence.samples")
    top = _integer(evidence, "evidence", "top", least=0)
    if top >= len(votes):
        raise Rejection("evidence.top is not a class")
    alpha = _rational(evidence, "evidence", "alpha")
    if not 0 < alpha < 1:
        raise Rejection("evidence.alpha is not between 0 and 1")
    sigma = _rational(evidence, "evidence", "sigma")
    if sigma <= 0:
        raise Rejection("evidence.sigma is not positive")
    grid = _integer(evidence, "evidence", "grid", least=1)
    return _Votes(votes, top, samples, bound, alpha, sigma, grid, on_grid)


def _read_claim(claim: dict[str, Any], alpha: Fraction) -> Fraction:
    """Return the claimed radius (>= 0) after checking the claim is the one that counts can support, at `alpha`."""
    _fields(claim, "claim", ("verdict", "function", "semantics", "guarantee", "radius"))
    _constants(claim, "claim", {"verdict": "CERTIFIED", "function": "g", "semantics": "sampled"})
    guarantee = claim["guarantee"]
    if not isinstance(guarantee, dict):
        raise Rejection("claim.guarantee is not an object")
    _fields(guarantee, "claim.guarantee", ("kind", "alpha"))
    _constants(guarantee, "claim.guarantee", {"kind": "probabilistic"})
    if _rational(guarantee, "claim.guarantee", "alpha") != alpha:
        raise Rejection("claim.guarantee.alpha is not evidence.alpha")
    radius = _rational(claim, "claim", "radius")
    if radius < 0:
        raise Rejection("claim.radius is negative")
    return radius


def _read_threat(threat: dict[str, Any]) -> Fraction:
    """Return eps (>= 0) of an unclipped L2 ball, the only threat that counts speak of."""
    _fields(threat, "threat", ("kind", "norm", "eps", "clip"))
    _constants(threat, "threat", {"kind": "lp", "norm": "2"})
    if threat["clip"] is not None:
        raise Rejection("threat.clip is not null: the radius of a smoothed model is that of the whole ball")
    eps = _rational(threat, "threat", "eps")
    if eps < 0:
        raise Rejection("threat.eps is negative")
    return eps


def _read_property(asked: dict[str, Any], votes: _Votes) -> None:
    """Check that the property is that the class stays `top`, among as many classes as there are counts."""
    _fields(asked, "property", ("kind", "label", "classes"))
    _constants(asked, "property", {"kind": "same_class"})
    if _integer(asked, "property", "classes", least=2) != len(votes.counts):
        raise Rejection("property.classes is not the number of evidence.counts")
    if _integer(asked, "property", "label", least=0) != votes.top:
        raise Rejection("property.label is not evidence.top")


def _read_center(source: dict[str, Any], tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> list[Fraction]:
    """Return the elements of the centre, exactly; it must be a float32 or float64 tensor of `input_shape`."""
    _fields(source, "input", ("tensor",))
    name = source["tensor"]
    if not (isinstance(name, str) and name in tensors):
        raise Rejection("input.tensor is not a tensor of the payload")
    tensor = tensors[name]
    if tensor.dtype not in ("F32", "F64"):
        raise Rejection("the centre is neither float32 nor float64")
    if tensor.shape != input_shape:
        raise Rejection(f"the centre has shape {list(tensor.shape)}, the model's input {list(input_shape)}")
    return tensor.fractions()


def _part(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    part = manifest.get(name)
    if not isinstance(part, dict):
        raise Rejection(f"{name} is not an object")
    return part


def _fields(part: dict[str, Any], where: str, names: tuple[str, ...]) -> None:
    missing, unknown = [n for n in names if n not in part], [n for n in part if n not in names]
    if missing or unknown:
        problem, name = ("lacks", missing[0]) if missing else ("has an unknown field", unknown[0])
        raise Rejection(f"{where} {problem} {name!r}")


def _constants(part: dict[str, Any], where: str, expected: dict[str, str]) -> None:
    for name, value in expected.items():
        if not (isinstance(part[name], str) and part[name] == value):
            raise Rejection(f"{where}.{name} is not {value!r}")


def _counted(value: object, where: str, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Rejection(f"{where} is not an integer >= {least}")
    return value


def _integer(part: dict[str, Any], where: str, name: str, *, least: int) -> int:
    return _counted(part[name], f"{where}.{name}", least=least)


def _rational(part: dict[str, Any], where: str, name: str) -> Fraction:
    text = part[name]
    if not (isinstance(text, str) and _RATIONAL.fullmatch(text)):
        raise Rejection(f"{where}.{name} is not a rational number in a string")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise Rejection(f"{where}.{name} has denominator zero") from None
