"""Each step of a graph in integer arithmetic: `forward` an interval, `backward` a row. Only Relu rounds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from operator import mul
from typing import Protocol

from unmoved_check.exact_numbers import KEPT_BITS, Form, Interval, ceil_at, dyadic_exp, floor_at, scaled_floats
from unmoved_check.model.curve import Bracket
from unmoved_check.model.movement import strides as row_major
from unmoved_check.model.steps import (
    Conv,
    Dense,
    Elementwise,
    Maximum,
    Product,
    Relu,
    Rounded,
    Scale,
    Select,
    Step,
    Sum,
)

Bounds = list[Interval]


class ExactStep(Protocol):
    """One step: the interval it makes, and the row that replaces a row on what it makes."""

    def forward(self, bounds: Bounds) -> Interval:
        """An interval of the result from those of the sources."""
        ...

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds) -> None:
        """Add to the form, over the sources, something that is never more than coefs . result."""
        ...


class ExactDense:
    """y = W x on each of several rows, exactly."""

    def __init__(self, step: Dense):
        self.step = step
        flat, self.exp = scaled_floats(step.weights)
        self.rows = [flat[n * step.inner : (n + 1) * step.inner] for n in range(step.outer)]
        self.sizes = [list(map(abs, row)) for row in self.rows]

    def forward(self, bounds: Bounds) -> Interval:
        """Twice the centre and twice the radius, so that nothing is rounded."""
        x, inner = bounds[self.step.source], self.step.inner
        low, high = [], []
        for r in range(self.step.rows):
            part = slice(r * inner, (r + 1) * inner)
            lows, highs = x.low[part], x.high[part]
            centre = [a + b for a, b in zip(lows, highs, strict=True)]
            radius = [b - a for a, b in zip(lows, highs, strict=True)]
            for row, size in zip(self.rows, self.sizes, strict=True):
                middle, reach = sum(map(mul, row, centre)), sum(map(mul, size, radius))
                low.append(middle - reach)
                high.append(middle + reach)
        return Interval(low, high, x.exp + self.exp + 1)

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds) -> None:
        """Coefs W."""
        found: list[int] = []
        for r in range(self.step.rows):
            found += combine(coefs[r * self.step.outer : (r + 1) * self.step.outer], self.rows, self.step.inner)
        form.add(self.step.source, found, exp + self.exp)


def combine(coefs: Sequence[int], rows: Sequence[list[int]], width: int) -> list[int]:
    """Sum of coefs[n] * rows[n]."""
    total: list[int] | None = None
    for a, row in zip(coefs, rows, strict=True):
        if a:
            total = [a * w for w in row] if total is None else [t + a * w for t, w in zip(total, row, strict=True)]
    return [0] * width if total is None else total


class ExactConv:
    """A grouped convolution, window by window, exactly."""

    def __init__(self, step: Conv):
        self.step = step
        flat, self.exp = scaled_floats(step.weights)
        self.width = step.channels_in // step.groups * prod(step.kernel)
        self.rows = [flat[o * self.width : (o + 1) * self.width] for o in range(step.channels_out)]
        self.windows = self._windows()
        self.block = step.channels_in // step.groups * prod(step.space_in)
        self.per_group = step.channels_out // step.groups
        self._cut: dict[tuple[int, ...], list[list[int]]] = {}

    def _windows(self) -> list[tuple[list[int], tuple[int, ...]]]:
        """For every output position: the input elements of group 0 under the window, and the taps they meet."""
        s = self.step
        steps, taps = row_major(s.space_in), row_major(s.kernel)
        along = [
            [
                [
                    (at * steps[i], tap * taps[i])
                    for tap in range(s.kernel[i])
                    if 0 <= (at := o * s.strides[i] - s.pads[i] + tap * s.dilations[i]) < s.space_in[i]
                ]
                for o in range(s.space_out[i])
            ]
            for i in range(len(s.kernel))
        ]
        space, kernel = prod(s.space_in), prod(s.kernel)
        found = []
        for axes in product(*along):
            cells = [(sum(a for a, _ in c), sum(t for _, t in c)) for c in product(*axes)]
            channels = range(s.channels_in // s.groups)
            places = [c * space + at for c in channels for at, _ in cells]
            found.append((places, tuple(c * kernel + tap for c in channels for _, tap in cells)))
        return found

    def _rows_at(self, taps: tuple[int, ...]) -> list[list[int]]:
        if len(taps) == self.width:
            return self.rows
        if taps not in self._cut:
            self._cut[taps] = [[row[t] for t in taps] for row in self.rows]
        return self._cut[taps]

    def forward(self, bounds: Bounds) -> Interval:
        """As `ExactDense.forward`, window by window."""
        x, positions = bounds[self.step.source], len(self.windows)
        low, high = [0] * (positions * self.step.channels_out), [0] * (positions * self.step.channels_out)
        for p, (places, taps) in enumerate(self.windows):
            rows = self._rows_at(taps)
            for g in range(self.step.groups):
                offset = g * self.block
                centre = [x.low[i + offset] + x.high[i + offset] for i in places]
                radius = [x.high[i + offset] - x.low[i + offset] for i in places]
                for o in range(g * self.per_group, (g + 1) * self.per_group):
                    middle = sum(map(mul, rows[o], centre))
                    reach = sum(map(mul, map(abs, rows[o]), radius))
                    low[o * positions + p], high[o * positions + p] = middle - reach, middle + reach
        return Interval(low, high, x.exp + self.exp + 1)

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds) -> None:
        """The transposed convolution."""
        positions = len(self.windows)
        found = [0] * (self.step.channels_in * prod(self.step.space_in))
        for p, (places, taps) in enumerate(self.windows):
            here = coefs[p::positions]
            if not any(here):
                continue
            rows = self._rows_at(taps)
            for g in range(self.step.groups):
                part = slice(g * self.per_group, (g + 1) * self.per_group)
                if any(here[part]):
                    offset = g * self.block
                    for i, a in zip(places, combine(here[part], rows[part], len(taps)), strict=True):
                        found[i + offset] += a
        form.add(self.step.source, found, exp + self.exp)


def enclosed(brackets: Sequence[Bracket]) -> tuple[list[int], list[int], int]:
    """Integers n and errors d at one exponent with n <= 2^exp v <= n + d for every v in its bracket."""
    exp = 0
    for low, high in brackets:
        dyadic = dyadic_exp(low) if low == high else None
        if dyadic is None:
            size = max(abs(low), abs(high))
            dyadic = KEPT_BITS + size.denominator.bit_length() - size.numerator.bit_length()
        exp = max(exp, dyadic)
    numbers = [floor_at(low, exp) for low, _ in brackets]
    return numbers, [ceil_at(high, exp) - n for (_, high), n in zip(brackets, numbers, strict=True)], exp


class ExactScale:
    """y = s x + t with s and t enclosed: what the enclosures leave open is charged at the input's bounds."""

    def __init__(self, step: Scale):
        self.step = step
        self.s, self.s_open, self.s_exp = enclosed([s for s, _ in step.pairs])
        self.t, self.t_open, self.t_exp = enclosed([t for _, t in step.pairs])

    def forward(self, bounds: Bounds) -> Interval:
        """[s x + t] with both ends of every enclosure."""
        x = bounds[self.step.source]
        exp = max(x.exp + self.s_exp, self.t_exp)
        up, shift = exp - x.exp - self.s_exp, exp - self.t_exp
        low, high = [], []
        for k, a, b in zip(self.step.which, x.low, x.high, strict=True):
            s, s2 = self.s[k], self.s[k] + self.s_open[k]
            ends = (s * a, s * b, s2 * a, s2 * b) if self.s_open[k] else (s * a, s * b)
            low.append((min(ends) << up) + (self.t[k] << shift))
            high.append((max(ends) << up) + ((self.t[k] + self.t_open[k]) << shift))
        return Interval(low, high, exp)

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds) -> None:
        """Coefs * s, the shift, and the open part: a s' x >= a s x - |a| open X, a t' >= a t + min(a, 0) open."""
        x, shift, open_s = bounds[self.step.source], 0, 0
        found = [0] * len(coefs)
        for i, (a, k) in enumerate(zip(coefs, self.step.which, strict=True)):
            if a:
                found[i] = a * self.s[k]
                shift += a * (self.t[k] if a > 0 else self.t[k] + self.t_open[k])
                if self.s_open[k]:
                    open_s += abs(a) * self.s_open[k] * x.largest(i)
        form.charge(shift, exp + self.t_exp)
        form.charge(-open_s, exp + self.s_exp + x.exp)
        form.add(self.step.source, found, exp + self.s_exp)


