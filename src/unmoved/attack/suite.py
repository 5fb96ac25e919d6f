"""Attacks in a row, cheap to dear: each takes on the inputs that still stand."""

from __future__ import annotations

from unmoved.attack.apgd import Apgd
from unmoved.attack.gradient import FGSM, Pgd
from unmoved.attack.method import PgdMethod
from unmoved.attack.search import Search
from unmoved.attack.square import Square
from unmoved.core.errors import UsageError

Stages = tuple[Search, ...]

SUITES: dict[str, Stages] = {
    "quick": (FGSM, Pgd(steps=20, restarts=1, targets=2)),
    "standard": (
        FGSM,
        Pgd(steps=20, restarts=1, targets=2),
        Apgd("ce", steps=50),
        Apgd("dlr", steps=50, restarts=0, targets=9),
    ),
    "thorough": (
        FGSM,
        Pgd(steps=20, restarts=1, targets=2),
        Apgd("ce", steps=100),
        Apgd("dlr", steps=100, restarts=0, targets=9),
        Apgd("margin", steps=100, restarts=3),
        Square(queries=5000),
    ),
}
"""`standard` is gradients only; `thorough` spends what AutoAttack does (Croce & Hein 2020), queries included."""


def suite(name: str, norm: str | None = None) -> PgdMethod:
    """Return the attacks of this name that have moves for balls of this norm ("0", "1", "2", None: L_inf and boxes)."""
    if name not in SUITES:
        raise UsageError("suite", name, "one of " + ", ".join(SUITES))
    stages = tuple(stage for stage in SUITES[name] if norm in (None, "2") or not isinstance(stage, Square))
    return PgdMethod(stages, label=f"attack-{name}")
