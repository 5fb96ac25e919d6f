"""The table of the 15 families, and how strong each is at five severities for images of any size.

Families and strengths follow Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common
corruptions and perturbations" (ImageNet-C for 224 pixels, CIFAR-10-C for 32): their published strengths where they grow
with the severity, else a growing row between the same ends; the code is our own. Between 32 and 224 pixels strengths
are interpolated by the logarithm of the size; below 32, lengths in pixels shrink with the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmoved.core import UsageError
from unmoved.evaluate.corruption import blur, digital, noise, weather
from unmoved.evaluate.corruption.noise import Draws, Image, Strength

SEVERITIES = (1, 2, 3, 4, 5)
SMALL, LARGE = 32, 224
"""Sides, in pixels, for which the two rows of strengths are meant."""

LEVELS = 255
"""Corrupted values are whole multiples of 1/255 of the range, as in the published data sets, which hold 8 bits."""


@dataclass(frozen=True)
class Family:
    """One kind of corruption: `small` and `large` are its strengths by severity, for images of 32 and of 224 pixels.

    `lengths` are the places in a strength that are lengths in pixels.
    """

    apply: Callable[[Image, Strength, Draws], Image]
    small: tuple[Strength, ...]
    large: tuple[Strength, ...]
    lengths: tuple[int, ...] = ()

    def strength(self, severity: int, side: int) -> Strength:
        """Return the strength at a severity (1 to 5) for images whose shorter side has `side` pixels."""
        share = (math.log(side) - math.log(SMALL)) / (math.log(LARGE) - math.log(SMALL))
        share, shrunk = min(1.0, max(0.0, share)), min(1.0, side / SMALL)
        pairs = zip(self.small[severity - 1], self.large[severity - 1], strict=True)
        mixed = [(1 - share) * small + share * large for small, large in pairs]
        return tuple(value * shrunk if place in self.lengths else value for place, value in enumerate(mixed))


def _ones(*values: float) -> tuple[Strength, ...]:
    return tuple((value,) for value in values)


FAMILIES: Mapping[str, Family] = {
    "gaussian_noise": Family(noise.gaussian, _ones(0.04, 0.06, 0.08, 0.09, 0.10), _ones(0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": Family(noise.shot, _ones(500, 250, 100, 75, 50), _ones(60, 25, 12, 5, 3)),
    "impulse_noise": Family(noise.impulse, _ones(0.01, 0.02, 0.03, 0.05, 0.07), _ones(0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": Family(
        blur.defocus,
        ((0.6, 0.4), (0.8, 0.5), (1.0, 0.6), (1.4, 0.6), (1.9, 0.6)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        (0, 1),
    ),
    "glass_blur": Family(
        blur.glass,
        ((0.3, 0.55, 1), (0.3, 0.75, 1), (0.3, 0.75, 2), (0.3, 1, 2), (0.3, 1.3, 3)),
        ((0.7, 1, 2), (0.9, 2, 2), (1, 2.5, 3), (1.1, 3, 3), (1.5, 4, 3)),
        (0,),
    ),
    "motion_blur": Family(
        blur.motion,
        ((3, 0.8), (3, 1.2), (4, 1.6), (4, 2), (4.5, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        (0, 1),
    ),
    "zoom_blur": Family(blur.zoom, _ones(0.06, 0.11, 0.16, 0.21, 0.26), _ones(0.11, 0.16, 0.21, 0.26, 0.33)),
    "snow": Family(
        weather.snow,
        ((0.1, 0.01, 1), (0.15, 0.02, 1.5), (0.2, 0.03, 1.5), (0.25, 0.04, 2), (0.3, 0.06, 2)),
        ((0.2, 0.02, 5), (0.3, 0.03, 6), (0.35, 0.04, 6), (0.45, 0.05, 8), (0.5, 0.07, 8)),
        (2,),
    ),
    "frost": Family(
        weather.frost,
        ((1, 0.2), (0.95, 0.3), (0.9, 0.4), (0.85, 0.5), (0.75, 0.6)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.75), (0.6, 0.8)),
    ),
    "fog": Family(
        weather.fog,
        ((0.2, 1.6), (0.5, 1.6), (0.75, 1.7), (1, 1.8), (1.5, 1.9)),
        ((1.5, 1.8), (2, 1.8), (2.5, 1.9), (2.8, 2.0), (3.2, 2.0)),
    ),
    "brightness": Family(weather.brightness, _ones(0.05, 0.1, 0.15, 0.2, 0.3), _ones(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Family(digital.contrast, _ones(0.75, 0.5, 0.4, 0.3, 0.15), _ones(0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": Family(
        digital.elastic,
        ((0.4, 2.5), (0.6, 2.2), (0.8, 2), (1.0, 1.7), (1.3, 1.5)),
        ((2, 12), (3, 11), (4, 10), (5, 9), (7, 8)),
        (0, 1),
    ),
    "pixelate": Family(digital.pixelate, _ones(0.95, 0.85, 0.75, 0.6, 0.5), _ones(0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": Family(digital.jpeg, _ones(80, 65, 58, 50, 40), _ones(25, 18, 15, 10, 7)),
}


def corrupt(
    x: npt.NDArray[np.float32],
    family: str,
    severity: int,
    *,
    seed: int = 0,
    span: tuple[float, float] = (0.0, 1.0),
) -> npt.NDArray[np.float32]:
    """Return images x (n, channels, height, width) or (n, height, width), values within `span`, corrupted.

    Image k's random numbers depend on the seed, the family and k alone, not on the other images; severities start from
    the same ones, so that they differ in little but strength. Raises UsageError for what are no images, and for
    unknown families.
    """
    if family not in FAMILIES:
        raise UsageError("corruptions", family, "one of " + ", ".join(FAMILIES))
    if severity not in SEVERITIES:
        raise UsageError("severities", severity, "whole numbers from 1 to 5")
    images = _images(x, span)
    found = FAMILIES[family]
    strength = found.strength(severity, min(images.shape[2:]))
    number = list(FAMILIES).index(family)
    worn = [found.apply(image, strength, np.random.default_rng([seed, number, k])) for k, image in enumerate(images)]
    levels = np.rint(np.stack(worn).clip(0, 1) * LEVELS) / LEVELS
    return np.asarray(span[0] + levels * (span[1] - span[0]), np.float32).reshape(x.shape)


def _images(x: npt.NDArray[np.float32], span: tuple[float, float]) -> npt.NDArray[np.float64]:
    expected = "images (n, channels, height, width) or (n, height, width), at least 4 pixels a side"
    if x.ndim not in (3, 4) or min(x.shape[-2:]) < 4:
        raise UsageError("corruptions", f"inputs of shape {x.shape[1:]}", expected)
    low, high = span
    if x.min() < low or x.max() > high:
        raise UsageError("x", f"values from {x.min():g} to {x.max():g}", f"values from {low:g} to {high:g} (--clip)")
    values = (x.astype(np.float64) - low) / (high - low)
    return values if x.ndim == 4 else values[:, None]
