"""An ONNX file as a `Graph` of seven kinds of step: by our own reader, with the standard library only."""

from __future__ import annotations

from unmoved_check.model.lowering import lower
from unmoved_check.model.reader import read_model
from unmoved_check.model.steps import Graph


def read_graph(data: bytes) -> Graph:
    """The model in `data` at batch size 1; Rejection when it is malformed or has an operator we don't know."""
    return lower(read_model(data))


__all__ = ["Graph", "read_graph"]
