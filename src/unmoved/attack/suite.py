"""Attacks in a row, cheap to dear: each takes on the inputs that still stand."""

from __future__ import annotations

from unmoved.attack.annealed import Annealed
from unmoved.attack.apgd import Apgd
from unmoved.attack.boundary import Fab
from unmoved.attack.gradient import FGSM, Pgd
from unmoved.attack.method import PgdMethod
from unmoved.attack.search import Search
from unmoved.attack.square import Square
from unmoved.core.errors import UsageError

Stages = tuple[Search, ...]

SUITES: dict[str, Stages] = {
    "quick": (FGSM, Pgd(steps=20, restarts=1, targets=2), Annealed(steps=20, restarts=2)),
    "standard": (
        FGSM,
        Pgd(steps=20, restarts=1, targets=2),
        Annealed(steps=50, restarts=4, targets=3),
        Apgd("ce", steps=50),
        Apgd("dlr", steps=50, restarts=0, targets=9),
    ),
    "thorough": (
        FGSM,
        Pgd(steps=20, restarts=1, targets=2),
        Annealed(steps=100, restarts=4, targets=3),
        Apgd("ce", steps=100),
        Apgd("dlr", steps=100, restarts=0, targets=9),
        Fab(steps=100, targets=9),
        Square(queries=5000),
    ),
}
"""`standard` is descents only; `thorough` has what AutoAttack has (Croce & Hein 2020), FAB and queries included."""


def suite(name: str, norm: str | None = None) -> PgdMethod:
    """Return the attacks of this name that have moves for balls of this norm ("0", "1", "2", None: L_inf and boxes)."""
    if name not in SUITES:
        raise UsageError("suite", name, "one of " + ", ".join(SUITES))
    stages = tuple(stage for stage in SUITES[name] if norm in stage.norms)
    return PgdMethod(stages, label=f"attack-{name}")
