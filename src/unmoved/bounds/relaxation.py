"""Sound lines around the operators that are not affine, on given intervals of their inputs.

`lines` holds for any slopes whatever (the derived rule); `choice` is the rule for maxima. Zhang et al. 2018 (CROWN);
Singh et al. 2019 (DeepPoly) for the default slope of a ReLU's lower line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.rounding import Rounding
from unmoved.bounds.rows import Rows
from unmoved.bounds.slopes import Face
from unmoved.ops.op import Elementwise, Maximum, Product

TINY = 1e-6
"""A smooth function's interval narrower than this is not worth a backward row."""


Bent = Elementwise | Maximum | Product
"""What is not affine."""


@dataclass(frozen=True, eq=False)
class Lines:
    """For every element, lower * x + lower_offset <= f(x) <= upper * x + upper_offset; (batch, *shape) each.

    An offset that is 0 everywhere is None: adding it would cost as much as the rest of the step.
    """

    lower: Tensor
    lower_offset: Tensor | None
    upper: Tensor
    upper_offset: Tensor | None

    def pull(self, rows: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Bound rows (R, *shape) of f from below by rows of x, and constants (R,) to add; owner (R,)."""
        # Two products and a sum: torch.where by a mask takes three times as long.
        above, below = rows.clamp(min=0), rows.clamp(max=0)
        constant = rows.new_zeros(len(rows))
        if self.lower_offset is not None:
            constant = constant + torch.linalg.vecdot(above.flatten(1), self.lower_offset.flatten(1)[owner])
        if self.upper_offset is not None:
            constant = constant + torch.linalg.vecdot(below.flatten(1), self.upper_offset.flatten(1)[owner])
        if torch.is_grad_enabled() and self.lower.requires_grad:
            # The gradient needs what the fast way overwrites.
            return above * self.lower[owner] + below * self.upper[owner], constant
        return above.mul_(self.lower[owner]).addcmul_(below, self.upper[owner]), constant

    def cut(self, places: Tensor) -> Lines:
        """Return the lines of some elements, at flat places."""
        lower, upper = (slope.flatten(1)[:, places] for slope in (self.lower, self.upper))
        below, above = (
            None if offset is None else offset.flatten(1)[:, places]
            for offset in (self.lower_offset, self.upper_offset)
        )
        return Lines(lower, below, upper, above)


@dataclass(frozen=True, eq=False)
class Choice:
    """For every window, x[member] <= max; and max = x[member] where `sure`, else max <= ceiling.

    member (batch, outputs) int64 is a flat input index; sure and ceiling are (batch, outputs). `windows` (outputs,
    window) are the flat input indices of all members, -1 for padding; `shape` is the input's.
    """

    member: Tensor
    sure: Tensor
    ceiling: Tensor
    windows: Tensor
    shape: tuple[int, ...]

    def pull(self, rows: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Bound rows (R, *shape) of the maxima from below by rows of the inputs, and constants (R,); owner (R,)."""
        flat = rows.flatten(1)
        linear = torch.where((flat > 0) | self.sure[owner], flat, 0.0)
        constant = torch.linalg.vecdot(flat - linear, self.ceiling[owner])
        inner = rows.new_zeros(len(rows), prod(self.shape)).scatter_add_(1, self.member[owner], linear)
        return inner.view(len(rows), *self.shape), constant

    @property
    def places(self) -> Tensor:
        """All flat input indices that a window holds, in order."""
        held: Tensor = torch.unique(self.windows[self.windows >= 0])
        return held

    def cut(self, places: Tensor) -> Choice:
        """Return the windows at flat output places; members are numbered within `Choice.places` of the result."""
        member, sure, ceiling = (t[:, places] for t in (self.member, self.sure, self.ceiling))
        part = Choice(member, sure, ceiling, self.windows[places], ())
        held = part.places
        return replace(part, member=torch.searchsorted(held, part.member), shape=(len(held),))


@dataclass(frozen=True, eq=False)
class Planes:
    """Over and under every product of a pair, x z: `under` and `over` are (coefficient of x, of z, constant).

    Each is (batch, *pairs). McCormick 1976: any mixture of the two planes through (l, l) and (u, u) lies below, any of
    those through (l, u) and (u, l) above.
    """

    op: Product
    under: tuple[Tensor, Tensor, Tensor]
    over: tuple[Tensor, Tensor, Tensor]

    def pull(self, rows: Tensor, owner: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Bound rows (R, *shape) of the sums from below by rows of both variables, and constants (R,); owner (R,)."""
        each = self.op.each(rows)
        above, below = each.clamp(min=0), each.clamp(max=0)
        mixed = [above * low[owner] + below * high[owner] for low, high in zip(self.under, self.over, strict=True)]
        return (self.op.gather(0, mixed[0]), self.op.gather(1, mixed[1])), mixed[2].flatten(1).sum(1)


Relaxation = Lines | Choice | Planes


def planes(op: Product, first: Bounds, second: Bounds, low_share: Tensor | float, high_share: Tensor | float) -> Planes:
    """Return the mixtures: shares, (batch, *pairs) in [0, 1], of the plane through (l, l) below, (l, u) above."""
    (lx, ux), (lz, uz) = ([op.spread(i, end) for end in (v.low, v.high)] for i, v in enumerate((first, second)))
    s, t = low_share, high_share
    under = (uz + s * (lz - uz), ux + s * (lx - ux), s * (ux * uz - lx * lz) - ux * uz)
    over = (lz + t * (uz - lz), ux + t * (lx - ux), t * (ux * lz - lx * uz) - ux * lz)
    return Planes(op, under, over)


def through(op: Bent, relaxation: Relaxation, rows: Rows, owner: Tensor) -> Rows:
    """Return rows nowhere above the given ones, with the output of `op` (which must occur) replaced by its inputs."""
    left = dict(rows.coefficients)
    inner, constant = relaxation.pull(left.pop(op.output), owner)
    for name, part in zip(op.inputs, inner if isinstance(inner, tuple) else (inner,), strict=True):
        left[name] = left[name] + part if name in left else part
    return Rows(left, rows.constant + constant)


def lines(op: Elementwise, value: Bounds, lower: Tensor, upper: Tensor) -> Lines:
    """Return the tightest lines of the given slopes, whatever they are: sound by the extremes of f(x) - slope x.

    Where those are computed by smooth formulas, the offsets are moved outward by a few units in the last place.
    """
    defined = op.defined(value.low, value.high)
    if defined is not None:
        # Where f has a pole there is no line: slope 0, and nothing is said.
        one = torch.ones_like(value.low)
        value = Bounds(torch.where(defined, value.low, one), torch.where(defined, value.high, one))
        lower, upper = (torch.where(defined, slope, 0.0) for slope in (lower, upper))
    below, at_low = Face.of(op, value, 1.0).extreme(lower)
    above, at_high = Face.of(op, value, -1.0).extreme(-upper)
    if not op.linear_pieces:
        unit = 8 * torch.finfo(lower.dtype).eps
        below = below - unit * (below.abs() + 2 * (lower * at_low).abs())
        above = above - unit * (above.abs() + 2 * (upper * at_high).abs())
    if defined is not None:
        below, above = (torch.where(defined, end, -torch.inf) for end in (below, above))
    return Lines(lower, below, upper, -above)


def slopes(op: Elementwise, value: Bounds) -> tuple[Tensor, Tensor]:
    """Return our choice of the slopes of the lower and the upper line."""
    defined = op.defined(value.low, value.high)
    if defined is not None:
        one = torch.ones_like(value.low)
        value = Bounds(torch.where(defined, value.low, one), torch.where(defined, value.high, one))
    return Face.of(op, value, 1.0).slope(), -Face.of(op, value, -1.0).slope()


def relax(op: Elementwise | Maximum, value: Bounds) -> Lines | Choice:
    """Return the relaxation with our choice of slopes; a ReLU by its fused rule."""
    if isinstance(op, Maximum):
        return choice(op, value)
    if op.kind == "Relu":
        return _relu(value)
    if isinstance(op, Rounding):
        error, one = op.error.expand(value.low.shape), torch.ones_like(value.low)
        return Lines(one, -error, one, error)
    return lines(op, value, *slopes(op, value))


def relaxed(op: Bent, values: Sequence[Bounds]) -> Relaxation:
    """Return the same for every family: planes by equal shares for a product."""
    if isinstance(op, Product):
        return planes(op, values[0], values[1], 0.5, 0.5)
    return relax(op, values[0])


def _relu(value: Bounds) -> Lines:
    """Return what `lines` would, in one pass: the chord above, slope 1 or 0 through the origin below."""
    low, high = value.low, value.high
    over = low < 0
    width = (high - low).clamp(min=torch.finfo(low.dtype).tiny)
    upper = torch.where(over, high.clamp(min=0) / width, 1.0)
    offset = torch.where(over, -upper * low, 0.0)
    lower = (high >= -low).to(low.dtype)
    crossing = over & (high > 0)
    return Lines(torch.where(crossing, lower, upper), None, upper, offset)


def undecided(op: Bent, value: Bounds, other: Bounds | None = None, *, index: int = 0) -> Tensor:
    """Say which inputs' bounds shape the relaxation, so that tighter ones would help: bool (batch, *shape).

    Piecewise linear: a kink strictly inside. Smooth: any interval that is not tiny. Maximum: the members that compete
    in a window without a dominating one. Product, of the variable `index`: those that meet something not tiny.
    """
    if isinstance(op, Product):
        assert other is not None
        wide, narrow = ~(other.high - other.low <= TINY), value.high - value.low <= TINY
        meets = op.gather(index, op.spread(1 - index, wide.to(value.low.dtype)))
        return (meets > 0) & ~narrow
    if isinstance(op, Maximum):
        return _competing(op, value)
    if not op.linear_pieces:
        # No number (after an overflow) is not narrow either.
        return ~(value.high - value.low <= TINY)
    mask = torch.zeros_like(value.low, dtype=torch.bool)
    for kink in op.kinks:
        mask |= (value.low < kink) & (kink < value.high)
    return mask


def settled(op: Bent, value: Bounds) -> Tensor:
    """Say which elements f maps to one number already: tighter ends of theirs change nothing. Bool (batch, ...)."""
    if not isinstance(op, Elementwise) or not op.monotone or not op.linear_pieces:
        return torch.zeros_like(value.low, dtype=torch.bool)
    return op.apply(value.low) == op.apply(value.high)


def choice(op: Maximum, value: Bounds) -> Choice:
    """Choose the member with the greatest lower bound; it is the maximum where no other's upper bound exceeds it."""
    low, high = _members(op, value)
    floor, place = low.max(-1)
    others = high.scatter(-1, place[..., None], -torch.inf).amax(-1)
    windows = op.windows.to(place.device)
    member = windows.expand(len(place), *windows.shape).gather(-1, place[..., None])[..., 0]
    return Choice(member, floor >= others, high.amax(-1), windows, tuple(value.low.shape[1:]))


def _members(op: Maximum, value: Bounds) -> tuple[Tensor, Tensor]:
    """Return ends of every window's members, (batch, outputs, window); padding never wins."""
    windows = op.windows.to(value.low.device)
    ends = []
    for end in (value.low, value.high):
        padded = torch.nn.functional.pad(end.flatten(1), (0, 1), value=-torch.inf)
        ends.append(padded[:, windows])
    return ends[0], ends[1]


def contenders(op: Maximum, value: Bounds, weights: Tensor) -> Tensor:
    """Sum, for every input, the weights (batch, outputs) of the windows whose maximum it may be; (batch, *shape)."""
    low, high = _members(op, value)
    floor, place = low.max(-1)
    may = (high > floor[..., None]).scatter(-1, place[..., None], True)
    return _gathered(op, value, may * weights[..., None])


def _competing(op: Maximum, value: Bounds) -> Tensor:
    low, high = _members(op, value)
    floor, place = low.max(-1)
    others = high.scatter(-1, place[..., None], -torch.inf).amax(-1)
    contested = (others > floor)[..., None] & (high > floor[..., None])
    return _gathered(op, value, contested.to(low.dtype)) > 0


def _gathered(op: Maximum, value: Bounds, votes: Tensor) -> Tensor:
    """Sum votes (batch, outputs, window) at the inputs that they are about: (batch, *shape)."""
    windows = op.windows.to(votes.device).expand(votes.shape)
    total = votes.new_zeros(len(votes), value.low[0].numel() + 1)
    # Index -1 (padding) is the last, spare column.
    total.scatter_add_(1, windows.remainder(total.shape[1]).flatten(1), votes.flatten(1))
    return total[:, :-1].view_as(value.low)
