"""A scikit-learn classifier whose predictions carry certificates: `CertifiedClassifier`. Needs scikit-learn."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UnmovedError, UsageError
from unmoved.core.rounding import rational
from unmoved.smooth.classifiers.smoothed import Smoothed
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.noises.gaussian import Gaussian

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise UnmovedError("CertifiedClassifier needs scikit-learn 1.6 or newer: pip install 'unmoved[demo]'") from error

Array = npt.NDArray[Any]

_PLACES = 100_000
"""Rows of noisy training data drawn at once: more copies than fit are not made."""


class CertifiedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The smoothed version g of a scikit-learn classifier, with an L2 radius within which each answer cannot change.

    `fit` trains a clone of `estimator` (None: logistic regression) on `copies` noisy copies of each row; `prefit`: the
    estimator is fitted already, and used as it is. `sigma` (Gaussian noise, in the units of X) or any other `noise`;
    `grid`: values are rounded to multiples of 1/grid, and radii pay for it, so scale X accordingly. Each answer is
    wrong with probability <= `alpha` over the sampling of `samples` copies, and otherwise abstains: the prediction is
    then `abstention_`, in the type of the labels: `abstention`, or where that is None -1 for numbers (one less than the
    smallest class, where -1 is not free) and "" for texts. `random_state` is the seed, an integer; None is 0.

    With `prefit` the estimator may also be an ONNX model or a function of batches; its classes are 0, 1, ... then.
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        sigma: object = "1/4",
        grid: int = 255,
        noise: Noise | None = None,
        samples: int = 1000,
        alpha: object = "1/1000",
        copies: int = 10,
        prefit: bool = False,
        abstention: Any = None,
        random_state: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.sigma = sigma
        self.grid = grid
        self.noise = noise
        self.samples = samples
        self.alpha = alpha
        self.copies = copies
        self.prefit = prefit
        self.abstention = abstention
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> CertifiedClassifier:
        """Train the base classifier on noisy copies of X (rows, features); with `prefit`, only look at it."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        fitted = self.estimator
        if not self.prefit:
            fitted = clone(LogisticRegression() if fitted is None else fitted)
            fitted.fit(*self._noisy(X, y))
        self.estimator_ = fitted
        self.smoothed_ = Smoothed(fitted, self._noise())
        if hasattr(fitted, "classes_"):
            self.classes_ = np.asarray(fitted.classes_)
        else:
            point = self.smoothed_.noise.place(X[0].astype(np.float32))
            self.classes_ = np.arange(self.smoothed_.counter(point).classes)
        self.abstention_ = self._abstention()
        return self

    def predict(self, X: Any) -> Array:
        """Return g's label for each row, (rows,), or the abstention; each is wrong with probability <= alpha."""
        seed, smoothed = self._seed(), self._ready()
        found = [smoothed.predict(x, self.samples, alpha=self._alpha(), seed=seed).label for x in self._rows(X)]
        return self._labels(found)

    def predict_certified(self, X: Any) -> tuple[Array, npt.NDArray[np.float64]]:
        """Return a label or the abstention, and an L2 radius (0 for an abstention), for each row: two arrays (rows,).

        With probability >= 1 - alpha, a row: g gives this label everywhere within the radius around it.
        """
        seed, smoothed = self._seed(), self._ready()
        found = [smoothed.certify(x, seed=seed, samples=self.samples, alpha=self._alpha()) for x in self._rows(X)]
        return self._labels([one.label for one in found]), np.array([one.radius for one in found])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows whose prediction is right; an abstention is an error."""
        predicted, wanted = self.predict(X), np.asarray(y)
        right = (predicted == wanted) & (predicted != self.abstention_)
        return float(np.average(right, weights=sample_weight))

    def _noise(self) -> Noise:
        return Gaussian(self.sigma, self.grid) if self.noise is None else self.noise

    def _alpha(self) -> Fraction:
        return rational(repr(self.alpha) if isinstance(self.alpha, float) else self.alpha, "alpha")

    def _seed(self) -> int:
        return 0 if self.random_state is None else self.random_state

    def _noisy(self, X: Array, y: Array) -> tuple[Array, Array]:
        """Return the rows in their order, `copies` times, each with Gaussian noise; as they are for another noise."""
        copies = max(0, min(self.copies, _PLACES // len(X)))
        if not copies or self.noise is not None:
            return X, y
        generator = np.random.default_rng(self._seed())
        noise = generator.normal(scale=float(self._noise().scale), size=(copies, *X.shape))
        return (X + noise).reshape(-1, X.shape[1]), np.tile(y, copies)

    def _abstention(self) -> Any:
        """Return what stands for an abstention, once it is sure that no class is called so."""
        numbers = np.issubdtype(self.classes_.dtype, np.number)
        value = self.abstention
        if value is None and numbers:
            value = -1 if -1 not in self.classes_ else int(self.classes_.min()) - 1
        elif value is None:
            value = ""
        if value in self.classes_.tolist():
            raise UsageError("abstention", value, f"a value that is none of the classes {self.classes_.tolist()}")
        return value

    def _ready(self) -> Smoothed:
        check_is_fitted(self, "smoothed_")
        return self.smoothed_

    def _rows(self, X: Any) -> npt.NDArray[np.float32]:
        check_is_fitted(self, "smoothed_")
        return np.asarray(validate_data(self, X, dtype=np.float32, reset=False))

    def _labels(self, places: list[int | None]) -> Array:
        """Return the labels at places in `classes_`, in the type of the labels."""
        kind = np.result_type(self.classes_.dtype, np.asarray(self.abstention_).dtype)
        if self.classes_.dtype == object:
            kind = self.classes_.dtype
        labels = [self.abstention_ if place is None else self.classes_[place] for place in places]
        return np.array(labels, dtype=kind)
