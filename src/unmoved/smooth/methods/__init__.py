"""Smoothing as methods that decide problems."""
