"""`unmoved supports`: what `unmoved verify` can answer, in the words of the VNN-LIB standard, section 5.4."""

from __future__ import annotations

from importlib.util import find_spec

from unmoved.core import UsageError


def _operators() -> list[str]:
    from unmoved.ops import supported
    from unmoved_check.check import OPERATORS

    return sorted(supported() & OPERATORS)


def _opsets() -> list[str]:
    from unmoved.loaders.graph import OPSETS

    return [str(OPSETS[0]), str(OPSETS[-1])]


def capability(name: str) -> list[str]:
    """Return the lines of one capability; UsageError for a name that the standard does not have.

    `float32` is an element type because proofs can be about every float32 execution; what has no certificate is not
    listed.
    """
    match name:
        case "onnx-opset-versions":
            return _opsets()
        case "onnx-element-types":
            return ["real", "float32"]
        case "onnx-operators":
            return _operators()
        case "vnnlib-versions":
            return ["1.0", "2.0" if find_spec("vnnlib") else "1.0"]
        case "hidden-node-theories":
            return ["NH"]
        case "multiple-input-output-theories":
            return ["SIO"]
        case "multiple-network-theories":
            return ["SNET"]
        case "multiple-node-comparison-theories":
            return ["SNC"]
        case "arithmetic-complexity-theories":
            return ["BND", "OUTC"]
        case "optimised-disjunctive-reasoning":
            return ["false"]
        case "serialise-assignments":
            return ["true"]
    raise UsageError("CAPABILITY", name, "one of " + ", ".join(f"--{known}" for known in CAPABILITIES))


CAPABILITIES = (
    "onnx-opset-versions",
    "onnx-element-types",
    "onnx-operators",
    "vnnlib-versions",
    "hidden-node-theories",
    "multiple-input-output-theories",
    "multiple-network-theories",
    "multiple-node-comparison-theories",
    "arithmetic-complexity-theories",
    "optimised-disjunctive-reasoning",
    "serialise-assignments",
)
