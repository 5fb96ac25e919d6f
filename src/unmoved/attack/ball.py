"""Perturbation sets as float32 tensors: where an attack starts, which way it steps, and how it stays inside.

Everything here is a heuristic in float32; `gradient.finish` projects exactly and asks `threat.contains` at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unmoved.core.errors import UsageError
from unmoved.core.threat import AnyFloats, Threat
from unmoved.threats import L0, L1

HALVINGS = 20
WIDE = 3
SPARSE_SHARE = 0.1


@dataclass(frozen=True)
class Ball:
    """A batch of sets: the box [low, high] (n, *shape), with `norm` "1" or "2" the balls of radius eps (n,) in it.

    With `norm` "0", the points of the box with at most eps elements other than the centre's. For "1" the box is
    that of WIDE times the radius: an L1 search starts outside.
    """

    low: Tensor
    high: Tensor
    center: Tensor
    eps: Tensor
    norm: str | None

    @staticmethod
    def of(threats: Sequence[Threat], x: AnyFloats, device: str = "cpu") -> Ball:
        """Return the sets S(x_i) of one threat an input; all must be of one norm."""
        regions = [_widened(threat).region(x[i : i + 1]) for i, threat in enumerate(threats)]
        norms = {norm_of(threat, x[i : i + 1]) for i, threat in enumerate(threats)}
        assert len(norms) == 1, "the caller groups inputs by norm"

        def stacked(parts: list[AnyFloats]) -> Tensor:
            return torch.as_tensor(np.concatenate(parts).astype(np.float32), device=device)

        low, high = stacked([r.low for r in regions]), stacked([r.high for r in regions])
        if not bool(torch.isfinite(high - low).all()):
            raise UsageError("threat", threats[0].name, "one with a clip range: no attack can choose from everything")
        sizes = [t.number if isinstance(t, L0) else r.eps for t, r in zip(threats, regions, strict=True)]
        norm = norms.pop()
        eps = torch.tensor(sizes, dtype=torch.float32, device=device) / (WIDE if norm == "1" else 1)
        return Ball(low, high, stacked([r.center for r in regions]), eps, norm)

    def __getitem__(self, rows: Tensor) -> Ball:
        """Return the sets of some of the inputs."""
        return Ball(self.low[rows], self.high[rows], self.center[rows], self.eps[rows], self.norm)

    def scaled(self, factor: float) -> Ball:
        """Return the balls of `factor` times the radius, in the same boxes."""
        return Ball(self.low, self.high, self.center, self.eps * factor, self.norm)

    def nearest(self, points: Tensor) -> Tensor:
        """Return the Euclidean projection of points (n, *shape) on the sets, to about a millionth of eps, from inside.

        On ball and box together it is clamp(shrink(z)), z the move from the centre: shrink scales it (L2) or lowers it
        towards zero (L1) by an amount that bisection finds (the optimality conditions of the projection).
        """
        if self.norm is None:
            return torch.clamp(points, self.low, self.high)
        if self.norm == "0":
            return self._sparsest(points)
        low, high = self._flat(self.low - self.center), self._flat(self.high - self.center)
        move, eps = self._flat(points - self.center), self.eps[:, None]
        # level 0 leaves the move alone, level `worst` makes it zero: the answer lies between
        worst = move.abs().amax(1, keepdim=True) if self.norm == "1" else torch.ones_like(eps)
        inside, outside = worst.clone(), torch.zeros_like(worst)
        fits = self._length(torch.clamp(move, low, high)) <= eps
        for _ in range(HALVINGS):
            level = (inside + outside) / 2
            good = self._length(torch.clamp(self._shrink(move, level), low, high)) <= eps
            inside, outside = torch.where(good, level, inside), torch.where(good, outside, level)
        level = torch.where(fits, torch.zeros_like(inside), inside)
        return self.center + torch.clamp(self._shrink(move, level), low, high).view_as(self.center)

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

    def _shrink(self, move: Tensor, level: Tensor) -> Tensor:
        return move.sign() * (move.abs() - level).clamp(min=0) if self.norm == "1" else move * (1 - level)

    def _length(self, move: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(move, ord=int(self.norm or 2), dim=1, keepdim=True)
        return length

    @staticmethod
    def _flat(tensor: Tensor) -> Tensor:
        return tensor.reshape(len(tensor), -1)


def norm_of(threat: Threat, x: AnyFloats) -> str | None:
    """Return which kind of set this is for a batch x: "0", "1", "2", or None, a box (L_inf too)."""
    return "0" if isinstance(threat, L0) else threat.region(x).norm


def _widened(threat: Threat) -> Threat:
    return L1(WIDE * threat.eps, threat.clip) if isinstance(threat, L1) else threat


def keys(seed: int, x: AnyFloats) -> list[bytes]:
    """Return one key an input, of the seed and the input's bytes: its random numbers depend on nothing else."""
    head = str(seed).encode()
    return [hashlib.sha256(head + np.ascontiguousarray(one).tobytes()).digest() for one in x]


def stream(key: bytes, run: int) -> np.random.Generator:
    """Return the random numbers (PCG64) of one input in one run."""
    return np.random.Generator(np.random.PCG64([int.from_bytes(key, "little"), run]))
