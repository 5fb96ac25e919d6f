"""What every threat must keep: exact membership, an enclosing region, projections that land inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from unmoved.core.threat import AnyFloats, Region, Threat


@dataclass(frozen=True, eq=False)
class Edge:
    """A point on, or just beyond, the edge of S(x), and whether it belongs to it."""

    threat: Threat
    x: AnyFloats
    point: AnyFloats
    inside: bool


def fractions(values: AnyFloats) -> list[Fraction]:
    """Return the elements as exact rationals."""
    return [Fraction(float(v)) for v in values.reshape(-1)]


class ThreatContract(ABC):
    """Inherit, name the class Test..., and give the hooks; `inside` is the definition in rationals, written anew."""

    samples = 40

    @abstractmethod
    def cases(self) -> Sequence[tuple[Threat, AnyFloats]]:
        """Return threats, each with an input of float32 that it fits: small ones, large ones, of size 0."""

    @abstractmethod
    def edges(self) -> Sequence[Edge]:
        """Return points exactly on the edge of S(x), which belong to it, and one float beyond, which do not."""

    @abstractmethod
    def inside(self, threat: Threat, x: AnyFloats, point: AnyFloats) -> bool:
        """Say whether `point` is in S(x), in exact rationals and by other code than `contains`."""

    def points(self, threat: Threat, x: AnyFloats) -> Iterator[AnyFloats]:
        """Yield finite points near and far: random moves, corners and ends of the region, float32 and float64."""
        rng = np.random.default_rng(7)
        region = threat.region(x[None])
        low, high = region.low[0], region.high[0]
        for dtype in (np.float32, np.float64):
            for end in (x, low, high):
                yield end.astype(dtype)
            for k in range(self.samples):
                share = rng.uniform(-1, 1, x.shape) * rng.choice([0.1, 0.5, 1.0, 1.2]) / (1 + k % 4) ** 2
                yield (x + share * (high - low) / 2).astype(dtype)
                yield np.where(rng.random(x.shape) < 0.3, rng.choice([-1, 1]) * (high - low) / 2 + x, x).astype(dtype)
                yield np.where(rng.random(x.shape) < 0.5, low, high).astype(dtype)

    def test_contains_is_the_definition(self) -> None:
        """No tolerance either way."""
        seen = set()
        for threat, x in self.cases():
            for point in self.points(threat, x):
                truth = self.inside(threat, x, point)
                seen.add(truth)
                assert threat.contains(x, point) is truth, (threat.name, x, point)
        assert seen == {True, False}, "the cases never met a point inside, or never one outside"

    def test_edge(self) -> None:
        """What lies on the edge belongs to the set; one float beyond does not."""
        edges = self.edges()
        assert {edge.inside for edge in edges} == {True, False}
        for edge in edges:
            assert edge.threat.contains(edge.x, edge.point) is edge.inside, (edge.threat.name, edge.point)

    def test_contains_its_centre(self) -> None:
        """The input itself, wherever the definition says so (a box need not hold it)."""
        for threat, x in self.cases():
            assert threat.contains(x, x) is self.inside(threat, x, x)

    def test_contains_refuses(self) -> None:
        """NaN, infinity and another shape are in no set."""
        for threat, x in self.cases():
            for bad in (np.nan, np.inf, -np.inf):
                point = x.copy()
                point.reshape(-1)[0] = bad
                assert threat.contains(x, point) is False
            assert threat.contains(x, np.zeros((*x.shape, 2), x.dtype)) is False

    def test_region_encloses(self) -> None:
        """Every member lies in the box and in the ball, exactly."""
        for threat, x in self.cases():
            region = threat.region(x[None])
            assert region.low.dtype == region.high.dtype == region.center.dtype == np.float64
            assert region.low.shape == region.high.shape == region.center.shape == (1, *x.shape)
            for point in self.points(threat, x):
                if self.inside(threat, x, point):
                    assert _encloses(region, point), (threat.name, x, point)

    def test_region_of_a_batch(self) -> None:
        """Each input's region is its own, whatever else is in the batch."""
        for threat, x in self.cases():
            both = threat.region(np.stack([x, x]))
            single = threat.region(x[None])
            for part in ("low", "high", "center"):
                whole = getattr(both, part)
                assert np.array_equal(whole[0], whole[1]) and np.array_equal(whole[:1], getattr(single, part))

    def test_project_lands_inside(self) -> None:
        """From anywhere, NaN and infinities included, in float32, wherever S(x) has a point of float32."""
        for threat, x in self.cases():
            wild = [np.full(x.shape, v, np.float32) for v in (np.nan, np.inf, -np.inf, 3e38, -1e-40, 0.0)]
            points = np.stack([p.astype(np.float32) for p in self.points(threat, x)] + wild)
            with np.errstate(all="ignore"):
                landed = threat.project(np.broadcast_to(x, points.shape), points)
            assert landed.dtype == np.float32 and landed.shape == points.shape
            for start, end in zip(points, landed, strict=True):
                assert self.inside(threat, x, end), (threat.name, x, start, end)

    def test_project_stays_near(self) -> None:
        """A member hardly moves: projecting is not simply returning the input."""
        for threat, x in self.cases():
            members = [p for p in self.points(threat, x) if p.dtype == np.float32 and self.inside(threat, x, p)]
            if members:
                landed = threat.project(np.broadcast_to(x, (len(members), *x.shape)), np.stack(members))
                assert np.abs(landed - np.stack(members)).max() <= 1e-4 * (1 + np.abs(x).max()), threat.name

    def test_has_a_name_and_a_size(self) -> None:
        """The name is text; the size is exact, or None."""
        for threat, _ in self.cases():
            assert threat.name and isinstance(threat.name, str)
            assert threat.size is None or isinstance(threat.size, Fraction)


def _encloses(region: Region, point: np.ndarray[Any, Any]) -> bool:
    wide = point.astype(np.float64)
    if not ((region.low[0] <= wide) & (wide <= region.high[0])).all():
        return False
    moves = [a - b for a, b in zip(fractions(point), fractions(region.center[0]), strict=True)]
    eps = Fraction(region.eps)
    match region.norm:
        case "2":
            return sum((m * m for m in moves), Fraction(0)) <= eps**2
        case "1":
            return sum((abs(m) for m in moves), Fraction(0)) <= eps
    return region.norm is None
