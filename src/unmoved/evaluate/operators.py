"""The page of operators, made from the tables: `python -m unmoved.evaluate.operators > docs/operators.md`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from unmoved.ops import RULES

HEAD = """# Operators

Made by `python -m unmoved.evaluate.operators > docs/operators.md` from the tables that the program itself uses. `unmoved doctor MODEL` says the same of a model.

A model with an operator that is not here loads all the same; a method that needs it answers `UNKNOWN(unsupported: X)`. Randomised smoothing needs no operator.
Every operator here is evaluated as onnxruntime does (compared at every load), is differentiable (attacks), and is bounded by `interval`, `linear` and `optimised`.

| family | bounded by |
|---|---|
| Affine | itself: exact in `linear` |
| Elementwise | lines of any slope, their offsets from kinks and stationary points |
| Maximum | one member, and the largest upper bound |
| Product | McCormick's planes |
| Composite | the families of its parts |

The independent checker follows every operator here, but for what [certificate-format.md](certificate-format.md) lists as refused (`unmoved doctor` says it of a model): there verdicts are `UNKNOWN(unchecked)`.
An `ArgMax` at the end hides the scores that bounds speak of: export the model without it.

| operator | family | what is supported |
|---|---|---|
"""  # noqa: E501


def said(build: Callable[..., Any]) -> str:
    """Return the first sentence of a builder's description, in one line."""
    text = " ".join((build.__doc__ or "").split("\n\n")[0].split())
    return text.replace("|", "\\|").rstrip(".")


def rows() -> Iterator[str]:
    """Yield a line of the table for every operator."""
    for name, rule in sorted(RULES.items()):
        yield f"| `{name}` | {rule.family} | {said(rule.build)} |"
    yield "| `Einsum` | Composite | Einsum of two operands, without an ellipsis: Transpose, Reshape and MatMul |"


def page() -> str:
    """Return the whole page."""
    return HEAD + "\n".join(rows()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
