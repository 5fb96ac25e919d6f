"""Zonotopes: every tensor as an affine function of the input and of fresh noise symbols, one pass forward (DeepZ).

Ghorbal, Goubault & Putot 2009 (Taylor1+) for the domain; Singh et al. 2018 ("Fast and effective robustness
certification", theorem 3.1) for ReLU, which is what the derived rule gives: of two parallel lines around f the
narrowest pair, at the slope of the chord. The input's own set is kept as it is, so that L1 and L2 balls are bounded by
the dual norm of the input's coefficients and by the box, whichever is better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unmoved.bounds.domain import Domain, Value, step
from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.query import Query
from unmoved.bounds.relaxation import choice, lines
from unmoved.bounds.rounding import Rounding
from unmoved.ir.network import Network
from unmoved.ops.op import Affine, Elementwise, Maximum, Op, Product, primitives

UNLIMITED = 2**62


@dataclass(frozen=True, eq=False)
class Source:
    """The set of inputs, seen from the middle of its box: `radius` (batch, D) of the D elements that move.

    For a ball, `shift` (batch, D) is its centre less the middle, and its radius `eps` (batch,) in `norm`.
    """

    radius: Tensor
    shift: Tensor
    norm: str | None
    eps: Tensor

    def reach(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Return lower and upper bounds of what coefficients (batch, D, *shape) add to the value at the middle."""
        flat, shape = coefficients.flatten(2), coefficients.shape[2:]
        size = flat.abs()
        high = torch.einsum("bd,bdn->bn", self.radius, size)
        low = -high
        if self.norm is not None:
            dual = size.square().sum(1).sqrt() if self.norm == "2" else size.amax(1) if size.shape[1] else low * 0
            at, far = torch.einsum("bd,bdn->bn", self.shift, flat), self.eps[:, None] * dual
            low, high = torch.maximum(low, at - far), torch.minimum(high, at + far)
        return low.view(-1, *shape), high.view(-1, *shape)


@dataclass(frozen=True, eq=False)
class Zonotope:
    """center + sum_d inner[:, d] (x_d - middle_d) + sum_n noise[:, n] e_n + rest * e', all e in [-1, 1].

    center and rest (batch, *shape), rest >= 0 with a symbol of its own for every element; inner (batch, D, *shape);
    noise (batch, N, *shape). `symbols` (N,) int64 are the numbers of the shared symbols, in ascending order.
    """

    source: Source
    center: Tensor
    inner: Tensor
    noise: Tensor
    symbols: Tensor
    rest: Tensor

    def bounds(self) -> Bounds:
        """Return the range of every element."""
        low, high = self.source.reach(self.inner)
        width = self.noise.abs().sum(1) + self.rest
        low, high = self.center + low - width, self.center + high + width
        return Bounds(torch.minimum(low, high), torch.maximum(low, high))

    def with_symbols(self, symbols: Tensor) -> Zonotope:
        """Return the same over more symbols (ascending, all of its own among them)."""
        if len(symbols) == len(self.symbols):
            return self
        noise = self.noise.new_zeros(len(self.center), len(symbols), *self.center.shape[1:])
        noise[:, torch.searchsorted(symbols, self.symbols)] = self.noise
        return replace(self, noise=noise, symbols=symbols)


