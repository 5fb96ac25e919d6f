"""Inputs that break a property: they bound from above what can be certified."""

from unmoved.attack.gradient import FGSM, Attacked, Pgd, Scores
from unmoved.attack.method import PgdMethod, scores
from unmoved.attack.smoothed import ABSTAINED, SmoothedAttacked, SmoothedPgd

__all__ = [
    "ABSTAINED",
    "FGSM",
    "Attacked",
    "Pgd",
    "PgdMethod",
    "Scores",
    "SmoothedAttacked",
    "SmoothedPgd",
    "scores",
]
