"""Inputs that break a property: they bound from above what can be certified."""

from unmoved.attack.annealed import Annealed
from unmoved.attack.apgd import Apgd
from unmoved.attack.boundary import Fab
from unmoved.attack.gradient import FGSM, Pgd
from unmoved.attack.method import PgdMethod, scores
from unmoved.attack.search import Attacked, Scores, Search
from unmoved.attack.smoothed import ABSTAINED, SmoothedAttacked, SmoothedPgd
from unmoved.attack.square import Square
from unmoved.attack.suite import SUITES, suite

__all__ = [
    "ABSTAINED",
    "FGSM",
    "SUITES",
    "Annealed",
    "Apgd",
    "Attacked",
    "Fab",
    "Pgd",
    "PgdMethod",
    "Scores",
    "Search",
    "SmoothedAttacked",
    "SmoothedPgd",
    "Square",
    "scores",
    "suite",
]
