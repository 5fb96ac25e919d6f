"""Perturbation sets as float32 tensors: where an attack starts, which way it steps, and how it stays inside.

Everything here is a heuristic in float32; `gradient.finish` projects exactly and asks `threat.contains` at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unmoved.core.errors import UsageError
from unmoved.core.threat import AnyFloats, Region, Threat
from unmoved.threats import L0, Lp

HALVINGS = 20
FILLINGS = 8
BIG = 1e30
SPARSE_SHARE = 0.1


@dataclass(frozen=True)
class Ball:
    """A batch of sets: the box [low, high] (n, *shape), with `norm` "1" or "2" the balls of radius eps (n,) in it.

    With `norm` "0", the points of the box with at most eps elements other than the centre's. `floor` and `ceiling` are
    the clip range, as far as a search may go outside the set on its way; without one of "1" and "2" they are infinite,
    and so is the box.
    """

    low: Tensor
    high: Tensor
    center: Tensor
    eps: Tensor
    norm: str | None
    floor: Tensor
    ceiling: Tensor

    @staticmethod
    def of(threats: Sequence[Threat], x: AnyFloats, device: str = "cpu") -> Ball:
        """Return the sets S(x_i) of one threat an input; all must be of one norm."""
        regions = [threat.region(x[i : i + 1]) for i, threat in enumerate(threats)]
        norms = {norm_of(threat, x[i : i + 1]) for i, threat in enumerate(threats)}
        assert len(norms) == 1, "the caller groups inputs by norm"
        norm = norms.pop()

        def stacked(parts: list[AnyFloats]) -> Tensor:
            return torch.as_tensor(np.concatenate(parts).astype(np.float32), device=device)

        low, high = stacked([r.low for r in regions]), stacked([r.high for r in regions])
        if not bool(torch.isfinite(high - low).all()):
            raise UsageError("threat", threats[0].name, "one with a clip range: no attack can choose from everything")
        ends = [_ends(threat, region) for threat, region in zip(threats, regions, strict=True)]
        floor, ceiling = stacked([end[0] for end in ends]), stacked([end[1] for end in ends])
        if norm in ("1", "2"):
            low, high = floor, ceiling
        sizes = [t.number if isinstance(t, L0) else r.eps for t, r in zip(threats, regions, strict=True)]
        eps = torch.tensor(sizes, dtype=torch.float32, device=device)
        return Ball(low, high, stacked([r.center for r in regions]), eps, norm, floor, ceiling)

    def __getitem__(self, rows: Tensor) -> Ball:
        """Return the sets of some of the inputs."""
        low, high, floor, ceiling = (part[rows] for part in (self.low, self.high, self.floor, self.ceiling))
        return Ball(low, high, self.center[rows], self.eps[rows], self.norm, floor, ceiling)

    def scaled(self, factor: float) -> Ball:
        """Return the sets of `factor` times the size, as far as the clip range goes."""
        if factor == 1:
            return self
        if self.norm is not None:
            return replace(self, eps=self.eps * factor)
        low, high = (self.center + factor * (end - self.center) for end in (self.low, self.high))
        return replace(self, low=torch.maximum(low, self.floor), high=torch.minimum(high, self.ceiling))

    @property
    def width(self) -> Tensor:
        """How far each element can move, from end to end (n, *shape)."""
        most = self.high - self.low
        return most if self.norm in (None, "0") else torch.minimum(most, 2 * self.eps.view(-1, *[1] * (most.dim() - 1)))

    @property
    def typical(self) -> Tensor:
        """The move of an element (n,) when a tenth of them share eps equally; without a ball, the longest there is."""
        count = max(1.0, SPARSE_SHARE * self.center[0].numel())
        if self.norm in ("1", "2"):
            each: Tensor = self.eps / count ** (1 / int(self.norm))
            return each
        return self.width.flatten(1).amax(1) / 2

    def nearest(self, points: Tensor) -> Tensor:
        """Return the Euclidean projection of points (n, *shape) on the sets, to about a millionth of eps, from inside.

        On ball and box together it is clamp(shrink(z)), z the move from the centre: shrink scales it (L2) or lowers it
        towards zero (L1; the amount is bisected), as the optimality conditions of the projection have it.
        """
        if self.norm is None:
            return torch.clamp(points, self.low, self.high)
        if self.norm == "0":
            return self._sparsest(points)
        low, high = self._flat(self.low - self.center), self._flat(self.high - self.center)
        move = self._flat(points - self.center)
        near = _filled(move, low, high, self.eps[:, None]) if self.norm == "2" else self._lowered(move, low, high)
        return self.center + near.view_as(self.center)

    def _lowered(self, move: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return clamp(shrink(move)) of L1 length eps: level 0 leaves the move alone, level `worst` makes it zero."""
        eps, worst = self.eps[:, None], move.abs().amax(1, keepdim=True)
        inside, outside = worst.clone(), torch.zeros_like(worst)
        fits = self._length(torch.clamp(move, low, high)) <= eps
        if bool(fits.all()):
            return torch.clamp(move, low, high)
        for _ in range(HALVINGS):
            level = (inside + outside) / 2
            good = self._length(torch.clamp(_towards_zero(move, level), low, high)) <= eps
            inside, outside = torch.where(good, level, inside), torch.where(good, outside, level)
        return torch.clamp(_towards_zero(move, torch.where(fits, torch.zeros_like(inside), inside)), low, high)

    def direction(self, gradient: Tensor, points: Tensor) -> Tensor:
        """Return the steepest step of size one eps down the loss (n, *shape); nothing that leaves the box at once.

        Box and L_inf: the sign, times each coordinate's reach. L2: the gradient, scaled. L1: its largest tenth (the
        sparse step of Tramer & Boneh 2019), scaled: the projection then favours the few best coordinates. L0: the
        gradient, so long that its eps largest elements cross the box, and the others follow in proportion.
        """
        gradient = torch.nan_to_num(gradient, nan=0.0, posinf=1.0, neginf=-1.0)
        if self.norm is None:
            return -gradient.sign() * torch.maximum(self.high - self.center, self.center - self.low)
        blocked = ((points <= self.low) & (gradient > 0)) | ((points >= self.high) & (gradient < 0))
        flat = self._flat(gradient.masked_fill(blocked, 0.0))
        if self.norm == "0":
            least = self.smallest(flat.abs()).clamp(min=1e-30)
            return -(flat / least).view_as(gradient) * (self.high - self.low)
        if self.norm == "1":
            count = max(1, round(SPARSE_SHARE * flat.shape[1]))
            least = flat.abs().topk(count, dim=1).values[:, -1:]
            flat = flat.masked_fill(flat.abs() < least, 0.0)
        scale = self.eps[:, None] / self._length(flat).clamp(min=1e-30)
        return -(flat * scale).view_as(gradient)

    def start(self, keys: Sequence[bytes], run: int) -> Tensor:
        """Return starting points (n, *shape): run 0 the centre, odd runs inside, even ones corners or the surface.

        Input i draws from its own stream, keyed by keys[i] and the run: batches of any make give it the same start.
        """
        if run == 0:
            return self.nearest(self.center)
        drawn = np.stack([self._draw(stream(key, run), run % 2 == 0) for key in keys])
        unit = torch.as_tensor(drawn, device=self.center.device).view_as(self.center)
        if self.norm in (None, "0"):
            return self.nearest(self.low + (self.high - self.low) * unit)
        return self.nearest(self.center + unit * self.eps.view(-1, *[1] * (unit.dim() - 1)))

    def _draw(self, generator: np.random.Generator, surface: bool) -> AnyFloats:
        size = self.center[0].numel()
        if self.norm in (None, "0"):
            return generator.integers(0, 2, size).astype(np.float32) if surface else generator.random(size, np.float32)
        if self.norm == "1" and surface:
            vertex = np.zeros(size, np.float32)
            vertex[generator.integers(size)] = generator.choice([-1.0, 1.0])
            return vertex
        unit = generator.laplace(size=size) if self.norm == "1" else generator.standard_normal(size)
        length = np.abs(unit).sum() if self.norm == "1" else np.linalg.norm(unit)
        return (unit / length * (1.0 if surface else generator.random())).astype(np.float32)

    def _sparsest(self, points: Tensor) -> Tensor:
        """Return the nearest points that differ from the centre in eps elements: those whose move is worth most.

        Element i is worth (p_i - c_i)^2 - (p_i - z_i)^2, z the point clamped to the box (Croce & Hein 2019, section 2).
        """
        moved = torch.clamp(points, self.low, self.high)
        worth = self._flat((points - self.center) ** 2 - (points - moved) ** 2)
        kept = (worth >= self.smallest(worth)) & (worth > 0)
        # ties may keep too many; the exact projection at the end sees to it
        return torch.where(kept.view_as(points), moved, self.center)

    def smallest(self, values: Tensor) -> Tensor:
        """Return the eps-th largest of each row of values (n, size), as (n, 1)."""
        most = int(min(float(self.eps.max()), values.shape[1]))
        if most < 1:
            return torch.full_like(values[:, :1], torch.inf)
        falling = values.topk(most, dim=1).values
        place = self.eps.long().clamp(1, most) - 1
        return torch.where(self.eps[:, None] >= 1, falling.gather(1, place[:, None]), torch.inf)

    def _length(self, move: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(move, ord=int(self.norm or 2), dim=1, keepdim=True)
        return length

    @staticmethod
    def _flat(tensor: Tensor) -> Tensor:
        return tensor.reshape(len(tensor), -1)


def norm_of(threat: Threat, x: AnyFloats) -> str | None:
    """Return which kind of set this is for a batch x: "0", "1", "2", or None, a box (L_inf too)."""
    return "0" if isinstance(threat, L0) else threat.region(x).norm


def _ends(threat: Threat, region: Region) -> tuple[AnyFloats, AnyFloats]:
    """Return how far points may be from the set: to the ends of the clip range, and of a box nowhere."""
    if not isinstance(threat, Lp):
        return region.low, region.high
    low, high = (-np.inf, np.inf) if threat.clip is None else (float(end) for end in threat.clip)
    return np.full_like(region.low, low), np.full_like(region.high, high)


def _filled(move: Tensor, low: Tensor, high: Tensor, eps: Tensor) -> Tensor:
    """Return clamp(s * move) of L2 length eps, s in (0, 1]; moves (n, size) whose clamped length fits have s = 1.

    Elements that meet their end stop there, and the others share what is left: each round has a larger s, never one
    too large, and is exact once no further element meets its end.
    """
    square, stop = move**2, torch.where(move > 0, high, low).square().clamp(max=BIG)
    scale = (eps / torch.linalg.vector_norm(move, dim=1, keepdim=True).clamp(min=1e-30)).clamp(max=1)
    before = 0.0
    for _ in range(FILLINGS):
        ended = (square * scale**2 > stop).to(move.dtype)
        count = float(ended.sum())
        if count == before:
            break
        before = count
        kept = eps**2 - (ended * stop).sum(1, keepdim=True)
        free = ((1 - ended) * square).sum(1, keepdim=True)
        wider = torch.sqrt(kept.clamp(min=0) / free.clamp(min=1e-30))
        scale = torch.maximum(scale, wider).clamp(max=1)
    return torch.clamp(scale * move, low, high)


def _towards_zero(move: Tensor, level: Tensor) -> Tensor:
    return move.sign() * (move.abs() - level).clamp(min=0)


def keys(seed: int, x: AnyFloats) -> list[bytes]:
    """Return one key an input, of the seed and the input's bytes: its random numbers depend on nothing else."""
    head = str(seed).encode()
    return [hashlib.sha256(head + np.ascontiguousarray(one).tobytes()).digest() for one in x]


def stream(key: bytes, run: int) -> np.random.Generator:
    """Return the random numbers (PCG64) of one input in one run."""
    return np.random.Generator(np.random.PCG64([int.from_bytes(key, "little"), run]))
