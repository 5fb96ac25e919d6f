"""What the facts of every operator must keep: bounds of every kind rest on them and on nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from unmoved.bounds.domain import forward
from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.interval import IntervalDomain
from unmoved.bounds.relaxation import lines, planes, slopes
from unmoved.ops import Affine, Composite, Elementwise, Op, Product

ROUNDING = 1e-12


def intervals(count: int, shape: tuple[int, ...], *, low: float, high: float, seed: int = 0) -> Bounds:
    """Return random intervals in [low, high], of all widths, points among them."""
    generator = torch.Generator().manual_seed(seed)
    size = (count, *shape)
    first = low + (high - low) * torch.rand(size, generator=generator, dtype=torch.float64)
    width = (high - low) * 10 ** (-4 * torch.rand(size, generator=generator, dtype=torch.float64))
    width[: count // 10] = 0.0
    return Bounds(first, torch.minimum(first + width, torch.full_like(first, high)))


class OperatorContract(ABC):
    """What holds of every Op; inherit the one of your family, name the class Test..., and give the hooks."""

    @abstractmethod
    def op(self) -> Op:
        """Return the operator, bound in float64, its tensors of a few elements."""

    @abstractmethod
    def in_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of its inputs at batch size 1."""

    def domain(self) -> tuple[float, float]:
        """Return where inputs are drawn from."""
        return -6.0, 6.0

    def inputs(self, count: int) -> list[Tensor]:
        """Return random inputs, (count, *shape) each."""
        low, high = self.domain()
        generator = torch.Generator().manual_seed(1)
        sizes = [(count, *shape) for shape in self.in_shapes()]
        return [low + (high - low) * torch.rand(s, generator=generator, dtype=torch.float64) for s in sizes]

    def boxes(self, count: int) -> list[Bounds]:
        """Return random boxes of its inputs."""
        low, high = self.domain()
        return [intervals(count, s, low=low, high=high, seed=i) for i, s in enumerate(self.in_shapes())]

    def test_every_input_of_a_batch_stands_alone(self) -> None:
        """The output has the stated shape, and an input's does not depend on its company."""
        op, values = self.op(), self.inputs(4)
        made = op.apply(*values)
        assert tuple(made.shape) == (4, *op.shape)
        for i in range(4):
            alone = op.apply(*(v[i : i + 1] for v in values))
            torch.testing.assert_close(alone[0], made[i], rtol=1e-12, atol=1e-12)

    def test_intervals_hold(self) -> None:
        """No sampled output leaves the interval that the facts give."""
        op, boxes = self.op(), self.boxes(50)
        found = forward((op,), IntervalDomain(), dict(zip(op.inputs, boxes, strict=True)))[op.output]
        for share in (0.0, 0.3, 0.5, 0.77, 1.0):
            y = op.apply(*(box.low + share * (box.high - box.low) for box in boxes))
            size = 1 + y.abs()
            assert bool((found.low <= y + ROUNDING * size).all())
            assert bool((found.high >= y - ROUNDING * size).all())


class AffineContract(OperatorContract):
    """y = sum_i L_i x_i + b, and what L_i, |L_i| and its transpose do."""

    def test_linear_and_transposed_agree(self) -> None:
        """<rows, L x> = <rows L, x> to the last bits, and |L x| <= |L| |x|."""
        op = self.op()
        assert isinstance(op, Affine)
        for index, x in enumerate(self.inputs(3)):
            image = op.linear(index, x)
            rows = torch.linspace(-1, 1, image.numel(), dtype=torch.float64).view_as(image)
            back = op.adjoint(index, rows)
            assert back.shape == x.shape
            torch.testing.assert_close((rows * image).sum(), (back * x).sum(), rtol=1e-11, atol=1e-11)
            assert bool((image.abs() <= op.absolute(index, x.abs()) + ROUNDING).all())


