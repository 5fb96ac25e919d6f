"""Defences side by side: profiles of the same inputs, and every figure that is derived from them."""
