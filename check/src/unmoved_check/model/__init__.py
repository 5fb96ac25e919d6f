"""An ONNX file read by our own hand and lowered to seven kinds of step; standard library only.

wire -> reader -> (constant, movement, folding) -> lowering -> steps.Graph
"""