@dataclass(eq=False)
class ZonotopeDomain(Domain[Zonotope]):
    """The zonotopes of every family's output. Errors become symbols as long as there are fewer than `limit`.

    After that the smallest errors of a tensor lose their names: they go into its `rest`, which only grows (order
    reduction to a box; Girard 2005 for the idea). `count` is the number of symbols given out.
    """

    limit: int = UNLIMITED
    count: int = 0

    def affine(self, op: Affine, values: tuple[Zonotope, ...]) -> Zonotope:
        """Map centre and coefficients exactly, and what has no symbol by |L|."""
        symbols = values[0].symbols
        for value in values[1:]:
            symbols = torch.unique(torch.cat([symbols, value.symbols]))
        parts = [value.with_symbols(symbols) for value in values]
        center, rest = op.apply(*(v.center for v in parts)), op.absolute(0, parts[0].rest)
        inner, noise = (_mapped(op, 0, rows) for rows in (parts[0].inner, parts[0].noise))
        for index, value in enumerate(parts[1:], start=1):
            rest = rest + op.absolute(index, value.rest)
            inner, noise = inner + _mapped(op, index, value.inner), noise + _mapped(op, index, value.noise)
        return Zonotope(values[0].source, center, inner, noise, symbols, rest)

    def elementwise(self, op: Elementwise, value: Zonotope) -> Zonotope:
        """Put f between two parallel lines: slope * x + middle, and an error of half their distance."""
        return self.elementwise_on(op, value, value.bounds())

    def elementwise_on(self, op: Elementwise, value: Zonotope, ends: Bounds) -> Zonotope:
        """Do the same where the value is known to lie within `ends`."""
        return self._bent(value, *parallel(op, ends))

    def maximum(self, op: Maximum, value: Zonotope) -> Zonotope:
        """Follow the member with the greatest lower bound; by how much others may exceed it is the error."""
        return self.maximum_on(op, value, value.bounds())

    def maximum_on(self, op: Maximum, value: Zonotope, ends: Bounds) -> Zonotope:
        """Do the same where the value is known to lie within `ends`."""
        chosen = choice(op, ends)
        member = chosen.member
        best, over = _taken(value, member, op.shape), torch.zeros_like(chosen.ceiling)
        for place in range(chosen.windows.shape[-1]):
            other = chosen.windows[:, place].expand_as(member)
            real = (other >= 0) & (other != member)
            rival = _taken(value, torch.where(real, other, member), op.shape)
            more = _difference(rival, best).bounds().high.flatten(1)
            over = torch.maximum(over, torch.where(real, more, 0.0))
        over = torch.where(chosen.sure, 0.0, over).view_as(best.center)
        return self._bent(best, torch.ones_like(over), torch.zeros_like(over), over)

    def product(self, op: Product, first: Zonotope, second: Zonotope) -> Zonotope:
        """Return x z = m z + n x - m n + (x - m)(z - n), m and n the middles; the last term is the error."""
        return self.product_on(op, (first, second), (first.bounds(), second.bounds()))

    def product_on(self, op: Product, values: tuple[Zonotope, Zonotope], ends: tuple[Bounds, Bounds]) -> Zonotope:
        """Do the same where the values are known to lie within `ends`."""
        first, second = values
        m, n = (op.spread(i, b.center) for i, b in enumerate(ends))
        error = op.total(op.spread(0, ends[0].radius) * op.spread(1, ends[1].radius))
        symbols = torch.unique(torch.cat([first.symbols, second.symbols]))
        x, z = first.with_symbols(symbols), second.with_symbols(symbols)

        def mixed(a: Tensor, b: Tensor) -> Tensor:
            return op.total(op.spread(0, a) * n + op.spread(1, b) * m)

        def each(a: Tensor, b: Tensor) -> Tensor:
            made = [mixed(a[:, k], b[:, k]) for k in range(a.shape[1])]
            return torch.stack(made, 1) if made else a.new_zeros(len(a), 0, *op.shape)

        center = mixed(x.center, z.center) - op.total(m * n)
        rest = op.total(op.spread(0, x.rest) * n.abs() + op.spread(1, z.rest) * m.abs())
        made = Zonotope(x.source, center, each(x.inner, z.inner), each(x.noise, z.noise), symbols, rest)
        return self._widened(made, error)

    def _bent(self, value: Zonotope, slope: Tensor, below: Tensor, above: Tensor) -> Zonotope:
        """Return slope * value + anything between `below` and `above`, elementwise."""
        middle = (below + above) / 2
        made = replace(
            value,
            # where there is no line (a pole) the error is infinite, whatever the centre
            center=slope * value.center + torch.where(torch.isfinite(middle), middle, 0.0),
            inner=slope[:, None] * value.inner,
            noise=slope[:, None] * value.noise,
            rest=slope.abs() * value.rest,
        )
        return self._widened(made, (above - below) / 2)

    def _widened(self, value: Zonotope, error: Tensor) -> Zonotope:
        """Add an independent error in [-error, error] to every element, as new symbols while there is room."""
        flat = (error + value.rest).flatten(1)
        room = max(0, self.limit - self.count)
        named = (flat > 0) & torch.isfinite(flat)
        if room < flat.shape[1]:
            kept = torch.zeros_like(named)
            kept.scatter_(1, flat.topk(room, 1).indices, True)
            named &= kept
        places = named.any(0).nonzero()[:, 0]
        fresh = flat.new_zeros(len(flat), len(places), flat.shape[1])
        fresh[:, torch.arange(len(places), device=flat.device), places] = torch.where(named, flat, 0.0)[:, places]
        noise = torch.cat([value.noise, fresh.view(len(flat), len(places), *error.shape[1:])], 1)
        numbers = torch.arange(self.count, self.count + len(places), device=flat.device)
        self.count += len(places)
        rest = torch.where(named, 0.0, flat).view_as(error)
        return replace(value, noise=noise, symbols=torch.cat([value.symbols, numbers]), rest=rest)


Band = tuple[Tensor, Tensor, Tensor]
"""slope, below, above: slope * x + below <= f(x) <= slope * x + above, (batch, *shape) each."""


