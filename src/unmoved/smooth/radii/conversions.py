"""A certificate in one norm as a certificate in another, with what is lost by it.

In R^d: ||v||_2 <= ||v||_p for p <= 2, and ||v||_2 <= d^(1/2 - 1/p) ||v||_p for p > 2 (Hoelder); so an L2 radius R
certifies the L_p radius R for p <= 2, and R / d^(1/2 - 1/p) for p > 2: R / sqrt(d) in L_inf. For L_inf the loss is no
fault of the conversion: with any i.i.d. noise the radius is O(d^(1/p - 1/2)) (Kumar et al. 2020, arXiv 2002.03239).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down, float_up
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.draws.seeds import Stream


@dataclass(frozen=True)
class Conversion:
    """An L2 radius divided by `factor` (rounded up) is one in L_p, p = `norm`, for inputs of `elements` numbers."""

    norm: str
    elements: int
    factor: float

    def radius(self, l2_radius: float) -> float:
        """Return the radius in this norm, rounded down; never positive for one that is not."""
        if not l2_radius > 0:
            return l2_radius
        return l2_radius if self.factor == 1 else math.nextafter(l2_radius / self.factor, -math.inf)

    @property
    def loss(self) -> str:
        """What the conversion costs, in words and numbers."""
        if self.factor == 1:
            if self.norm == "2":
                return "no conversion"
            return f"L{self.norm} from L2: the same number; noise made for L{self.norm} may certify more"
        norm = "L_inf" if self.norm == "inf" else f"L{self.norm}"
        return f"{norm} from L2: divided by {self.factor:.4g} for {self.elements} elements"


def from_l2(norm: str | float, elements: int) -> Conversion:
    """Return the conversion from L2 to L_p, p = `norm` >= 1 (a number, its text, or "inf"), for inputs of `elements`.

    The factor d^max(0, 1/2 - 1/p) is rounded up. Raises UsageError for p < 1 or no elements.
    """
    if isinstance(elements, bool) or not isinstance(elements, int) or elements < 1:
        raise UsageError("elements", elements, "an integer >= 1")
    try:
        p = float(norm)
    except (TypeError, ValueError):
        raise UsageError("norm", norm, 'a number >= 1 or "inf"') from None
    if not p >= 1:
        raise UsageError("norm", norm, 'a number >= 1 or "inf"')
    name = "inf" if math.isinf(p) else f"{p:g}"
    if p <= 2 or elements == 1:
        return Conversion(name, elements, 1.0)
    if math.isinf(p):
        root = math.sqrt(elements)
        exact = root if Fraction(root) ** 2 >= elements else math.nextafter(root, math.inf)
        return Conversion(name, elements, exact)
    return Conversion(name, elements, elements ** (0.5 - 1 / p) * (1 + 1e-12))


@dataclass(frozen=True)
class InNorm:
    """An L2 noise whose certificates are stated in another norm, by `from_l2`: a Noise for the same engine.

    `InNorm(Gaussian(0.5), "inf", 784)`. Draws exactly what `noise` draws. Raises UsageError for noise of another norm.
    """

    noise: Noise
    norm: str
    elements: int

    def __post_init__(self) -> None:
        if self.noise.norm != "2":
            raise UsageError("noise", self.noise.kind, "a noise for L2")
        object.__setattr__(self, "norm", self.conversion.norm)

    @property
    def conversion(self) -> Conversion:
        """The factor and the loss."""
        return from_l2(self.norm, self.elements)

    @property
    def kind(self) -> str:
        """The L2 noise's name."""
        return self.noise.kind

    @property
    def scale(self) -> Fraction:
        """The L2 noise's scale."""
        return self.noise.scale

    @property
    def grid(self) -> int:
        """The L2 noise's grid."""
        return self.noise.grid

    @property
    def sampler(self) -> str:
        """The L2 noise's sampler."""
        return self.noise.sampler

    def place(self, x: npt.NDArray[np.float32]) -> GridPoint:
        """Return the L2 noise's point; what it loses, in L2, bounds what is lost in this norm.

        For p <= 2 the loss is converted too: ||v||_p <= d^(1/p - 1/2) ||v||_2; for p > 2 ||v||_p <= ||v||_2.
        """
        if x.size != self.elements:
            raise UsageError("x", x.shape, f"{self.elements} elements, as the noise was told")
        point = self.noise.place(x)
        p = float(self.norm)
        factor = 1.0 if p >= 2 else self.elements ** (1 / p - 0.5) * (1 + 1e-12)
        distance = math.nextafter(point.distance * factor, math.inf) if point.distance else 0.0
        return GridPoint(point.integers, point.shape, point.on_grid, distance)

    def sample(self, point: GridPoint, out: npt.NDArray[np.float32], *, stream: Stream, first: int) -> None:
        """Write the L2 noise's copies."""
        self.noise.sample(point, out, stream=stream, first=first)

    def worst_case(self, p: float, r: float) -> float:
        """Return the L2 noise's worst case over the L2 ball around this one, rounded down."""
        far = float_up(Fraction(r) * Fraction(self.conversion.factor)) if math.isfinite(r) else r
        return self.noise.worst_case(p, far)

    def radius(self, p_low: float, p_high: float) -> float:
        """Return the L2 noise's radius, converted, rounded down."""
        found = self.conversion.radius(self.noise.radius(p_low, p_high))
        return float_down(Fraction(found)) if math.isfinite(found) else found

    def deviation(self, samples: int, elements: int) -> Fraction:
        """Return the L2 noise's deviation."""
        return self.noise.deviation(samples, elements)
