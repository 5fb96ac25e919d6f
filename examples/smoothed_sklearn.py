"""A scikit-learn classifier with certificates: smoothing asks it for labels only, so that any classifier will do.

    python examples/smoothed_sklearn.py [--small]

`CertifiedClassifier` is a scikit-learn estimator itself: it trains a clone of the given one on noisy copies, and its
answers come with an L2 radius within which they cannot change, each with probability at least 1 - alpha over the
sampling. Where the votes settle nothing it abstains. What is certified is g, the majority under noise, not the forest.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

from unmoved import CertifiedClassifier


def main(small: bool = False) -> dict[str, float]:
    """Return g's accuracy, its abstentions, and the mean certified radius in the units of the scaled features."""
    x, y = load_wine(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(MinMaxScaler().fit_transform(x), y, random_state=0, stratify=y)
    held = slice(0, 6 if small else None)
    forest = RandomForestClassifier(5 if small else 50, random_state=0)
    model = CertifiedClassifier(forest, sigma="1/4", samples=300 if small else 2000, copies=3 if small else 10)
    labels, radii = model.fit(x_train, y_train).predict_certified(x_test[held])
    right = labels == y_test[held]
    return {
        "accuracy": float(right.mean()),
        "abstained": float((labels == model.abstention_).mean()),
        "mean radius": float(np.where(right, radii, 0).mean()),
    }


if __name__ == "__main__":
    for name, value in main("--small" in sys.argv).items():
        print(f"{name}: {value:g}")
