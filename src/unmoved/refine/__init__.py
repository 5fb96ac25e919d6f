"""Spend a budget on proofs: bounds as methods, and cascades of methods."""

from unmoved.refine.cascade import Cascade
from unmoved.refine.methods import IntervalMethod, LinearMethod

__all__ = ["Cascade", "IntervalMethod", "LinearMethod"]
