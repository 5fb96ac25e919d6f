"""CertifiedClassifier: scikit-learn's own checks, radii of a half-space, abstentions that count as errors."""

import builtins
import importlib
import sys
import warnings

import numpy as np
import pytest
from scipy.stats import norm

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

import unmoved
from unmoved import CertifiedClassifier, UnmovedError, UsageError

NOT_APPLICABLE = {"check_array_api_input": "skipped by scikit-learn itself unless SCIPY_ARRAY_API is set"}


def half_space(labels=(0, 1)):
    """A classifier of exactly one half-space, x_0 + x_1 > 1: fitted by hand."""
    model = LogisticRegression()
    model.classes_, model.n_features_in_ = np.array(labels), 2
    model.coef_, model.intercept_ = np.array([[1.0, 1.0]]), np.array([-1.0])
    return model


def blobs(seed=0):
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 3, 90)
    return np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]])[y] + draw.normal(scale=0.03, size=(90, 2)), y


def test_scikit_learn_s_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(CertifiedClassifier(samples=200), on_fail=None)
    assert len(results) > 40
    missed = {r["check_name"]: r["exception"] for r in results if r["status"] != "passed"}
    assert missed.keys() <= NOT_APPLICABLE.keys(), missed


def test_radii_of_a_half_space_stay_below_the_distance_and_come_near():
    """g of a half-space is the half-space: the true radius is the distance to x_0 + x_1 = 1 (Cohen et al. 2019)."""
    x = np.array([[200, 200], [250, 10], [90, 100], [30, 150]]) / 255
    model = CertifiedClassifier(half_space(), sigma="1/2", samples=20_000, prefit=True).fit(x, [1, 1, 0, 0])
    labels, radii = model.predict_certified(x)
    distance = np.abs(x.sum(axis=1) - 1) / np.sqrt(2)
    for label, radius, true in zip(labels, radii, distance, strict=True):
        assert radius <= true
        se = np.sqrt(0.25 / 20_000) / norm.pdf(true / 0.5) * 0.5
        assert (radius > true - 8 * se and label != -1) or true < 8 * se


def test_labels_keep_their_type_and_abstentions_are_errors():
    """The middle row is on the boundary: p = 1/2 exactly, and nothing can be said of it."""
    x = np.array([[0.9, 0.9], [0.5, 0.5], [0.1, 0.1]])
    for labels, wanted in (((0, 1), -1), ((-1, 1), -2), (("no", "yes"), ""), ((2.0, 3.0), -1.0)):
        model = CertifiedClassifier(half_space(labels), grid=2550, samples=500, prefit=True).fit(x, [labels[1]] * 3)
        predicted = model.predict(x)
        assert predicted.tolist() == [labels[1], wanted, labels[0]] and model.abstention_ == wanted
        assert predicted.dtype.kind == np.asarray(labels).dtype.kind
        certified, radii = model.predict_certified(x)
        assert certified.tolist() == predicted.tolist() and radii[1] == 0 and radii[[0, 2]].min() > 0
        assert model.score(x, [labels[1], labels[1], labels[0]]) == pytest.approx(2 / 3)
        assert model.score(x, [labels[1], wanted, labels[0]]) == pytest.approx(2 / 3), "an abstention is never right"
        assert model.score(x, [labels[1], wanted, labels[0]], [1, 0, 0]) == 1
    named = CertifiedClassifier(half_space(), grid=2550, samples=500, prefit=True, abstention=99).fit(x, [1, 1, 0])
    assert named.predict(x).tolist() == [1, 99, 0]
    with pytest.raises(UsageError, match="none of the classes"):
        CertifiedClassifier(half_space(), prefit=True, abstention=1).fit(x, [1, 1, 0])


def test_in_pipelines_searches_and_with_a_frozen_base():
    x, y = blobs()
    chain = make_pipeline(MinMaxScaler(), CertifiedClassifier(sigma=0.1, samples=100))
    assert cross_val_score(chain, x, y, cv=2).min() > 0.9
    search = GridSearchCV(CertifiedClassifier(samples=50), {"sigma": ["1/10", "3/2"]}, cv=2).fit(x, y)
    assert search.best_params_ == {"sigma": "1/10"}
    frozen = CertifiedClassifier(FrozenEstimator(LogisticRegression().fit(x, y)), sigma=0.1, samples=100).fit(x, y)
    assert frozen.score(x, y) > 0.9


def test_a_function_as_a_base_and_the_same_answers_again():
    x, y = blobs()

    def nearest(z):
        import torch

        return -torch.cdist(z, torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]))

    model = CertifiedClassifier(nearest, sigma=0.1, samples=100, prefit=True).fit(x, y)
    assert model.classes_.tolist() == [0, 1, 2] and model.n_features_in_ == 2 and model.score(x, y) > 0.9
    first, again = model.predict_certified(x[:10]), model.predict_certified(x[:10])
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    other = CertifiedClassifier(nearest, sigma="1/2", samples=100, prefit=True, random_state=1).fit(x, y)
    twin = CertifiedClassifier(nearest, sigma="1/2", samples=100, prefit=True, random_state=2).fit(x, y)
    assert not np.array_equal(other.predict_certified(x)[1], twin.predict_certified(x)[1])


def test_bad_arguments_name_themselves():
    x, y = blobs()
    with pytest.raises(UsageError, match="sigma"):
        CertifiedClassifier(sigma=-1).fit(x, y)
    with pytest.raises(UsageError, match="samples"):
        CertifiedClassifier(samples=3).fit(x, y).predict(x)
    with pytest.raises(UsageError, match="alpha"):
        CertifiedClassifier(alpha=2).fit(x, y).predict(x)
    with pytest.raises(UsageError, match="call fit first"):
        CertifiedClassifier(LogisticRegression(), prefit=True).fit(x, y)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "unmoved.smooth.classifiers.classifier")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnmovedError, match="needs scikit-learn"):
        importlib.import_module("unmoved.smooth.classifiers.classifier")
    assert "CertifiedClassifier" in unmoved.__all__
