"""Enclosures of what a network can answer, one domain a file."""

from unmoved.bounds.enclosure import Bounds, Enclosure
from unmoved.bounds.intersection import intersection
from unmoved.bounds.interval import interval, interval_low, margin_low
from unmoved.bounds.linear import LinearBounds, linear
from unmoved.bounds.query import Query
from unmoved.bounds.rounding import deployed
from unmoved.bounds.zonotope import ZonotopeBounds, zonotope

__all__ = [
    "Bounds",
    "Enclosure",
    "LinearBounds",
    "Query",
    "ZonotopeBounds",
    "deployed",
    "intersection",
    "interval",
    "interval_low",
    "linear",
    "margin_low",
    "zonotope",
]
