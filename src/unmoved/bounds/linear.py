"""Backward linear bounds: rows of the outputs, taken back to the input through sound lines (CROWN, DeepPoly).

Intermediate bounds are intervals first; only elements that those leave undecided get rows of their own ("lazy rows"),
and the better bound counts. Zhang et al. 2018; Singh et al. 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unmoved.bounds.cones import Cone, Matrices, inside, supports
from unmoved.bounds.domain import forward, step
from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.interval import IntervalDomain
from unmoved.bounds.lazy import Policy, Wanted, always
from unmoved.bounds.query import Query
from unmoved.bounds.relaxation import Bent, Relaxation, relaxed, settled, through
from unmoved.bounds.relevance import relevant
from unmoved.bounds.rows import Rows, pull, suffix
from unmoved.core.budget import Budget
from unmoved.ir.network import Network
from unmoved.ops.op import Affine, Elementwise, Maximum, Op, Product, primitives

CACHE = 2**20
"""Bytes of one tensor's rows that travel together on a CPU: they stay in its cache (3x faster than 64 MiB)."""
BLOCK = 256 * 2**20
"""Bytes of the rows that all inputs share before their first relaxation, and of a travelling tensor on a GPU."""


@dataclass(frozen=True, eq=False)
class LinearBounds:
    """What is known of a batch so far: bounds of every tensor, by name, and relaxations, by the operator's output.

    `matters` says of every tensor which elements some output can depend on at all; bool (batch, *shape) each.
    """

    ops: Sequence[Op]
    network: Network
    enclosure: Enclosure
    bounds: dict[str, Bounds]
    matrices: Matrices
    matters: Mapping[str, Tensor]
    relaxations: dict[str, Relaxation] = field(default_factory=dict)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of all tensors at batch size 1, the inner ones of composites among them."""
        return self.matrices.shapes

    def low(self, query: Query) -> Tensor:
        """Return lower bounds (R,) of a query's rows."""
        result = torch.empty_like(query.offsets)
        shape = self.shapes[self.network.output]
        for part in self._parts(len(query.owner), self._widest()):
            start = Rows({self.network.output: query.rows[part].reshape(-1, *shape)}, -query.offsets[part])
            result[part] = self._descend(start, query.owner[part])
        # Where a function has a pole there is no bound, and 0 times infinity is none either.
        return _sure(result)

    def refine(self, op: Bent, mask: Tensor, budget: Budget, index: int = 0) -> None:
        """Intersect the bounds of an operator's input with those by backward rows, where mask (batch, *shape) says.

        Upper bounds come first: an element that they settle needs no lower one. A spent budget leaves the rest as is.
        """
        name = op.inputs[index]
        shape = self.shapes[name]
        low, high = (end.flatten(1).clone() for end in (self.bounds[name].low, self.bounds[name].high))
        chosen = mask.flatten(1)
        for elements in torch.split(chosen.any(0).nonzero()[:, 0], self._block()):
            if budget.spent:
                break
            rows = self._shared(name, elements)
            ends = Bounds(low[:, elements], high[:, elements])
            ask = self._at_input(rows) if set(rows.coefficients) <= {self.network.input} else self._lazily(rows)
            most = -_sure(ask(chosen[:, elements], -1.0))
            high[:, elements] = torch.fmin(ends.high, most)
            # whole tensors: an operator may treat every element in its own way
            done = settled(op, Bounds(low.view(-1, *shape), high.view(-1, *shape))).flatten(1)
            still = chosen[:, elements] & ~done[:, elements]
            low[:, elements] = torch.fmax(ends.low, _sure(ask(still, 1.0)))
        # Ends that rounding made cross (a set that is a point) are put back into order.
        ordered = torch.minimum(low, high), torch.maximum(low, high)
        self.bounds[name] = Bounds(*(end.view(-1, *shape) for end in ordered))

    def _shared(self, name: str, elements: Tensor) -> Rows:
        """Return single elements of a tensor as rows of what the last affine operators start from."""
        units = self.enclosure.center.new_zeros(len(elements), self.matrices.size(name))
        units[torch.arange(len(elements), device=elements.device), elements] = 1.0
        start = Rows({name: units.view(-1, *self.shapes[name])}, units.new_zeros(len(elements)))
        return suffix(self.ops, start)

    def _at_input(self, rows: Rows) -> Callable[[Tensor, float], Tensor]:
        """Answer for affine functions of the input: lower bounds (batch, M) of sign * row, for all inputs at once."""
        coefficients = rows.coefficients.get(self.network.input)

        def ask(chosen: Tensor, sign: float) -> Tensor:
            constant = (sign * rows.constant).expand(chosen.shape)
            low = constant if coefficients is None else constant + self.enclosure.least_shared(sign * coefficients).mT
            return torch.where(chosen, low, -torch.inf)

        return ask

    def _lazily(self, rows: Rows) -> Callable[[Tensor, float], Tensor]:
        """Answer with lower bounds (batch, M) of sign * row where chosen, -inf elsewhere."""
        groups = []
        for numbers, places in supports(rows):
            cone = Cone.of(places, self.matrices, self.relaxations) if places else None
            own = {n: c[numbers].flatten(1)[:, places[n]] for n, c in rows.coefficients.items()} if places else None
            groups.append((numbers, cone, rows if own is None else Rows(own, rows.constant[numbers])))

        def ask(chosen: Tensor, sign: float) -> Tensor:
            result = torch.full(chosen.shape, -torch.inf, dtype=rows.constant.dtype, device=rows.constant.device)
            for numbers, cone, own in groups:
                owner, which = chosen[:, numbers].nonzero(as_tuple=True)
                signed = Rows({n: sign * c for n, c in own.coefficients.items()}, sign * own.constant)
                result[owner, numbers[which]] = self._each(cone, signed, owner, which)
            return result

        return ask

    def _each(self, cone: Cone | None, rows: Rows, owner: Tensor, which: Tensor) -> Tensor:
        """Return lower bounds (P,) of rows[which], about input `owner`: through a cone, and densely where it ends."""
        if cone is not None and set(cone.end) <= {self.network.input}:
            return self._inside(cone, rows, owner, which)
        result = rows.constant.new_empty(len(owner))
        for part in self._parts(len(owner), self._widest()):
            taken = rows.take(which[part])
            if cone is not None:
                taken = self._dense(cone, cone.descend(taken, owner[part]))
            result[part] = self._descend(taken, owner[part])
        return result

    def _inside(self, cone: Cone, rows: Rows, owner: Tensor, which: Tensor) -> Tensor:
        """Return the same for rows that stay in their cone all the way to the input."""
        result, source = rows.constant.new_empty(len(owner)), self.network.input
        # a cone may end before it sees a single place of the input
        enclosure = inside(self.enclosure, cone.seen[source]) if cone.end and len(cone.seen[source]) else None
        for part in self._parts(len(owner), cone.widest):
            ended = cone.descend(rows.take(which[part]), owner[part])
            result[part] = ended.constant
            if enclosure is not None:
                result[part] += enclosure.least(ended.coefficients[source], owner[part])
        return result

    def _dense(self, cone: Cone, rows: Rows) -> Rows:
        """Return a cone's last rows as rows of whole tensors."""
        wide = {}
        for name, coefficients in rows.coefficients.items():
            places = cone.seen[name]
            if len(places) < self.matrices.size(name):
                full = coefficients.new_zeros(len(coefficients), self.matrices.size(name))
                full[:, places] = coefficients
                coefficients = full
            wide[name] = coefficients.view(-1, *self.shapes[name])
        return Rows(wide, rows.constant)

    def at_input(self, query: Query) -> Tensor:
        """Return what a query's rows become at the input, (R, *input_shape): their linear parts there."""
        shape = self.shapes[self.network.output]
        rows = self._back(Rows({self.network.output: query.rows.reshape(-1, *shape)}, -query.offsets), query.owner)
        found = rows.coefficients.get(self.network.input)
        like = self.enclosure.center
        return like.new_zeros(len(query.owner), *like.shape[1:]) if found is None else found

    def _descend(self, rows: Rows, owner: Tensor) -> Tensor:
        """Return lower bounds (R,) of rows by taking them back to the input; row r is about input owner[r]."""
        rows = self._back(rows, owner)
        at_input = rows.coefficients.get(self.network.input)
        return rows.constant if at_input is None else rows.constant + self.enclosure.least(at_input, owner)

    def _back(self, rows: Rows, owner: Tensor) -> Rows:
        """Return rows of the input that are nowhere above the given ones; row r is about input owner[r]."""
        for op in reversed(self.ops):
            if op.output not in rows.coefficients:
                continue
            if isinstance(op, Affine):
                rows = pull(op, rows)
                continue
            assert isinstance(op, Elementwise | Maximum | Product)
            rows = through(op, self.relaxations[op.output], rows, owner)
        return rows

    def _widest(self) -> int:
        return max(self.matrices.size(name) for name in self.bounds)

    def _block(self) -> int:
        return max(1, BLOCK // (self._widest() * self.enclosure.center.element_size()))

    def _parts(self, count: int, width: int) -> Iterator[slice]:
        """Cut `count` rows of `width` numbers into parts that fit the cache."""
        center = self.enclosure.center
        room = CACHE if center.device.type == "cpu" else BLOCK
        size = max(1, room // (width * center.element_size()))
        return (slice(k, min(k + size, count)) for k in range(0, count, size))


def _sure(low: Tensor) -> Tensor:
    """Return bounds with -inf for NaN."""
    return low.nan_to_num(-torch.inf, torch.inf, -torch.inf)


Tighten = Callable[[LinearBounds, Elementwise | Maximum], None]


def linear(
    ops: Sequence[Op],
    network: Network,
    enclosure: Enclosure,
    *,
    budget: Budget | None = None,
    tighten: Tighten | None = None,
    policy: Policy = always,
) -> LinearBounds:
    """Return bounds of every tensor over the enclosures; ask the result's `low` for rows of the outputs.

    Once the budget is spent, bounds stay intervals: looser, and as sound. `tighten` is called for every operator that
    is not affine, in order, once its input's bounds are as the rows left them: it may put better ones into `bounds`.
    `policy` says whose inputs get rows.
    """
    limit, ops = budget or Budget(), tuple(primitives(ops))
    domain, bounds = IntervalDomain(), {network.input: enclosure.box}
    matters = relevant(ops, network, forward(ops, domain, bounds))
    shapes = {network.input: network.input_shape} | {op.output: op.shape for op in ops}
    known = LinearBounds(ops, network, enclosure, bounds, Matrices(ops, shapes, enclosure.center), matters)
    wanted = Wanted(ops, network.input, enclosure.norm is None, policy)
    for op in ops:
        if isinstance(op, Elementwise | Maximum | Product):
            for index in range(len(op.inputs)):
                mask = None if limit.spent else wanted.mask(op, index, bounds, matters)
                if mask is not None:
                    known.refine(op, mask, limit, index)
            if tighten is not None and not isinstance(op, Product):
                tighten(known, op)
            known.relaxations[op.output] = relaxed(op, [bounds[name] for name in op.inputs])
        bounds[op.output] = step(op, domain, bounds)
    return known
