"""Problems whose answer is known by closed forms or exhaustive search, in exact rationals."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from unmoved.core import Disjunct, LinearProperty, Problem, Property, SameClass
from unmoved.testing.perceptron import Perceptron, Row, Singles, safe_between, slacks
from unmoved.threats import L1, L2, Box, Linf, Lp


@dataclass(frozen=True, eq=False)
class Known:
    """A problem, whether its property holds, and the exact outputs of its model.

    `close` marks the exact ties: true answers that no arithmetic but an exact one can be asked to find.
    """

    problem: Problem
    holds: bool
    model: Perceptron
    close: bool = False

    def breaks(self, point: npt.NDArray[np.float32]) -> bool:
        """Say exactly whether the outputs at `point` are unsafe."""
        y = self.model.exact([Fraction(float(v)) for v in point.reshape(-1)])
        disjuncts = self.problem.prop.disjuncts(len(y))
        return any(all(s <= 0 for s in slacks(d, y)) for d in disjuncts)


def known_problems(seed: int = 0, nets: int = 2) -> list[list[Known]]:
    """Return groups of problems, each of one model and one kind of threat: all answers known exactly."""
    rng = np.random.default_rng(seed)
    groups = [*affine_problems(), _ties(), _boxes(rng)]
    for _ in range(nets):
        net = _random_net(rng, (1, 4, 3, 3))
        groups += [_on_a_line(rng, net, kind) for kind in (Linf, L2, L1)]
        groups.append(_separable(rng))
    return groups


def affine_problems(dims: int = 5, seed: int = 1) -> list[list[Known]]:
    """Return problems of two-class affine models without a clip range: margin > eps * dual norm of the weights.

    By symmetry the same answers hold of the model smoothed with Gaussian noise, under L2.
    """
    rng = np.random.default_rng(seed)
    groups = []
    for kind in (Linf, L2, L1):
        weight, bias = _bits(rng, (2, dims)), _bits(rng, (2,))
        net = Perceptron(((weight, bias),))
        group = []
        for eps in ("0", "1/8", "1/2", "3"):
            x = _bits(rng, (1, dims))
            threat, (first, second) = kind(eps), net.exact(_exact(x))
            label = 0 if first > second else 1
            row = [Fraction(float(a - b)) for a, b in zip(weight[label], weight[1 - label], strict=True)]
            group.append(
                Known(Problem(net.network, x, threat, SameClass(label)), _stays(abs(first - second), threat, row), net)
            )
        groups.append(group)
    return groups


def _stays(margin: Fraction, threat: Lp, row: Row) -> bool:
    match threat.norm:
        case "inf":
            return margin > threat.eps * sum((abs(c) for c in row), Fraction(0))
        case "1":
            return margin > threat.eps * max(abs(c) for c in row)
    return margin > 0 and margin**2 > threat.eps**2 * sum((c * c for c in row), Fraction(0))


def _ties() -> list[Known]:
    """The outputs (x, -x) at x = 1/2: an eps of 1/2 reaches the tie, which is unsafe; anything less does not."""
    net = Perceptron(((np.array([[1], [-1]], np.float32), np.zeros(2, np.float32)),))
    x = np.full((1, 1), 0.5, np.float32)
    sizes = [("1/2", False), (Fraction(1, 2) - Fraction(1, 2**60), True), ("3/8", True), ("5/8", False)]
    made = [(Problem(net.network, x, Linf(eps), SameClass(0)), holds) for eps, holds in sizes]
    return [Known(problem, holds, net, close=i < 2) for i, (problem, holds) in enumerate(made)]


def _on_a_line(rng: np.random.Generator, net: Perceptron, kind: type[Lp]) -> list[Known]:
    """One input: every norm is the same interval, searched exhaustively; sizes on both sides of the exact threshold."""
    group = []
    for clip in (None, (0, 1)):
        x = np.abs(_bits(rng, (1, 1)) / 4).astype(np.float32)
        label = _winner(net, x)
        props: list[Property] = [SameClass(label), _conjunction(net, x, label)]
        for prop in props:
            # holding is monotone in eps: the least size (in steps of 1/256) at which it fails, 1024 if there is none
            fails = bisect_left(range(1024), 1, key=lambda k: not _safe(net, kind(Fraction(k, 256), clip), x, prop))
            for eps in (Fraction(max(fails + k, 0), 256) for k in (-20, -1, 0, 20)):
                threat = kind(eps, clip)
                group.append(Known(Problem(net.network, x, threat, prop), _safe(net, threat, x, prop), net))
    return group


def _conjunction(net: Perceptron, x: Singles, label: int) -> Property:
    """Unsafe: all other outputs 1/4 or more below their values at x, or output `label` 1 or more above its own."""
    y = np.array([float(v) for v in net.exact(_exact(x))])
    others = [j for j in range(len(y)) if j != label]
    rows = np.eye(len(y))[others]
    up = -np.eye(len(y))[[label]]
    return LinearProperty((Disjunct(rows, y[others] - 0.25), Disjunct(up, up @ y - 1)))


def _safe(net: Perceptron, threat: Lp, x: Singles, prop: Property) -> bool:
    center, eps = _exact(x)[0], threat.eps
    low, high = center - eps, center + eps
    if threat.clip is not None:
        low, high = max(low, threat.clip[0]), min(high, threat.clip[1])
    return safe_between(net, low, high, prop)


def _boxes(rng: np.random.Generator) -> list[Known]:
    """One input under a box that need not hold x."""
    net = _random_net(rng, (1, 3, 2))
    group = []
    for low, high in ((0.0, 0.25), (0.5, 0.5), (-1.0, 1.0), (2.0, 4.0)):
        x = np.full((1, 1), low, np.float32)
        prop = SameClass(_winner(net, x))
        holds = safe_between(net, Fraction(low), Fraction(high), prop)
        group.append(Known(Problem(net.network, x, Box(np.full((1, 1), low), np.full((1, 1), high)), prop), holds, net))
    return group


def _separable(rng: np.random.Generator) -> list[Known]:
    """Two inputs, y = F(x_1) + G(x_2), L_inf: the least margin is the sum of two exhaustive searches."""
    parts = [_random_net(rng, (1, 3, 3, 3)) for _ in range(2)]
    net = Perceptron(tuple(_blocks(parts, depth) for depth in range(3)))
    group = []
    for eps in ("0", "1/32", "1/8", "1/2", "2"):
        x = _bits(rng, (1, 2)) / np.float32(4)
        label, size = _winner(net, x), Fraction(eps)
        tracks = [part.track(c - size, c + size) for part, c in zip(parts, _exact(x), strict=True)]
        least = [sum(min(y[label] - y[j] for _, y in track) for track in tracks) for j in range(3) if j != label]
        group.append(Known(Problem(net.network, x, Linf(eps), SameClass(label)), min(least) > 0, net))
    return group


def _blocks(parts: Sequence[Perceptron], depth: int) -> tuple[Singles, Singles]:
    (first, a), (second, b) = (part.layers[depth] for part in parts)
    if depth == len(parts[0].layers) - 1:
        return np.hstack([first, second]), a + b
    none = np.zeros((first.shape[0], second.shape[1]), np.float32)
    return np.block([[first, none], [none[: len(second), : first.shape[1]], second]]), np.concatenate([a, b])


def _random_net(rng: np.random.Generator, widths: tuple[int, ...]) -> Perceptron:
    return Perceptron(tuple((_bits(rng, (out, into)), _bits(rng, (out,))) for into, out in pairwise(widths)))


def _bits(rng: np.random.Generator, shape: tuple[int, ...]) -> Singles:
    """Return float32 multiples of 1/8 in [-2, 2]: sums and products of a few of them are exact."""
    return (rng.integers(-16, 17, shape) / 8).astype(np.float32)


def _winner(net: Perceptron, x: Singles) -> int:
    y = net.exact(_exact(x))
    return y.index(max(y))


def _exact(x: Singles) -> Row:
    return [Fraction(float(v)) for v in x.reshape(-1)]
