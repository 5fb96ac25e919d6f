"""The semidefinite relaxation of ReLU nets (Raghunathan, Steinhardt & Liang 2018, equation 5), for small nets.

The matrix of all products of (1, x, h) is relaxed to a positive semidefinite one: h >= 0, h >= z and h^2 = h z are
linear in it, and so are the boxes of x and h, as products of their ends.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmoved.core.budget import Budget
from unmoved.refine.oracle import OracleMethod, Program, Settled, required

MOST = 120
"""Rows of the matrix: more take minutes."""

CLEAR = 1e-5
"""Clarabel's answers are good to about this much."""


@dataclass(frozen=True)
class SdpMethod(OracleMethod):
    """Asks cvxpy and Clarabel for the relaxation's least margin; a relaxation, so it finds no witness."""

    def __post_init__(self) -> None:
        """UsageError without the extra `sdp`."""
        required("sdp", "cvxpy")

    @property
    def name(self) -> str:
        """`sdp`."""
        return "sdp"

    def settle(self, program: Program, budget: Budget) -> Settled:
        """Minimise the largest conjunct over the relaxation."""
        size = 1 + sum(program.inputs.shape)
        if size > MOST:
            return Settled(None, why=f"a matrix of {size} rows is too large (at most {MOST})")
        low = relaxed_low(program)
        return Settled(True) if low > CLEAR else Settled(None, why=f"the relaxation reaches a margin of {low:.4g}")


def relaxed_low(p: Program) -> float:
    """Return the relaxation's least value of the largest conjunct, as the solver gives it; -inf where it fails."""
    # its stubs lack what its documentation shows
    cp: Any = importlib.import_module("cvxpy")
    units, width = p.inputs.shape
    matrix = cp.Variable((1 + width + units, 1 + width + units), PSD=True)
    x, h, t = matrix[0, 1 : 1 + width], matrix[0, 1 + width :], cp.Variable()
    squares = cp.diag(matrix)
    z = p.inputs @ x + p.between @ h + p.offset
    low, high = p.box
    rules = [matrix[0, 0] == 1, squares[1 : 1 + width] <= cp.multiply(low + high, x) - low * high, x >= low, x <= high]
    rules.append(p.ask_inputs @ x + p.ask_units @ h + p.ask_offset <= t)
    for i in range(units):
        own, row = h[i], matrix[1 + width + i, :]
        if not p.free[i]:
            rules += [own >= p.lower[i] * z[i] + p.lower_offset[i], own <= p.upper[i] * z[i] + p.upper_offset[i]]
            continue
        rules += [own >= 0, own >= z[i], row[1 + width + i] <= p.high[i] * own]
        product = p.inputs[i] @ row[1 : 1 + width] + p.between[i] @ row[1 + width :] + p.offset[i] * own
        rules.append(row[1 + width + i] == product)
        # below the chord, which the products do not know
        rules.append(own <= p.high[i] * (z[i] - p.low[i]) / max(p.high[i] - p.low[i], 1e-30))
    problem = cp.Problem(cp.Minimize(t), rules)
    try:
        problem.solve(solver=cp.CLARABEL)
    except cp.error.SolverError:
        return -np.inf
    return float(problem.value) if problem.status == cp.OPTIMAL else -np.inf
