"""Weather: snow, frost on the lens, fog, and light; the textures are made, no photograph is needed."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from unmoved.evaluate.corruption.blur import convolved, streak
from unmoved.evaluate.corruption.noise import Draws, Image, Strength


def snow(image: Image, strength: Strength, draws: Draws) -> Image:
    """Whiten the image by `strength[0]`, and let flakes fall: the share `strength[1]`, streaks `strength[2]` long."""
    white, share, length = strength
    flakes = draws.random(image.shape[1:])
    angle = draws.uniform(np.pi / 4, 3 * np.pi / 4)
    layer = np.where(flakes < share, 1.0, 0.0)[None]
    fallen = convolved(layer, streak(length, max(length, 0.5), angle))
    # a streak spreads a flake over its length: brought back to about a flake's brightness
    fallen = (fallen * (1 + length)).clip(0, 1)
    grey = image.mean(0, keepdims=True)
    pale = (1 - white) * image + white * np.maximum(image, 0.5 * grey + 0.5)
    return np.asarray(pale + fallen * (1 - pale), np.float64)


def frost(image: Image, strength: Strength, draws: Draws) -> Image:
    """Keep `strength[0]` of the image and add `strength[1]` of ice: ridges of fractal noise, thicker at the edges."""
    height, width = image.shape[1:]
    ridges = 1 - np.abs(2 * cloud((height, width), 1.2, draws) - 1)
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    edge = np.maximum(np.abs(rows), np.abs(columns)) ** 2
    ice = (0.65 * ridges**3 + 0.6 * edge * ridges).clip(0, 1)[None]
    return np.asarray(strength[0] * image + strength[1] * ice, np.float64)


def fog(image: Image, strength: Strength, draws: Draws) -> Image:
    """Add `strength[0]` times a fractal cloud whose roughness is `strength[1]`, and scale back to the old maximum."""
    thick, rough = strength
    top = image.max()
    haze = cloud(image.shape[1:], rough, draws)[None]
    return (image + thick * haze) * top / (top + thick) if top > 0 else (thick * haze).clip(0, 1)


def brightness(image: Image, strength: Strength, draws: Draws) -> Image:
    """Raise the value (the largest channel) by `strength[0]`; hue and saturation stay."""
    value = image.max(0, keepdims=True)
    raised = (value + strength[0]).clip(0, 1)
    dark = value < 1e-9
    return np.asarray(np.where(dark, raised, image * raised / np.where(dark, 1.0, value)), np.float64)


def cloud(shape: tuple[int, ...], rough: float, draws: Draws) -> Image:
    """Return noise (height, width) from 0 to 1 with the spectrum f^-`rough`: a cloud (2 and more), or grain (1)."""
    side = 2 * max(shape)
    noise = np.fft.fft2(draws.standard_normal((side, side)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1.0
    # one period is twice the image, so that opposite edges have nothing to do with each other
    found = np.real(np.fft.ifft2(noise / frequency**rough))[: shape[0], : shape[1]]
    found = ndimage.gaussian_filter(found, 0.3)
    spread = found.max() - found.min()
    return np.asarray((found - found.min()) / (spread if spread > 0 else 1.0), np.float64)
