"""What the rows of a run add up to: accuracy, curves, risk-coverage, certificates against attacks."""

from unmoved.evaluate.accuracy import Checks, Summary, accepted, attacked, broken, checks, clean, summarise
from unmoved.evaluate.results import Results, View, read_results, views
from unmoved.evaluate.share import CONFIDENCE, Share
from unmoved.evaluate.tightness import (
    Agreement,
    Contradiction,
    Settled,
    agreement,
    contradictions,
    settled,
    upper_bound,
)

__all__ = [
    "CONFIDENCE",
    "Agreement",
    "Checks",
    "Contradiction",
    "Results",
    "Settled",
    "Share",
    "Summary",
    "View",
    "accepted",
    "agreement",
    "attacked",
    "broken",
    "checks",
    "clean",
    "contradictions",
    "read_results",
    "settled",
    "summarise",
    "upper_bound",
    "views",
]
