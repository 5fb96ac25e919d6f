"""Blur: of a lens out of focus, through frosted glass, of a moving or a zooming camera."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from unmoved.evaluate.corruption.noise import Draws, Image, Strength


def defocus(image: Image, strength: Strength, draws: Draws) -> Image:
    """Average over a disk of radius `strength[0]` pixels with an edge as soft as `strength[1]`."""
    return convolved(image, disk(strength[0], strength[1]))


def glass(image: Image, strength: Strength, draws: Draws) -> Image:
    """Blur by `strength[0]`, fetch each pixel from up to `strength[1]` away, `strength[2]` times, and blur again.

    The published code swaps neighbours one after the other; here all pixels move at once.
    """
    sigma, reach, times = strength
    found = softened(image, sigma)
    height, width = image.shape[1:]
    rows, columns = np.mgrid[:height, :width]
    for share in (min(1.0, times - k) for k in range(3)):
        # drawn whether needed or not: the next image's draws must not depend on the severity
        moves = draws.uniform(-1, 1, (2, height, width))
        if share <= 0:
            continue
        down, right = np.rint(moves * max(reach, 0.51) * share).astype(int)
        found = found[:, (rows + down).clip(0, height - 1), (columns + right).clip(0, width - 1)]
    return softened(found, sigma)


def motion(image: Image, strength: Strength, draws: Draws) -> Image:
    """Average along a line of half-length `strength[0]`, weighed by a normal law of `strength[1]`, at any 45° slant."""
    angle = draws.uniform(-np.pi / 4, np.pi / 4)
    return convolved(image, streak(strength[0], strength[1], angle))


def zoom(image: Image, strength: Strength, draws: Draws) -> Image:
    """Average the image with itself enlarged about its middle, by up to the factor 1 + `strength[0]`."""
    height, width = image.shape[1:]
    rows, columns = np.mgrid[:height, :width]
    middle = ((height - 1) / 2, (width - 1) / 2)
    factors = 1 + np.linspace(0, strength[0], 8)
    found = np.zeros_like(image)
    for factor in factors:
        places = [(rows - middle[0]) / factor + middle[0], (columns - middle[1]) / factor + middle[1]]
        found += fetched(image, places)
    return found / len(factors)


def fetched(image: Image, places: list[Image]) -> Image:
    """Return every channel's values at (row, column) `places`, linear between pixels, mirrored beyond the edge."""
    return np.stack([ndimage.map_coordinates(channel, places, order=1, mode="reflect") for channel in image])


def convolved(image: Image, kernel: Image) -> Image:
    """Return every channel averaged by a kernel that adds up to 1, mirrored beyond the edge."""
    return np.stack([ndimage.convolve(channel, kernel, mode="reflect") for channel in image])


def softened(image: Image, sigma: float) -> Image:
    """Return every channel blurred by a normal law."""
    return np.asarray(ndimage.gaussian_filter(image, (0, sigma, sigma), mode="reflect"), np.float64)


def disk(radius: float, softness: float) -> Image:
    """Return a disk's kernel: pixels by the share of them that it covers (8 x 8 places a pixel), then softened."""
    half = int(np.ceil(radius + 3 * softness)) + 1
    fine = (np.arange(-8 * half - 4, 8 * half + 4) + 0.5) / 8
    inside = (fine[:, None] ** 2 + fine[None, :] ** 2 <= radius**2).astype(np.float64)
    size = 2 * half + 1
    kernel = inside.reshape(size, 8, size, 8).mean((1, 3))
    kernel = ndimage.gaussian_filter(kernel, softness, mode="constant")
    return np.asarray(kernel / kernel.sum(), np.float64)


def streak(length: float, sigma: float, angle: float) -> Image:
    """Return a line's kernel, of half-length `length` pixels, weighed from its middle by a normal law of `sigma`."""
    half = int(np.ceil(length)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    along = np.linspace(-length, length, 8 * half + 1)
    weights = np.exp(-((along / sigma) ** 2) / 2)
    rows, columns = half + along * np.sin(angle), half + along * np.cos(angle)
    for row, column, weight in zip(rows, columns, weights, strict=True):
        top, left = int(row), int(column)
        down, right = row - top, column - left
        square = np.outer([1 - down, down], [1 - right, right])
        kernel[top : top + 2, left : left + 2] += weight * square
    return np.asarray(kernel / kernel.sum(), np.float64)
