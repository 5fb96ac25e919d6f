"""What the checker knows of noises: one explicit table from the name in a certificate to the law's own theorem.

A law states how far one drawn copy is from the law that its theorem speaks of (in total variation), and whether a
class that has probability >= p_low, every other one <= p_high, stays ahead of all others after any move up to a
given size. Everything else (looks, bounds, the record of the classes, seeds) is the same for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from unmoved_check.noise_ablation import ablation
from unmoved_check.noise_discrete import discrete, sparse
from unmoved_check.noise_gaussian import gaussian
from unmoved_check.noise_laplace import laplace
from unmoved_check.noise_law import Law, Told
from unmoved_check.noise_uniform import splitting, uniform
from unmoved_check.outcome import Rejection

__all__ = ["LAWS", "law_of"]

LAWS: dict[str, Callable[[Told], Law]] = {
    "gaussian-grid": gaussian,
    "laplace-grid": laplace,
    "uniform-grid": uniform,
    "splitting": splitting,
    "discrete": discrete,
    "sparse-flips": sparse,
    "ablation": ablation,
}

_NAME = re.compile(r"([a-z-]{1,40})(?:\(([^()]{0,3000})\))?")


def law_of(name: object, scale: Fraction, grid: int, shape: tuple[int, ...]) -> Law:
    """Return the law that a certificate names, with its parameters, for inputs of `shape`; Rejection if there is none.

    `grid` is not negative; what else a law needs it checks itself.
    """
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None or found[1] not in LAWS:
        raise Rejection("evidence.noise is not one that this checker knows")
    return LAWS[found[1]](Told(found[2], scale, grid, shape))
