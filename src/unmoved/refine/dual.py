"""The dual bound of rows over a reduced network, and its gradient in everything that may be chosen freely.

By weak duality any slope in [0, 1] of an undecided ReLU's lower line, any multiplier >= 0 of a split and any weights
>= 0 of a disjunct's conjuncts give a valid lower bound. Going back, a row collects coefficients of h and z; going
forward, the minimiser x* gives every unit the value that the chosen lines have there. The derivative of the bound in a
slope is (coefficient of h)+ z, in a multiplier -+ z, in a weight the conjunct's value (Wang et al. 2021, beta-CROWN;
Danskin's theorem). Slopes are rounded to 255ths and multipliers to float32 first: what a certificate can carry.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from unmoved.refine.reduced import Functions, Reduced


@dataclass(frozen=True, eq=False)
class Goals:
    """R rows to be bounded from below: row r is weights[r] @ functions[which[r]], on units cut by signs[r].

    functions hold (D, C, units), (D, C, inputs), (D, C): C conjuncts of each of D disjuncts, `real` (D, C) says which
    are no padding. which (R,) int64; signs (R, units): 1 for z >= 0, -1 for z <= 0, else 0.
    """

    functions: Functions
    real: Tensor
    which: Tensor
    signs: Tensor

    def __len__(self) -> int:
        return len(self.which)

    def take(self, rows: Tensor) -> Goals:
        """Return some of the rows."""
        return replace(self, which=self.which[rows], signs=self.signs[rows])

    def split(self, units: Tensor, signs: Tensor) -> Goals:
        """Return the rows, each cut at one unit more: units (R,), signs (R,) of 1 and -1."""
        return replace(self, signs=self.signs.scatter(1, units[:, None], signs[:, None]))


@dataclass(frozen=True, eq=False)
class Choices:
    """What a proof may choose: slopes (R, units) in [0, 1], multipliers (R, units) and weights (R, C), all >= 0."""

    slopes: Tensor
    multipliers: Tensor
    weights: Tensor

    def take(self, rows: Tensor) -> Choices:
        """Return the choices of some rows."""
        return Choices(*(getattr(self, f.name)[rows] for f in fields(self)))

    def rounded(self) -> Choices:
        """Return the nearest choices that a certificate can carry."""
        slopes = (self.slopes * 255.0).round_() / 255.0
        multipliers = self.multipliers.to(torch.float32).to(slopes.dtype)
        return Choices(slopes, multipliers, self.weights)

    @staticmethod
    def first(reduced: Reduced, goals: Goals) -> Choices:
        """Return the default slopes, no multipliers, and equal weights."""
        count, like = len(goals), reduced.lines.lower
        slopes = torch.where(reduced.free, like, 0.0).expand(count, -1)
        real = goals.real[goals.which].to(like.dtype)
        return Choices(slopes, torch.zeros_like(slopes), real / real.sum(1, keepdim=True))


@dataclass(frozen=True, eq=False)
class Bound:
    """Lower bounds `low` (R,) and what they rest on.

    `outer` (R, units): coefficients of h; `point` (R, inputs): x*; `units` (R, units): z there, by the lines; `values`
    (R, C): the conjuncts there. `size` (R,) is the sum of the absolute terms, of which rounding takes its share.
    """

    low: Tensor
    size: Tensor
    outer: Tensor
    point: Tensor
    units: Tensor | None
    values: Tensor | None


@dataclass(frozen=True, eq=False)
class Face:
    """The units' lines for some rows, (R, units) each or (1, units) where no row has a split."""

    free: Tensor
    lower: Tensor
    lower_offset: Tensor
    upper: Tensor
    upper_offset: Tensor

    @classmethod
    def of(cls, reduced: Reduced, signs: Tensor) -> Face:
        """Return the lines: the identity where a split says z >= 0, zero where it says z <= 0."""
        lines, whole = reduced.lines, signs == 0
        assert lines.lower_offset is not None
        assert lines.upper_offset is not None
        side = (signs > 0).to(signs.dtype)
        below, above = (torch.where(whole, end, 0.0) for end in (lines.lower_offset, lines.upper_offset))
        lower, upper = (torch.where(whole, end, side) for end in (lines.lower, lines.upper))
        return cls(whole & reduced.free, lower, below, upper, above)

    def take(self, rows: Tensor) -> Face:
        """Return the lines of some rows."""
        return Face(*(getattr(self, f.name)[rows] for f in fields(self)))


