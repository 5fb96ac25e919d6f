"""Perturbation sets."""

from __future__ import annotations

from unmoved.core.errors import UsageError
from unmoved.core.threat import Threat
from unmoved.threats.box import Box
from unmoved.threats.lp import L1, L2, LP, Linf, Lp

__all__ = ["L1", "L2", "Box", "Linf", "Lp", "as_threat", "parse"]


def parse(text: str, clip: tuple[object, object] | None = None) -> Lp:
    """Return the threat that `text` names: `linf:8/255`, `l2:0.5`, `l1:2`; without a size (`l2`) it is 0.

    Raises UsageError for an unknown threat or a size that is not a number >= 0.
    """
    word, colon, size = text.strip().lower().partition(":")
    if word not in LP or (colon and not size.strip()):
        raise UsageError("threat", text, "one of " + ", ".join(f"{name}:EPS" for name in LP))
    try:
        made: Lp = LP[word](size.strip() or "0", clip)
    except UsageError as error:
        if error.argument != "eps":
            raise
        raise UsageError("threat", text, f'a size >= 0 after "{word}:", such as {word}:0.1 or {word}:8/255') from error
    return made


def as_threat(value: object) -> Threat:
    """Return `value` as a Threat: text is parsed, a Threat is itself; anything else is a UsageError."""
    if isinstance(value, str):
        return parse(value)
    if not isinstance(value, Threat):
        raise UsageError("threat", value, 'a Threat such as Linf("8/255"), or text such as "linf:8/255"')
    return value
