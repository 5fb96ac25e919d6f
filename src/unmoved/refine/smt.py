"""Satisfiability modulo linear real arithmetic (z3): exact, for small nets (Katz et al. 2017 for the encoding)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from unmoved.core.budget import Budget
from unmoved.refine.oracle import Floats, OracleMethod, Program, Settled, required

CLEAR = 1e-4
"""By how much a point is to be unsafe, if there is such a one."""

MOST = 64
"""More undecided units than this are beyond z3."""


@dataclass(frozen=True)
class SmtMethod(OracleMethod):
    """Asks z3 whether an unsafe point exists; only for nets whose bounds leave at most `MOST` units undecided."""

    def __post_init__(self) -> None:
        """UsageError without the extra `smt`."""
        required("smt", "z3")

    @property
    def name(self) -> str:
        """`smt`."""
        return "smt"

    def settle(self, program: Program, budget: Budget) -> Settled:
        """Ask whether all conjuncts can be <= 0."""
        if len(program.free) > MOST:
            return Settled(None, why=f"{len(program.free)} undecided units are too many for z3 (at most {MOST})")
        return satisfied(program, budget)


def satisfied(p: Program, budget: Budget) -> Settled:
    """Return z3's answer, with its point as float64."""
    import z3

    xs = [z3.Real(f"x{i}") for i in range(p.inputs.shape[1])]
    hs = [z3.Real(f"h{i}") for i in range(len(p.free))]
    solver = z3.Solver()
    if math.isfinite(budget.left):
        solver.set("timeout", max(1, int(1000 * budget.left)))

    def dot(weights: Floats, variables: list[Any]) -> list[Any]:
        return [_real(w) * v for w, v in zip(weights, variables, strict=True) if w]

    def affine(units: Floats, inputs: Floats, offset: float) -> Any:
        return z3.Sum([*dot(units, hs), *dot(inputs, xs), _real(offset)])

    for x, low, high in zip(xs, *p.box, strict=True):
        solver.add(x >= _real(low), x <= _real(high))
    for i, h in enumerate(hs):
        z = affine(p.between[i], p.inputs[i], p.offset[i])
        if p.free[i]:
            solver.add(h == z3.If(z > 0, z, 0))
        else:
            solver.add(h >= _real(p.lower[i]) * z + _real(p.lower_offset[i]))
            solver.add(h <= _real(p.upper[i]) * z + _real(p.upper_offset[i]))
    asked = [affine(*parts) for parts in zip(p.ask_units, p.ask_inputs, p.ask_offset, strict=True)]
    # a point that is unsafe by a little more survives its rounding to float32
    answer = solver.check(*(value <= -_real(CLEAR) for value in asked))
    if answer != z3.sat:
        answer = solver.check(*(value <= 0 for value in asked))
    if answer == z3.unsat:
        return Settled(True)
    if answer != z3.sat:
        return Settled(None, why="z3 gave up")
    model = solver.model()
    point = [model.eval(x, model_completion=True) for x in xs]
    return Settled(None, np.array([float(Fraction(v.numerator_as_long(), v.denominator_as_long())) for v in point]))


def _real(value: float) -> Any:
    import z3

    return z3.Q(*float(value).as_integer_ratio())
