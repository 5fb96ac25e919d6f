"""Mixed-integer programs (HiGHS, through scipy): big-M from our bounds (Tjeng, Xiao & Tedrake 2019, equation 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unmoved.core.budget import Budget
from unmoved.refine.oracle import OracleMethod, Program, Settled

CLEAR = 1e-6
"""HiGHS's answers are good to about this much, relatively: nearer to 0 they say nothing."""


@dataclass(frozen=True)
class MilpMethod(OracleMethod):
    """Complete for piecewise linear nets and boxes up to HiGHS's tolerances; other operators are relaxed."""

    @property
    def name(self) -> str:
        """`milp`."""
        return "milp"

    def settle(self, program: Program, budget: Budget) -> Settled:
        """Minimise the largest conjunct over the net."""
        return minimised(program, budget)


def minimised(p: Program, budget: Budget) -> Settled:
    """Return what the minimum of the largest conjunct says; variables x, h, t, and a binary for every free unit."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    units, width = p.inputs.shape
    free = np.flatnonzero(p.free)
    rest = np.flatnonzero(~p.free)
    z, h, none = np.hstack([p.inputs, p.between]), np.hstack([np.zeros((units, width)), np.eye(units)]), np.zeros
    picks = np.eye(len(free))

    def block(rows: np.ndarray, t: float, binaries: np.ndarray | None) -> np.ndarray:
        last = none((len(rows), len(free))) if binaries is None else binaries
        return np.hstack([rows, np.full((len(rows), 1), t), last])

    ask = np.hstack([p.ask_inputs, p.ask_units])
    low, high, o = p.low[free], p.high[free], p.offset[free]
    # rows <= limit: conjuncts; h >= z; h <= z - l (1 - a); h <= u a; the lines of what is relaxed
    blocks = [
        (block(ask, -1.0, None), -p.ask_offset),
        (block((z - h)[free], 0.0, None), -o),
        (block((h - z)[free], 0.0, -low[:, None] * picks), o - low),
        (block(h[free], 0.0, -high[:, None] * picks), none(len(free))),
        (block((p.lower[:, None] * z - h)[rest], 0.0, None), -(p.lower * p.offset + p.lower_offset)[rest]),
        (block((h - p.upper[:, None] * z)[rest], 0.0, None), (p.upper * p.offset + p.upper_offset)[rest]),
    ]
    rows, limits = np.vstack([a for a, _ in blocks]), np.concatenate([b for _, b in blocks])
    count = width + units + 1 + len(free)
    least, most = np.full(count, -np.inf), np.full(count, np.inf)
    least[:width], most[:width] = p.box
    least[width + free] = 0.0
    least[width + units + 1 :], most[width + units + 1 :] = 0.0, 1.0
    cost, whole = none(count), none(count)
    cost[width + units], whole[width + units + 1 :] = 1.0, 1
    options = {"time_limit": max(0.01, budget.left)} if math.isfinite(budget.left) else {}
    found = milp(
        cost,
        integrality=whole,
        bounds=Bounds(least, most),
        constraints=LinearConstraint(rows, -np.inf, limits),
        options=options,
    )
    near = CLEAR * max(1.0, float(np.abs(p.ask_offset).max(initial=0.0)))
    bound = found.mip_dual_bound
    if bound is not None and bound > near:
        return Settled(True)
    if found.x is None:
        return Settled(None, why="HiGHS found no point and no bound above 0")
    return Settled(None, found.x[:width], f"HiGHS reaches a margin of {found.fun:.4g}, and its point breaks nothing")
