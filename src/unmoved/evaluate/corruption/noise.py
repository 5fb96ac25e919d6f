"""Noise of sensors: images (channels, height, width) in [0, 1] in, images of that shape out (not yet cut to [0, 1])."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float64]
Strength = tuple[float, ...]
Draws = np.random.Generator


def gaussian(image: Image, strength: Strength, draws: Draws) -> Image:
    """Add normal noise of the standard deviation `strength[0]`: a sensor in poor light."""
    return image + strength[0] * draws.standard_normal(image.shape)


def shot(image: Image, strength: Strength, draws: Draws) -> Image:
    """Count photons: a value v becomes a Poisson number of mean v `strength[0]`, over `strength[0]`."""
    return draws.poisson(image * strength[0]) / strength[0]


def impulse(image: Image, strength: Strength, draws: Draws) -> Image:
    """Turn the share `strength[0]` of the values to 0 or 1: bits that flipped."""
    hit, white = draws.random(image.shape) < strength[0], draws.random(image.shape) < 0.5
    return np.where(hit, white.astype(np.float64), image)
