"""The step `Rounded` in integers: what a deployed execution may add, from magnitudes that are exact."""

from __future__ import annotations

from collections.abc import Sequence

from unmoved_check.exact_numbers import Form, Interval, ceil_at, times_power
from unmoved_check.exact_steps import Bounds, ExactStep
from unmoved_check.model.steps import Rounded
from unmoved_check.outcome import Rejection

BITS = 256
"""Errors are rounded up to this many bits below the largest of their value."""


class ExactRounded:
    """y = x + e; the errors are worked out once for the bounds that they depend on."""

    def __init__(self, step: Rounded, program: Sequence[ExactStep]):
        self.step, self.program = step, program
        self._seen: list[Interval] = []
        self._errors: tuple[list[int], int] = ([], 0)
        self._magnitudes([Interval([1] * n, [1] * n, 0) for n in step.sizes[: len(step.starts)]])

    def forward(self, bounds: Bounds) -> Interval:
        """Both ends moved outward."""
        errors, exp = self.errors(bounds)
        x = bounds[self.step.source].finer(exp)
        shift = x.exp - exp
        low = [a - (e << shift) for a, e in zip(x.low, errors, strict=True)]
        return Interval(low, [b + (e << shift) for b, e in zip(x.high, errors, strict=True)], x.exp)

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds) -> None:
        """The same row, less |coefs| . e."""
        errors, errors_exp = self.errors(bounds)
        form.charge(-sum(abs(a) * e for a, e in zip(coefs, errors, strict=True)), exp + errors_exp)
        form.add(self.step.source, coefs, exp)

    def errors(self, bounds: Bounds) -> tuple[list[int], int]:
        """Bounds of |e| as integers and their exponent."""
        origin = [bounds[v] for v in self.step.starts]
        if len(self._seen) != len(origin) or any(a is not b for a, b in zip(self._seen, origin, strict=True)):
            sizes = [[x.largest(i) for i in range(len(x.low))] for x in origin]
            made = self._magnitudes([Interval(s, s, x.exp) for s, x in zip(sizes, origin, strict=True)])
            factor_exp = BITS + 2 * self.step.factor.denominator.bit_length()
            factor, exp = ceil_at(self.step.factor, factor_exp), made.exp + factor_exp
            errors = [factor * m for m in made.high]
            drop = max(max(errors, default=0).bit_length() - BITS, 0)
            self._seen, self._errors = origin, ([-(-e >> drop) for e in errors], exp - drop)
        return self._errors

    def _magnitudes(self, starts: list[Interval]) -> Interval:
        """What the program makes of magnitudes, `floor` added everywhere; Rejection where float32 might overflow."""
        values = [self._raised(x) for x in starts]
        for step in self.program:
            values.append(self._raised(step.forward(values).compact()))
        return values[-1]

    def _raised(self, x: Interval) -> Interval:
        floor_exp = self.step.floor.denominator.bit_length() - 1
        x = x.finer(floor_exp)
        high = [n + ceil_at(self.step.floor, x.exp) for n in x.high]
        if times_power(max(high, default=0), x.exp) >= self.step.most:
            raise Rejection("numbers too large for float32")
        return Interval(high, high, x.exp)