class ElementwiseContract(OperatorContract):
    """y = f(x): its kinks, where it has a slope, where it is defined, and how it bends."""

    def test_lines_of_any_slope_hold_and_touch(self) -> None:
        """The line of any slope lies on its side of f on a fine grid, and no farther off than the grid is coarse."""
        op, value = self.op(), self.boxes(300)[0]
        assert isinstance(op, Elementwise)
        generator = torch.Generator().manual_seed(2)
        share = torch.linspace(0, 1, 1001, dtype=torch.float64).view(-1, 1, *(1,) * len(self.in_shapes()[0]))
        x = torch.minimum(value.low + share * (value.high - value.low), value.high)
        y = op.apply(x.flatten(0, 1)).view_as(x)
        for scale in (0.0, 0.2, 1.0, 5.0):
            lower, upper = (
                scale * torch.randn(value.low.shape, generator=generator, dtype=torch.float64) for _ in range(2)
            )
            made = lines(op, value, lower, upper)
            assert made.lower_offset is not None
            assert made.upper_offset is not None
            below, above = y - lower * x - made.lower_offset, made.upper_offset + upper * x - y
            size = 1 + y.abs() + (lower.abs() + upper.abs()) * x.abs()
            assert bool((below >= -ROUNDING * size).all())
            assert bool((above >= -ROUNDING * size).all())
            steps = (y[1:] - y[:-1]).abs().amax(0) + (value.high - value.low) / 1000 * (lower.abs() + upper.abs())
            for gap in (below.amin(0), above.amin(0)):
                assert bool((gap <= steps + 1e-9 * size.amax(0)).all())

    def test_our_slopes_are_finite(self) -> None:
        """The default slopes give finite lines wherever f is defined."""
        op, value = self.op(), self.boxes(300)[0]
        assert isinstance(op, Elementwise)
        made = lines(op, value, *slopes(op, value))
        ends = (made.lower, made.upper, made.lower_offset, made.upper_offset)
        assert all(end is not None and bool(end.isfinite().all()) for end in ends)

    def test_monotone_is_monotone(self) -> None:
        """`monotone` is what a fine grid shows."""
        op = self.op()
        assert isinstance(op, Elementwise)
        low, high = self.domain()
        x = torch.linspace(low, high, 4001, dtype=torch.float64)
        whole = x.view(-1, *(1,) * len(op.shape)).expand(len(x), *op.shape)
        rise = op.apply(whole).diff(dim=0)
        assert op.monotone != 1 or bool((rise >= -ROUNDING).all())
        assert op.monotone != -1 or bool((rise <= ROUNDING).all())

    def test_bends_are_what_second_differences_show(self) -> None:
        """Within a piece that is called convex or concave, the middle of a chord lies on that side."""
        op = self.op()
        assert isinstance(op, Elementwise)
        for start, end, sign in op.bends:
            left, right = max(start, self.domain()[0]), min(end, self.domain()[1])
            if not left < right:
                continue
            x = torch.linspace(left, right, 402, dtype=torch.float64)[1:-1]
            y = op.apply(x.view(-1, *(1,) * len(op.shape)).expand(len(x), *op.shape)).flatten(1)[:, 0]
            bend = sign * (y[:-2] + y[2:] - 2 * y[1:-1])
            assert bool((bend >= -1e-12 * (1 + y[1:-1].abs())).all())


class ProductContract(OperatorContract):
    """y = sums of products of two variables' elements."""

    def test_sums_of_pairs(self) -> None:
        """Apply is the sum of the pairs' products; `gather` and `each` are the transposes of `spread` and `total`."""
        op, values = self.op(), self.inputs(3)
        assert isinstance(op, Product)
        wide = [op.spread(i, v) for i, v in enumerate(values)]
        torch.testing.assert_close(op.total(wide[0] * wide[1]), op.apply(*values), rtol=1e-12, atol=1e-12)
        rows = torch.linspace(-1, 1, wide[0].numel(), dtype=torch.float64).view_as(wide[0])
        for i, v in enumerate(values):
            torch.testing.assert_close((op.gather(i, rows) * v).sum(), (rows * wide[i]).sum(), rtol=1e-11, atol=1e-11)
        outer = op.apply(*values)
        torch.testing.assert_close((op.each(outer) * rows).sum(), (outer * op.total(rows)).sum())

    def test_planes_hold(self) -> None:
        """McCormick's planes by any shares lie on their sides of every sampled product."""
        op, boxes = self.op(), self.boxes(40)
        assert isinstance(op, Product)
        shape = (40, *op.pairs)
        generator = torch.Generator().manual_seed(3)
        shares = [torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
        made = planes(op, boxes[0], boxes[1], shares[0], shares[1])
        for a in (0.0, 0.4, 1.0):
            for b in (0.0, 0.6, 1.0):
                x = op.spread(0, boxes[0].low + a * (boxes[0].high - boxes[0].low))
                z = op.spread(1, boxes[1].low + b * (boxes[1].high - boxes[1].low))
                below, above = (p[0] * x + p[1] * z + p[2] for p in (made.under, made.over))
                assert bool((below <= x * z + 1e-10).all())
                assert bool((above >= x * z - 1e-10).all())


class CompositeContract(OperatorContract):
    """Parts one after the other, and a function that does the same at once."""

    def test_parts_and_function_agree(self) -> None:
        """Walking through the parts gives the function's value, under the composite's name and shape."""
        op, values = self.op(), self.inputs(3)
        assert isinstance(op, Composite)
        known = dict(zip(op.inputs, values, strict=True))
        for part in op.parts:
            known[part.output] = part.apply(*(known[name] for name in part.inputs))
            assert tuple(known[part.output].shape[1:]) == part.shape
            assert part.output == op.output or part.output.startswith(f"{op.output}#")
        assert op.parts[-1].output == op.output
        torch.testing.assert_close(known[op.output], op.apply(*values), rtol=1e-10, atol=1e-10)
