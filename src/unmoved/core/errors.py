"""Every exception that `unmoved` raises on purpose.

    UnmovedError
    ├── UsageError         an argument is wrong: its name, its value, what was expected
    ├── LoadError          a model or data file cannot be read, or our reading of it disagrees with onnxruntime
    ├── UnsupportedError   a method needs an operator that it has no rule for
    └── IntegrityError     stored bytes are not what their address says
        └── MissingError   there are none; a KeyError too

Outcomes (timeout, abstention, an unproved bound) are values (`core.verdict.Reason`), never exceptions.
"""

from __future__ import annotations


class UnmovedError(Exception):
    """Base of all errors raised on purpose by this package."""


class UsageError(UnmovedError, ValueError):
    """An argument is wrong; the message names it, shows the value and says what was expected."""

    def __init__(self, argument: str, value: object, expected: str) -> None:
        self.argument, self.value, self.expected = argument, value, expected
        shown = "nothing" if value is None else repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{argument}: got {shown}, expected {expected}")


class LoadError(UnmovedError):
    """A model or data file cannot be read, or our reading disagrees with the reference runtime."""


class UnsupportedError(UnmovedError):
    """A method needs an operator that it has no rule for."""

    def __init__(self, operator: str, needed_by: str) -> None:
        self.operator, self.needed_by = operator, needed_by
        super().__init__(f"{needed_by} has no rule for the operator {operator}")


class IntegrityError(UnmovedError):
    """Stored bytes are not what their address says."""


class MissingError(IntegrityError, KeyError):
    """Nothing is stored at an address: it never was, or the store is damaged."""

    __str__ = Exception.__str__
