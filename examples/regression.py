"""A regression net: prove that its output stays in an interval while the inputs move.

    python examples/regression.py [--small]

The net predicts the progress of diabetes a year on (scikit-learn's data, scaled). The property is about a number, not
about a class: `LinearProperty` lists the ways to be unsafe, here y <= f(x) - d and y >= f(x) + d, a row and a bound
each.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import load_diabetes

import unmoved
from unmoved.core.property import Disjunct

EPS = "0.05"


def main(small: bool = False) -> dict[str, float]:
    """Return the share of patients whose prediction is proved to move by less than 0.3, and the tightest such bound."""
    data = load_diabetes()
    x = (data.data / data.data.std(0)).astype(np.float32)
    y = ((data.target - data.target.mean()) / data.target.std()).astype(np.float32)
    module = _trained(x, y, steps=100 if small else 800)
    model = unmoved.load_torch(module, (1, x.shape[1]))
    held = range(10 if small else 60)
    proved = sum(_moves_less_than(model, x[k], 0.3) for k in held)
    tightest = next(d for d in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2) if _moves_less_than(model, x[0], d))
    return {"proved": proved / len(held), "tightest for the first": tightest}


def _trained(x: np.ndarray, y: np.ndarray, steps: int) -> torch.nn.Module:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2, weight_decay=1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(module(torch.from_numpy(x))[:, 0], torch.from_numpy(y))
        loss.backward()
        optimiser.step()
    return module.eval()


def _moves_less_than(model: object, x: np.ndarray, distance: float) -> bool:
    """Say whether |f(x') - f(x)| < distance is proved for every x' with |x' - x| <= EPS in every feature."""
    from unmoved.loaders import Runtime

    point = x.reshape(model.input_shape)
    middle = float(Runtime(model.source).run(point[None])[0, 0])
    ends = [(np.array([[1.0]]), np.array([middle - distance])), (np.array([[-1.0]]), np.array([-(middle + distance)]))]
    stays = unmoved.LinearProperty(tuple(Disjunct(row, bound) for row, bound in ends))
    found = unmoved.certify(unmoved.Problem(model, point, unmoved.Linf(EPS), stays), unmoved.LinearMethod())
    return found.verdict == "CERTIFIED"


if __name__ == "__main__":
    for name, value in main("--small" in sys.argv).items():
        print(f"{name}: {value:g}")
