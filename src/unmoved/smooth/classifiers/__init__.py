"""Smoothed models and what they answer: classes, percentiles, segments, top k."""
