"""Certified robustness: proofs that a model's answer does not move."""
