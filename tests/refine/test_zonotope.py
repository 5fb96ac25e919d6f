"""Zonotope proofs in the words of the checker: what is CERTIFIED is accepted."""

from unmoved.certifier import certify_all
from unmoved.core import Code, Verdict
from unmoved.refine import IntersectionMethod, IntervalMethod, ZonotopeMethod
from unmoved.testing import known_problems


def test_no_proof_is_rejected_and_the_method_proves_more_than_intervals() -> None:
    counts = {"zonotope": 0, "interval": 0, "intersection": 0}
    for group in known_problems(seed=3):
        problems = [known.problem for known in group]
        for method in (ZonotopeMethod(), IntervalMethod(), IntersectionMethod()):
            for made in certify_all(problems, method):
                assert made.reason is None or made.reason.code is not Code.REJECTED
                counts[method.name] += made.verdict is Verdict.CERTIFIED
    assert counts["intersection"] >= counts["zonotope"] > counts["interval"] > 0
