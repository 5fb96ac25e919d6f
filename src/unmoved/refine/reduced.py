"""A network on one region, with everything that is decided there folded away.

What bounds leave undecided are units: h_i between two lines over z_i. Between units a network of any architecture is
affine: z = W h + V x + b with W strictly lower triangular in the order of the operators, and the outputs are affine in
h and x. Nets of a hundred thousand elements have a few hundred units on the regions that can be proved at all, so that
one bound costs a few small matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor

from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.linear import LinearBounds
from unmoved.bounds.relaxation import Choice, Lines, relax, undecided
from unmoved.bounds.rows import Rows, pull
from unmoved.ops.op import Affine, Elementwise, Maximum

BLOCK = 2**26
"""Bytes of the rows of one tensor that are taken back together."""


ROOM = 1e-11
"""Room for the checker's own rounding; what is deployed needs more (`root.Root`)."""


@dataclass(frozen=True, eq=False)
class Functions:
    """K affine functions units @ h + inputs @ x + offset: (K, units), (K, inputs), (K,)."""

    units: Tensor
    inputs: Tensor
    offset: Tensor

    def take(self, which: Tensor) -> Functions:
        """Return some of the functions."""
        return Functions(self.units[which], self.inputs[which], self.offset[which])

    @staticmethod
    def join(parts: Sequence[Functions]) -> Functions:
        """Return all functions of the parts, which speak of the same units."""
        return Functions(*(torch.cat([getattr(p, n) for p in parts]) for n in ("units", "inputs", "offset")))


@dataclass(frozen=True, eq=False)
class Group:
    """The units of one activation: elements `places` (flat) of its output, made of elements `sources` of `tensor`.

    `first` is the first unit that they depend on; `free`: a ReLU, whose lower line may have any slope in [0, 1].
    """

    tensor: str
    places: Tensor
    sources: Tensor
    first: int
    start: int
    stop: int
    free: bool


@dataclass(frozen=True, eq=False)
class Reduced:
    """The units in order: z = `between` @ h + `inputs` @ x + `offset`, low <= z <= high, h between the lines.

    Vectors are (units,), `between` (units, units), `inputs` (units, inputs). `lower` and `upper` are slopes (of a free
    unit the default one). `enclosure` is the region, of one input.
    """

    groups: tuple[Group, ...]
    functions: Functions
    bounds: Bounds
    lines: Lines
    free: Tensor
    enclosure: Enclosure
    largest: Tensor
    """The largest absolute values of the units on the whole region: what rounding is a share of."""
    room: float = ROOM
    """Of the absolute terms of a bound: what the checker will subtract, and half as much again."""

    def __len__(self) -> int:
        return len(self.free)

    def within(self, low: Tensor, high: Tensor) -> Reduced:
        """Return the network on a part of the region where the units, all of them ReLUs, have narrower bounds."""
        on, off = low >= 0, high <= 0
        slope = high / (high - low).clamp(min=torch.finfo(low.dtype).tiny)
        ends = [torch.where(on, 1.0, torch.where(off, 0.0, a)).to(low) for a in ((high >= -low).to(low), slope)]
        lines = Lines(ends[0], torch.zeros_like(low), ends[1], torch.where(on | off, 0.0, -slope * low))
        return replace(self, bounds=Bounds(low, high), lines=lines, free=self.free & ~on & ~off)


