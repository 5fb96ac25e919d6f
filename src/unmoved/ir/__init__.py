"""Models as data."""

from unmoved.ir.network import Network, Node

__all__ = ["Network", "Node"]
