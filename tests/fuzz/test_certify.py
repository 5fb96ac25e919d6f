"""certify() on random nets whose least margin is known exactly: what fails is never CERTIFIED, not even by one ulp."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import Net, Piece, Point, combined, least, random_net

import unmoved
from unmoved.core import FLOAT32, REAL, Disjunct
from unmoved.core.rounding import float_up

F = Fraction
NETS = int(os.environ.get("FUZZ", 250))
BLOCKS = 4


def region(rng: np.random.Generator, inputs: int, wild: bool) -> tuple[np.ndarray, Any, list[Point]]:
    """A centre, a threat and corners of a polygon within its set (the whole set, but for L2)."""
    x = rng.normal(size=(1, inputs)).astype(np.float32 if rng.random() < 0.8 else np.float64)
    if wild:
        x = (x * 2.0 ** rng.integers(-20, 21)).astype(x.dtype)
    eps = F(int(rng.integers(0, 100)), int(rng.choice([100, 255]))) * F(10) ** int(rng.choice([0, 0, 0, -3, -9, 3]))
    kind = rng.choice(["linf", "linf", "clip", "box", "l1", "l2"])
    centre = [F(float(v)) for v in x[0]]
    if kind == "box":
        reach = np.abs(rng.normal(size=(1, inputs))) * float(eps)
        low, high = x.astype(np.float64) - reach, x + reach
        threat: Any = unmoved.Box(low, high)
        return x, threat, _corners([(F(a), F(b)) for a, b in zip(low[0].tolist(), high[0].tolist(), strict=True)])
    if kind in ("linf", "clip"):
        clip = None
        ends = [(c - eps, c + eps) for c in centre]
        if kind == "clip":
            clip = (min(centre) - F(int(rng.integers(0, 5)), 7), max(centre) + F(int(rng.integers(0, 5)), 7))
            ends = [(max(a, clip[0]), min(b, clip[1])) for a, b in ends]
        return x, unmoved.Linf(eps, clip=clip), _corners(ends)
    threat = unmoved.L1(eps) if kind == "l1" else unmoved.L2(eps)
    if inputs == 1:
        return x, threat, [(centre[0] - eps,), (centre[0] + eps,)]
    turns = _circle() if kind == "l2" else [(F(1), F(0)), (F(0), F(1)), (F(-1), F(0)), (F(0), F(-1))]
    return x, threat, [(centre[0] + eps * a, centre[1] + eps * b) for a, b in turns]


def _corners(ends: list[tuple[Fraction, Fraction]]) -> list[Point]:
    if len(ends) == 1:
        return [(ends[0][0],), (ends[0][1],)]
    (a, b), (c, d) = ends
    return [(a, c), (b, c), (b, d), (a, d)]


def _circle() -> list[tuple[Fraction, Fraction]]:
    """Rational points of the unit circle, in order."""
    quarter = [((1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)) for t in (F(k, 8) for k in range(8))]
    found = quarter
    for _ in range(3):
        quarter = [(-b, a) for a, b in quarter]
        found = found + quarter
    return found


def questions(rng: np.random.Generator, net: Net, pieces: list[Piece]) -> list[tuple[Any, bool]]:
    """Properties and whether they fail: a label, and half-spaces that touch the exact minimum or just miss it."""
    n = net.widths[net.at]
    label = int(rng.integers(n))
    rows = [[F(int(k == label) - int(k == j)) for k in range(n)] for j in range(n) if j != label]
    found: list[tuple[Any, bool]] = [(unmoved.SameClass(label), min(least(pieces, net.at, r) for r in rows) <= 0)]
    row = rng.normal(size=n)
    low = least(pieces, net.at, [F(float(a)) for a in row])
    touching = float_up(low)
    for bound in (touching, float(np.nextafter(touching, -np.inf)), touching - abs(touching) * 1e-9, touching - 1e3):
        prop = unmoved.LinearProperty((Disjunct(row[None], np.array([bound])),))
        found.append((prop, low <= F(bound)))
    pair = np.stack([row, rng.normal(size=n)])
    worst = min(max(_values(p, net.at, pair, c, np.array([touching, 0.0]))) for p in pieces for c in p.corners)
    both = unmoved.LinearProperty((Disjunct(pair, np.array([touching, 0.0])),))
    if worst <= 0:
        found.append((both, True))
    return found


def _values(piece: Piece, name: str, rows: np.ndarray, corner: Point, bounds: np.ndarray) -> list[Fraction]:
    made = []
    for row, bound in zip(rows, bounds, strict=True):
        map_ = combined([F(float(a)) for a in row], piece.tensors[name], -F(float(bound)))
        made.append(sum((a * v for a, v in zip(map_, corner, strict=False)), map_[-1]))
    return made


def examined(seed: int) -> int:
    """How many properties of one random net are certified; AssertionError when a false one is."""
    rng = np.random.default_rng(seed)
    wild = bool(rng.random() < 0.5)
    net = random_net(rng, int(rng.integers(1, 3)), wild=wild)
    x, threat, corners = region(rng, net.inputs, wild)
    asked = questions(rng, net, net.pieces(corners))
    network, proved = unmoved.load_onnx(net.bytes()), 0
    for semantics in (REAL, FLOAT32):
        problems = [unmoved.Problem(network, x, threat, prop, semantics) for prop, _ in asked]
        for method in (unmoved.IntervalMethod(), unmoved.LinearMethod()):
            for (prop, fails), certificate in zip(asked, unmoved.certify_all(problems, method), strict=True):
                certified = certificate.verdict is unmoved.Verdict.CERTIFIED
                said = f"seed {seed}, {semantics}: {prop} on {threat}"
                # of every execution means also of the exact one
                assert not (certified and fails), f"{said} fails and is CERTIFIED"
                if certificate.verdict is unmoved.Verdict.FALSIFIED and not isinstance(threat, unmoved.L2):
                    assert fails, f"{said} holds and is FALSIFIED"
                proved += certified
    return proved


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_false_property_is_certified(block: int) -> None:
    proved = sum(examined(seed) for seed in range(block, NETS, BLOCKS))
    assert proved, "something is certified, so that the test says something"


def test_no_false_row_of_a_data_set_is_certified(tmp_path: Path) -> None:
    """The same through certify_dataset and the store: a certified row holds exactly, at its eps and with its label."""
    proved = 0
    for seed in range(max(2, NETS // 40)):
        rng = np.random.default_rng([seed, 1])
        net = random_net(rng, 2, wild=False)
        x = rng.normal(size=(8, 2)).astype(np.float32)
        eps = F(int(rng.integers(1, 40)), 255)
        y = rng.integers(0, net.widths[net.at], len(x))
        answers = unmoved.certify_dataset(net.bytes(), x, y, f"linf:{eps}", store=tmp_path / f"{seed}.sqlite")
        assert len(answers.rows) == len(x)
        for point, label, row in zip(x, y, answers.rows, strict=True):
            if not row.certified:
                continue
            pieces = net.pieces(_corners([(F(float(v)) - eps, F(float(v)) + eps) for v in point]))
            rows = [
                [F(int(k == label) - int(k == j)) for k in range(net.widths[net.at])]
                for j in range(net.widths[net.at])
                if j != label
            ]
            assert min(least(pieces, net.at, r) for r in rows) > 0, f"seed {seed}, label {label}"
            proved += 1
    assert proved
