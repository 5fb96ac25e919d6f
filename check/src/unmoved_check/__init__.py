"""The second opinion: re-checks robustness certificates without trusting, or importing, the program that made them.

Checker(model_bytes).check(manifest_bytes, payload_bytes) -> Accepted | Rejected
"""

from unmoved_check.check import Checker
from unmoved_check.outcome import Accepted, Rejected

__all__ = ["Accepted", "Checker", "Rejected"]
