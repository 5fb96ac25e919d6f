"""Contracts that an extension inherits: one test suite a kind of extension, shipped, for pytest to run.

    from unmoved.testing import StoreContract

    class TestMine(StoreContract):
        def open(self, folder): ...

Needs pytest (the extra `dev`). For readable failures call `pytest.register_assert_rewrite("unmoved.testing")` in a
conftest.py before this is imported.
"""

from unmoved.testing.known import Known, affine_problems, known_problems
from unmoved.testing.method import MethodContract
from unmoved.testing.noise import Law, Move, NoiseContract, law_of_integers
from unmoved.testing.objective import ObjectiveContract
from unmoved.testing.perceptron import Perceptron
from unmoved.testing.store import StoreContract
from unmoved.testing.threat import Edge, ThreatContract

__all__ = [
    "Edge",
    "Known",
    "Law",
    "MethodContract",
    "Move",
    "NoiseContract",
    "ObjectiveContract",
    "Perceptron",
    "StoreContract",
    "ThreatContract",
    "affine_problems",
    "known_problems",
    "law_of_integers",
]
