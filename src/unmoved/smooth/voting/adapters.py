"""Whatever classifies, as one function of float32 batches: ONNX models, torch modules, scikit-learn, any callable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unmoved.core.errors import LoadError, UsageError
from unmoved.ir import Network
from unmoved.loaders import load
from unmoved.smooth.voting.engine import Engine, Setup, one_thread, prepare, require_fixed
from unmoved.smooth.voting.sampling import Classify, evaluate

BATCH = 256
"""Copies at a time for a classifier of which nothing is known."""

_ACCEPTED = "an .onnx file, a Network, a torch module, a fitted scikit-learn classifier, or a function of a batch"


@dataclass(frozen=True)
class Base:
    """A classifier ready to be smoothed: one function, evaluated `batch` copies at a time, into `classes` classes.

    `model` is the model's digest ("" where there is none), `engine` what is evaluated, in words.
    """

    classify: Classify
    classes: int
    batch: int
    model: str
    engine: str


@dataclass(frozen=True, eq=False)
class Estimator:
    """A fitted scikit-learn classifier: batches -> places of the predicted labels in `estimator.classes_`."""

    estimator: Any

    def __post_init__(self) -> None:
        name = type(self.estimator).__name__
        labels = getattr(self.estimator, "classes_", None)
        if labels is None:
            what = "a fitted classifier (call fit first)" if hasattr(self.estimator, "fit") else _ACCEPTED
            raise UsageError("classifier", f"{name} without classes_", what)
        if np.ndim(labels) != 1:
            raise UsageError("classifier", f"{name} with several outputs", "a classifier with one output")

    def __call__(self, z: Tensor) -> Tensor:
        """Return the places of the predicted labels, int64 (B,)."""
        labels = np.asarray(self.estimator.classes_)
        predicted = np.asarray(self.estimator.predict(z.numpy().reshape(len(z), -1)))
        places = np.minimum(np.searchsorted(labels, predicted), len(labels) - 1)
        if predicted.shape != (len(z),) or not bool((labels[places] == predicted).all()):
            raise UsageError("classifier", "predictions that are not in classes_", "one label of classes_ a row")
        return torch.from_numpy(places.astype(np.int64))


@dataclass(frozen=True, eq=False)
class Module:
    """A torch module as it stands, on one thread, its outputs flattened and in float32."""

    module: nn.Module

    def __call__(self, z: Tensor) -> Tensor:
        """Return the logits of a batch."""
        with one_thread():
            output: Tensor = self.module(z)
        return output.flatten(1).float() if output.is_floating_point() and output.ndim > 1 else output


def readable(classifier: Any) -> Any:
    """Return the classifier, read from its file where it is one; UsageError for what can be no classifier."""
    if isinstance(classifier, str | PathLike | bytes):
        return load(classifier)
    if isinstance(classifier, nn.Module) and any(part.training for part in classifier.modules()):
        expected = "a module in evaluation mode (call .eval()): dropout and batch statistics look beyond z"
        raise UsageError("classifier", f"{type(classifier).__name__} in training mode", expected)
    if isinstance(classifier, Engine | Network | Estimator) or callable(classifier):
        return classifier
    if callable(getattr(classifier, "predict", None)):
        return Estimator(classifier)
    raise UsageError("classifier", type(classifier).__name__, _ACCEPTED)


def base_of(classifier: Any, shape: tuple[int, ...], *, classes: int, batch: int, setup: Setup | None) -> Base:
    """Return a readable classifier as a base for copies of shape `shape`.

    `classes` 0: as many as the classifier says. `batch` 0: what fits it. `setup`: how to evaluate it; None is float32,
    and a torch module just as it is. Outputs that depend on the place in a batch are refused, except those of a bare
    function of which `classes` was given: it is taken at its word. UsageError too for a setup that it cannot have.
    """
    asked = replace(setup or Setup(), batch=batch or (setup.batch if setup else 0))
    if isinstance(classifier, nn.Module) and setup is not None and setup != Setup(batch=setup.batch, fold=False):
        classifier = _exported(classifier, shape, setup)
    if isinstance(classifier, Network):
        classifier = prepare(classifier, asked)
    if isinstance(classifier, Engine):
        return _checked(
            Base(classifier, classifier.classes, classifier.batch, classifier.model, classifier.name), classes
        )
    if setup is not None and replace(setup, batch=0, fold=True) != Setup():
        raise UsageError("setup", setup, f"none: a {type(classifier).__name__} is called as it is, in float32")
    return _called(classifier, shape, classes, asked.batch or BATCH)


def _exported(module: nn.Module, shape: tuple[int, ...], setup: Setup) -> Network:
    try:
        return load(module, input_shape=(1, *shape))
    except LoadError as error:
        expected = f"none, which evaluates the module as it is: it has no other form ({error})"
        raise UsageError("setup", setup, expected) from error


def _called(classifier: Any, shape: tuple[int, ...], classes: int, batch: int) -> Base:
    """Return a base for something that is simply called."""
    if isinstance(classifier, nn.Module):
        function: Classify = Module(classifier)
        engine = f"{type(classifier).__name__}, float32, batch {batch}, torch {torch.__version__}"
    else:
        function = classifier
        engine = f"{getattr(classifier, '__name__', type(classifier).__name__)}, batch {batch}"
    if isinstance(classifier, Estimator):
        found = len(classifier.estimator.classes_)
        engine = f"{type(classifier.estimator).__name__}, batch {batch}"
    elif classes and not isinstance(classifier, nn.Module):
        return Base(function, classes, batch, "", engine)
    else:
        found = classes or _classes_of(function, shape, batch)
    row = torch.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    require_fixed(function, row, batch)
    return _checked(Base(function, found, batch, "", engine), classes)


def _classes_of(function: Callable[[Tensor], Any], shape: tuple[int, ...], batch: int) -> int:
    """Return the number of logits that a function gives."""
    output = evaluate(function, torch.zeros(batch, *shape))
    if output.ndim != 2 or len(output) != batch or not output.is_floating_point():
        shown = f"outputs {output.dtype} {tuple(output.shape)}"
        expected = f"logits ({batch}, classes); give the number of classes of a classifier that returns labels"
        raise UsageError("classifier", shown, expected)
    return int(output.shape[1])


def _checked(base: Base, classes: int) -> Base:
    if classes not in (0, base.classes):
        raise UsageError("classes", classes, f"{base.classes}, as many as the classifier has")
    return base
