"""Tabular data: which diagnoses hold, whatever the measurements' errors, while some features cannot change.

    python examples/tabular.py [--small]

Breast cancer data (scikit-learn): every feature has a box of its own, here 5 % of its spread, cut to the range that was
ever seen; features of the first group (`mean ...`, say they were measured with care) are immutable. A box is a threat
like any other, so that the same proof, the same checker and the same certificate serve.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer

import unmoved
from unmoved.train import GaussianNoise, Plan, default_init, fit, mlp


def main(small: bool = False) -> dict[str, float]:
    """Return clean accuracy, and the share of held-out patients whose right diagnosis holds in the whole box."""
    data = load_breast_cancer()
    x = ((data.data - data.data.mean(0)) / data.data.std(0)).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], data.target[order]
    torch.manual_seed(0)
    module = mlp(inputs=30, hidden=(16,), classes=2)
    default_init(module, 0)
    fit(module, x[:400], y[:400], GaussianNoise(0.2), Plan(epochs=10 if small else 40, batch=50))
    model = unmoved.load_torch(module, (1, 30))

    immutable = np.char.startswith(data.feature_names.astype(str), "mean")
    reach = np.where(immutable, 0.0, 0.05 * (x.max(0) - x.min(0))).astype(np.float64)
    held = range(400, 412 if small else len(x))
    problems = []
    for k in held:
        low = np.maximum(x[k] - reach, np.minimum(x[:400].min(0), x[k])).reshape(model.input_shape)
        high = np.minimum(x[k] + reach, np.maximum(x[:400].max(0), x[k])).reshape(model.input_shape)
        point = x[k].reshape(model.input_shape)
        problems.append(unmoved.Problem(model, point, unmoved.Box(low, high), unmoved.SameClass(int(y[k]))))
    found = [unmoved.certify(problem, unmoved.LinearMethod()) for problem in problems]
    clean = sum(each.finding.prediction == label for each, label in zip(found, y[list(held)], strict=True))
    certified = sum(each.verdict == "CERTIFIED" for each in found)
    return {"clean": clean / len(held), "certified": certified / len(held), "immutable": int(immutable.sum())}


if __name__ == "__main__":
    for name, value in main("--small" in sys.argv).items():
        print(f"{name}: {value:g}")