class ExactSelect:
    """Elements of the sources, or constants, at given places."""

    def __init__(self, step: Select, sizes: Sequence[int]):
        self.step = step
        self.sizes = [sizes[v] for v in step.sources]
        self.fill, self.open, self.exp = enclosed([(f, f) for f in step.fill])

    def forward(self, bounds: Bounds) -> Interval:
        """The intervals at those places."""
        parts = [bounds[v] for v in self.step.sources]
        exp = max([self.exp, *(p.exp for p in parts)])
        parts = [p.finer(exp) for p in parts]
        low, high = [n for p in parts for n in p.low], [n for p in parts for n in p.high]
        shift = exp - self.exp
        fill_low = [f << shift for f in self.fill]
        fill_high = [(f + o) << shift for f, o in zip(self.fill, self.open, strict=True)]
        return Interval(
            [low[w] if w >= 0 else fill_low[-1 - w] for w in self.step.which],
            [high[w] if w >= 0 else fill_high[-1 - w] for w in self.step.which],
            exp,
        )

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds) -> None:
        """Every coefficient back to its place."""
        found, shift = [0] * sum(self.sizes), 0
        for a, w in zip(coefs, self.step.which, strict=True):
            if a and w >= 0:
                found[w] += a
            elif a:
                shift += a * (self.fill[-1 - w] + (self.open[-1 - w] if a < 0 else 0))
        form.charge(shift, exp + self.exp)
        at = 0
        for value, size in zip(self.step.sources, self.sizes, strict=True):
            form.add(value, found[at : at + size], exp)
            at += size


