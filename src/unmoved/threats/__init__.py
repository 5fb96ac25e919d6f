"""Perturbation sets."""

from __future__ import annotations

from unmoved.core.errors import UsageError
from unmoved.core.threat import Threat
from unmoved.threats.box import Box
from unmoved.threats.changes import Changes
from unmoved.threats.lp import L1, L2, LP, Linf, Lp
from unmoved.threats.patch import Patch
from unmoved.threats.sparse import L0

__all__ = ["L0", "L1", "L2", "Box", "Changes", "Linf", "Lp", "Patch", "as_threat", "parse"]

_WHOLE: dict[str, type[L0] | type[Patch]] = {kind.word: kind for kind in (L0, Patch)}


def parse(text: str, clip: tuple[object, object] | None = None) -> Lp | Changes:
    """Return the threat that `text` names: `linf:8/255`, `l2:0.5`, `l1:2`, `l0:3`, `patch:5`; no size (`l2`) is 0.

    Raises UsageError for an unknown threat or a size that is not a number >= 0 (l0 and patch: a whole one).
    """
    word, colon, size = text.strip().lower().partition(":")
    if (word not in LP and word not in _WHOLE) or (colon and not size.strip()):
        known = [f"{name}:EPS" for name in LP] + [f"{name}:NUMBER" for name in _WHOLE]
        raise UsageError("threat", text, "one of " + ", ".join(known))
    if word in _WHOLE:
        try:
            return _WHOLE[word](size.strip() or "0", clip)
        except UsageError as error:
            if error.argument != "number":
                raise
            raise UsageError("threat", text, f'a whole number >= 0 after "{word}:", such as {word}:3') from error
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
