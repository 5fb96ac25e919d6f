"""One norm's certificate in another: the inequalities, exact factors; the noise contract in L2, L1 and L_inf."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr

from unmoved.core.errors import UsageError
from unmoved.smooth import Gaussian, Smoothed
from unmoved.smooth.noises.laplace import Laplace
from unmoved.smooth.radii.conversions import InNorm, from_l2
from unmoved.testing import Move, NoiseContract, law_of_integers


class TestGaussian(NoiseContract):
    def noises(self):
        return [Gaussian("1/2"), Gaussian("0.1"), Gaussian(2, 8), Gaussian("1/50", 30)]

    def factor(self, noise):
        return mpmath.mpf(1)

    def x(self, noise):
        return (np.array([0, 2, 8, 5]) / noise.grid).astype(np.float32)

    def law(self, noise, copies):
        e = np.rint(copies.astype(np.float64) * noise.grid) - np.rint(self.x(noise).astype(np.float64) * noise.grid)
        width = float(noise.scale * noise.grid)
        return law_of_integers(e, lambda k: float(ndtr((k + 0.5) / width)))

    def sizes(self, noise):
        return [float(noise.scale) * share for share in (0.0, 0.01, 0.3, 1.0, 2.0)]

    def quantile(self, p):
        if p in (0, 1):
            return mpmath.inf if p else -mpmath.inf
        # erfinv is poor at the ends; a root at 60 digits is not
        start = mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)
        return mpmath.findroot(lambda t: mpmath.ncdf(t) - p, start, tol=mpmath.mpf(10) ** -80)

    def exact(self, noise, p, r):
        with mpmath.workdps(50):
            sigma = mpmath.mpf(noise.scale.numerator) / noise.scale.denominator
            if p in (0, 1):
                return mpmath.mpf(p)
            return mpmath.ncdf(self.quantile(mpmath.mpf(p)) - r * self.factor(noise) / sigma)

    def exact_radius(self, noise, p_low, p_high):
        with mpmath.workdps(50):
            sigma = mpmath.mpf(noise.scale.numerator) / noise.scale.denominator
            span = self.quantile(mpmath.mpf(p_low)) - self.quantile(mpmath.mpf(p_high))
            return sigma / 2 * span / self.factor(noise)

    def direction(self, noise):
        """A move of three steps along one element: of the same size in every norm but L_inf."""
        return np.array([3, 0, 0, 0]), 3 / noise.grid

    def moves(self, noise):
        x = self.x(noise)
        steps, r = self.direction(noise)
        moved = x + (steps / noise.grid).astype(np.float32)
        edge = float(x @ np.sign(steps)) + 0.5 / noise.grid * (2 if np.count_nonzero(steps) > 1 else 1)

        def half(z):
            return z @ np.sign(steps).astype(np.float32) < edge

        # the sum of several rounded numbers is no half-space of the real ones: near the worst event only
        return [Move(x, moved, r, half, tight=np.count_nonzero(steps) == 1), self.tight(noise, x)]

    def tight(self, noise, x):
        moved = x.copy()
        moved[1] -= np.float32(2 / noise.grid)
        return Move(x, moved, 2 / noise.grid, lambda z: z[:, 1] > float(x[1]) - 0.5 / noise.grid)


class TestInL1(TestGaussian):
    def noises(self):
        return [InNorm(noise, "1", 4) for noise in super().noises()]


class TestInLinf(TestGaussian):
    def noises(self):
        return [InNorm(noise, "inf", 4) for noise in (Gaussian("1/2"), Gaussian(2, 100))]

    def factor(self, noise):
        return mpmath.mpf(2)

    def direction(self, noise):
        return np.array([2, -2, 2, 2]), 2 / noise.grid

    def tight(self, noise, x):
        """The half-space across the diagonal: with cells far smaller than sigma its rounding is not seen."""
        sign = np.array([1, 1, 1, 1], np.float32)
        moved = x + sign * np.float32(20 / noise.grid)
        return Move(x, moved, 20 / noise.grid, lambda z: z @ sign < float(x @ sign) + 0.1)


@pytest.mark.parametrize("d", [1, 2, 3, 784, 3072, 150528])
def test_factor_of_l_inf_is_the_root_rounded_up(d):
    factor = Fraction(from_l2("inf", d).factor)
    assert d <= factor**2 <= d * (1 + Fraction(1, 10**15))
    radius = from_l2("inf", d).radius(0.5)
    assert Fraction(radius) ** 2 * d <= Fraction(1, 4) and radius == pytest.approx(0.5 / d**0.5, rel=1e-12)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 7, np.inf])
def test_balls_lie_inside(p):
    """Points of the L_p sphere of the converted radius are within the L2 radius; the worst of them nearly on it."""
    random, d, far = np.random.default_rng(0), 40, 0.0
    radius = from_l2(p, d).radius(1.0)
    points = [random.normal(size=d) * random.choice([0, 1], d) + 1e-9 for _ in range(300)] + [np.ones(d), np.eye(d)[0]]
    for point in points:
        scaled = point / np.linalg.norm(point, ord=p) * radius
        far = max(far, float(np.linalg.norm(scaled)))
    assert 1 - 1e-9 < far <= 1 + 1e-12


def test_loss_is_said():
    assert "divided by 388 for 150528" in from_l2("inf", 150528).loss and "L_inf" in from_l2("inf", 150528).loss
    assert "may certify more" in from_l2(1, 784).loss and from_l2(2, 784).loss == "no conversion"
    assert from_l2("inf", 9).radius(-0.5) == -0.5 and from_l2("inf", 9).radius(-np.inf) == -np.inf


def test_figures_of_the_design_page():
    """8/255 in L_inf reaches an L2 norm of 12.17 on 224 x 224 x 3 and of 1.74 on CIFAR."""
    for d, norm in ((150528, 12.17), (3072, 1.74)):
        assert from_l2("inf", d).factor * 8 / 255 == pytest.approx(norm, abs=0.005)


def test_same_copies_other_norm():
    x = np.full(4, 100 / 255, np.float32)

    def classify(z):
        return (z[:, 0] > 0.2).long()

    plain, box = (Smoothed(classify, n, 2).certify(x) for n in (Gaussian("1/2"), InNorm(Gaussian("1/2"), "inf", 4)))
    assert plain.counts == box.counts
    assert box.radius == pytest.approx(plain.radius / 2, rel=1e-6) and box.radius <= plain.radius / 2


def test_off_the_grid_in_every_norm():
    x = np.full(4, 0.001, np.float32)
    assert InNorm(Gaussian(1), "1", 4).place(x).distance == pytest.approx(4 / 255)
    assert InNorm(Gaussian(1), "inf", 4).place(x).distance == pytest.approx(2 / 255)  # 1/255 would do
    assert Gaussian(1).place(x).distance == pytest.approx(2 / 255)


def test_refusals():
    for norm, elements in ((0.5, 3), ("x", 3), (None, 3), ("inf", 0), ("inf", 2.5), (float("nan"), 3)):
        with pytest.raises(UsageError):
            from_l2(norm, elements)
    with pytest.raises(UsageError, match="L2"):
        InNorm(Laplace(1), "inf", 4)
    with pytest.raises(UsageError, match="4 elements"):
        InNorm(Gaussian(1), "inf", 4).place(np.zeros(5, np.float32))
