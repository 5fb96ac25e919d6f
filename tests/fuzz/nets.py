"""Random small nets of one or two inputs, as ONNX and as exact maps: the least of a row of outputs over a set.

The oracle cuts the set where a kink is crossed and looks at the corners of the pieces, in rationals: exhaustive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F = Fraction
ZERO = F(0)
Point = tuple[Fraction, ...]
Affine = tuple[Fraction, ...]
"""Coefficients of the inputs, then the constant."""


@dataclass(frozen=True)
class Piece:
    """A convex polygon (or segment, or point) by its corners, and every tensor as affine maps on it."""

    corners: tuple[Point, ...]
    tensors: dict[str, tuple[Affine, ...]]

    def put(self, name: str, maps: Sequence[Affine]) -> Piece:
        return Piece(self.corners, {**self.tensors, name: tuple(maps)})


def at(map_: Affine, point: Point) -> Fraction:
    return sum((a * x for a, x in zip(map_, point, strict=False)), map_[-1])


def combined(row: Sequence[Fraction], maps: Sequence[Affine], shift: Fraction = ZERO) -> Affine:
    total = [sum((w * m[k] for w, m in zip(row, maps, strict=True)), F(0)) for k in range(len(maps[0]))]
    return (*total[:-1], total[-1] + shift)


def halves(piece: Piece, map_: Affine) -> list[tuple[int, Piece]]:
    """The parts where the map is >= 0 (sign 1) and <= 0 (sign -1); the whole piece where it has one sign."""
    values = [at(map_, c) for c in piece.corners]
    if min(values) >= 0:
        return [(1, piece)]
    if max(values) <= 0:
        return [(-1, piece)]
    return [(sign, Piece(_half(piece.corners, [sign * v for v in values]), piece.tensors)) for sign in (1, -1)]


def _half(corners: tuple[Point, ...], values: list[Fraction]) -> tuple[Point, ...]:
    found: list[Point] = []
    for k, (corner, value) in enumerate(zip(corners, values, strict=True)):
        after, then = corners[(k + 1) % len(corners)], values[(k + 1) % len(corners)]
        if value >= 0:
            found.append(corner)
        if value * then < 0:
            t = value / (value - then)
            found.append(tuple(a + t * (b - a) for a, b in zip(corner, after, strict=True)))
    return tuple(found)


BENT = ("Relu", "Relu", "LeakyRelu", "Clip", "Abs", "PRelu")


def fractions(values: np.ndarray) -> list[Fraction]:
    return [F(float(v)) for v in values.ravel()]


@dataclass
class Net:
    """Nodes and constants for ONNX; `maps` are the same steps on pieces."""

    rng: np.random.Generator
    inputs: int
    wild: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    maps: list[Callable[[list[Piece]], list[Piece]]] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)
    at: str = "x"

    def __post_init__(self) -> None:
        self.widths["x"] = self.inputs

    def _numbers(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype(np.float32)

    def _constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def _put(self, op: str, inputs: list[str], width: int, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.widths[name], self.at = width, name
        return name

    def _each(self, step: Callable[[Piece], list[Piece]]) -> None:
        self.maps.append(lambda pieces: [new for piece in pieces for new in step(piece)])

    def gemm(self, width: int) -> None:
        before = self.at
        weight, bias = self._numbers(width, self.widths[before]), self._numbers(width) / 2
        if self.wild:
            scale = 2.0 ** self.rng.integers(-30, 31, width)
            weight, bias = weight * scale[:, None], bias * scale
            huge = 2.0 ** self.rng.integers(20, 61, width) * self.rng.choice([-1, 1], width)
            bias = np.where(self.rng.random(width) < 0.2, huge, bias)
        weight, bias = weight.astype(np.float32), bias.astype(np.float32)
        name = self._put("Gemm", [before, self._constant(weight), self._constant(bias)], width, transB=1)
        rows = [fractions(row) for row in weight]
        shifts = fractions(bias)
        self._each(
            lambda p: [p.put(name, [combined(r, p.tensors[before], s) for r, s in zip(rows, shifts, strict=True)])]
        )

    def conv(self) -> None:
        """A convolution of two taps over the elements, with padding on one side: the width stays."""
        before, width = self.at, self.widths[self.at]
        kernel, bias = self._numbers(1, 1, 2), self._numbers(1)
        image = self._put("Reshape", [before, self._constant(np.array([1, 1, width]))], width)
        made = self._put("Conv", [image, self._constant(kernel), self._constant(bias)], width, pads=[1, 0])
        name = self._put("Reshape", [made, self._constant(np.array([1, width]))], width)
        (a, b), (shift,) = fractions(kernel), fractions(bias)

        def step(p: Piece) -> list[Piece]:
            maps = p.tensors[before]
            found = [combined([a, b], [maps[i - 1], maps[i]], shift) for i in range(1, width)]
            return [p.put(name, [combined([b], maps[:1], shift), *found])]

        self._each(step)

    def deconv(self) -> None:
        """ConvTranspose of two taps, of which the front one is cut off: y[o] = w[0] x[o + 1] + w[1] x[o]."""
        before, width = self.at, self.widths[self.at]
        kernel, bias = self._numbers(1, 1, 2), self._numbers(1)
        image = self._put("Reshape", [before, self._constant(np.array([1, 1, width]))], width)
        made = self._put("ConvTranspose", [image, self._constant(kernel), self._constant(bias)], width, pads=[1, 0])
        name = self._put("Reshape", [made, self._constant(np.array([1, width]))], width)
        (a, b), (shift,) = fractions(kernel), fractions(bias)

        def step(p: Piece) -> list[Piece]:
            maps = p.tensors[before]
            found = [combined([a, b], [maps[i + 1], maps[i]], shift) for i in range(width - 1)]
            return [p.put(name, [*found, combined([b], maps[-1:], shift)])]

        self._each(step)

    def bent(self) -> None:
        """Relu, LeakyRelu, PRelu, Abs or Clip: affine between kinks."""
        op, before, width = self.rng.choice(BENT), self.at, self.widths[self.at]
        slopes = [F(0)] * width
        if op == "Clip":
            low, high = np.sort(self._numbers(2))
            name = self._put("Clip", [before, self._constant(low), self._constant(high)], width)
            kinks = [[(F(float(low)), F(0), F(1)), (F(float(high)), F(1), F(0))]] * width
        else:
            if op == "Abs":
                slopes = [F(-1)] * width
                name = self._put("Abs", [before], width)
            elif op == "LeakyRelu":
                alpha = float(np.float32(self.rng.choice([0.0, 0.01, 0.3, 0.9, 1.0, 1.7, -0.6])))
                slopes = [F(alpha)] * width
                name = self._put("LeakyRelu", [before], width, alpha=alpha)
            elif op == "PRelu":
                given = np.abs(self._numbers(width)) % 1 if self.rng.random() < 0.5 else self._numbers(width)
                slopes = fractions(given)
                name = self._put("PRelu", [before, self._constant(given)], width)
            else:
                name = self._put("Relu", [before], width)
            kinks = [[(F(0), slope, F(1))] for slope in slopes]
        self.maps.append(lambda pieces: _bend(pieces, before, name, kinks))

    def larger(self, earlier: str) -> None:
        """Max or Min of two tensors."""
        before, width, op = self.at, self.widths[self.at], str(self.rng.choice(["Max", "Min"]))
        name = self._put(op, [before, earlier], width)
        self.maps.append(
            lambda pieces: _larger(pieces, name, width, lambda p, i: (p.tensors[before][i], p.tensors[earlier][i]), op)
        )

    def pool(self) -> None:
        """The greater of each element and the next."""
        before, width = self.at, self.widths[self.at]
        image = self._put("Reshape", [before, self._constant(np.array([1, 1, width]))], width)
        made = self._put("MaxPool", [image], width - 1, kernel_shape=[2])
        name = self._put("Reshape", [made, self._constant(np.array([1, width - 1]))], width - 1)

        self.maps.append(
            lambda pieces: _larger(pieces, name, width - 1, lambda p, i: p.tensors[before][i : i + 2], "Max")
        )

    def joined(self, earlier: str) -> None:
        """A residual sum or difference."""
        before, op = self.at, self.rng.choice(["Add", "Sub"])
        sign = F(1 if op == "Add" else -1)
        name = self._put(str(op), [before, earlier], self.widths[before])
        self._each(
            lambda p: [
                p.put(
                    name,
                    [combined([F(1), sign], pair) for pair in zip(p.tensors[before], p.tensors[earlier], strict=True)],
                )
            ]
        )

    def bytes(self) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "fuzz",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, self.inputs])],
            [helper.make_tensor_value_info(self.at, TensorProto.FLOAT, [1, self.widths[self.at]])],
            [numpy_helper.from_array(v, n) for n, v in self.constants.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return made.SerializeToString()

    def pieces(self, corners: Sequence[Point]) -> list[Piece]:
        eye = tuple(tuple(F(int(i == j)) for j in range(self.inputs + 1)) for i in range(self.inputs))
        found = [Piece(tuple(corners), {"x": eye})]
        for step in self.maps:
            found = step(found)
        return found


def _larger(
    pieces: list[Piece], name: str, width: int, pair: Callable[[Piece, int], Sequence[Affine]], op: str
) -> list[Piece]:
    """The larger (Min: the smaller) of a pair for every element."""
    for i in range(width):
        fresh = []
        for p in pieces:
            a, b = pair(p, i)
            for sign, part in halves(p, combined([F(1), F(-1)], [a, b])):
                best = a if (sign > 0) == (op == "Max") else b
                fresh.append(part.put(name, [*(part.tensors[name] if i else ()), best]))
        pieces = fresh
    return pieces


def _bend(
    pieces: list[Piece], before: str, name: str, every: Sequence[Sequence[tuple[Fraction, Fraction, Fraction]]]
) -> list[Piece]:
    """f, element by element: slopes (below, above) at every kink; f(kink) = kink for Clip, f(0) = 0 for the others."""
    for i, kinks in enumerate(every):
        fresh = []
        for p in pieces:
            z = p.tensors[before][i]
            parts = [(z, p)]
            for kink, below, above in kinks:
                cut: list[tuple[Affine, Piece]] = []
                for value, part in parts:
                    for sign, smaller in halves(part, (*z[:-1], z[-1] - kink)):
                        slope = above if sign > 0 else below
                        flat = (*(F(0) for _ in z[:-1]), kink)
                        cut.append(
                            (value if slope == 1 else flat if slope == 0 else combined([slope], [value]), smaller)
                        )
                parts = cut
            fresh += [part.put(name, [*(part.tensors[name] if i else ()), value]) for value, part in parts]
        pieces = fresh
    return pieces


def random_net(rng: np.random.Generator, inputs: int, *, wild: bool) -> Net:
    net = Net(rng, inputs, wild)
    for _ in range(int(rng.integers(1, 4))):
        net.gemm(int(rng.integers(2, 5)))
        if rng.random() < 0.3:
            (net.conv if rng.random() < 0.5 else net.deconv)()
        start = net.at
        net.bent()
        if rng.random() < 0.5:
            (net.joined if rng.random() < 0.6 else net.larger)(start)
        if rng.random() < 0.2 and net.widths[net.at] > 1:
            net.pool()
    net.gemm(int(rng.integers(2, 4)))
    return net


def least(pieces: Sequence[Piece], name: str, row: Sequence[Fraction]) -> Fraction:
    """The least row . y over all pieces: affine on each, so at a corner."""
    return min(at(combined(row, p.tensors[name]), c) for p in pieces for c in p.corners)