class ExactSum:
    """left + right or left - right."""

    def __init__(self, step: Sum):
        self.step = step

    def forward(self, bounds: Bounds) -> Interval:
        """The sum of two intervals."""
        exp = max(bounds[self.step.left].exp, bounds[self.step.right].exp)
        a, b = bounds[self.step.left].finer(exp), bounds[self.step.right].finer(exp)
        low, high = (b.low, b.high) if self.step.sign > 0 else ([-h for h in b.high], [-n for n in b.low])
        return Interval(
            [x + y for x, y in zip(a.low, low, strict=True)], [x + y for x, y in zip(a.high, high, strict=True)], exp
        )

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds) -> None:
        """The row on both."""
        form.add(self.step.left, coefs, exp)
        form.add(self.step.right, coefs if self.step.sign > 0 else [-a for a in coefs], exp)


class ExactRelu:
    """max(x, 0): exact where x has one sign, else between slope * x and the chord.

    Every coefficient is then rounded down to `KEPT_BITS`: a chord gets steeper, a lower line stays between 0 and the
    row's own coefficient, and where x >= 0 a smaller coefficient makes a smaller term.
    """

    def __init__(self, step: Relu):
        self.step = step

    def forward(self, bounds: Bounds) -> Interval:
        """Both ends cut at 0."""
        x = bounds[self.step.source]
        return Interval([max(n, 0) for n in x.low], [max(n, 0) for n in x.high], x.exp)

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds, slopes: bytes | None = None) -> None:
        """Lines below a * relu(x), in x."""
        x, found, shift = bounds[self.step.source], [0] * len(coefs), 0
        drop = max(map(abs, coefs), default=0).bit_length() - KEPT_BITS
        if drop < 0:
            coefs, exp, drop = [a << -drop for a in coefs], exp - drop, 0
        for i, a in enumerate(coefs):
            low, high = x.low[i], x.high[i]
            if not a or high <= 0:
                continue
            if low >= 0:
                found[i] = a >> drop
            elif a > 0:
                steep = (255 if high >= -low else 0) if slopes is None else slopes[i]
                found[i] = (a * steep // 255) >> drop
            else:
                # floor of floor is the floor; the line c (x - low) with c <= a high / (high - low) lies below
                found[i] = (a * high // (high - low)) >> drop
                shift -= found[i] * low
        form.charge(shift, exp - drop + x.exp)
        form.add(self.step.source, found, exp - drop)


class ExactMaximum:
    """The greatest of a window: never less than any of its inputs, never more than the greatest high."""

    def __init__(self, step: Maximum, size: int):
        self.step = step
        self.size = size

    def forward(self, bounds: Bounds) -> Interval:
        """The greatest low and the greatest high."""
        x = bounds[self.step.source]
        return Interval(
            [max(x.low[j] for j in w) for w in self.step.windows],
            [max(x.high[j] for j in w) for w in self.step.windows],
            x.exp,
        )

    def backward(self, form: Form, coefs: list[int], exp: int, bounds: Bounds) -> None:
        """The input with the greatest low; from above a constant, unless that input always wins."""
        x, found, shift = bounds[self.step.source], [0] * self.size, 0
        for a, window in zip(coefs, self.step.windows, strict=True):
            if not a:
                continue
            best = max(window, key=x.low.__getitem__)
            if a > 0 or all(x.low[best] >= x.high[j] for j in window if j != best):
                found[best] += a
            else:
                shift += a * max(x.high[j] for j in window)
        form.charge(shift, exp + x.exp)
        form.add(self.step.source, found, exp)


def prepared(step: Step, sizes: Sequence[int]) -> ExactStep:
    """The step in integers."""
    match step:
        case Dense():
            return ExactDense(step)
        case Conv():
            return ExactConv(step)
        case Scale():
            return ExactScale(step)
        case Select():
            return ExactSelect(step, sizes)
        case Sum():
            return ExactSum(step)
        case Relu():
            return ExactRelu(step)
        case Maximum():
            return ExactMaximum(step, sizes[step.source])
        case Rounded() | Elementwise() | Product():
            raise ValueError("a Rounded step within another")
