import io

import matplotlib.image
import numpy as np
import pytest

from unmoved.report.pictures import as_image, data_uri, numbers, png, read_array, span


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_reads_back_as_its_pixels(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (11, 7, channels), dtype=np.uint8)
    read = matplotlib.image.imread(io.BytesIO(png(pixels)), format="png")
    assert np.array_equal(np.rint(read.reshape(11, 7, channels) * 255), pixels)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((1, 28, 28), (28, 28, 1)),
        ((28, 28), (28, 28, 1)),
        ((1, 1, 28, 28), (28, 28, 1)),
        ((3, 32, 32), (32, 32, 3)),
        ((1, 3, 32, 40), (32, 40, 3)),
        ((32, 40, 3), (32, 40, 3)),
        ((784,), None),
        ((1, 2), None),
        ((4, 8, 8), None),
        ((2, 28), None),
    ],
)
def test_what_counts_as_an_image(shape, image):
    found = as_image(np.zeros(shape))
    assert (None if found is None else found.shape) == image


def test_channels_are_moved_not_mixed():
    x = np.stack([np.full((8, 9), c) for c in (0.1, 0.2, 0.3)])
    assert np.array_equal(as_image(x)[2, 3], [0.1, 0.2, 0.3])


def test_large_images_are_thinned_out():
    uri = data_uri(np.random.default_rng(0).random((224, 224, 3)), 0, 1)
    assert uri.startswith("data:image/png;base64,") and len(uri) < 64 * 64 * 3 * 2


def test_a_constant_image_is_no_division_by_zero():
    assert data_uri(np.full((8, 8, 1), 3.0), 3.0, 3.0).startswith("data:")
    assert span(np.full((8, 8, 1), -3.0)) == (-3.0, -3.0)


def test_only_arrays_of_numbers_are_read():
    def saved(array):
        target = io.BytesIO()
        np.save(target, array, allow_pickle=True)
        return target.getvalue()

    assert read_array(saved(np.arange(3.0))).tolist() == [0, 1, 2]
    for bad in (b"", b"nonsense", saved(np.array([{}], object)), saved(np.array(["a"])), saved(np.array([np.nan]))):
        assert read_array(bad) is None


def test_other_inputs_are_shown_as_numbers():
    assert numbers(np.array([1.0, 2.5])) == "1, 2.5"
    assert numbers(np.zeros(30)).endswith("… (30 values)")
