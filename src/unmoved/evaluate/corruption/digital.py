"""What processing does to images: contrast, elastic stretching, coarse pixels, JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pictures
from scipy import ndimage

from unmoved.evaluate.corruption.blur import fetched
from unmoved.evaluate.corruption.noise import Draws, Image, Strength


def contrast(image: Image, strength: Strength, draws: Draws) -> Image:
    """Pull every channel towards its mean, down to the share `strength[0]` of its contrast."""
    mean = image.mean((1, 2), keepdims=True)
    return np.asarray((image - mean) * strength[0] + mean, np.float64)


def elastic(image: Image, strength: Strength, draws: Draws) -> Image:
    """Move pixels by a random field, `strength[0]` pixels far (root mean square), smooth over `strength[1]`."""
    far, smooth = strength
    height, width = image.shape[1:]
    field = draws.uniform(-1, 1, (2, height, width))
    field = ndimage.gaussian_filter(field, (0, smooth, smooth), mode="reflect")
    size = np.sqrt((field**2).mean())
    rows, columns = np.mgrid[:height, :width]
    down, right = field * (far / size if size > 0 else 0.0)
    return fetched(image, [rows + down, columns + right])


def pixelate(image: Image, strength: Strength, draws: Draws) -> Image:
    """Reduce each side to the share `strength[0]`, by averages, and enlarge again without smoothing."""
    height, width = image.shape[1:]
    small = (max(1, int(width * strength[0])), max(1, int(height * strength[0])))
    found = []
    for channel in image:
        picture = Pictures.fromarray(channel.astype(np.float32)).resize(small, Pictures.Resampling.BOX)
        found.append(np.asarray(picture.resize((width, height), Pictures.Resampling.NEAREST), np.float64))
    return np.stack(found)


def jpeg(image: Image, strength: Strength, draws: Draws) -> Image:
    """Write the image as JPEG of quality `strength[0]` (1 to 95) and read it; other than 3 channels one by one."""
    quality = round(strength[0])
    eight = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    if len(image) == 3:
        return np.moveaxis(_through_jpeg(np.moveaxis(eight, 0, -1), quality), -1, 0)
    return np.stack([_through_jpeg(channel, quality) for channel in eight])


def _through_jpeg(eight: np.ndarray, quality: int) -> Image:
    target = io.BytesIO()
    Pictures.fromarray(np.ascontiguousarray(eight)).save(target, "JPEG", quality=quality)
    return np.asarray(Pictures.open(target), np.float64) / 255