@dataclass(eq=False)
class Reducer:
    """Builds a Reduced, operator by operator, for input `number` of a batch of bounds."""

    known: LinearBounds
    number: int
    groups: dict[str, Group] = field(default_factory=dict)
    parts: list[Functions] = field(default_factory=list)
    fixed: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    lines: list[tuple[Tensor, ...]] = field(default_factory=list)
    count: int = 0

    @classmethod
    def of(cls, known: LinearBounds, number: int) -> Reducer:
        """Return the reducer of a network whose bounds are complete, with all operators added."""
        made = cls(known, number)
        for op in known.ops:
            if isinstance(op, Elementwise | Maximum):
                made.add(op)
        return made

    def value(self, name: str) -> Bounds:
        """The bounds of a tensor for this input, (1, *shape)."""
        whole = self.known.bounds[name]
        return Bounds(whole.low[self.number : self.number + 1], whole.high[self.number : self.number + 1])

    def open(self, op: Elementwise | Maximum, relaxation: Lines | Choice) -> Tensor:
        """Return the flat places of the output whose relaxation is no equality and that matter; (units,)."""
        value, matters = self.value(op.inputs[0]), self.known.matters[op.output][self.number].flatten()
        if isinstance(relaxation, Choice):
            mask = ~relaxation.sure[0]
        elif isinstance(op, Elementwise) and op.linear_pieces:
            mask = undecided(op, value).flatten()
        else:
            mask = torch.ones_like(matters)
        return (mask & matters).nonzero()[:, 0]

    def add(self, op: Elementwise | Maximum, functions: Functions | None = None) -> None:
        """Turn what the bounds leave undecided of an operator into units; the rest is folded.

        `functions` are those of the units' sources, where the caller has them already.
        """
        value = self.value(op.inputs[0])
        relaxation = relax(op, value)
        places = self.open(op, relaxation)
        sources = relaxation.member[0][places] if isinstance(relaxation, Choice) else places
        if functions is None:
            functions = self.elements(op.inputs[0], sources)
        self.fixed[op.output] = _fixed(relaxation, places)
        if not len(places):
            return
        seen = (functions.units != 0).any(0).nonzero()[:, 0]
        first = int(seen[0]) if len(seen) else self.count
        stop = self.count + len(places)
        free = op.kind == "Relu"
        self.groups[op.output] = Group(op.inputs[0], places, sources, first, self.count, stop, free)
        self.parts.append(functions)
        ends = value.flat(sources)
        self.lines.append((*_lines(relaxation, places), ends.low[0], ends.high[0]))
        self.count = stop

    def elements(self, name: str, places: Tensor) -> Functions:
        """Return single elements of a tensor as functions of the units and the input."""
        shape, like = self.known.shapes[name], self.known.enclosure.center
        room = max(1, BLOCK // (max(prod(s) for s in self.known.shapes.values()) * like.element_size()))
        found = [self._empty()]
        for part in torch.split(places, room):
            units = like.new_zeros(len(part), prod(shape))
            units[torch.arange(len(part), device=like.device), part] = 1.0
            found.append(self.express(Rows({name: units.view(-1, *shape)}, like.new_zeros(len(part)))))
        return Functions.join(found)

    def outputs(self, rows: Tensor, offsets: Tensor) -> Functions:
        """Return rows @ y - offsets: rows (K, outputs), offsets (K,)."""
        output = self.known.network.output
        return self.express(Rows({output: rows.reshape(-1, *self.known.shapes[output])}, -offsets))

    def express(self, rows: Rows) -> Functions:
        """Return rows of tensors as functions of the units and the input."""
        like = self.known.enclosure.center
        units = like.new_zeros(len(rows.constant), self.count)
        for op in reversed(self.known.ops):
            if op.output not in rows.coefficients:
                continue
            if isinstance(op, Affine):
                rows = pull(op, rows)
                continue
            left = dict(rows.coefficients)
            outer = left.pop(op.output).flatten(1)
            group = self.groups.get(op.output)
            if group is not None:
                units[:, group.start : group.stop] += outer[:, group.places]
            slope, offset = self.fixed[op.output]
            inner = outer * slope
            name = op.inputs[0]
            if isinstance(op, Maximum):
                chosen = self.known.relaxations[op.output]
                assert isinstance(chosen, Choice)
                wide = outer.new_zeros(len(outer), prod(self.known.shapes[name]))
                inner = wide.index_add_(1, chosen.member[self.number], inner)
            inner = inner.view(-1, *self.known.shapes[name])
            left[name] = left[name] + inner if name in left else inner
            rows = Rows(left, rows.constant + outer @ offset)
        start = rows.coefficients.get(self.known.network.input)
        inputs = like.new_zeros(len(units), like[0].numel()) if start is None else start.flatten(1)
        return Functions(units, inputs, rows.constant)

    def reduced(self) -> Reduced:
        """Return what has been built so far."""
        padded = []
        for part in [self._empty(), *self.parts]:
            missing = self.count - part.units.shape[1]
            padded.append(Functions(torch.nn.functional.pad(part.units, (0, missing)), part.inputs, part.offset))
        empty = (self.known.enclosure.center.new_zeros(0),) * 6
        joined = [torch.cat(column) for column in zip(empty, *self.lines, strict=True)]
        free = [torch.full((g.stop - g.start,), g.free, device=joined[0].device) for g in self.groups.values()]
        one, whole = slice(self.number, self.number + 1), self.known.enclosure
        region = Enclosure(self.value(self.known.network.input), whole.center[one], whole.norm, whole.eps[one])
        return Reduced(
            tuple(self.groups.values()),
            Functions.join(padded),
            Bounds(joined[4], joined[5]),
            Lines(*joined[:4]),
            torch.cat(free) if free else joined[0].bool(),
            region,
            torch.maximum(joined[4].abs(), joined[5].abs()),
        )

    def _empty(self) -> Functions:
        like = self.known.enclosure.center
        return Functions(like.new_zeros(0, self.count), like.new_zeros(0, like[0].numel()), like.new_zeros(0))


def _fixed(relaxation: Lines | Choice, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and offset of every output element that is no unit: 0 for units, and for what does not matter."""
    if isinstance(relaxation, Choice):
        slope = relaxation.sure[0].to(relaxation.ceiling.dtype)
        return slope.index_fill(0, places, 0.0), torch.zeros_like(slope)
    slope = relaxation.lower[0].flatten().index_fill(0, places, 0.0)
    below = relaxation.lower_offset
    offset = torch.zeros_like(slope) if below is None else below[0].flatten().index_fill(0, places, 0.0)
    return slope, offset


def _lines(relaxation: Lines | Choice, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the units' lines: lower slope and offset, upper slope and offset."""
    if isinstance(relaxation, Choice):
        ceiling = relaxation.ceiling[0][places]
        none = torch.zeros_like(ceiling)
        return torch.ones_like(ceiling), none, none, ceiling
    ends = (relaxation.lower, relaxation.lower_offset, relaxation.upper, relaxation.upper_offset)
    lower = relaxation.lower[0].flatten()[places]
    lines = [torch.zeros_like(lower) if end is None else end[0].flatten()[places] for end in ends]
    return lines[0], lines[1], lines[2], lines[3]
