"""Which slope a line gets: the choice may be any (the intercept makes it sound), this one makes it tight.

The area between f and a lower line on [l, u] depends only on the line's height at the middle m = (l + u) / 2, so the
best slope is that of the convex envelope at m: the maximiser of the concave function k -> min_x f(x) - k (x - m).
It is the tangent at m where f is convex, the chord where f is concave, and the tangent through an end where f is first
the one and then the other. For a ReLU it is DeepPoly's: 1 if u >= -l, else 0, and the chord above.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.interval import within
from unmoved.ops.op import Elementwise

STEPS = 40
"""Halvings of the bracket of a smooth function's slope: 1e-12 of it is left, so that rounding decides nothing."""


@dataclass(frozen=True, eq=False)
class Face:
    """f (sign 1) or -f (sign -1) over intervals: what is written for lines below serves for those above."""

    op: Elementwise
    sign: float
    value: Bounds
    corners: Tensor

    @classmethod
    def of(cls, op: Elementwise, value: Bounds, sign: float) -> Face:
        """Collect the ends and the kinks inside (a kink outside becomes an end): (points, batch, *shape)."""
        kinks = (within(torch.full_like(value.low, k), value) for k in op.kinks)
        return cls(op, sign, value, torch.stack([value.low, *kinks, value.high]))

    def height(self, points: Tensor) -> Tensor:
        """Return sign * f at points (count, batch, *shape)."""
        return self.op.apply(points.flatten(0, 1)).view_as(points) * self.sign

    def extreme(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Return the least sign f(x) - slope x over the intervals, and an x that attains it.

        It is attained at an end, a kink, or where the slopes agree.
        """
        points = self.corners
        if not self.op.linear_pieces:
            found = self.op.where_slope(slope * self.sign, self.value.low, self.value.high)
            inner = [within(x, self.value) for x in found]
            points = torch.cat([points, torch.stack(inner)]) if inner else points
        least, place = (self.height(points) - slope * points).min(0)
        return least, points.gather(0, place[None])[0]

    def slope(self) -> Tensor:
        """Return the slope of the convex envelope of sign f at the middle of every interval."""
        return self._by_chords() if self.op.linear_pieces else self._by_bends()

    def _by_bends(self) -> Tensor:
        """Return the tangent's slope at the middle where f is convex, the chord's where concave, else by halving."""
        value, middle = self.value, self.value.center
        convex, concave = (torch.zeros_like(middle, dtype=torch.bool) for _ in range(2))
        for start, end, sign in self.op.bends:
            within_piece = (value.low >= start) & (value.high <= end)
            kind = convex if sign * self.sign > 0 else concave
            kind |= within_piece
        heights = self.height(torch.stack([value.low, value.high]))
        chord = (heights[1] - heights[0]) / (value.high - value.low).clamp(min=torch.finfo(middle.dtype).tiny)
        slope = torch.where(concave, chord, 0.0)
        if bool(convex.any()):
            slope[convex] = self.op.derivative(middle[convex]) * self.sign
        rest = ~(convex | concave)
        if bool(rest.any()):
            part = Bounds(value.low[rest], value.high[rest])
            slope[rest] = Face.of(self.op, part, self.sign)._by_halving()
        return slope

    def _by_chords(self) -> Tensor:
        """Return the slope of the chord between two corners on either side of the middle that is lowest there."""
        points, middle = self.corners, self.value.center
        heights, tiny = self.height(points), torch.finfo(middle.dtype).tiny
        best, slope = torch.full_like(middle, torch.inf), torch.zeros_like(middle)
        for i in range(len(points)):
            for j in range(i + 1, len(points)):
                width = points[j] - points[i]
                rise = (heights[j] - heights[i]) / width.clamp(min=tiny)
                at_middle = heights[i] + rise * (middle - points[i])
                across = (points[i] <= middle) & (middle <= points[j]) & (width > 0)
                # Of two chords that meet over the middle the one to the right: a ReLU with u = -l has slope 1.
                better = across & (at_middle <= best)
                best, slope = torch.where(better, at_middle, best), torch.where(better, rise, slope)
        return slope

    def _by_halving(self) -> Tensor:
        """Return the maximiser of k -> min_x f(x) - k (x - m): its derivative is m - x*; a bracket is halved."""
        middle, half = self.value.center, self.value.radius.clamp(min=torch.finfo(self.value.low.dtype).tiny)
        floor, _ = self.extreme(torch.zeros_like(middle))
        # The envelope lies between min f and f and is convex: what it can rise to the ends bounds its slope at m.
        ends = self.height(torch.stack([self.value.low, self.value.high]))
        least, most = (floor - ends[0]) / half, (ends[1] - floor) / half
        for _ in range(STEPS):
            slope = (least + most) / 2
            _, place = self.extreme(slope)
            left = place < middle
            least, most = torch.where(left, slope, least), torch.where(left, most, slope)
        return (least + most) / 2