def bound(reduced: Reduced, goals: Goals, choices: Choices, face: Face, *, gradient: bool = True) -> Bound:
    """Return the bounds of the goals under the choices; `units` and `values` only where the gradient is wanted."""
    between, inputs, offset = reduced.functions.units, reduced.functions.inputs, reduced.functions.offset
    outer, start, constant = _rows(goals, choices.weights)
    lower = torch.where(face.free, choices.slopes, face.lower)
    inner = torch.empty_like(outer)
    for group in reversed(reduced.groups):
        span = slice(group.start, group.stop)
        above, below = outer[:, span].clamp(min=0), outer[:, span].clamp(max=0)
        row = above * lower[:, span] + below * face.upper[:, span] - choices.multipliers[:, span] * goals.signs[:, span]
        inner[:, span] = row
        constant = constant + (above * face.lower_offset[:, span] + below * face.upper_offset[:, span]).sum(1)
        if group.first < group.start:
            earlier = slice(group.first, group.start)
            outer[:, earlier] += row @ between[span, earlier]
    rows = start + inner @ inputs
    constant = constant + inner @ offset
    low, point = least(reduced, rows)
    box = reduced.enclosure.box
    reach = torch.maximum(box.low.abs(), box.high.abs()).flatten()
    size = constant.abs() + rows.abs() @ reach + inner.abs() @ reduced.largest
    if not gradient:
        return Bound(low + constant, size, outer, point, None, None)
    units, above = forward(reduced, point, outer, lower, face)
    functions = goals.functions
    values = functions.offset[goals.which]
    values = values + (functions.units[goals.which] @ above[:, :, None])[:, :, 0]
    values = values + (functions.inputs[goals.which] @ point[:, :, None])[:, :, 0]
    return Bound(low + constant, size, outer, point, units, values)


def forward(reduced: Reduced, point: Tensor, outer: Tensor, lower: Tensor, face: Face) -> tuple[Tensor, Tensor]:
    """Return z and h (R, units) at points (R, inputs), h on the line that the coefficient's sign picks."""
    between, inputs, offset = reduced.functions.units, reduced.functions.inputs, reduced.functions.offset
    units = torch.addmm(offset, point, inputs.mT)
    picked = outer > 0
    slope, shift = torch.where(picked, lower, face.upper), torch.where(picked, face.lower_offset, face.upper_offset)
    made = torch.empty_like(units)
    for group in reduced.groups:
        span = slice(group.start, group.stop)
        if group.first < group.start:
            earlier = slice(group.first, group.start)
            units[:, span] += made[:, earlier] @ between[span, earlier].mT
        made[:, span] = units[:, span] * slope[:, span] + shift[:, span]
    return units, made


def least(reduced: Reduced, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least values of rows (R, inputs) over the region, and points (R, inputs) of box or ball there.

    As in `Enclosure.least`: on the box, and for a ball on its centre with the dual norm; the better value counts.
    """
    region = reduced.enclosure
    middle, radius, center = (t.flatten() for t in (region.box.center, region.box.radius, region.center))
    low = rows @ middle - rows.abs() @ radius
    point = middle - radius * rows.sign()
    if region.norm is None:
        return low, point
    size = rows.abs()
    dual = size.norm(dim=1) if region.norm == "2" else size.amax(1)
    ball = rows @ center - region.eps * dual
    if region.norm == "2":
        step = rows / dual.clamp(min=1e-300)[:, None]
    else:
        step = torch.zeros_like(rows).scatter_(1, size.argmax(1)[:, None], 1.0) * rows.sign()
    better = ball > low
    return torch.maximum(low, ball), torch.where(better[:, None], center - region.eps * step, point)


def _rows(goals: Goals, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weighted conjuncts: coefficients of h, of x, and constants."""
    functions = goals.functions
    if functions.offset.shape[1] == 1:
        return (
            functions.units[goals.which, 0] * weights,
            functions.inputs[goals.which, 0] * weights,
            functions.offset[goals.which, 0] * weights[:, 0],
        )
    return (
        (weights[:, None] @ functions.units[goals.which])[:, 0],
        (weights[:, None] @ functions.inputs[goals.which])[:, 0],
        torch.linalg.vecdot(weights, functions.offset[goals.which]),
    )
