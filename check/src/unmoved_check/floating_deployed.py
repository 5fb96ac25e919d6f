"""The step `Rounded` in float64: what a deployed execution may add, from magnitudes that are rounded up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmoved_check.floating_boxes import Box, Boxes, Parts, greatest
from unmoved_check.floating_rounding import Array, down, float_up, up
from unmoved_check.floating_steps import FloatStep
from unmoved_check.model.steps import Rounded
from unmoved_check.outcome import Rejection


class FloatRounded:
    """y = x + e; the errors are worked out once for the boxes that they depend on.

    The program runs on boxes that are points, whose upper ends are upper bounds of what it makes of them in real
    numbers: its coefficients and the points are >= 0, so an upper bound of every value gives one of the next.
    """

    def __init__(self, step: Rounded, program: Sequence[FloatStep]):
        self.step, self.program = step, program
        self.source = step.source
        self.factor, self.floor = float_up(step.factor), float_up(step.floor)
        self._seen: list[Box] = []
        self._errors = np.zeros(0)
        self._magnitudes([np.ones(n) for n in step.sizes[: len(step.starts)]])

    def forward(self, boxes: Boxes) -> Box:
        """Both ends moved outward."""
        x, errors = boxes[self.source], self.errors(boxes)
        return Box(down(x.low - errors), up(x.high + errors))

    def price(self, boxes: Boxes) -> Array | None:
        """The errors: an absolute unit of a coefficient costs one of them."""
        return greatest(self.errors(boxes))

    def backward(self, rows: Array, boxes: Boxes) -> tuple[Parts, Array | float]:
        """The same rows."""
        return [(self.source, rows)], 0.0

    def errors(self, boxes: Boxes) -> Array:
        """Upper bounds of |e|."""
        origin = [boxes[v] for v in self.step.starts]
        if len(self._seen) != len(origin) or any(a is not b for a, b in zip(self._seen, origin, strict=True)):
            self._errors = up(self.factor * self._magnitudes([box.size for box in origin]))
            self._seen = origin
        return self._errors

    def _magnitudes(self, starts: Sequence[Array]) -> Array:
        """What the program makes of magnitudes, `floor` added everywhere; Rejection where float32 might overflow."""
        values = [self._raised(x) for x in starts]
        for step in self.program:
            values.append(self._raised(step.forward(values).high))
        return values[-1].high

    def _raised(self, x: Array) -> Box:
        high = up(x + self.floor)
        if not bool((high < float(self.step.most)).all()):
            raise Rejection("numbers too large for float32")
        return Box(high, high)