def parallel(op: Elementwise, value: Bounds) -> Band:
    """Return two lines of one slope around f: of a few slopes (chord, tangents, 0) those with the least distance."""
    if isinstance(op, Rounding):
        error = op.error.expand(value.low.shape)
        return torch.ones_like(error), -error, error
    ends = op.apply(value.low), op.apply(value.high)
    wide = value.high > value.low
    slopes = [torch.where(wide, (ends[1] - ends[0]) / torch.where(wide, value.high - value.low, 1.0), 0.0)]
    if not op.linear_pieces:
        tangents = (op.derivative(x) for x in (value.low, value.center, value.high))
        slopes += [torch.zeros_like(ends[0]), *tangents]
    best: Band | None = None
    for slope in slopes:
        made = lines(op, value, *(2 * [torch.where(torch.isfinite(slope), slope, 0.0)]))
        assert made.lower_offset is not None
        assert made.upper_offset is not None
        band = made.lower, made.lower_offset, made.upper_offset
        if best is not None:
            better = band[2] - band[1] < best[2] - best[1]
            slope, below, above = (torch.where(better, new, old) for new, old in zip(band, best, strict=True))
            band = slope, below, above
        best = band
    assert best is not None
    return best


def _mapped(op: Affine, index: int, rows: Tensor) -> Tensor:
    """Return L_index of every row of (batch, N, *in_shape): (batch, N, *out_shape)."""
    count, width = rows.shape[:2]
    return op.linear(index, rows.flatten(0, 1)).reshape(count, width, *op.shape)


def _taken(value: Zonotope, places: Tensor, shape: tuple[int, ...]) -> Zonotope:
    """Return the elements at flat places (batch, outputs), as a tensor of `shape`."""

    def at(rows: Tensor) -> Tensor:
        wide = places[:, None].expand(-1, rows.shape[1], -1)
        return rows.flatten(2).gather(2, wide).view(*rows.shape[:2], *shape)

    center, rest = (at(t[:, None])[:, 0] for t in (value.center, value.rest))
    return replace(value, center=center, inner=at(value.inner), noise=at(value.noise), rest=rest)


def _difference(one: Zonotope, other: Zonotope) -> Zonotope:
    """Return one - other, whose symbols are the same."""
    return Zonotope(
        one.source,
        one.center - other.center,
        one.inner - other.inner,
        one.noise - other.noise,
        one.symbols,
        one.rest + other.rest,
    )


def start(enclosure: Enclosure) -> Zonotope:
    """Return the input itself."""
    middle, radius = enclosure.box.center.flatten(1), enclosure.box.radius.flatten(1)
    moving = (radius > 0).any(0).nonzero()[:, 0]
    units = radius.new_zeros(len(moving), radius.shape[1])
    units[torch.arange(len(moving), device=radius.device), moving] = 1.0
    shape = enclosure.center.shape[1:]
    source = Source(radius[:, moving], (enclosure.center.flatten(1) - middle)[:, moving], enclosure.norm, enclosure.eps)
    inner = units.view(1, len(moving), *shape).expand(len(radius), -1, *shape)
    none = radius.new_zeros(len(radius), 0, *shape)
    symbols = torch.zeros(0, dtype=torch.int64, device=radius.device)
    return Zonotope(source, enclosure.box.center, inner, none, symbols, torch.zeros_like(enclosure.box.center))


@dataclass(frozen=True, eq=False)
class ZonotopeBounds:
    """Bounds of every tensor, by name, and the zonotope of the output."""

    bounds: dict[str, Bounds]
    output: Zonotope

    def low(self, query: Query) -> Tensor:
        """Return lower bounds (R,) of a query's rows."""
        made, owner = self.output, query.owner
        low: Tensor = -query.offsets - torch.linalg.vecdot(query.rows.abs(), made.rest.flatten(1)[owner])
        low += torch.linalg.vecdot(query.rows, made.center.flatten(1)[owner])
        for input_ in sorted(set(owner.tolist())):
            # input by input: its rows meet its coefficients without a copy for every row
            mine = owner == input_
            inner, noise = (query.rows[mine] @ t[input_].flatten(1).mT for t in (made.inner, made.noise))
            one = replace(made.source, **{n: getattr(made.source, n)[[input_]] for n in ("radius", "shift", "eps")})
            low[mine] += one.reach(inner.mT[None])[0][0] - noise.abs().sum(1)
        return low


def zonotope(ops: Sequence[Op], network: Network, enclosure: Enclosure, *, limit: int = UNLIMITED) -> ZonotopeBounds:
    """Return zonotope bounds of every tensor over the enclosures, with at most `limit` symbols.

    A tensor's coefficients are freed after its last use: at most those of two tensors and their results are held.
    """
    primitive, domain = tuple(primitives(ops)), ZonotopeDomain(limit)
    bounds = {network.input: enclosure.box}
    first = last = start(enclosure)
    for name, value in walk(primitive, network, domain, first):
        last, bounds[name] = value, value.bounds()
    return ZonotopeBounds(bounds, last)


def walk(primitive: Sequence[Op], network: Network, domain: Domain[Value], first: Value) -> Iterator[tuple[str, Value]]:
    """Yield every tensor's enclosure in order, the output's last; one is let go after its last use."""
    uses = Counter(name for op in primitive for name in op.inputs)
    values = {network.input: first}
    for op in primitive:
        values[op.output] = step(op, domain, values)
        yield op.output, values[op.output]
        for name in op.inputs:
            uses[name] -= 1
            if not uses[name] and name != network.output:
                values.pop(name, None)
